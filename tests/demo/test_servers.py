"""The S3 server and the page server of the demo, as seen by public clients."""

from __future__ import annotations

import html
import http.client
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosting import wait_until

from xcor_daemon.demo.page_server import PageServer
from xcor_daemon.web.page import Page, Services

pytestmark = pytest.mark.real


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str):
    """(status, headers, body) of a response, whatever its status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


# --- S3 ---


def test_results_are_public_but_requests_and_listings_are_not(bucket):
    client = bucket.server.client()
    client.put_object(Bucket=bucket.name, Key="processed/1/status.json", Body=b"{}")
    client.put_object(Bucket=bucket.name, Key="incoming/1/params.csv", Body=b"fs")

    assert ask(f"{bucket.url}/processed/1/status.json")[0] == 200
    assert ask(f"{bucket.url}/incoming/1/params.csv")[0] == 403
    assert ask(f"{bucket.url}?list-type=2")[0] == 403
    assert ask(f"{bucket.url}?list-type=2&prefix=processed/")[0] == 403
    assert ask(f"{bucket.url}/processed/1/mine", "PUT", b"x")[0] == 403
    assert ask(f"{bucket.url}/processed/1/status.json", "DELETE")[0] == 403


def test_only_pages_of_the_named_origin_read_results(s3_server):
    url = s3_server.make_bucket("xcor-origins", ["http://127.0.0.1:1"])
    s3_server.client().put_object(Bucket="xcor-origins", Key="processed/a", Body=b"x")

    ours = ask(f"{url}/processed/a", Origin="http://127.0.0.1:1")[1]
    other = ask(f"{url}/processed/a", Origin="http://127.0.0.1:2")[1]

    assert ours["Access-Control-Allow-Origin"] == "http://127.0.0.1:1"
    assert other["Access-Control-Allow-Origin"] is None


def test_a_page_may_request_a_byte_range_and_read_its_position(bucket):
    client = bucket.server.client()
    client.put_object(Bucket=bucket.name, Key="processed/1/a.h5", Body=b"0123456789")
    url, origin = f"{bucket.url}/processed/1/a.h5", "http://127.0.0.1:1"
    asks = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "range"}

    leave = ask(url, "OPTIONS", Origin=origin, **asks)[1]
    status, headers, body = ask(url, Origin=origin, Range="bytes=3-5")

    assert "range" in leave["Access-Control-Allow-Headers"].lower()
    assert (status, body, headers["Content-Range"]) == (206, b"345", "bytes 3-5/10")
    assert "Content-Range" in headers["Access-Control-Expose-Headers"]
    assert ask(url, Origin=origin, Range="bytes=10-12")[0] == 416


def test_an_object_can_be_written_once_only(bucket):
    client = bucket.server.client()
    put = {"Bucket": bucket.name, "Key": "processed/1/manifest.json", "IfNoneMatch": "*"}
    client.put_object(Body=b"first", **put)

    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Body=b"second", **put)


# --- the page ---


@pytest.fixture
def page() -> Iterator[PageServer]:
    """The page; its submit returns the body of the request, its cancel the id."""

    def echo(body: bytes):
        return 202, {"got": json.loads(body)}

    def echo_id(job_id: str):
        return 202, {"cancelled": job_id}

    centre = {"name": "HERE", "title": "Here", "url": "http://127.0.0.1:2"}
    services = Services("http://127.0.0.1:1/xcor", "/jobs", [centre])
    with PageServer(Page(services), echo, echo_id) as server:
        yield server


def test_the_page_runs_its_own_scripts_only(page):
    status, headers, body = ask(page.url + "/")

    assert status == 200
    assert b'<script type="module"' in body
    policy = headers["Content-Security-Policy"]
    assert policy.removesuffix("; frame-ancestors 'none'") in html.unescape(body.decode())
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "connect-src 'self' http://127.0.0.1:1 http://127.0.0.1:2" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_config_json_has_the_services_of_the_page(page):
    config = json.loads(ask(page.url + "/config.json")[2])

    assert config["results"] == "http://127.0.0.1:1/xcor"
    assert config["submit"] == "/jobs"
    assert [centre["url"] for centre in config["datacenters"]] == ["http://127.0.0.1:2"]


@pytest.mark.parametrize(
    "path", ["/js/", "/js", "/../setup.cfg", "/%2e%2e/setup.cfg", "//etc/passwd", "/js/../../a"]
)
def test_only_the_files_of_the_page_are_served(page, path):
    connection = http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=10)
    connection.request("GET", path)

    assert connection.getresponse().status == 404
    connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/json", "Origin": "http://evil.example"},
        {"Content_Type": "application/json", "Host": "evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/jobs", "/jobs/41/cancel"])
def test_a_foreign_page_can_neither_send_nor_cancel_a_job(page, path, headers):
    assert ask(page.url + path, "POST", b"{}", **headers)[0] == 403


def test_a_job_is_passed_to_submit(page):
    status, _, body = ask(page.url + "/jobs", "POST", b'{"a": 1}', Content_Type="application/json")

    assert (status, json.loads(body)) == (202, {"got": {"a": 1}})


def test_the_id_of_a_cancelled_job_is_passed_on(page):
    def cancel(path: str):
        return ask(page.url + path, "POST", b"{}", Content_Type="application/json")

    status, _, body = cancel("/jobs/41/cancel")

    assert (status, json.loads(body)) == (202, {"cancelled": "41"})
    assert cancel("/jobs/41x/cancel")[0] == 404
    assert cancel("/jobs/41/delete")[0] == 404


# --- children ---


DETACHED = "from pathlib import Path; import time; Path('up').touch(); time.sleep(60)"
CHILD = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {DETACHED!r}], start_new_session=True)
time.sleep(60)
"""
PARENT = f"""
import sys, time
from pathlib import Path
from xcor_daemon.demo.processes import start_child
start_child([sys.executable, "-c", {CHILD!r}], stdout=None, stderr=None, cwd=Path(sys.argv[1]),
            with_detached=True)
time.sleep(60)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_and_its_detached_processes_end_with_the_parent(tmp_path: Path, processes_in, end):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    wait_until((tmp_path / "up").exists)

    parent.send_signal(end)
    parent.wait(10)

    wait_until(lambda: not processes_in(tmp_path))
