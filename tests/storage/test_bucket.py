"""The bucket, against moto in this process and against a real S3 server."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.response import StreamingBody
from hosting import PARAMS, STATIONS, bucket_of_moto, keys, read, send

from xcor_daemon.config import Config
from xcor_daemon.errors import ConfigError, CredentialsError, UnreachableError, XcorError
from xcor_daemon.storage.bucket import Bucket

HASH = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of b"hello"


@pytest.fixture(params=["moto", pytest.param("real", marks=pytest.mark.real)])
def store(request) -> Iterator[Bucket]:
    """A bucket without a settle time."""
    if request.param == "real":
        real = request.getfixturevalue("bucket")
        yield Bucket(real.server.client(), real.name, settle=0)
        return
    with bucket_of_moto() as made:
        yield made


class Answers:
    """A client that returns prepared responses in turn, and raises those that are errors."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        events = type("Events", (), {"register_first": lambda *_: None})
        self.meta = type("Meta", (), {"endpoint_url": "http://s3.test", "events": events})

    def __getattr__(self, operation):
        def answer(**arguments):
            given = self.answers.pop(0)
            if isinstance(given, Exception):
                raise given
            return given

        return answer


def refusal(code: str, status: int = 500) -> ClientError:
    details = {"Error": {"Code": code, "Message": "why"}}
    return ClientError({**details, "ResponseMetadata": {"HTTPStatusCode": status}}, "Operation")


def listing(date: str, **modified: datetime) -> dict:
    items = [
        {"Key": f"incoming/41/{name}.csv", "ETag": '"e"', "Size": 1, "LastModified": time}
        for name, time in modified.items()
    ]
    return {"Contents": items, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}


# --- what waits ---


def test_a_job_waits_with_its_files(store):
    send(store, "41")

    (job,) = store.waiting().jobs

    assert (job.id, set(job.files)) == ("41", {"stations.csv", "params.csv"})
    assert job.is_complete
    assert job.is_settled
    assert not job.is_cancelled


@pytest.mark.parametrize(
    ("names", "is_complete"),
    [
        ("stations params", True),
        ("stations xcor_params", True),
        ("stacking_params", True),
        ("stations", False),
        ("params", False),
        ("cancel", False),
        ("stations cancel", False),
    ],
)
def test_a_job_is_complete_when_all_its_files_exist(store, names, is_complete):
    send(store, "41", **dict.fromkeys(names.split(), b"x"))

    (job,) = store.waiting().jobs

    assert job.is_complete is is_complete
    assert job.is_cancelled is ("cancel" in names)


@pytest.mark.parametrize(
    "key",
    [
        "incoming/999/../777/params.csv",
        "incoming/41/more/params.csv",
        "incoming/41/params.csv.bak",
        "incoming/41/PARAMS.CSV",
        "incoming/-rf/params.csv",
        "incoming/$(id)/params.csv",
        "incoming/12345678901234567/params.csv",
        "incoming/\u0664\u0661/params.csv",
        "incoming/41/params.csv\n",
        "incoming/41/",
        "incoming/41",
        "incoming/params.csv",
    ],
)
def test_odd_keys_are_counted_and_otherwise_ignored(key):
    page = listing("Thu, 01 Jan 2026 00:00:00 GMT", stations=datetime(2025, 1, 1, tzinfo=UTC))
    page["Contents"][0]["Key"] = key

    found = Bucket(Answers(page), "xcor").waiting()

    assert (found.jobs, len(found.ignored_keys)) == ((), 1)


@pytest.mark.parametrize(
    ("now", "is_settled"), [("00:00:11", False), ("00:00:12", True), ("00:00:09", False)]
)
def test_a_job_is_settled_by_the_clock_of_s3_and_by_no_other(now, is_settled):
    # In 2040: by the local clock these files are in the future.
    page = listing(
        f"Sun, 01 Jan 2040 {now} GMT",
        stations=datetime(2040, 1, 1, 0, 0, 2, tzinfo=UTC),
        params=datetime(2040, 1, 1, 0, 0, 10, tzinfo=UTC),
    )

    (job,) = Bucket(Answers(page), "xcor", settle=2).waiting().jobs

    assert job.is_settled is is_settled


def test_every_page_of_a_long_listing_is_read():
    old = datetime(2025, 1, 1, tzinfo=UTC)
    first = listing("Thu, 01 Jan 2026 00:00:00 GMT", stations=old)
    first |= {"IsTruncated": True, "NextContinuationToken": "next"}
    second = listing("Thu, 01 Jan 2026 00:00:00 GMT", params=old)

    (job,) = Bucket(Answers(first, second), "xcor").waiting().jobs

    assert job.is_complete


def test_jobs_come_in_the_order_of_their_last_file():
    page = listing("Thu, 01 Jan 2026 00:00:00 GMT", a=datetime(2025, 1, 1, tzinfo=UTC))
    item = page["Contents"][0]
    page["Contents"] = [
        {
            **item,
            "Key": f"incoming/{n}/params.csv",
            "LastModified": datetime(2025, m, 1, tzinfo=UTC),
        }
        for n, m in ((1, 3), (2, 1), (3, 2))
    ]

    assert [job.id for job in Bucket(Answers(page), "xcor").waiting().jobs] == ["2", "3", "1"]


# --- staging ---


def test_files_are_fetched_as_they_were_listed(store):
    send(store, "41")
    (job,) = store.waiting().jobs

    assert store.fetch(job) == {"stations.csv": STATIONS, "params.csv": PARAMS}


def test_a_file_replaced_since_the_listing_is_not_fetched(store):
    send(store, "41")
    (job,) = store.waiting().jobs
    send(store, "41", params=PARAMS.replace(b"0.12", b"0.13"))

    assert store.fetch(job) is None


def test_a_file_deleted_since_the_listing_is_not_fetched(store):
    send(store, "41")
    (job,) = store.waiting().jobs
    store.client.delete_object(Bucket=store.name, Key="incoming/41/params.csv")

    assert store.fetch(job) is None


def test_of_a_huge_file_only_one_byte_beyond_the_limit_is_fetched(store):
    send(store, "41", stacking_params=b"x" * 5_000_000)
    (job,) = store.waiting().jobs

    assert len(store.fetch(job)["stacking_params.csv"]) == 4_000_001


# --- publishing ---


def test_a_published_file_carries_its_type_and_hash(store):
    store.publish_file("processed/41/runs/a/xcor_log.txt", io.BytesIO(b"hello"), HASH)

    head = store.client.head_object(Bucket=store.name, Key="processed/41/runs/a/xcor_log.txt")
    assert head["ContentType"] == "text/plain; charset=utf-8"
    assert head["Metadata"]["sha256"] == HASH
    assert read(store, "processed/41/runs/a/xcor_log.txt") == b"hello"


def test_the_same_file_is_not_uploaded_twice(store):
    key = "processed/41/runs/a/CORR/1.h5"
    store.publish_file(key, io.BytesIO(b"hello"), HASH)
    before = store.client.head_object(Bucket=store.name, Key=key)
    store.client.put_object = None

    store.publish_file(key, io.BytesIO(b"hello"), HASH)

    assert store.client.head_object(Bucket=store.name, Key=key)["ETag"] == before["ETag"]


def test_another_content_under_the_same_name_is_uploaded(store):
    store.client.put_object(Bucket=store.name, Key="processed/41/a.csv", Body=b"jello")

    store.publish_file("processed/41/a.csv", io.BytesIO(b"hello"), HASH)

    assert read(store, "processed/41/a.csv") == b"hello"


@pytest.mark.real
def test_a_file_that_changes_during_its_upload_is_rejected(bucket):
    store = Bucket(bucket.server.client(), bucket.name)

    with pytest.raises(UnreachableError):
        store.publish_file("processed/41/a.csv", io.BytesIO(b"jello"), HASH)
    assert keys(store, "processed/") == []


def test_a_large_file_is_uploaded_in_parts_and_downloaded(store, tmp_path):
    store.multipart_from = 1000
    content = bytes(range(256)) * 40_000  # 10 MB: more than one part
    sha256 = hashlib.sha256(content).hexdigest()

    store.publish_file("processed/41/CORR/1.h5", io.BytesIO(content), sha256)
    store.download("processed/41/CORR/1.h5", tmp_path / "deep/1.h5", sha256)

    assert (tmp_path / "deep/1.h5").read_bytes() == content


def test_a_download_with_another_content_leaves_no_file(store, tmp_path):
    store.client.put_object(Bucket=store.name, Key="processed/41/1.h5", Body=b"jello")

    with pytest.raises(UnreachableError, match="another sha256 than published"):
        store.download("processed/41/1.h5", tmp_path / "1.h5", HASH)
    assert not (tmp_path / "1.h5").exists()


def test_status_and_files_are_never_cached(store):
    store.put_status("41", {"state": "running"})
    store.put_files("41", ["processed/41/a", "done"])

    for name in ("status.json", "files.txt"):
        head = store.client.head_object(Bucket=store.name, Key=f"processed/41/{name}")
        assert head["CacheControl"] == "no-cache"
    assert store.read_status("41") == {"state": "running"}
    assert read(store, "processed/41/files.txt") == b"processed/41/a\ndone\n"


def test_a_manifest_is_written_once(store):
    first = store.commit_manifest("41", {"attempt": "first"})
    second = store.commit_manifest("41", {"attempt": "second"})

    assert first == second == {"attempt": "first"}
    assert json.loads(read(store, "processed/41/manifest.json")) == {"attempt": "first"}


@pytest.mark.real
def test_of_many_simultaneous_commits_one_wins_and_all_return_it(bucket):
    heard = []
    gate = threading.Barrier(8)

    def publish(attempt: int) -> None:
        store = Bucket(bucket.server.client(), bucket.name)
        gate.wait()
        heard.append(store.commit_manifest("41", {"attempt": attempt})["attempt"])

    threads = [threading.Thread(target=publish, args=(attempt,)) for attempt in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(heard) == 8
    assert len(set(heard)) == 1


def body(content: bytes) -> dict:
    return {"Body": StreamingBody(io.BytesIO(content), len(content))}


def test_a_commit_with_an_error_response_is_decided_by_the_object_in_s3():
    applied = Bucket(Answers(refusal("InternalError"), body(b'{"attempt": "mine"}')), "xcor")
    lost = Bucket(Answers(refusal("InternalError"), refusal("NoSuchKey", 404)), "xcor")

    assert applied.commit_manifest("41", {"attempt": "mine"}) == {"attempt": "mine"}
    with pytest.raises(UnreachableError):
        lost.commit_manifest("41", {"attempt": "mine"})


# --- new jobs ---


def test_an_input_is_never_overwritten(store):
    assert store.put_input("41", "params.csv", b"first")
    assert not store.put_input("41", "params.csv", b"second")
    assert store.put_input("41", "params.csv", b"first"), "the answer to the first PUT was lost"

    assert read(store, "incoming/41/params.csv") == b"first"


# --- trouble ---


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("NoSuchBucket", ConfigError, "'xcor' does not exist at http://s3.test; set XCOR_BUCKET"),
        ("InvalidAccessKeyId", ConfigError, "AWS_ACCESS_KEY_ID"),
        ("AccessDenied", ConfigError, "denies list_objects_v2"),
        ("RequestTimeTooSkewed", UnreachableError, "clock"),
        ("SlowDown", UnreachableError, "http://s3.test failed list_objects_v2"),
        ("ExpiredToken", UnreachableError, "ExpiredToken"),
    ],
)
def test_an_error_of_s3_names_the_remedy(code, kind, message):
    with pytest.raises(kind, match=message):
        Bucket(Answers(refusal(code)), "xcor").waiting()


def test_an_unreachable_server_is_named():
    away = EndpointConnectionError(endpoint_url="http://s3.test")

    with pytest.raises(UnreachableError, match=r"no response from S3 at http://s3.test"):
        Bucket(Answers(away), "xcor").waiting()


def test_an_unreachable_server_differs_from_missing_credentials():
    def client(**keys):
        once = ClientConfig(retries={"total_max_attempts": 1})
        session = boto3.session.Session()  # the default one may have found some before
        return session.client("s3", endpoint_url="http://127.0.0.1:9", config=once, **keys)

    known = client(aws_access_key_id="a", aws_secret_access_key="b")
    with pytest.raises(UnreachableError, match="127.0.0.1:9"):
        Bucket(known, "xcor").waiting()
    with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID"):
        Bucket(client(), "xcor").waiting()


def test_each_connection_has_the_credentials_of_its_time(monkeypatch):
    for key in ("first", "second"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key)

        made = Bucket.connect(Config(bucket="xcor", endpoint_url="http://127.0.0.1:9")).client

        assert made._request_signer._credentials.access_key == key


def test_invalid_settings_of_the_client_are_named():
    with pytest.raises(ConfigError, match="XCOR_BUCKET"):
        Bucket.connect(Config())
    with pytest.raises(ConfigError, match="XCOR_ENDPOINT_URL"):
        Bucket.connect(Config(bucket="xcor", endpoint_url="no url"))
    with pytest.raises(ConfigError, match="xc or"):
        Bucket.connect(Config(bucket="xc or", endpoint_url="http://127.0.0.1:9")).waiting()


def test_a_damaged_document_is_an_error_of_its_job(store):
    store.client.put_object(Bucket=store.name, Key="processed/41/manifest.json", Body=b"{")

    with pytest.raises(XcorError, match=r"processed/41/manifest.json .* is damaged"):
        store.read_manifest("41")
