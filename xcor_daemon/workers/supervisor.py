"""A small parent process of one worker that outlives the daemon: a program of its own.

It records its own process, the worker's process and finally the worker's exit status in
worker.json. It imports very little, since every job starts one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..atomic_files import open_log, write_json
from ..errors import DiskError

WORKER_FILE = "worker.json"


def read_record(folder: Path) -> dict[str, Any]:
    """The content of worker.json: run, processes and exit status; empty before the first worker."""
    try:
        return dict(json.loads((folder / WORKER_FILE).read_bytes()))
    except FileNotFoundError:
        return {}


def _identity(pid: int) -> dict[str, Any] | None:
    """Identify a process even if its PID is reused later; None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may contain any character; state is field 3, start time field 22.
    fields = text.rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if fields[0] in "ZX" else {"pid": pid, "start": int(fields[19]), "boot": boot}


def is_alive(process: dict[str, Any] | None) -> bool:
    """Whether a recorded process is still running."""
    return process is not None and _identity(process["pid"]) == process


def supervise(folder: Path, run: int, command: list[str]) -> None:
    """Run a worker to its end and record its exit status; one supervisor at a time in a folder.

    If the daemon dies after starting a supervisor, its successor may start another one.
    """
    with open_log(folder / "worker.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_record(folder).get("run") == run:
            return  # another supervisor has run the worker already
        record: dict[str, Any] = {"run": run, "supervisor": _identity(os.getpid())}
        write_record(folder, record)
        # stdout and stderr are the log already.
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            record["worker"] = _identity(worker.pid)
            write_record(folder, record)
            os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        finally:
            # The worker must not outlive its supervisor, not even if the disk is full and the
            # record cannot be written. Until it is reaped, its PID and group id are not reused.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            status = worker.wait()
        write_record(folder, {**record, "exit": status})


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Replace worker.json atomically."""
    write_json(folder / WORKER_FILE, record, indent=None)


if __name__ == "__main__":
    try:
        supervise(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    except DiskError as error:
        # Not sys.stderr: if the log is on the full disk as well, Python would exit with 120.
        with contextlib.suppress(OSError):
            os.write(2, f"error: {error}\n".encode())
        sys.exit(error.exit_code)
