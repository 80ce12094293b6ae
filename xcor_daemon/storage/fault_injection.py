"""Faults to order: ``XCOR_FAULT=POINT:ACTION`` makes the daemon fail once, at a named point.

Every step that leaves something behind, on the disk, in S3 or as a process, is listed here; a
point lies before and one after each.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ConfigError, UnreachableError

log = logging.getLogger(__name__)

# Steps that write to the work folder; only there a disk can be full.
ON_DISK = {
    "stage.folder": "the folder of a job is made",
    "stage.input": "a file of the request is copied to the folder",
    "stage.record": "the first job.json: from now on the job is this machine's",
    "record.queued": "job.json: the request was checked",
    "record.running": "job.json: a worker was started",
    "record.retry": "job.json: a worker ended badly and another one follows",
    "record.verdict": "job.json: the end is decided",
    "record.ended": "job.json: the end is published",
    "purge": "the folder of an ended job is removed",
    "corr.fetch": "a file of another job is copied to the folder",
    "log.write": "the log of a job that never had a worker is written",
}
ELSEWHERE = {
    "worker.start": "a supervisor process is started",
    "worker.stop": "a worker is sent a signal",
    "result.upload": "a result is put under the attempt's prefix",
    "manifest.commit": "manifest.json is put: the job is published",
    "lease.write": "leases/ID.json is put: this daemon does the job",
    "lease.release": "leases/ID.json is deleted",
    "view.files": "files.txt is put",
    "view.waiting": "status.json of a job that nobody has taken is put",
    "view.service": "_service.json is put",
    "view.status": "status.json is put",
}
STEPS = {**ON_DISK, **ELSEWHERE}
POINTS = tuple(f"{name}.{when}" for name in STEPS for when in ("before", "after"))
ACTIONS = ("kill", "raise", "sleep", "hang", "enospc")

_NAP = 1.0  # s that `sleep` takes

_armed: list[tuple[str, str]] = []  # what is still to happen: points and actions


def enable(text: str) -> None:
    """Take an order such as ``manifest.commit.after:kill``; an empty one changes nothing.

    Raises
    ------
    ConfigError
        If there is no such point or action.
    """
    if not text:
        return
    point, _, action = text.partition(":")
    if point not in POINTS or action not in ACTIONS:
        points = "xcor_daemon/storage/fault_injection.py"
        need = f"POINT:ACTION with a point of {points} and one of {', '.join(ACTIONS)}"
        raise ConfigError(f"XCOR_FAULT={text!r}; write {need}.")
    if action == "enospc" and point.rpartition(".")[0] not in ON_DISK:
        raise ConfigError(f"XCOR_FAULT={text!r}; nothing is written to the disk there.")
    _armed.append((point, action))


@contextmanager
def fault_point(name: str) -> Iterator[None]:
    """Do a step that leaves something behind; what is armed before or after it happens there."""
    _pass(f"{name}.before")
    yield
    _pass(f"{name}.after")


def _pass(point: str) -> None:
    action = next((action for armed, action in _armed if armed == point), None)
    if action is None:
        return
    _armed.remove((point, action))
    log.warning("fault: %s at %s", action, point)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise UnreachableError(f"a fault was ordered at {point}.")
    elif action == "enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    elif action == "hang":
        while True:  # until the service manager's watchdog ends it
            signal.pause()
    else:
        time.sleep(_NAP)
