"""What follows from a worker that did not end well: another worker, later, or the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConfigError, DiskError, RequestError, UnreachableError, is_no_result
from ..storage.jobs import FAILED, REJECTED

_MOST_KILLED = 5  # workers killed from outside before a job is given up
_MOST_STARVED = 3  # workers, each in fewer processes, before a job is given up
_MOST_REMOTE = 8  # workers that met a data centre out of order before a job is given up
_MOST_LINES = 12  # of an error, in the reason of a job
_TEMPORARY = 75  # EX_TEMPFAIL of sysexits.h
# What programs say that may not start another process or thread.
_NO_PROCESS = re.compile(r"can't start new thread|can't fork|Resource temporarily unavailable")


@dataclass(frozen=True)
class WorkerEnd:
    """How a worker ended."""

    kind: str  # request | config | remote | disk | killed | memory | pids | crash | bug | broken
    reason: str  # for the user
    final_state: str  # the job's end; empty where another worker may follow
    most: int  # workers that may end so before the job is given up


def classify(
    exit_code: int | None,
    log_tail: Sequence[str],
    max_attempts: int,
    is_out_of_memory: bool = False,
) -> WorkerEnd:
    """Tell why a worker stopped, from its status and the last words of its log.

    Parameters
    ----------
    exit_code : int or None
        None where somebody killed it; 128 + n where signal n was its own fault.
    is_out_of_memory : bool
        Whether the system killed it, or a process of it, for want of memory.
    """
    lines = [line for line in log_tail if line.strip()]
    last = lines[-1].removeprefix("error: ") if lines else "its log is empty"
    reason = f"the worker stopped with status {exit_code}: {last}"
    if is_out_of_memory:
        need = "ask for fewer stations, a lower fs or shorter windows"
        return WorkerEnd("memory", f"the worker ran out of memory; {need}", "", _MOST_STARVED)
    if exit_code is None:
        reason = "the worker was killed, perhaps for want of memory"
        return WorkerEnd("killed", reason, "", _MOST_KILLED)
    said = _error_of(lines) or last
    if exit_code == RequestError.exit_code:
        return WorkerEnd("request", said, FAILED if is_no_result(said) else REJECTED, 1)
    if exit_code == ConfigError.exit_code:
        return WorkerEnd("config", reason, FAILED, 1)
    if exit_code in (UnreachableError.exit_code, _TEMPORARY):
        reason = said if is_no_result(said) else reason
        return WorkerEnd("remote", reason, "", max(_MOST_REMOTE, max_attempts))
    if exit_code == DiskError.exit_code:
        # Its one line says all; where the log is on the disk that is full, it is not there.
        is_said = bool(lines) and lines[-1].startswith("error: ")
        unsaid = "the disk of the job's folder is full or cannot be written"
        return WorkerEnd("disk", last if is_said else unsaid, "", max_attempts)
    if _NO_PROCESS.search(" ".join(lines[-5:])):
        reason = f"the worker was not allowed as many processes as it wanted: {last}"
        return WorkerEnd("pids", reason, "", max_attempts)
    return WorkerEnd("crash" if exit_code > 128 else "bug", reason, "", max_attempts)


def _error_of(lines: Sequence[str]) -> str:
    """The last message of an error in a log, with all of its lines; empty where there is none."""
    starts = [k for k, line in enumerate(lines) if line.startswith("error: ")]
    if not starts:
        return ""
    message = [lines[starts[-1]].removeprefix("error: "), *lines[starts[-1] + 1 :]]
    more = [f"and {len(message) - _MOST_LINES} more lines"] * (len(message) > _MOST_LINES)
    return "\n".join([*message[:_MOST_LINES], *more])
