"""Tell the service manager how the daemon is: sd_notify(3), over the socket that systemd names.

Without NOTIFY_SOCKET, as on a terminal or under cron, nothing is told to anybody.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)

_PATIENCE = 300  # s until the next word of a start: the longest rest and an S3 that is silent


class Notifier:
    """Speaks to the service manager; each call is one datagram and waits for nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte with which abstract names begin.
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._is_ready = False

    def pass_completed(self, status: str) -> None:
        """A pass came to its end: the service is ready, and the watchdog may wait anew."""
        first = "" if self._is_ready else "READY=1\n"
        self._is_ready = True
        self._send(f"{first}WATCHDOG=1\nSTATUS={_line(status)}")

    def step_completed(self) -> None:
        """A step of a pass came to its end; the watchdog may wait anew."""
        self._send("WATCHDOG=1")

    def pass_failed(self, status: str) -> None:
        """A pass failed in a way that a later one may not; the daemon itself is well.

        Before the first good pass, the manager is asked not to give up the start.
        """
        more = "" if self._is_ready else f"\nEXTEND_TIMEOUT_USEC={_PATIENCE * 1_000_000}"
        self._send(f"WATCHDOG=1\nSTATUS={_line(status)}{more}")

    def stopping(self) -> None:
        """No pass follows."""
        self._send("STOPPING=1\nSTATUS=stopping; workers go on")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                # A manager that does not listen must not hold up the passes.
                line.setblocking(False)
                line.sendto(text.encode(), self._address)
        except OSError as error:
            log.warning("the service manager cannot be told %r: %s", text, error)


def _line(text: str) -> str:
    """One line: a second one would be an order to the manager."""
    return " ".join(text.split())
