"""The page on loopback: the files of ``site/``, its config.json, and ``POST /jobs``.

The page may also send ``POST /jobs/ID/cancel``, and nothing else.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..web.page import Page
from ..web.submit import CANCEL_PATH

# From the body of a POST, or the id of a job, to a status and the JSON of the response.
Submit = Callable[[bytes], tuple[int, Mapping[str, Any]]]
Cancel = Callable[[str], tuple[int, Mapping[str, Any]]]

_MAX_BODY = 6_000_000  # bytes: both CSV files at their limits, as JSON
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".geojson": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class PageServer:
    """A running server; a context manager that stops it at the end.

    Parameters
    ----------
    page : Page
        Its files and its config.json.
    submit, cancel : callable
        Called with the body of ``POST /jobs``, and with the id of ``POST /jobs/ID/cancel``.
    port : int
        0: any free port.

    Raises
    ------
    ConfigError
        If the port is taken.
    """

    def __init__(self, page: Page, submit: Submit, cancel: Cancel, port: int = 0) -> None:
        try:
            self._server = _Server(page, submit, cancel, port)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"port {port} cannot be used for the page: {error}; choose another --port."
            ) from error
        self.url = self._server.url  # http://127.0.0.1:PORT
        self.origins = [
            f"http://{host}" for host in self._server.hosts
        ]  # under which browsers open it
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 60  # s without data after which a connection is closed

    def do_GET(self) -> None:
        name = urlsplit(self.path).path.removeprefix("/") or "index.html"
        if not self._is_ours():
            self._send_json(
                403, {"error": "this server accepts requests to its own host name only."}
            )
        elif (content := self.server.page.read(name)) is not None:
            self._send(200, _TYPES[PurePosixPath(name).suffix], content)
        else:
            self._send(404, "text/plain; charset=utf-8", b"not found\n")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BODY:
            self.close_connection = True
            self._send_json(413, {"error": f"a request must have at most {_MAX_BODY} bytes."})
            return
        body = self.rfile.read(int(length))
        path = urlsplit(self.path).path
        cancelled = CANCEL_PATH.fullmatch(path)
        if path != "/jobs" and not cancelled:
            self._send_json(404, {"error": "unknown path; POST a job to /jobs."})
        elif not self._is_ours() or self.headers.get_content_type() != "application/json":
            # A page of another origin can send a form without a preflight request, but not JSON.
            self._send_json(403, {"error": "send JSON, from this server's own page."})
        elif cancelled:
            self._send_json(*self.server.cancel(cancelled[1]))
        else:
            self._send_json(*self.server.submit(body))

    def _is_ours(self) -> bool:
        """Whether the request was meant for this server and comes from no foreign page."""
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in self.server.hosts and (
            origin is None or urlsplit(origin).netloc in self.server.hosts
        )

    def _send_json(self, status: int, reply: Mapping[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(reply).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        policy = self.server.page.services.policy
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", f"{policy}; frame-ancestors 'none'"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-cache"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: the terminal belongs to the demo."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, page: Page, submit: Submit, cancel: Cancel, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.hosts = tuple(f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))
        self.page, self.submit, self.cancel = page, submit, cancel

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that closed their connection."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
