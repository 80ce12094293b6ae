"""The cost of listing the bucket in every pass."""

from __future__ import annotations

import statistics
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import boto3
import pytest
from hosting import PARAMS, STATIONS, FakeLauncher, bucket_of_moto, send
from moto import mock_aws

from xcor_daemon.config import Config
from xcor_daemon.service.daemon import Daemon
from xcor_daemon.storage.bucket import Bucket


@pytest.fixture
def thousand(bucket):
    """A bucket with a thousand jobs, each with both of its files."""
    client = bucket.server.client()

    def put(number: int) -> None:
        for name, body in (("stations.csv", STATIONS), ("params.csv", PARAMS)):
            client.put_object(Bucket=bucket.name, Key=f"incoming/{4000 + number}/{name}", Body=body)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(1000)))
    return bucket


def calls_of(way: Callable[[], object]) -> int:
    """Number of calls of Python and C functions."""
    called = Counter()
    sys.setprofile(lambda frame, event, argument: called.update([event]))
    try:
        way()
    finally:
        sys.setprofile(None)
    return called["call"] + called["c_call"]


@pytest.mark.real
def test_a_poll_of_a_thousand_jobs_is_cheap_and_one_listing(
    thousand, tmp_path, monkeypatch, record_property
):
    asked = []
    client = thousand.server.client()
    client.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    store = Bucket(client, thousand.name, settle=0)
    config = Config(bucket=thousand.name, work_dir=tmp_path, source="archive:/data")
    daemon = Daemon(store, FakeLauncher(), config, now=lambda: 1.8e9)
    with daemon.locked():
        daemon.view_repair._when = daemon.heartbeat._when = 1.8e9
        monkeypatch.setattr(daemon.admission, "_count_free_slots", lambda: 0)
        files = {"stations.csv": STATIONS, "params.csv": PARAMS}
        with (
            monkeypatch.context() as known
        ):  # as if all jobs had been inspected and their positions published
            known.setattr(store, "fetch", lambda _: files)
            known.setattr(store, "read_status", lambda _: None)
            known.setattr(store, "read_manifest", lambda _: None)
            known.setattr(store, "find_status", lambda _: ({}, None))
            known.setattr(store, "put_status_if", lambda *_: '"0"')
            candidates = daemon.admission._candidates
            # A busy machine needs several passes: each inspects jobs for at most two seconds.
            while len(candidates) < 1000 or any(c.ahead < 0 for c in candidates.values()):
                assert daemon.run_pass() == 1000
        for what, most in (("waiting", 30), ("finished", 11)):
            if what == "finished":
                daemon.registry.ended.update(str(4000 + number) for number in range(1000))
                assert daemon.run_pass() == 0
            asked.clear()
            spent = []
            for _ in range(20):
                began = time.process_time()
                daemon.run_pass()
                spent.append(time.process_time() - began)

            # S3 lists a thousand keys at a time.
            assert asked == ["ListObjectsV2"] * 2 * 20
            milliseconds, n_calls = statistics.median(spent) * 1000, calls_of(daemon.run_pass)
            told = f"a poll of 1000 {what} jobs: {milliseconds:.1f} ms of CPU, {n_calls} calls"
            record_property("report", f"{told}, 2 requests")
            # Milliseconds depend on the load of the machine: 26 and 9 calls a job were 10 to 16 and
            # 7 to 9 of them.
            assert n_calls < most * 1000


def test_botocore_parses_no_listing(monkeypatch):
    """It would take several times as long as the rest of a pass."""
    parsed = []

    class Parser(ElementTree.XMLParser):
        def feed(self, data):
            parsed.append(data)
            super().feed(data)

    with bucket_of_moto() as store:
        send(store, "41")
        monkeypatch.setattr("xml.etree.ElementTree.XMLParser", Parser)

        assert [job.id for job in store.waiting().jobs] == ["41"]

    assert parsed
    assert not any(b"<Contents>" in data for data in parsed)


def test_memory_is_flat_over_ten_thousand_passes(tmp_path, monkeypatch):
    """Jobs appear and disappear under incoming/, and none stays in memory."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        store = Bucket(client, "xcor", settle=0)
    config = Config(bucket="xcor", work_dir=tmp_path, source="archive:/data")
    daemon = Daemon(store, FakeLauncher(), config, now=lambda: 1.8e9)
    passes = iter(range(10**6))

    def answer(operation, absent=(), **arguments):
        if operation != "list_objects_v2":
            return {"ETag": '"0"'}
        first = next(passes)
        section = b"".join(
            b"<Contents><Key>incoming/%d/params.csv</Key><ETag>e</ETag><Size>1</Size>"
            b"<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>" % (first + k)
            for k in range(5)
        )
        response, custom = {"body": b"<a>" + section + b"</a>", "status_code": 200}, {}
        store._pages._before_parse(response, custom)
        headers = {"HTTPHeaders": {"date": "Thu, 01 Jan 2026 00:00:10 GMT"}}
        return {"ResponseMetadata": headers, **custom}

    monkeypatch.setattr(store.s3, "call", answer)
    with daemon.locked():
        for _ in range(200):
            daemon.run_pass()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10_000):
            daemon.run_pass()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()

    assert grown < 100_000
