"""A proxy on loopback between a daemon and S3: it records every write and injects faults.

Its log survives the daemons, so it has every manifest that was ever published.
"""

from __future__ import annotations

import http.client
import itertools
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

MANIFEST = re.compile(r"processed/([0-9]+)/manifest\.json")
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


@dataclass(frozen=True)
class Answer:
    """The response of S3, or the injected one."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    is_cut: bool = False  # the connection breaks after half of the body


def refusal(status: int, code: str) -> Answer:
    """An error response in the format of S3."""
    body = f"<Error><Code>{code}</Code><Message>to order</Message></Error>".encode()
    return Answer(status, (("Content-Type", "application/xml"),), body)


@dataclass(frozen=True)
class Seen:
    """A request that was passed on to S3, and its status."""

    method: str  # ABORT: the DELETE of a multipart upload
    key: str
    status: int
    body: bytes


# An action gets a function that forwards the request; it returns the daemon's response, or None
# for a reset.
Action = Callable[[Callable[[], Answer]], Answer | None]


@dataclass
class Rule:
    """A fault for the next ``times`` matching requests."""

    method: str
    key: str  # regular expression for the whole key; a listing has the key ""
    action: Action
    times: int = 1


@dataclass
class Proxy:
    """Its address, the rules of its faults and the requests that it passed on."""

    upstream: str  # host:port
    bucket: str
    rules: list[Rule] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    fired: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    endpoint: str = ""
    skew: float = float("inf")  # s by which a request's date may differ

    def limit_skew(self, seconds: float) -> None:
        """Reject requests dated too far from now, as AWS does beyond 15 minutes."""
        self.skew = seconds

    def on(self, method: str, key: str, action: Action, times: int = 1) -> None:
        """Inject a fault into the next matching requests."""
        with self.lock:
            self.rules.append(Rule(method, key, action, times))

    def calm(self) -> None:
        """Remove all rules."""
        with self.lock:
            self.rules.clear()

    def _published(self) -> list[str]:
        """Ids of the manifests that S3 stored, whichever response the daemon received."""
        with self.lock:
            taken = [s.key for s in self.seen if (s.method, s.status) == ("PUT", 200)]
        return [match[1] for key in taken if (match := MANIFEST.fullmatch(key))]

    def lost(self, jobs: set[str]) -> set[str]:
        """Those of some jobs that were never published."""
        return jobs - set(self._published())

    def doubled(self) -> set[str]:
        """Jobs with more than one stored manifest."""
        return {job_id for job_id, count in Counter(self._published()).items() if count > 1}

    def _action(self, method: str, key: str) -> Action | None:
        with self.lock:
            for rule in self.rules:
                if rule.times and rule.method == method and re.fullmatch(rule.key, key):
                    rule.times -= 1
                    self.fired += 1
                    return rule.action
        return None


def after(count: int, action: Action) -> Action:
    """The first ``count`` requests go through."""
    numbers = itertools.count()
    return lambda ask: ask() if next(numbers) < count else action(ask)


def answer(status: int, code: str) -> Action:
    """The request does not reach S3."""
    return lambda ask: refusal(status, code)


def apply_then(status: int, code: str) -> Action:
    """S3 executes the request, and the daemon receives an error."""

    def act(ask: Callable[[], Answer]) -> Answer:
        ask()
        return refusal(status, code)

    return act


def reset(ask: Callable[[], Answer]) -> None:
    """The connection is reset before the request reaches S3."""


def reset_after(ask: Callable[[], Answer]) -> None:
    """The connection is reset after S3 has executed the request."""
    ask()


def cut(ask: Callable[[], Answer]) -> Answer:
    """Half of the answer's body, then the end of the connection."""
    given = ask()
    return Answer(given.status, given.headers, given.body, is_cut=True)


def rewrite(change: Callable[[bytes], bytes]) -> Action:
    """The body of the response is replaced."""

    def act(ask: Callable[[], Answer]) -> Answer:
        given = ask()
        return Answer(given.status, given.headers, change(given.body))

    return act


def with_header(name: str, value: str) -> Action:
    """A header of the response is replaced."""

    def act(ask: Callable[[], Answer]) -> Answer:
        given = ask()
        kept = tuple(h for h in given.headers if h[0].lower() != name.lower())
        return Answer(given.status, (*kept, (name, value)), given.body)

    return act


@contextmanager
def serve_proxy(endpoint: str, bucket: str) -> Iterator[Proxy]:
    """Run a proxy in front of an S3 server."""
    proxy = Proxy(urlsplit(endpoint).netloc, bucket)

    class Handler(_Handler):
        state = proxy

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Proxy
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the daemon was killed between two requests
            self.close_connection = True

    def _relay(self) -> None:
        try:
            self._exchange()
        except (ConnectionError, TimeoutError):  # the daemon was killed
            self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _relay

    def _exchange(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionResetError
        key = unquote(urlsplit(self.path).path).removeprefix(f"/{self.state.bucket}").strip("/")
        action = self.state._action(self.command, key)
        if self._skew() > self.state.skew:
            action = answer(403, "RequestTimeTooSkewed")
        given = action(lambda: self._ask(key, body)) if action else self._ask(key, body)
        if given is None:
            self._reset()
            return
        self.send_response_only(given.status)
        for name, value in given.headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(given.body)))
        self.end_headers()
        if given.is_cut:
            self.wfile.write(given.body[: len(given.body) // 2])
            self.wfile.flush()
            self._reset()
        elif self.command != "HEAD":
            self.wfile.write(given.body)

    def _skew(self) -> float:
        """How far a request's date is from now (s)."""
        dated = datetime.strptime(self.headers["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
        return abs((datetime.now(UTC) - dated).total_seconds())

    def _reset(self) -> None:
        """End the connection as a crash does: with RST."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _ask(self, key: str, body: bytes) -> Answer:
        upstream = http.client.HTTPConnection(self.state.upstream, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("expect", *_HOP)}
        if self.command in ("PUT", "POST"):
            headers["Content-Length"] = str(len(body))
        try:
            upstream.request(self.command, self.path, body, headers)
            reply = upstream.getresponse()
            content = reply.read()
            kept = [(k, v) for k, v in reply.getheaders() if k.lower() not in _HOP]
            if self.command == "HEAD" and (length := reply.getheader("Content-Length")):
                kept.append(("Content-Length", length))
        finally:
            upstream.close()
        if self.command in ("PUT", "POST", "DELETE"):
            is_abort = self.command == "DELETE" and "uploadId=" in self.path
            seen = Seen("ABORT" if is_abort else self.command, key, reply.status, body)
            with self.state.lock:
                self.state.seen.append(seen)
        return Answer(reply.status, tuple(kept), content)

    def log_message(self, *_: object) -> None:
        """Send no response."""
