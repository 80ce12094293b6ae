"""A service for fault injection: a real S3 server behind a proxy, and daemons killed by PID."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from daemon_process import ClockedDaemon, DaemonProcess, Forks
from hosting import send, wait_until
from invariants import check_all
from proxy import Proxy, serve_proxy

from xcor_daemon.demo.s3_server import S3Server
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.storage.jobs import load_jobs


@dataclass
class Service:
    """The service of one test."""

    store: Bucket  # directly on S3, without the proxy
    proxy: Proxy
    folder: Path
    forks: Forks
    environ: dict[str, str]
    secrets: tuple[str, ...]
    server: S3Server
    record: Callable[[str, object], None]  # for the report at the end of the tests
    valid: set[str] = field(default_factory=set)
    may_fail: set[str] = field(default_factory=set)
    processes: list[DaemonProcess] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    @property
    def witness(self) -> Path:
        return self.folder / "witness"

    def work_dir(self, host: str = "work") -> Path:
        return self.folder / host

    def slots(self, count: int) -> None:
        """Let the workers check how many of them run at the same time."""
        for number in range(count):
            (self.witness / f"slot{number}").touch()

    def send(self, job_id: str, **files: bytes) -> None:
        """Send a valid job, or other files."""
        send(self.store, job_id, **files)
        if not files:
            self.valid.add(job_id)

    def start(
        self,
        mode: str = "run",
        host: str = "work",
        fault: str = "",
        backoff: float = 0.02,
        worker: str = "process",
        clock: str = "",
        multipart_from: int = 2**28,
        **settings: Any,
    ) -> DaemonProcess:
        """Start a daemon on a work folder.

        Parameters
        ----------
        mode : str
            ``run``, or ``wait`` for one that ends when nothing is left to do.
        worker : str
            ``process``, or ``instant`` for workers that are through when they are started.
        clock : str
            How far the machine's clock is off, as libfaketime has it: ``+20m``.
        multipart_from : int
            Bytes from which results are uploaded in parts of 8 MiB.
        """
        self.hosts.add(host)
        chosen = {"bucket": self.store.name, "endpoint_url": self.proxy.endpoint, "fault": fault}
        chosen |= {"work_dir": self.work_dir(host), "source": "archive:/data"}
        chosen |= {"interval": 0.05, "settle": 0, "s3_timeout": 5, **settings}
        environ = {f"XCOR_{name.upper()}": str(value) for name, value in chosen.items()}
        order = {"mode": mode, "backoff": backoff, "environ": {**self.environ, **environ}}
        order |= {"log": str(self.folder / "daemon.log"), "witness": str(self.witness)}
        order |= {"worker": worker, "multipart_from": multipart_from}
        process = ClockedDaemon(clock, order) if clock else DaemonProcess(self.forks, **order)
        self.processes.append(process)
        return process

    def run_until_idle(self, host: str = "work", seconds: float = 240, **settings: Any) -> None:
        """Run passes until all jobs have ended."""
        assert self.start("wait", host, **settings).wait(seconds) == 0, self.log

    def run_in_loop_until_idle(self) -> None:
        """Like `run_until_idle`, with a daemon that continues after failed passes."""
        daemon = self.start()
        wait_until(lambda: all(self.is_done(job_id) for job_id in self.valid))
        self.end(daemon)

    def end(self, daemon: DaemonProcess, **settings: Any) -> None:
        """Kill a daemon; another one completes its interrupted step.

        A job that users see as done may not be recorded so yet.
        """
        daemon.kill()
        self.run_until_idle(**settings)

    @property
    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()

    def wait_for_worker(self, job_id: str, host: str = "work") -> None:
        """Wait until the worker of a job is running."""

        def is_up() -> bool:
            found = self.work_dir(host).glob(f"*/{job_id}/xcor_log.txt")
            return any(b"up" in path.read_bytes() for path in found)

        wait_until(is_up)

    def end_workers(self) -> None:
        """Kill every supervisor and worker, as a crash of the machine does."""
        while found := _workers(self):
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process.parent.name), signal.SIGKILL)

    def is_done(self, job_id: str) -> bool:
        return (self.store.read_status(job_id) or {}).get("state") == "done"

    def check(self, faults: int) -> None:
        """Check every invariant, and count for the report."""
        lost, doubled = self.proxy.lost(self.valid - self.may_fail), self.proxy.doubled()
        tried = {"tried": faults, "jobs": len(self.valid)}
        self.record("faults", {**tried, "lost": len(lost), "doubled": len(doubled)})
        assert not lost, lost
        assert not doubled, doubled
        check_all(
            self.store,
            self.proxy,
            [self.work_dir(host) for host in self.hosts],
            self.witness,
            self.valid,
            self.secrets,
        )
        self.record("faults", {"survived": faults})


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """A process from which daemons are forked quickly."""
    made = Forks()
    yield made
    made.close()


@pytest.fixture
def service(
    bucket, forks: Forks, tmp_path: Path, record_property: Callable[[str, object], None]
) -> Iterator[Service]:
    """A bucket behind a proxy; all processes end with the test."""
    (tmp_path / "witness").mkdir()
    (tmp_path / "daemon.log").touch()
    server = bucket.server
    store = Bucket(server.client(), bucket.name, settle=0)
    with serve_proxy(server.endpoint, bucket.name) as proxy:
        environ = {k: v for k, v in server.environ.items() if k != "AWS_ENDPOINT_URL_S3"}
        secrets = (server.secret_key,)
        made = Service(store, proxy, tmp_path, forks, environ, secrets, server, record_property)
        try:
            yield made
        finally:
            (made.witness / "wait").unlink(missing_ok=True)
            for process in made.processes:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(10)
            wait_until(lambda: not _workers(made))


def _workers(service: Service) -> list[Path]:
    """Running supervisors and workers."""
    found = []
    for host in service.hosts:
        for job in load_jobs(service.work_dir(host)):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if bytes(job.folder) in process.read_bytes():
                        found.append(process)
                except OSError:  # it has ended
                    continue
    return found
