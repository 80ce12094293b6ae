"""Fault injection: ``XCOR_FAULT=POINT:ACTION`` makes the daemon fail once, at a named point.

Every step with a lasting effect on the disk, in S3 or on a process is listed here; there is a fault
point before and after each.
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

# Steps that write to the work folder, the only ones at which a disk can be full.
ON_DISK = {
    "stage.folder": "the folder of a job is created",
    "stage.input": "a file of the request is written to the folder",
    "stage.record": "the first job.json: from now on the job belongs to this machine",
    "record.queued": "job.json: the request was checked",
    "record.running": "job.json: a worker was started",
    "record.retry": "job.json: a worker failed and another one will be started",
    "record.verdict": "job.json: the final state is decided",
    "record.ended": "job.json: the final state is published",
    "purge": "the folder of an ended job is removed",
    "corr.fetch": "a correlation file of another job is downloaded to the folder",
    "log.write": "the log of a job that had no worker is written",
}
ELSEWHERE = {
    "worker.start": "a supervisor process is started",
    "worker.stop": "a worker is sent a signal",
    "result.upload": "a result file is uploaded under the prefix of the attempt",
    "manifest.commit": "manifest.json is uploaded: the job is published",
    "lease.write": "leases/ID.json is uploaded: this daemon runs the job",
    "lease.release": "leases/ID.json is deleted",
    "view.files": "files.txt is uploaded",
    "view.waiting": "status.json of a job that waits in the queue is uploaded",
    "view.service": "_service.json is uploaded",
    "view.status": "status.json is uploaded",
}
STEPS = {**ON_DISK, **ELSEWHERE}
POINTS = tuple(f"{name}.{when}" for name in STEPS for when in ("before", "after"))
ACTIONS = ("kill", "raise", "sleep", "hang", "enospc")

_SLEEP = 1.0  # s

_enabled: list[tuple[str, str]] = []  # points and actions that have not happened yet


def enable(text: str) -> None:
    """Enable a fault such as ``manifest.commit.after:kill``; an empty text enables none.

    Raises
    ------
    ConfigError
        If the point or the action is unknown.
    """
    if not text:
        return
    point, _, action = text.partition(":")
    if point not in POINTS or action not in ACTIONS:
        points = "xcor_daemon/storage/fault_injection.py"
        need = f"POINT:ACTION with a point of {points} and one of {', '.join(ACTIONS)}"
        raise ConfigError(f"XCOR_FAULT={text!r}; write {need}.")
    if action == "enospc" and point.rpartition(".")[0] not in ON_DISK:
        raise ConfigError(
            f"XCOR_FAULT={text!r}; enospc is possible only at steps that write to the disk."
        )
    _enabled.append((point, action))


@contextmanager
def fault_point(name: str) -> Iterator[None]:
    """Enclose a step; faults that are enabled before or after it happen there."""
    _reach(f"{name}.before")
    yield
    _reach(f"{name}.after")


def _reach(point: str) -> None:
    action = next((action for enabled, action in _enabled if enabled == point), None)
    if action is None:
        return
    _enabled.remove((point, action))
    log.warning("injected fault: %s at %s", action, point)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise UnreachableError(f"injected fault at {point}.")
    elif action == "enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    elif action == "hang":
        while True:  # until the watchdog of the service manager kills it
            signal.pause()
    else:
        time.sleep(_SLEEP)
