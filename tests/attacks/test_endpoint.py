"""The endpoint that takes jobs, asked in bad faith: as a function and over a socket.

That of the cloud is attacked in tests/web/test_aws_lambda.py.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest
from hosting import PARAMS, STACKING, STATIONS
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xcor_daemon.demo.page_server import PageServer
from xcor_daemon.web.page import Page, Services
from xcor_daemon.web.submit import MAX_BODY, handle, submit


class Store:
    """Stores each object once."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put_input(self, job_id: str, name: str, content: bytes) -> bool:
        return self.files.setdefault(f"{job_id}/{name}", content) == content


GOOD = {"stations": STATIONS.decode(), "params": PARAMS.decode()}
TEXT = st.text(max_size=200)
CELLS = st.sampled_from(["NO", "NAO00", "", "BHZ", "2019-01-01", "2019-01-02", "nan", "=1", "../x",
                         "'", '"', "4", "0.12", "1e999"]) | st.text(max_size=8)  # fmt: skip
TABLES = st.lists(st.lists(CELLS, min_size=6, max_size=7).map(",".join), max_size=5).map("\n".join)
CSV = st.sampled_from([*GOOD.values(), STACKING.decode()]) | TABLES | TEXT
NAMES = st.sampled_from(["stations", "params", "pairs", "stacking_params", "launch", "id"]) | TEXT
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
BODIES = (
    st.binary(max_size=300)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(NAMES, CSV | JSON, max_size=4).map(lambda value: json.dumps(value).encode())
)


@settings(max_examples=400, deadline=None)
@given(body=BODIES)
@example(body=json.dumps(GOOD).encode())
@example(body=json.dumps({**GOOD, "pairs": "First,Second\nNO.NAO00,NO.NAO01\n"}).encode())
@example(body=json.dumps({**GOOD, "stacking_params": STACKING.decode()}).encode())
@example(body=json.dumps({**GOOD, "launch": "0" * 32}).encode())
@example(body=json.dumps({**GOOD, "launch": "../42"}).encode())
@example(body=b'{"stations": "a", "stations": "b", "params": "c"}')
@example(body=b"[" * 200_000)
@example(body=b'{"stations": ' + b"9" * 5000 + b', "params": ""}')
def test_any_request_is_a_complete_job_or_leaves_no_object(body):
    store = Store()

    status, answer = handle(store, body)

    assert status in (201, 400, 413, 422)
    assert bool(store.files) is (status == 201)
    assert json.dumps(answer).isascii()
    if status == 201:
        names = {key.partition("/")[2] for key in store.files}
        two = {"stations.csv", "params.csv"}
        assert names in (two, two | {"pairs.csv"}, {"stacking_params.csv"})
    for problem in answer.get("problems", ()):
        assert all(line.isprintable() for line in problem["text"].split("\n"))


def test_a_repeated_request_is_another_job_and_an_id_cannot_be_chosen():
    store = Store()
    body = json.dumps(GOOD).encode()

    ids = {handle(store, body)[1]["id"] for _ in range(20)}
    chosen, _ = handle(store, json.dumps({**GOOD, "id": "41"}).encode())

    assert len(ids) == 20
    assert chosen == 400
    assert {key.partition("/")[0] for key in store.files} == ids


def test_an_existing_job_is_not_overwritten_by_one_that_draws_its_id():
    store = Store()
    first = {"stations.csv": STATIONS, "params.csv": PARAMS}
    other = {**first, "params.csv": PARAMS.replace(b"0.12", b"0.13")}
    ids = iter(["41", "41", "42"])
    submit(store, first, lambda: next(ids))

    assert submit(store, other, lambda: next(ids)) == "42"
    assert store.files["41/params.csv"] == PARAMS


# --- over a socket ---


@pytest.fixture(scope="module")
def page() -> Iterator[PageServer]:
    store = Store()
    services = Services("http://127.0.0.1:1/xcor", "/jobs", [])
    with PageServer(Page(services), lambda body: handle(store, body), lambda _: (404, {})) as page:
        page.store = store
        yield page


def host_of(page) -> str:
    return page.url.removeprefix("http://")


def say(page, request: bytes) -> bytes:
    """Send bytes, hang up, and read the answer up to the end of the connection."""
    host, port = host_of(page).split(":")
    answer = b""
    with (
        socket.create_connection((host, int(port)), timeout=10) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(request)
        with contextlib.suppress(OSError):  # ENOTCONN: the server was the first to hang up
            connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            answer += part
    return answer


def post(page, *headers: str, body: bytes = b"{}", line: str = "POST /jobs HTTP/1.1") -> bytes:
    lines = [line, f"Host: {host_of(page)}", *headers, "", ""]
    return say(page, "\r\n".join(lines).encode("latin-1") + body)


JSON_KIND = "Content-Type: application/json"
LENGTH = "Content-Length: 2"
ODD = {
    "no length": ([JSON_KIND], b"413"),
    "negative length": ([JSON_KIND, "Content-Length: -1"], b"413"),
    "length in words": ([JSON_KIND, "Content-Length: two"], b"413"),
    "length of a terabyte": ([JSON_KIND, "Content-Length: 1099511627776"], b"413"),
    "length of 4000 digits": ([JSON_KIND, "Content-Length: " + "9" * 4000], b"413"),
    "superscript length": ([JSON_KIND, "Content-Length: \xb2"], b"413"),
    "chunks": ([JSON_KIND, "Transfer-Encoding: chunked"], b"413"),
    "less than promised": ([JSON_KIND, "Content-Length: 4000000"], b"400"),
    "a form": (["Content-Type: application/x-www-form-urlencoded", LENGTH], b"403"),
    "no kind": ([LENGTH], b"403"),
    "text": (["Content-Type: text/plain", LENGTH], b"403"),
}
# Of these the rest is not read, so the answer may be lost.
ENDLESS = {
    "a header of a megabyte": ["X: " + "x" * 1_000_000],
    "a thousand headers": [f"X-{k}: y" for k in range(1000)],
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_endless_headers_submit_no_job(page, kind):
    before = dict(page.store.files)
    good = json.dumps(GOOD).encode()

    answer = post(page, JSON_KIND, f"Content-Length: {len(good)}", *ENDLESS[kind], body=good)

    assert answer.split(b" ")[1:2] in ([], [b"431"])
    assert page.store.files == before


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_request_is_rejected_and_the_next_one_is_served(page, kind):
    headers, status = ODD[kind]

    answer = post(page, *headers)

    assert answer.split(b" ")[1] == status, answer[:200]
    good = json.dumps(GOOD).encode()
    again = post(page, JSON_KIND, f"Content-Length: {len(good)}", "Connection: close", body=good)
    assert again.startswith(b"HTTP/1.1 201")


@pytest.mark.parametrize(
    "line",
    ["", "POST", "POST /jobs", "POST /jobs HTTP/9.9", "\x16\x03\x01", "DELETE /jobs HTTP/1.1",
     "PUT /incoming/41/params.csv HTTP/1.1", "POST " + "/" * 70_000 + " HTTP/1.1"],
)  # fmt: skip
def test_a_malformed_request_line_creates_no_job(page, line):
    before = dict(page.store.files)

    answer = post(page, JSON_KIND, LENGTH, line=line)

    assert b" 201 " not in answer
    assert page.store.files == before


def test_a_body_beyond_the_limit_is_not_parsed(page):
    assert handle(Store(), b" " * (MAX_BODY + 1))[0] == 413


ORIGINS = ["null", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "file://",
           "http://{host}.evil.example", "http://{host}@evil.example", "http://evil.example/{host}",
           "http://evil.example#{host}", "http://[::1]", "chrome-extension://x"]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_foreign_page_submits_no_job(page, origin):
    good = json.dumps(GOOD).encode()
    before = dict(page.store.files)

    answer = post(page, JSON_KIND, f"Content-Length: {len(good)}", "Connection: close",
                  f"Origin: {origin.format(host=host_of(page))}", body=good)  # fmt: skip

    assert answer.startswith(b"HTTP/1.1 403")
    assert b"access-control-allow-origin" not in answer.lower()
    assert page.store.files == before


@pytest.mark.parametrize(
    "host", ["evil.example", "169.254.169.254", "localhost", "127.0.0.1:1", ""]
)
def test_a_rebound_host_name_is_rejected(page, host):
    """DNS rebinding: the browser thinks that it talks to a server of the attacker."""
    good = json.dumps(GOOD).encode()
    text = f"POST /jobs HTTP/1.1\r\nHost: {host}\r\n{JSON_KIND}\r\nConnection: close\r\n"

    answer = say(page, f"{text}Content-Length: {len(good)}\r\n\r\n".encode() + good)

    assert answer.startswith(b"HTTP/1.1 403")
