"""Untrusted input under incoming/: missing, changing, vanishing and malicious files; floods."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hosting import PARAMS, STATIONS, keys, read, send, wait_until
from proxy import rewrite

pytestmark = pytest.mark.real

ATTACKS = (
    "41/../42/params.csv",
    "../leases/41.json",
    "41/../../etc/params.csv",
    "-rf/params.csv",
    "$(touch hacked)/params.csv",
    "a b;touch hacked/stations.csv",
    "61/params.csv/",
    "62",
    "63/",
    "63/more/stations.csv",
    "41/PARAMS.CSV",
    "41/job.json",
    "41/outputs.json",
    "41/xcor_log.txt",
    "12345678901234567/params.csv",
    "\u0664\u0661/params.csv",
    ".hidden/stations.csv",
    "<script>/params.csv",
    "41\n42/params.csv",
    "%34%31/params.csv",
)


def put(service, key: str, content: bytes = b"x") -> None:
    service.store.client.put_object(Bucket=service.store.name, Key=f"incoming/{key}", Body=content)


def test_malicious_keys_are_only_counted(service):
    for key in ATTACKS:
        with contextlib.suppress(ClientError):  # this server rejects some of them
            put(service, key)
    there = service.store.waiting().ignored_keys
    service.send("41")

    service.run_until_idle()

    service.check(faults=len(there))
    assert len(there) >= 15, "the server has accepted nearly all of these keys"
    assert f"{len(there)} keys under incoming/ are ignored" in service.log
    assert [path.name for path in service.work_dir().glob("*/*")] == ["41"]
    assert not list(service.folder.rglob("hacked"))
    shown = {key.split("/")[1] for key in keys(service.store, "processed/")}
    assert shown == {"41", "_service.json"}


def test_incomplete_jobs_wait_forever_without_effect_on_others(service):
    send(service.store, "51", params=PARAMS)
    send(service.store, "52", stations=STATIONS)
    send(service.store, "53", cancel=b"")
    service.send("41")

    service.run_until_idle()  # without waiting for them

    service.check(faults=3)
    for number in ("51", "52", "53"):
        assert keys(service.store, f"processed/{number}/") == []
        assert not list(service.work_dir().glob(f"*/{number}"))


def test_a_file_that_is_deleted_between_the_listing_and_the_copy(service):
    def delete_it(ask):
        delete = service.store.client.delete_object
        delete(Bucket=service.store.name, Key="incoming/41/params.csv")
        return ask()

    service.send("41")
    service.send("42")
    service.proxy.on("GET", "incoming/41/params.csv", delete_it)

    service.run_until_idle()
    assert not list(service.work_dir().glob("*/41"))
    assert service.is_done("42")
    send(service.store, "41", params=PARAMS)  # its user submits it again
    service.run_until_idle()

    service.check(faults=1)


def test_a_file_that_arrives_damaged_is_fetched_again(service):
    service.send("41")
    flipped = rewrite(lambda body: body.replace(b"0.12", b"0.13"))
    service.proxy.on("GET", "incoming/41/params.csv", flipped, 2)

    service.run_in_loop_until_idle()

    assert service.proxy.fired == 2
    service.check(faults=2)
    assert service.store.read_manifest("41")["request"]["params"]["freqmin"] == 0.12


# --- a flood ---

FIRST = 12  # jobs at the head of the queue


def signed_puts(service, objects: list[tuple[str, bytes]]) -> None:
    """Put many objects over one connection, without the overhead of boto3."""
    server = service.server
    signer = S3SigV4Auth(Credentials(server.access_key, server.secret_key), "s3", "us-east-1")
    connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc)
    for key, body in objects:
        path = f"/{service.store.name}/{quote(key)}"
        request = AWSRequest("PUT", server.endpoint + path, data=body)
        signer.add_auth(request)
        connection.request("PUT", path, body, dict(request.headers))
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 200
    connection.close()


def flood(service, count: int) -> list[str]:
    """Send many valid jobs at once, the FIRST of them before the others; returns their ids."""
    ids = [str(10_000 + number) for number in range(count)]
    files = {"stations.csv": STATIONS, "params.csv": PARAMS}
    objects = [(f"incoming/{i}/{name}", body) for i in ids for name, body in files.items()]
    # Jobs are queued by their time, and the order of four threads is random.
    first = len(files) * FIRST
    signed_puts(service, objects[:first])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: signed_puts(service, part), batches(objects[first:], 500)))
    return ids


def batches(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def queued(service) -> int:
    """Number of waiting jobs in the heartbeat."""
    if "processed/_service.json" not in keys(service.store, "processed/_"):
        return 0
    return json.loads(read(service.store, "processed/_service.json"))["queued"]


def test_five_thousand_jobs_at_once_are_queued(service):
    """The first jobs run while the others wait, with a kill in between; none is lost."""
    ids = flood(service, 5000)
    begun = service.start(worker="instant")
    wait_until(lambda: service.is_done(ids[0]), 120)
    begun.kill()
    daemon = service.start(worker="instant")
    wait_until(lambda: all(service.is_done(i) for i in ids[:FIRST]), 120)
    wait_until(lambda: queued(service) > 4900, 120)

    daemon.send_signal(15)
    assert daemon.wait(10) == 0

    rest = {job.id for job in service.store.waiting().jobs}
    assert rest == set(ids), "nothing of incoming/ was touched"
    taken = {path.name for path in service.work_dir().glob("*/[0-9]*")}
    there = [key.split("/") for key in keys(service.store, "processed/")]
    published = {job_id for _, job_id, *name in there if name == ["manifest.json"]}
    assert set(ids[:FIRST]) <= published <= taken
    assert len(taken) < 500, "only as many are staged as can run soon"
    take_back(service, sorted(rest - taken))
    service.run_until_idle(worker="instant")
    service.valid = taken
    service.check(faults=2)


def take_back(service, ids: list[str]) -> None:
    """Delete jobs that are not admitted, as their users may."""
    found = [f"incoming/{i}/{name}.csv" for i in ids for name in ("stations", "params")]
    for part in batches(found, 1000):
        wanted = {"Objects": [{"Key": key} for key in part], "Quiet": True}
        service.store.client.delete_objects(Bucket=service.store.name, Delete=wanted)


@pytest.mark.long
@pytest.mark.timeout(6 * 3600)  # half of it is the server's listing of 5,000 folders
def test_five_thousand_jobs_at_once_are_all_published(service, record_property):
    service.valid = set(flood(service, 5000))
    began = time.monotonic()
    service.run_until_idle(worker="instant", max_parallel=8, seconds=5 * 3600)
    took = time.monotonic() - began

    service.check(faults=1)
    record_property("report", f"5000 jobs at once: all published in {took:.0f} s")
