"""A Dask scheduler and workers as processes of their own, over TLS, as an operator starts them."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import dask
from distributed import Client, Security
from hosting import free_port

# In the place of the operator's: how long a worker may be away is not this suite's question.
_ENVIRON = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}


class DaskProcesses:
    """``dask scheduler`` and ``dask worker``, with certificates of their own.

    Parameters
    ----------
    folder : Path
        For certificates and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.address = f"tls://127.0.0.1:{self.port}"
        made = Security.temporary()
        for name, content in (("ca", made.tls_ca_file), ("cert", made.tls_client_cert),
                              ("key", made.tls_client_key)):  # fmt: skip
            (folder / f"{name}.pem").write_text(content)
        self._tls = [f"--tls-ca-file={folder / 'ca.pem'}", f"--tls-cert={folder / 'cert.pem'}",
                     f"--tls-key={folder / 'key.pem'}"]  # fmt: skip
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []

    @property
    def settings(self) -> dict[str, str]:
        """Settings of a client in ``dask.config``."""
        tls = "distributed.comm.tls"
        return {f"{tls}.ca-file": str(self.folder / "ca.pem"),
                f"{tls}.client.cert": str(self.folder / "cert.pem"),
                f"{tls}.client.key": str(self.folder / "key.pem")}  # fmt: skip

    @property
    def environ(self) -> dict[str, str]:
        """The same as variables of the environment."""
        return {
            "DASK_" + name.replace(".", "__").replace("-", "_").upper(): value
            for name, value in self.settings.items()
        }

    def clients(self) -> int:
        """How many have given the workers something to do, whom `settings` let in."""
        return (self.folder / "worker.log").read_text().count("Starting Worker plugin xcor-")

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *arguments, *self._tls]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ | _ENVIRON, start_new_session=True
            )

    def start_scheduler(self) -> None:
        where = ("--host=127.0.0.1", f"--port={self.port}", "--protocol=tls", "--no-dashboard")
        self._scheduler = self._start("scheduler", *where)

    def start_workers(self, n: int = 2, memory: str = "700MB") -> None:
        """``n`` processes, each with its nanny and a limit of memory."""
        how = (f"--nworkers={n}", "--nthreads=1", f"--memory-limit={memory}", "--no-dashboard")
        scratch = f"--local-directory={self.folder}"
        self._workers.append(self._start("worker", self.address, *how, scratch))

    def wait_for(self, workers: int) -> None:
        """Until so many have joined, however busy the machine is."""
        with dask.config.set(self.settings), Client(
            self.address, security=Security(require_encryption=True), timeout=200,
            set_as_default=False,
        ) as client:  # fmt: skip
            client.wait_for_workers(workers, timeout=200)

    def kill_scheduler(self) -> None:
        assert self._scheduler is not None
        self._scheduler.kill()
        self._scheduler.wait()

    def stop(self) -> None:
        """End all, with their children, and close the sockets that clients have left open."""
        for process in [*self._workers, self._scheduler]:
            if process is not None:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                finally:
                    process.wait()
        # Dask's client may leave a socket to a scheduler that died under it, seen once in some ten
        # whole runs. Collected here, where that is expected, it fails no later test.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
