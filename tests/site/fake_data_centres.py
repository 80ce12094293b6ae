"""Fake data centres with every kind of failure, chosen by the first part of the path."""

from __future__ import annotations

import base64
import sys
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

HEAD = (
    "#Network | Station | Location | Channel | Latitude | Longitude | Elevation | Depth | "
    "Azimuth | Dip | Instrument | Scale | ScaleFreq | ScaleUnits | SampleRate | StartTime | EndTime"
)
NASTY = "</script><img src=x onerror=alert(1)> | <b>STS-2</b>"


def row(
    codes: str, place: str = "61|11", rate: str = "40", sensor: str = "STS-2", end: str = ""
) -> str:
    """A line of format=text; ``codes`` are network to channel with bars."""
    return f"{codes}|{place}|300|0|0|-90|{sensor}|1e9|1|M/S|{rate}|2005-01-01T00:00:00|{end}"


def listing(*rows: str) -> bytes:
    return "\n".join([HEAD, *rows, ""]).encode()


GOOD = listing(row("XX|AAA||BHZ"), row("XX|BBB||BHZ", "62|12"))


class FakeDataCentres:
    """A running server; ``centres`` are those of config.json, one for every behaviour."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()  # requests by behaviour
        self.queries: list[dict[str, str]] = []
        self.over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.data_centres = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def centres(self) -> list[dict[str, str]]:
        return [{"name": name, "title": name, "url": f"{self.url}/{name}"} for name in BEHAVIOURS]

    def stop(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    data_centres: FakeDataCentres

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        behaviour = unquote(url.path.split("/")[1])
        data_centres = self.server.data_centres
        data_centres.asked[behaviour] += 1
        data_centres.queries.append({name: value[0] for name, value in parse_qs(url.query).items()})
        BEHAVIOURS[behaviour](self)

    def answer(
        self, status: int, body: bytes = b"", length: int | None = None, **more: str
    ) -> None:
        self.send_response(status)
        headers = {"Access_Control_Allow_Origin": "*", "Content_Type": "text/plain", **more}
        for name, value in headers.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _busy_once(handler: _Handler) -> None:
    if handler.server.data_centres.asked["busy once"] > 1:
        return handler.answer(200, GOOD)
    exposed = "Retry-After"
    handler.answer(429, b"slow down", Retry_After="1", Access_Control_Expose_Headers=exposed)


def _silent(handler: _Handler) -> None:
    handler.server.data_centres.over.wait(60)


def _stalled(handler: _Handler) -> None:
    handler.answer(200, GOOD, length=len(GOOD) + 100)
    handler.server.data_centres.over.wait(60)


def _many(n: int, per: int) -> bytes:
    """So many channels, some to a station, all over the world."""
    return listing(
        *(
            row(
                f"XX|S{k // per:05}|{k % per:02}|BHZ",
                f"{k * 7 % 1600 / 10 - 80}|{k * 37 % 3600 / 10 - 180}",
            )
            for k in range(n)
        )
    )


ERROR_400 = b"Error 400: Bad Request\n\nUnknown network code <XX>: ask the operator\n"
BEHAVIOURS: dict[str, Callable[[_Handler], None]] = {
    "fair": lambda h: h.answer(200, GOOD),
    "204": lambda h: h.answer(204),
    "404": lambda h: h.answer(404, b"nothing"),
    "400": lambda h: h.answer(400, ERROR_400),
    "403": lambda h: h.answer(403, b"restricted"),
    "413": lambda h: h.answer(413, b"too much"),
    "414": lambda h: h.answer(414, b"too long"),
    "busy once": _busy_once,
    "busy": lambda h: h.answer(429, b"slow down"),
    "500": lambda h: h.answer(500, b"<html>stack trace</html>", Content_Type="text/html"),
    "web page": lambda h: h.answer(200, b"<html><b>Log in</b></html>", Content_Type="text/html"),
    "no list": lambda h: h.answer(200, b"hello\n"),
    "silent": _silent,
    "stalled": _stalled,
    "half": lambda h: h.answer(200, GOOD[: len(GOOD) // 2], length=len(GOOD)),
    "no CORS": lambda h: h.answer(200, GOOD, Access_Control_Allow_Origin=""),
    "damaged": lambda h: h.answer(200, GOOD + b"XX|CCC||BH"),
    "nasty": lambda h: h.answer(200, listing(row("XX|AAA||BHZ", sensor=NASTY))),
    "50,000 rows": lambda h: h.answer(200, _many(50_000, 10)),
    "60,000 rows": lambda h: h.answer(200, _many(60_000, 10)),
    "10,000 stations": lambda h: h.answer(200, _many(10_000, 1)),
    "tiles": lambda h: h.answer(200, TILE, Content_Type="image/png"),
    "array": lambda h: h.answer(200, ARRAY),
    "dateline": lambda h: h.answer(200, DATELINE),
}
# One grey pixel.
TILE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mPYAAAAsgCx+IKSpwAAAABJRU5ErkJggg=="
)
DATELINE = listing(row("XX|W||BHZ", "10|179"), row("XX|E||BHZ", "10|-179"))
ARRAY = listing(
    *(
        row(f"XX|{station}|{location}|{channel}", place, rate, end=end)
        for station, place, end in (
            ("AAA", "61.0|11.0", ""),
            ("BBB", "61.2|11.4", ""),
            ("CCC", "61.4|11.1", "2015-06-01T00:00:00"),
        )
        for location, channel, rate in (
            ("00", "BHZ", "40"),
            ("10", "BHZ", "20"),
            ("00", "BHN", "40"),
            ("00", "HHZ", "100"),
        )
    )
)
