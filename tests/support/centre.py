"""A data centre that answers as a test orders: with data, with any status, or in bad faith."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from paths import TESTS

from xcor_daemon.pipeline.datatypes import day_start
from xcor_daemon.pipeline.sources.fdsn import Fdsn
from xcor_daemon.pipeline.sources.http_client import Client
from xcor_daemon.request.stations import Channel

DATA = TESTS / "data/ci_bk_2022"
DAY = date(2022, 1, 2)
START, END = day_start(DAY), day_start(DAY + timedelta(days=1))
SPANS = ((datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 1, 4, tzinfo=UTC)),)
WBM = Channel("CI", "WBM", "", "LHZ", SPANS, sample_rate=1.0)
RUSS = Channel("BK", "RUSS", "00", "LHZ", SPANS, sample_rate=1.0)
WAVEFORMS = (DATA / "CIWBM__LHZ___2022002.ms").read_bytes()
STATIONXML = (DATA / "CI_WBM.xml").read_bytes()


@dataclass(frozen=True)
class Bad:
    """An answer in bad faith; ``how`` names a method of `_Handler`."""

    how: str


@dataclass
class Centre:
    """Answers one after the other, a request each; the last one for ever.

    An answer is a body, a status, (status, headers), (status, headers, body), a `Bad` one, or a
    function of the request's body that gives one.
    """

    answers: list = field(default_factory=list)
    requests: list = field(default_factory=list)  # (path, headers, body) of every POST
    asked: list = field(default_factory=list)  # paths of every GET
    url: str = ""
    slept: list = field(default_factory=list)
    leave: threading.Event = field(default_factory=threading.Event)
    now: int = 0  # requests being answered
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def source(self, **options) -> Fdsn:
        """This centre, asked without real waiting."""
        options = {"sleep": self.slept.append, "timeout": 60.0, **options}
        return Fdsn(self.url, Client(**options))

    def fetch(self, channels=(WBM,), **options) -> list:
        """The results of a day of channels, in the order of arrival."""
        return [result for _, result in self.source(**options).fetch(channels, START, END)]


class _Handler(BaseHTTPRequestHandler):
    centre: Centre

    def do_GET(self) -> None:
        self.centre.asked.append(self.path)
        self._give(b"1.1.1" if "dataselect" in self.path else 404)  # the version

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        centre = self.centre
        with centre.lock:
            centre.requests.append((self.path, dict(self.headers), body))
            answer = centre.answers.pop(0) if len(centre.answers) > 1 else centre.answers[0]
            centre.now += 1
            centre.most = max(centre.most, centre.now)
        try:
            # The other side may have had enough.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._give(answer(body) if isinstance(answer, Callable) else answer)
        finally:
            with centre.lock:
                centre.now -= 1

    def _give(self, answer) -> None:
        if isinstance(answer, Bad):
            getattr(self, f"_{answer.how}")()
            return
        if isinstance(answer, bytes):
            answer = (200, {}, answer)
        elif isinstance(answer, int):
            answer = (answer, {})
        status, headers, body = (*answer, b"")[:3]
        self._head(status, **{"Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _drop(self) -> None:
        """Close with RST."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _reset(self) -> None:
        self._drop()

    def _reset_within(self) -> None:
        self._head(200, **{"Content-Length": str(len(WAVEFORMS))})
        self.wfile.write(WAVEFORMS[:50_000])
        self._drop()

    def _cut(self) -> None:
        self._head(200, **{"Content-Length": str(len(WAVEFORMS))})
        self.wfile.write(WAVEFORMS[: len(WAVEFORMS) // 2])

    def _cut_chunk(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self._head(200, **{"Transfer-Encoding": "chunked", "Connection": "close"})
        self.wfile.write(b"10000\r\n" + WAVEFORMS[:1000])
        self.close_connection = True

    def _trickle(self) -> None:
        self._head(200)
        while not self.centre.leave.wait(0.02):
            self.wfile.write(b"0")

    def _trickle_head(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        while not self.centre.leave.wait(0.02):
            self.wfile.write(b"0")

    def _silent(self) -> None:
        self.centre.leave.wait(10)

    def _silent_within(self) -> None:
        self._head(200, **{"Content-Length": str(len(WAVEFORMS))})
        self.wfile.write(WAVEFORMS[:1000])
        self.centre.leave.wait(10)

    def _no_http(self) -> None:
        self.wfile.write(b"SSH-2.0\x1b[31m\r\n")

    def _endless_head(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        for k in range(100_000):
            self.wfile.write(b"X-%d: y\r\n" % k)

    def log_message(self, *_) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_) -> None:
        """Ignore the error of flushing a connection that was closed on purpose."""


@contextmanager
def serving(centre: Centre) -> Iterator[Centre]:
    """Serve ``centre`` on loopback."""
    handler = type("Handler", (_Handler,), {"centre": centre})
    with _Server(("127.0.0.1", 0), handler) as server:
        centre.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield centre
        centre.leave.set()
        server.shutdown()
        thread.join()
