"""Workers as local processes, detached: a new daemon finds the workers of the previous one.

`LocalLauncher` starts a supervisor (supervisor.py) in a session of its own, which runs the worker.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..atomic_files import disk_errors, open_log
from ..errors import DiskError
from ..request.job_files import LOG_FILE
from ..storage import fault_injection
from ..storage.jobs import Job
from .launcher import ENDED, NOT_STARTED, RUNNING, WorkerState, worker_environment
from .supervisor import is_alive, read_record

# Signals sent from outside; by any other the worker crashed.
_SENT_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class LocalLauncher:
    """Workers as processes of this machine; see `launcher.Launcher`."""

    command: Callable[[Job], list[str]]
    environ: Mapping[str, str]  # of the daemon; a part of it is passed on
    grace: float = 10.0  # s from SIGTERM to SIGKILL
    _children: dict[tuple[Path, int], subprocess.Popen[bytes]] = field(default_factory=dict)
    _terminated: dict[Path, float] = field(default_factory=dict)  # when SIGTERM was sent

    def start(self, job: Job) -> None:
        """Start the worker of this run, unless it is running already."""
        if self.inspect(job).state != NOT_STARTED:
            return
        folder = job.folder.absolute()
        program = [sys.executable, "-P", "-m", "xcor_daemon.workers.supervisor"]
        self._terminated.pop(job.folder, None)
        started = fault_injection.fault_point("worker.start")
        with disk_errors(folder), open_log(folder / LOG_FILE) as log, started:
            self._children[job.folder, job.run] = subprocess.Popen(
                [*program, str(folder), str(job.run), *self.command(job)],
                env=worker_environment(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def inspect(self, job: Job) -> WorkerState:
        """Return the state of the worker of this run."""
        child = self._children.get((job.folder, job.run))
        before = read_record(job.folder)
        if before.get("run") != job.run and child is None:
            return WorkerState(NOT_STARTED)
        is_running = child is not None and child.poll() is None
        if is_running or is_alive(before.get("worker")) or is_alive(before.get("supervisor")):
            return WorkerState(RUNNING)
        # Read again: the supervisor may have recorded the end meanwhile.
        record = read_record(job.folder)
        if record.get("run") == job.run and "exit" in record:
            return WorkerState(ENDED, _exit_code(record["exit"]))
        # Killed; or the supervisor could not write worker.json and has killed the worker.
        is_disk = child is not None and child.returncode == DiskError.exit_code
        return WorkerState(ENDED, DiskError.exit_code if is_disk else None)

    def stop(self, job: Job) -> None:
        """Send SIGTERM, and SIGKILL after a grace period; call again until the worker has ended."""
        worker = read_record(job.folder).get("worker")
        if self.inspect(job).state != RUNNING or worker is None or not is_alive(worker):
            return
        terminated = self._terminated.setdefault(job.folder, time.monotonic())
        late = time.monotonic() - terminated >= self.grace
        with contextlib.suppress(ProcessLookupError), fault_injection.fault_point("worker.stop"):
            os.killpg(worker["pid"], signal.SIGKILL if late else signal.SIGTERM)


def _exit_code(status: int) -> int | None:
    """The exit status; None if killed from outside; 128 + n if it crashed with signal n."""
    if status >= 0:
        return status
    return None if -status in _SENT_FROM_OUTSIDE else 128 - status
