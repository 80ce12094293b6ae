"""FDSN web services (station and dataselect, version 1) over a folder, on loopback.

For the demo and the tests: it behaves as a data centre and, as many do, returns complete records.
It runs in a process of its own, so that it does not compete with the daemon's threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import quoteattr

from ..atomic_files import open_log
from ..errors import UnreachableError
from .fdsn_archive import Archive
from .fdsn_query import PARAMETERS, BadQueryError, Query, parse_get, parse_post
from .processes import start_child, stop_child

_VERSION = "1.1.1"
_MAX_BODY = 10_000_000  # bytes of a POST
_MSEED = "application/vnd.fdsn.mseed"


class FdsnServer:
    """A running server; a context manager that stops it at the end."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.url = url  # http://127.0.0.1:PORT, the base_url of ObsPy's Client
        self._process = process

    def stop(self) -> None:
        """Kill the server, which has no state."""
        stop_child(self._process)
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> FdsnServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve_fdsn(archive: Path, log: Path | None = None) -> FdsnServer:
    """Serve the miniSEED and StationXML files below ``archive`` from a new process.

    ``log`` gets a line for each request.

    Raises
    ------
    UnreachableError
        If the server does not start.
    """
    command = [sys.executable, "-m", __name__, str(archive.resolve())]
    with open_log(log or Path(os.devnull)) as errors:
        process = start_child(command, stdout=subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    url = process.stdout.readline().decode().strip()  # empty where the process has ended
    server = FdsnServer(process, url)
    if not url:
        server.stop()
        raise UnreachableError(f"the FDSN server did not start on the archive {archive}.")
    return server


class _Handler(BaseHTTPRequestHandler):
    """Handles one request to the archive of the server."""

    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 60  # s without data after which a connection is closed

    def do_GET(self) -> None:
        service, action, query = self._route()
        if not service:
            self._send(404, "text/plain", b"Error 404: Not Found\n")
        elif action == "version":
            self._send(200, "text/plain", f"{_VERSION}\n".encode())
        elif action == "application.wadl":
            self._send(200, "application/xml", _wadl(self.server.url, service).encode())
        else:
            # keep_blank_values: `location=` selects the blank location code.
            self._answer(service, lambda: parse_get(service, parse_qsl(query, True)))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        service, action, _ = self._route()
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BODY:
            self.close_connection = True
            self._send(413, "text/plain", b"Error 413: Request Entity Too Large\n")
            return
        body = self.rfile.read(int(length)).decode("utf-8", "replace")
        if not service or action != "query":
            self._send(404, "text/plain", b"Error 404: Not Found\n")
        else:
            self._answer(service, lambda: parse_post(service, body))

    def do_OPTIONS(self) -> None:
        self._send(204, "", b"")

    def _route(self) -> tuple[str, str, str]:
        """(service, action, query string); an empty service for an unknown path."""
        url = urlsplit(self.path)
        parts = url.path.split("/")
        if len(parts) == 5 and parts[:2] == ["", "fdsnws"] and parts[3] == "1":
            service, action = parts[2], parts[4]
            if service in PARAMETERS and action in ("query", "version", "application.wadl"):
                return service, action, url.query
        return "", "", ""

    def _answer(self, service: str, parse: Callable[[], Query]) -> None:
        try:
            query = parse()
        except BadQueryError as error:
            self._reject(str(error))
            return
        if service == "dataselect":
            self._answer_records(query)
            return
        as_text = query.options["format"] == "text"
        archive = self.server.archive
        found = archive.station_text(query) if as_text else archive.station_xml(query)
        if not found:
            self._send(query.nodata, "text/plain", b"")
        else:
            body = found.encode() if isinstance(found, str) else found
            self._send(200, "text/plain" if as_text else "application/xml", body)

    def _answer_records(self, query: Query) -> None:
        records = self.server.archive.records(query)
        if not records:
            self._send(query.nodata, "text/plain", b"")
            return
        self._send_headers(200, _MSEED, sum(record.length for record in records))
        if self.command == "HEAD":
            return
        for record in records:
            with record.path.open("rb") as file:
                file.seek(record.offset)
                self.wfile.write(file.read(record.length))

    def _reject(self, reason: str) -> None:
        text = (
            f"Error 400: Bad Request\n\n{reason}\n\nRequest:\n{self.path}\n\n"
            f"Service version:\n{_VERSION}\n"
        )
        self._send(400, "text/plain", text.encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self._send_headers(status, kind, len(body))
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def _send_headers(self, status: int, kind: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
        self.send_header("Access-Control-Allow-Headers", "Content-Type")
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length))
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, archive: Archive) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.archive = archive
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that closed their connection."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _wadl(url: str, service: str) -> str:
    """The description from which clients read the parameters of a service."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<application xmlns="http://wadl.dev.java.net/2009/02" '
        'xmlns:xs="http://www.w3.org/2001/XMLSchema">\n'
        f" <resources base={quoteattr(f'{url}/fdsnws/{service}/1/')}>\n"
        '  <resource path="query">\n   <method name="GET" id="query">\n    <request>\n'
        f"{''.join(_wadl_parameters(PARAMETERS[service]))}"
        "    </request>\n   </method>\n"
        '   <method name="POST" id="postQuery"/>\n  </resource>\n'
        '  <resource path="version"><method name="GET" id="version"/></resource>\n'
        " </resources>\n</application>\n"
    )


def _wadl_parameters(names: Iterable[str]) -> Iterable[str]:
    for name in names:
        kind = "xs:dateTime" if name.startswith(("start", "end")) else "xs:string"
        if name.endswith(("latitude", "longitude")):
            kind = "xs:double"
        yield f'     <param name="{name}" style="query" type="{kind}"/>\n'


def _main() -> None:
    server = _Server(Archive(Path(sys.argv[1])))
    sys.stdout.write(server.url + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _main()
