"""Notifications to the service manager: sd_notify(3) over the socket named by NOTIFY_SOCKET.

Without NOTIFY_SOCKET, as on a terminal or under cron, nothing is sent.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)

_EXTENDED_TIMEOUT = 300  # s; covers the longest back-off and the time limit of a request to S3


class Notifier:
    """Notifies the service manager; each call sends one datagram and never blocks."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the leading null byte of an abstract socket address.
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._is_ready = False

    def pass_completed(self, status: str) -> None:
        """Report a completed pass: the service is ready, and the watchdog timer restarts."""
        first = "" if self._is_ready else "READY=1\n"
        self._is_ready = True
        self._send(f"{first}WATCHDOG=1\nSTATUS={_line(status)}")

    def step_completed(self) -> None:
        """Restart the watchdog timer after a step of a pass."""
        self._send("WATCHDOG=1")

    def pass_failed(self, status: str) -> None:
        """Report a pass that failed temporarily, for example because S3 was unreachable.

        Before the first successful pass, the timeout of the start is extended.
        """
        more = "" if self._is_ready else f"\nEXTEND_TIMEOUT_USEC={_EXTENDED_TIMEOUT * 1_000_000}"
        self._send(f"WATCHDOG=1\nSTATUS={_line(status)}{more}")

    def stopping(self) -> None:
        """Report that the daemon stops after this pass."""
        self._send("STOPPING=1\nSTATUS=stopping; workers continue")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
            ) as notify_socket:
                # A manager that does not read its socket must not block the passes.
                notify_socket.setblocking(False)
                notify_socket.sendto(text.encode(), self._address)
        except OSError as error:
            log.warning("cannot notify the service manager of %r: %s", text, error)


def _line(text: str) -> str:
    """A text as one line: a second line would be another assignment."""
    return " ".join(text.split())
