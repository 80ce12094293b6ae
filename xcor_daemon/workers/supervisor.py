"""Runs one worker beside the daemon, whose end it outlives: a program of its own.

It writes who it is and who the worker is to worker.json and, at the end, the worker's exit status.
It loads next to nothing, since every job starts one.
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


def is_alive(process: dict[str, Any] | None) -> bool:
    """Whether a process of a record still runs."""
    return process is not None and _identity(process["pid"]) == process


def supervise(folder: Path, run: int, command: list[str]) -> None:
    """Run a worker to its end and record how it ended; one supervisor a folder at a time.

    A daemon that died after it started a supervisor is followed by one that starts another.
    """
    with open_log(folder / "worker.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_record(folder).get("run") == run:
            return  # another supervisor was faster and is through
        record: dict[str, Any] = {"run": run, "supervisor": _identity(os.getpid())}
        write_record(folder, record)
        # stdout and stderr are the log already.
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            record["worker"] = _identity(worker.pid)
            write_record(folder, record)
            os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        finally:
            # It must not outlive this either where the disk is full and nobody learns of it. While
            # the worker is not reaped, nobody else gets its number or its group's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            status = worker.wait()
        write_record(folder, {**record, "exit": status})


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Replace worker.json."""
    write_json(folder / WORKER_FILE, record, indent=None)


if __name__ == "__main__":
    try:
        supervise(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    except DiskError as error:
        # Not by sys.stderr: where the log is on the same disk, Python would end with 120.
        with contextlib.suppress(OSError):
            os.write(2, f"error: {error}\n".encode())
        sys.exit(error.exit_code)
