"""HTTP requests with time limits, retries and a limit of connections to each server.

Based on `urllib`, not on ObsPy's client or boto3: these do not expose Retry-After, do not limit
the time of a slow reply and have no limit of connections for several processes; and public
buckets need only a plain GET.
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

CONNECTIONS = 5  # at a time; the limit of data centres for one user
PER_SECOND = 10  # new connections
ATTEMPTS = 4
_MAX_BYTES = 1 << 30  # of a reply
_MIN_RATE = 20_000  # bytes/s; a slower reply is aborted once the time-out has passed
_MAX_WAIT = 300.0  # s of a server's Retry-After; a longer one is a failure
_AGENT = f"xcor-daemon/{__version__} (ambient-noise correlation)"
_TRANSIENT_STATUSES = (408, 429, 500, 502, 503, 504)  # a retry may succeed
_REASONS = {
    400: "bad request (400)",
    401: "authentication is required (401)",
    403: "access is forbidden (403)",
    404: "not found (404)",
    413: "the request is too large (413)",
    429: "the server is too busy (429)",
    500: "the server failed (500)",
    503: "the server is temporarily unavailable (503)",
}


class WebError(Exception):
    """A request failed; the message is the reason, in one line.

    ``status`` is the HTTP status, 0 if there was no reply.
    """

    def __init__(self, reason: str, status: int = 0, wait: float | None = None) -> None:
        # The reason may contain text of a server, and it appears in logs, tables and pages.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in reason))
        self.status = status
        self.wait = wait  # s, from Retry-After

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return not self.status or self.status in _TRANSIENT_STATUSES


@dataclass(frozen=True)
class Reply:
    """A successful reply: status 200, 204 or 206."""

    status: int
    body: bytes
    total: int  # bytes of the complete object, of which the body may be a range


@dataclass
class Client:
    """Sends HTTP requests with time limits, retries and a limit of connections to each server.

    Parameters
    ----------
    lock_folder : path, optional
        Folder of the locks; all clients of a machine with the same folder share the limits.
        By default the limits hold for this object only.
    connections, per_second : int
        Connections to one server at a time, and new connections per second.
    timeout : float
        Time without a byte (s) after which a reply is aborted.
    sleep : callable
        Waits between attempts (s); shorter in tests.
    follow : set of str
        Servers to which redirects are followed.
    tokens : mapping
        ``https://host`` -> file with the access token. It is read for every request, so that it
        may be renewed at any time.
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
        """Send a GET request, or a POST request if there is a body.

        A transient failure is retried after about 1, 2 and 4 s.

        Raises
        ------
        WebError
            With the reason of the last attempt.
        ValueError
            If the URL is not valid.
        """
        named = {"User-Agent": _AGENT, **(headers or {}), **self._token(url)}
        request = urllib.request.Request(url, body, named)
        for attempt in range(ATTEMPTS):
            try:
                with self._limit(request.host).acquire():
                    return _request_once(request, self.timeout, self.follow)
            except WebError as error:
                wait = 2**attempt * random.uniform(0.5, 1.5) * (5 if error.status == 429 else 1)
                wait = max(wait, error.wait or 0)
                if not error.is_transient or attempt == ATTEMPTS - 1 or wait > _MAX_WAIT:
                    raise
                log.info("%s: %s; retrying in %.1f s", request.host, error, wait)
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
            raise WebError(f"{path} does not contain a token", 401)
        return {"Authorization": f"Bearer {token}"}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the same server or to a known one.

    A POST request stays one: urllib would turn it into a GET request without a body.
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
        """The same request with the new URL."""
        before, after = _origin(req.full_url), _origin(newurl)
        moved_up = after == before.replace("http://", "https://", 1)
        known = after.startswith("https://") and urlsplit(newurl).netloc.lower() in self._follow
        if code == 303 or not (after == before or moved_up or known):
            shown = ascii(newurl)[:80]
            raise WebError(f"redirect to {shown} not followed ({code})", code)
        old = req.header_items()
        named = {k: v for k, v in old if k.lower() not in ("host", "authorization")}
        if after == before and req.has_header("Authorization"):
            named["Authorization"] = req.get_header("Authorization", "")
        return urllib.request.Request(newurl, req.data, named)


class _DeadlineConnection(http.client.HTTPConnection):
    """A connection with a time limit for status and headers, which a server may send slowly."""

    def getresponse(self) -> http.client.HTTPResponse:
        """Read status and headers within one time-out in all."""
        assert self.timeout is not None  # `_request_once` sets it
        sock, is_late = self.sock, threading.Event()

        def cut() -> None:
            is_late.set()
            with contextlib.suppress(OSError):
                # On the plain socket: shutting down a TLS socket would change it during a read.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

        timer = threading.Timer(self.timeout, cut)
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()
            if is_late.is_set():
                raise TimeoutError("incomplete headers at the time limit")


class _DeadlineTLSConnection(_DeadlineConnection, http.client.HTTPSConnection):
    """The same with TLS."""


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads all certificates of the machine


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_DeadlineConnection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_DeadlineTLSConnection, request, context=_tls())


def _opener(follow: frozenset[str]) -> urllib.request.OpenerDirector:
    """An opener for http and https only: not for file, data or ftp."""
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


def _request_once(request: urllib.request.Request, timeout: float, follow: frozenset[str]) -> Reply:
    is_part = request.has_header("Range")
    try:
        with _opener(follow).open(request, timeout=timeout) as reply:
            if reply.status not in (200, 204) and not (is_part and reply.status == 206):
                raise WebError(f"unexpected status {reply.status}", reply.status)
            content = _read(reply, timeout)
            total = reply.headers.get("Content-Range", "").rpartition("/")[2]
            size = int(total) if total.isdecimal() else len(content)
            return Reply(reply.status, content, size)
    except urllib.error.HTTPError as error:
        with error:
            if is_part and error.code == 416:  # the requested range is beyond the end
                return Reply(206, b"", 0)
            message = _REASONS.get(error.code, f"the server returned status {error.code}")
            wait = _seconds(error.headers.get("Retry-After", ""))
        raise WebError(message, error.code, wait) from error
    except http.client.InvalidURL as error:
        raise ValueError(f"{request.full_url!r} is not a valid URL.") from error
    except TimeoutError as error:
        raise WebError("no reply in time") from error
    except (OSError, http.client.HTTPException, EOFError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise WebError("no reply in time") from error
        if isinstance(error, http.client.IncompleteRead):
            raise WebError("the reply ended too early") from error
        text = " ".join(str(reason).split()) or type(reason).__name__
        raise WebError(text[:200]) from error


def _read(reply: http.client.HTTPResponse, timeout: float) -> bytes:
    """Read the body: at most `_MAX_BYTES`, at least at `_MIN_RATE`."""
    parts, size, began = [], 0, time.monotonic()
    while part := reply.read1(1 << 20):
        parts.append(part)
        size += len(part)
        seconds = time.monotonic() - began
        if seconds > timeout and size < _MIN_RATE * seconds:
            raise WebError(f"the reply was too slow: {size} bytes in {seconds:.0f} s")
        if size > _MAX_BYTES:
            raise WebError(f"the reply is larger than {_MAX_BYTES >> 20} MB", 413)
    promised = reply.headers.get("Content-Length", "")
    if promised.isdecimal() and size < int(promised):
        raise WebError("the reply ended too early")
    return b"".join(parts)


def _seconds(text: str) -> float | None:
    """Seconds of a Retry-After header, a number or a date; None if it is neither."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
