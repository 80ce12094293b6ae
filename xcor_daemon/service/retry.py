"""How a worker ended, and the limits on attempts; `reconcile.after_failure` decides by them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConfigError, DiskError, RequestError, UnreachableError, is_no_result
from ..storage.jobs import FAILED, REJECTED

# Attempts before a job fails.
_MAX_KILLED = 5  # a worker was killed from outside
_MAX_OUT_OF_MEMORY = 3  # each attempt uses fewer processes
_MAX_REMOTE = 8  # a data centre did not respond or returned errors

_MAX_LINES = 12  # of an error, in the reason of a job
_TEMPORARY = 75  # EX_TEMPFAIL of sysexits.h
# Error messages at the limit of processes and threads.
_NO_PROCESS = re.compile(r"can't start new thread|can't fork|Resource temporarily unavailable")


@dataclass(frozen=True)
class WorkerEnd:
    """How a worker ended."""

    kind: str  # request | config | remote | disk | killed | memory | pids | crash | bug | broken
    reason: str  # for the user
    final_state: str  # of the job; empty if another worker may be started
    max_attempts: int  # before the job fails


def classify(
    exit_code: int | None,
    log_tail: Sequence[str],
    max_attempts: int,
    is_out_of_memory: bool = False,
) -> WorkerEnd:
    """Classify the end of a worker by its exit code and the last lines of its log.

    Parameters
    ----------
    exit_code : int or None
        None if it was killed from outside; 128 + n if it crashed with signal n.
    is_out_of_memory : bool
        Whether the kernel killed it, or a process of it, for lack of memory.
    """
    lines = [line for line in log_tail if line.strip()]
    last = lines[-1].removeprefix("error: ") if lines else "its log is empty"
    reason = f"the worker exited with status {exit_code}: {last}"
    if is_out_of_memory:
        need = "request fewer stations, a lower fs or shorter windows"
        return WorkerEnd("memory", f"the worker ran out of memory; {need}", "", _MAX_OUT_OF_MEMORY)
    if exit_code is None:
        reason = "the worker was killed, possibly by the kernel's out-of-memory killer"
        return WorkerEnd("killed", reason, "", _MAX_KILLED)
    message = _error_of(lines) or last
    if exit_code == RequestError.exit_code:
        return WorkerEnd("request", message, FAILED if is_no_result(message) else REJECTED, 1)
    if exit_code == ConfigError.exit_code:
        return WorkerEnd("config", reason, FAILED, 1)
    if exit_code in (UnreachableError.exit_code, _TEMPORARY):
        reason = message if is_no_result(message) else reason
        return WorkerEnd("remote", reason, "", max(_MAX_REMOTE, max_attempts))
    if exit_code == DiskError.exit_code:
        # The log has one line with the reason, unless the log is on the full disk as well.
        if not lines or not lines[-1].startswith("error: "):
            last = "the disk of the job's folder is full or not writable"
        return WorkerEnd("disk", last, "", max_attempts)
    if _NO_PROCESS.search(" ".join(lines[-5:])):
        reason = f"the worker exceeded its limit of processes and threads: {last}"
        return WorkerEnd("pids", reason, "", max_attempts)
    return WorkerEnd("crash" if exit_code > 128 else "bug", reason, "", max_attempts)


def _error_of(lines: Sequence[str]) -> str:
    """The last error message of a log with all of its lines; empty if there is none."""
    starts = [k for k, line in enumerate(lines) if line.startswith("error: ")]
    if not starts:
        return ""
    message = [lines[starts[-1]].removeprefix("error: "), *lines[starts[-1] + 1 :]]
    more = [f"and {len(message) - _MAX_LINES} more lines"] * (len(message) > _MAX_LINES)
    return "\n".join([*message[:_MAX_LINES], *more])
