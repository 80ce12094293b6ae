"""Ask a server of data for one thing: politely, with an end to patience, and in no crowd.

Written on `urllib`, not on ObsPy's client nor on boto3: neither shows a reply's Retry-After, ends
a body that trickles, or lets processes share a budget; and public buckets answer a plain GET.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import logging
import random
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from ... import __version__
from .connection_limit import ConnectionLimit

log = logging.getLogger(__name__)

CONNECTIONS = 5  # that data centres allow one user at one time
PER_SECOND = 10  # new ones
ATTEMPTS = 4
_MOST = 1 << 30  # bytes of a reply
_SLOWEST = 20_000  # bytes/s below which a reply is given up, once the time-out has gone by
_LONGEST_WAIT = 300.0  # s that a server's Retry-After is obeyed; what is longer fails
_AGENT = f"xcor-daemon/{__version__} (ambient-noise correlation)"
_TRANSIENT_STATUSES = (408, 429, 500, 502, 503, 504)  # another try may help
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
        # A server may say anything, and the words go to logs, tables and pages.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in reason))
        self.status = status
        self.wait = wait  # s, from Retry-After

    @property
    def is_transient(self) -> bool:
        """Whether the same request may be answered later."""
        return not self.status or self.status in _TRANSIENT_STATUSES


@dataclass(frozen=True)
class Reply:
    """What a server answered: 200, 204 or 206."""

    status: int
    body: bytes
    total: int  # bytes of the whole object, where a part was asked for


@dataclass
class Client:
    """Asks servers: each within one budget, none for ever.

    Parameters
    ----------
    lock_folder : path, optional
        Folder for the locks; all clients of a machine that name it share the budgets. Without it
        this object counts only itself, which asks one by one.
    connections, per_second : int
        Requests to one server at one time, and new ones in a second.
    timeout : float
        s without a byte after which a reply is given up.
    sleep : callable
        Waits between attempts; a test passes a short one.
    follow : set of str
        Servers to which another may send us on; no others.
    tokens : mapping
        ``https://host`` -> file with the token to show there. It is read for every request, so
        that it may be renewed meanwhile.
    """

    lock_folder: Path | None = None
    connections: int = CONNECTIONS
    per_second: int = PER_SECOND
    timeout: float = 120.0
    sleep: Callable[[float], None] = time.sleep
    follow: frozenset[str] = frozenset()
    tokens: Mapping[str, Path] = field(default_factory=dict)
    _limits: dict[str, ConnectionLimit] = field(default_factory=dict, init=False)

    def request(
        self, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """GET, or POST where there is a body; again where that may help: after about 1, 2 and 4 s.

        Raises
        ------
        WebError
            With the last attempt's reason.
        ValueError
            If the URL is none.
        """
        named = {"User-Agent": _AGENT, **(headers or {}), **self._token(url)}
        request = urllib.request.Request(url, body, named)
        for attempt in range(ATTEMPTS):
            try:
                with self._limit(request.host).acquire():
                    return _once(request, self.timeout, self.follow)
            except WebError as error:
                wait = 2**attempt * random.uniform(0.5, 1.5) * (5 if error.status == 429 else 1)
                wait = max(wait, error.wait or 0)
                if not error.is_transient or attempt == ATTEMPTS - 1 or wait > _LONGEST_WAIT:
                    raise
                log.info("%s: %s; next try in %.1f s", request.host, error, wait)
                self.sleep(wait)
        raise AssertionError("the last attempt returns or raises.")

    def _limit(self, host: str) -> ConnectionLimit:
        if host not in self._limits:
            folder = (
                self.lock_folder / re.sub(r"[^a-z0-9.-]", "_", host.lower())
                if self.lock_folder
                else None
            )
            self._limits[host] = ConnectionLimit(folder, self.connections, self.per_second)
        return self._limits[host]

    def _token(self, url: str) -> dict[str, str]:
        path = self.tokens.get(_origin(url))
        if path is None:
            return {}
        try:
            token = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise WebError(f"the token in {path} cannot be read: {error}", 401) from error
        if not re.fullmatch(r"[!-~]+", token):
            raise WebError(f"{path} holds no token", 401)
        return {"Authorization": f"Bearer {token}"}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Goes where a server sends us only if that is itself, or one that we ask anyway.

    A request for data stays one: urllib would make a GET without a body of a POST.
    """

    max_redirections = 3

    def __init__(self, follow: frozenset[str]) -> None:
        self._follow = follow

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request:
        """The same request at its new address."""
        before, after = _origin(req.full_url), _origin(newurl)
        moved_up = after == before.replace("http://", "https://", 1)
        known = after.startswith("https://") and urlsplit(newurl).netloc.lower() in self._follow
        if code == 303 or not (after == before or moved_up or known):
            shown = ascii(newurl)[:80]
            raise WebError(f"it points to {shown}, which is not followed ({code})", code)
        old = req.header_items()
        named = {k: v for k, v in old if k.lower() not in ("host", "authorization")}
        if after == before and req.has_header("Authorization"):
            named["Authorization"] = req.get_header("Authorization", "")
        return urllib.request.Request(newurl, req.data, named)


class _DeadlineConnection(http.client.HTTPConnection):
    """Gives up a server whose status and headers trickle, byte after byte within the time-out."""

    def getresponse(self) -> http.client.HTTPResponse:
        """The beginning of an answer, within one time-out altogether."""
        assert self.timeout is not None  # `_once` gives every connection one
        sock, is_late = self.sock, threading.Event()

        def cut() -> None:
            is_late.set()
            with contextlib.suppress(OSError):
                # Of the bare socket: a TLS one would be changed under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

        timer = threading.Timer(self.timeout, cut)
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()
            if is_late.is_set():
                raise TimeoutError("no whole header in time")


class _DeadlineTLSConnection(_DeadlineConnection, http.client.HTTPSConnection):
    """The same over TLS."""


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads all certificates of this machine


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_DeadlineConnection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_DeadlineTLSConnection, request, context=_tls())


def _opener(follow: frozenset[str]) -> urllib.request.OpenerDirector:
    """Opens http and https and nothing else: no file, no data, no ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _Http(),
        _Https(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(follow),
    ):
        opener.add_handler(handler)
    return opener


def _once(request: urllib.request.Request, timeout: float, follow: frozenset[str]) -> Reply:
    is_part = request.has_header("Range")
    try:
        with _opener(follow).open(request, timeout=timeout) as reply:
            if reply.status not in (200, 204) and not (is_part and reply.status == 206):
                words = f"the server answers {reply.status}, which is not what was asked for"
                raise WebError(words, reply.status)
            content = _read(reply, timeout)
            total = reply.headers.get("Content-Range", "").rpartition("/")[2]
            size = int(total) if total.isdecimal() else len(content)
            return Reply(reply.status, content, size)
    except urllib.error.HTTPError as error:
        with error:
            if is_part and error.code == 416:  # the part that is asked for lies beyond the end
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
