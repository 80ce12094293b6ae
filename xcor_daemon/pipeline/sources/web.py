"""Ask a server of data for one thing: politely, with an end to patience, and in no crowd.

Written on `urllib`, not on ObsPy's client nor on boto3: neither shows a reply's Retry-After, ends
a body that trickles, or lets processes share a budget; and public buckets answer a plain GET.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import logging
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path

from ... import __version__

log = logging.getLogger(__name__)

CONNECTIONS = 5  # that data centres allow one user at one time
PER_SECOND = 10  # new ones
ATTEMPTS = 4
_MOST = 1 << 30  # bytes of a reply
_SLOWEST = 20_000  # bytes/s below which a reply is given up, once the time-out has gone by
_LONGEST_WAIT = 300.0  # s that a server's Retry-After is obeyed; what is longer fails
_AGENT = f"xcor-daemon/{__version__} (ambient-noise correlation)"
_PASSES = (408, 429, 500, 502, 503, 504)  # another try may help
_WORDS = {
    400: "the request is not understood (400)",
    401: "it needs authentication (401)",
    403: "it is forbidden (403)",
    404: "it is not there (404)",
    413: "the request is too large (413)",
    429: "the server is too busy (429)",
    500: "the server failed (500)",
    503: "the server is temporarily unavailable (503)",
}


class WebError(Exception):
    """A server did not give what was asked for; the message says why, in a line of words.

    ``status`` is HTTP's, 0 where there was none.
    """

    def __init__(self, reason: str, status: int = 0, wait: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.wait = wait  # s, from Retry-After

    @property
    def passes(self) -> bool:
        """Whether the same request may be answered later."""
        return not self.status or self.status in _PASSES


@dataclass(frozen=True)
class Reply:
    """What a server answered: 200, 204 or 206."""

    status: int
    body: bytes
    total: int  # bytes of the whole object, where a part was asked for


@dataclass
class Budget:
    """Connections at one time and new ones in a second, shared by all that name one folder.

    Locks end with their process, however it ends. Without a folder one object counts itself.
    """

    folder: Path | None
    connections: int = CONNECTIONS
    per_second: int = PER_SECOND
    _own: list[float] = field(default_factory=list)  # when the latest were begun

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold one connection."""
        if self.folder is None:
            self._own = self._in_turn(self._own)
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._connection():
            with (self.folder / "starts").open("a+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                begun = self._in_turn([float(word) for word in file.read().split()])
                file.truncate(0)
                file.write(" ".join(map(repr, begun)))
            yield

    def _in_turn(self, begun: list[float]) -> list[float]:
        """Wait until one more may begin in this second; the latest beginnings."""
        if len(begun) >= self.per_second:
            # All processes of a machine have this clock; after a restart of it, nothing waits.
            time.sleep(min(max(0.0, begun[-self.per_second] + 1 - time.monotonic()), 1.0))
        return [*begun, time.monotonic()][-self.per_second :]

    @contextlib.contextmanager
    def _connection(self) -> Iterator[None]:
        assert self.folder is not None
        while True:
            for number in random.sample(range(self.connections), self.connections):
                with (self.folder / f"{number}.lock").open("a") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                    yield
                    return
            time.sleep(random.uniform(0.02, 0.1))


def ask(
    url: str,
    budget: Budget,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    timeout: float = 120.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Reply:
    """GET, or POST where there is a body; again where that may help: after about 1, 2 and 4 s.

    Parameters
    ----------
    timeout : float
        s without a byte after which a reply is given up.
    sleep : callable
        Waits between attempts; a test passes a short one.

    Raises
    ------
    WebError
        With the last attempt's reason.
    ValueError
        If the URL is none.
    """
    request = urllib.request.Request(url, body, {"User-Agent": _AGENT, **(headers or {})})
    for attempt in range(ATTEMPTS):
        try:
            with budget.turn():
                return _once(request, timeout)
        except WebError as error:
            wait = 2**attempt * random.uniform(0.5, 1.5) * (5 if error.status == 429 else 1)
            wait = max(wait, error.wait or 0)
            if not error.passes or attempt == ATTEMPTS - 1 or wait > _LONGEST_WAIT:
                raise
            log.info("%s: %s; next try in %.1f s", request.host, error, wait)
            sleep(wait)
    raise AssertionError("the last attempt returns or raises.")


def _once(request: urllib.request.Request, timeout: float) -> Reply:
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            content = _read(reply, timeout)
            total = reply.headers.get("Content-Range", "").rpartition("/")[2]
            size = int(total) if total.isdecimal() else len(content)
            return Reply(reply.status, content, size)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # the part that is asked for lies beyond the end
                return Reply(206, b"", 0)
            words = _WORDS.get(error.code, f"the server answers {error.code}")
            wait = _seconds(error.headers.get("Retry-After", ""))
        raise WebError(words, error.code, wait) from error
    except http.client.InvalidURL as error:
        raise ValueError(f"{request.full_url!r} is not a valid URL.") from error
    except TimeoutError as error:
        raise WebError("no answer in time") from error
    except (OSError, http.client.HTTPException, EOFError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise WebError("no answer in time") from error
        if isinstance(error, http.client.IncompleteRead):
            raise WebError("the reply ended too early") from error
        text = " ".join(str(reason).split()) or type(reason).__name__
        raise WebError(text[:200]) from error


def _read(reply: http.client.HTTPResponse, timeout: float) -> bytes:
    """The whole body, less than `_MOST`, at more than `_SLOWEST`."""
    parts, size, began = [], 0, time.monotonic()
    while part := reply.read1(1 << 20):
        parts.append(part)
        size += len(part)
        seconds = time.monotonic() - began
        if seconds > timeout and size < _SLOWEST * seconds:
            raise WebError(f"the reply came too slowly: {size} bytes in {seconds:.0f} s")
        if size > _MOST:
            raise WebError(f"the reply is larger than {_MOST >> 20} MB", 413)
    promised = reply.headers.get("Content-Length", "")
    if promised.isdecimal() and size < int(promised):
        raise WebError("the reply ended too early")
    return b"".join(parts)


def _seconds(text: str) -> float | None:
    """Seconds that a Retry-After asks for, as a number or as a date; None where it is neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
