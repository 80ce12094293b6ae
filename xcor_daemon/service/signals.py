"""SIGTERM, SIGINT and SIGCHLD: how the daemon's loop is stopped and woken."""

from __future__ import annotations

import logging
import os
import select
import signal
import threading

log = logging.getLogger(__name__)

_LAST_PASS = 5.0  # s that a pass may go on after SIGTERM


class _Stop(threading.Event):
    """Is set by signals; to wait for it ends early where a child ends, most often a worker.

    Signals ring through a pipe: who waits for a usual event holds, for a moment, the lock that its
    handler would wait for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ear, bell = os.pipe()
        os.set_blocking(bell, False)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # who has no handler does not ring

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set, after so many seconds or as soon as a signal comes."""
        if select.select([self._ear], [], [], timeout)[0]:
            os.read(self._ear, 4096)
        return self.is_set()


def stop_on_signals() -> threading.Event:
    """What SIGTERM and SIGINT set; a pass that goes on too long is then cut off, as by a crash."""
    stop = _Stop()

    def leave(*_: object) -> None:
        stop.set()
        signal.setitimer(signal.ITIMER_REAL, _LAST_PASS)

    def cut_off(*_: object) -> None:
        log.warning("stopped in the middle of a pass; the next start goes on from there")
        logging.shutdown()
        os._exit(0)

    signal.signal(signal.SIGALRM, cut_off)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    return stop
