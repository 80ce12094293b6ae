"""What a look at the bucket costs."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hosting import OrderedLauncher
from moto import mock_aws

from xcor_daemon.bucket import Bucket
from xcor_daemon.config import Config
from xcor_daemon.daemon import Daemon


def put_all(real, count: int, *names: str) -> None:
    client = real.server.client()
    for number in range(count):
        for name in names:
            client.put_object(Bucket=real.name, Key=f"incoming/{4000 + number}/{name}", Body=b"x")


@pytest.mark.real
@pytest.mark.parametrize("what", ["waiting", "finished"])
def test_a_poll_of_a_thousand_jobs_is_cheap_and_one_listing(bucket, tmp_path, what):
    put_all(bucket, 1000, "params.csv")
    asked = []
    client = bucket.server.client()
    client.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    store = Bucket(client, bucket.name, settle=0)
    config = Config(bucket=bucket.name, work_dir=tmp_path, source="archive:/data")
    daemon = Daemon(store, OrderedLauncher(), config, now=lambda: 1.8e9)
    with daemon.holding():
        if what == "finished":
            daemon.register.ended.update(str(4000 + number) for number in range(1000))
            daemon.audit._when = 1.8e9
        daemon.tick()
        asked.clear()
        spent = []
        for _ in range(12):
            began = time.process_time()
            daemon.tick()
            spent.append(time.process_time() - began)

    assert asked == ["ListObjectsV2"] * 12
    # The best of some: other work on the machine only makes it slower.
    assert min(spent) < 0.015


def test_memory_is_flat_over_ten_thousand_passes(tmp_path, monkeypatch):
    """Jobs come and go under incoming/, and nothing of them stays."""
    with mock_aws():
        import boto3

        client = boto3.client("s3", region_name="us-east-1")
        store = Bucket(client, "xcor", settle=0)
    config = Config(bucket="xcor", work_dir=tmp_path, source="archive:/data")
    daemon = Daemon(store, OrderedLauncher(), config, now=lambda: 1.8e9)
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

    monkeypatch.setattr(store, "_call", answer)
    with daemon.holding():
        for _ in range(200):
            daemon.tick()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10_000):
            daemon.tick()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()

    assert grown < 100_000
