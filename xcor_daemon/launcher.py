"""Run one job's worker, detached: the daemon may die and its successor finds the worker again.

`LocalLauncher` starts a supervisor, this file run as a program, in a session of its own. The
supervisor runs the worker, writes its log and, at the end, its exit status to worker.json.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from . import faults
from .config import Config
from .jobs import LOG_FILE, Job, disk_errors, write_atomic
from .placement import DASK, PROCESSES

WORKER_FILE = "worker.json"
NOT_STARTED, RUNNING, ENDED = "not-started", "running", "ended"

# A worker needs no more of the environment; it must not see AWS_* and any other XCOR_*: names of
# sources it needs, for the column DataCenter of stations.csv, and what sources need themselves.
_PASSED = re.compile(
    r"XCOR_(SOURCES|CACHE|EARTHSCOPE_TOKEN)|PATH|HOME|LANG|LC_ALL|TZ|TMPDIR|MPLCONFIGDIR|XDG_CACHE_HOME|(DASK|NUMBA|OMP|MKL|OPENBLAS|NUMEXPR)_[A-Z_]+"
)
# Signals that somebody sends; the others are the worker's own fault.
_SENT = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Worker:
    """How a job's worker is; ``exit_code`` is None where somebody killed it."""

    state: str
    exit_code: int | None = None
    is_starved: bool = False  # it, or a process of it, was killed for want of memory
    image: str | None = None  # that it ran from


class Launcher(Protocol):
    """Who runs workers. The number of the run is the job's: a worker of an earlier run is none."""

    def start(self, job: Job) -> None:
        """Start the worker of this run; nothing happens where it runs already."""
        ...

    def inspect(self, job: Job) -> Worker:
        """Look at the worker of this run."""
        ...

    def stop(self, job: Job) -> None:
        """Ask the worker to end, and after a grace make it; call again until it has ended."""
        ...


def worker_command(job: Job, config: Config) -> list[str]:
    """What a worker runs."""
    words = worker_words(job, str(job.results), job.source, job.corr, config.processes)
    if job.executor == DASK and config.dask_address:
        words += ["--dask-address", config.dask_address]
    # -P: the folder in which it starts must not offer modules.
    return [sys.executable, "-P", "-m", "xcor_daemon.cli", *words]


def worker_words(job: Job, folder: str, source: str, corr: str, processes: int) -> list[str]:
    """What a worker is asked to do, with the paths as it sees them."""
    if job.kind == "stack":
        what = ["stack", folder, "--corr", corr]
    else:
        what = ["correlate", folder, "--source", source, "--executor", job.executor or PROCESSES]
    return [*what, "--processes", str(processes)]


def worker_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker sees of the environment."""
    return {name: value for name, value in environ.items() if _PASSED.fullmatch(name)}


@dataclass
class LocalLauncher:
    """Workers as processes of this machine."""

    command: Callable[[Job], list[str]]
    environ: Mapping[str, str]  # of the daemon; the worker gets a part of it
    grace: float = 10.0  # s from SIGTERM to SIGKILL
    _children: dict[tuple[Path, int], subprocess.Popen[bytes]] = field(default_factory=dict)
    _asked: dict[Path, float] = field(default_factory=dict)  # when SIGTERM was sent

    def start(self, job: Job) -> None:
        """Start the worker of this run; nothing happens where it runs already."""
        if self.inspect(job).state != NOT_STARTED:
            return
        folder = job.folder.absolute()
        supervisor = [sys.executable, "-P", "-m", "xcor_daemon.launcher", str(folder), str(job.run)]
        self._asked.pop(job.folder, None)
        started = faults.step("worker.start")
        with disk_errors(folder), (folder / LOG_FILE).open("ab") as log, started:
            self._children[job.folder, job.run] = subprocess.Popen(
                [*supervisor, *self.command(job)],
                env=worker_environ(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def inspect(self, job: Job) -> Worker:
        """Look at the worker of this run."""
        child = self._children.get((job.folder, job.run))
        before = read_record(job.folder)
        if before.get("run") != job.run and child is None:
            return Worker(NOT_STARTED)
        lives = child is not None and child.poll() is None
        if lives or _is_alive(before.get("worker")) or _is_alive(before.get("supervisor")):
            return Worker(RUNNING)
        # Read again: the supervisor's last word may have come since.
        record = read_record(job.folder)
        ended_well = record.get("run") == job.run and "exit" in record
        return Worker(ENDED, _exit_code(record["exit"]) if ended_well else None)

    def stop(self, job: Job) -> None:
        """Ask the worker to end, and after a grace make it; call again until it has ended."""
        worker = read_record(job.folder).get("worker")
        if self.inspect(job).state != RUNNING or not _is_alive(worker):
            return
        asked = self._asked.setdefault(job.folder, time.monotonic())
        late = time.monotonic() - asked >= self.grace
        with contextlib.suppress(ProcessLookupError), faults.step("worker.stop"):
            os.killpg(worker["pid"], signal.SIGKILL if late else signal.SIGTERM)


def _exit_code(status: int) -> int | None:
    """The worker's own status; None if somebody killed it; 128 + n if it crashed by signal n."""
    if status >= 0:
        return status
    return None if -status in _SENT else 128 - status


def read_record(folder: Path) -> dict[str, Any]:
    """worker.json: of which run the latest worker is, and how it ended; empty before the first."""
    try:
        return dict(json.loads((folder / WORKER_FILE).read_bytes()))
    except FileNotFoundError:
        return {}


def _identity(pid: int) -> dict[str, Any] | None:
    """A process, told apart from a later one of the same number; None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold anything; state is the 3rd field, start time the 22nd.
    fields = text.rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if fields[0] in "ZX" else {"pid": pid, "start": int(fields[19]), "boot": boot}


def _is_alive(process: dict[str, Any] | None) -> bool:
    return process is not None and _identity(process["pid"]) == process


# --- the supervisor ---


def supervise(folder: Path, run: int, command: list[str]) -> None:
    """Run a worker to its end and record how it ended; one supervisor a folder at a time.

    A daemon that died after it started a supervisor is followed by one that starts another.
    """
    with (folder / "worker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_record(folder).get("run") == run:
            return  # another supervisor was faster and is through
        record: dict[str, Any] = {"run": run, "supervisor": _identity(os.getpid())}
        write_record(folder, record)
        # stdout and stderr are the log already.
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        record["worker"] = _identity(worker.pid)
        write_record(folder, record)
        # While the worker is not reaped, nobody else gets its number or its group's.
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        write_record(folder, {**record, "exit": worker.wait()})


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Replace worker.json."""
    write_atomic(folder / WORKER_FILE, json.dumps(record).encode())


if __name__ == "__main__":
    supervise(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
