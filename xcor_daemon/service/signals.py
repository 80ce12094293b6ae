"""SIGTERM, SIGINT and SIGCHLD: how the daemon's loop is stopped and woken."""

from __future__ import annotations

import logging
import os
import select
import signal
import threading

log = logging.getLogger(__name__)

_LAST_PASS = 5.0  # s that a pass may continue after SIGTERM


class _StopEvent(threading.Event):
    """An event set by signal handlers, whose `wait` also returns when a child process ends.

    Signals arrive through a pipe: `threading.Event.wait` holds a lock that a handler calling `set`
    in the same thread would wait for forever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a signal without handler writes nothing

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until a signal arrives or ``timeout`` (s) is over; returns whether it is set."""
        if select.select([self._read_end], [], [], timeout)[0]:
            os.read(self._read_end, 4096)
        return self.is_set()


def stop_on_signals() -> threading.Event:
    """Install handlers for SIGTERM and SIGINT; returns the event that they set.

    A pass that takes longer than `_LAST_PASS` after the signal is cut off, as by a crash.
    """
    stop = _StopEvent()

    def request_stop(*_: object) -> None:
        stop.set()
        signal.setitimer(signal.ITIMER_REAL, _LAST_PASS)

    def cut_off(*_: object) -> None:
        log.warning("stopped during a pass; it will resume at the next start")
        logging.shutdown()
        os._exit(0)

    signal.signal(signal.SIGALRM, cut_off)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, request_stop)
    return stop
