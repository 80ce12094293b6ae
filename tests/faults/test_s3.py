"""S3 that fails, sends wrong responses or is unreachable, between a real daemon and server."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hosting import PARAMS, keys, read, wait_until
from proxy import answer, apply_then, cut, reset, reset_after, rewrite, with_header

pytestmark = pytest.mark.real

MANIFEST = "processed/.*/manifest.json"
RESULT = "processed/.*/runs/.*"
ANY = ".*"


@pytest.mark.parametrize(
    ("method", "key", "action", "times"),
    [
        pytest.param("PUT", MANIFEST, apply_then(500, "InternalError"), 1, id="commit-but-500"),
        pytest.param("PUT", MANIFEST, apply_then(500, "InternalError"), 9, id="commit-9-times-500"),
        pytest.param("PUT", MANIFEST, reset_after, 3, id="commit-but-reset"),
        pytest.param("PUT", MANIFEST, answer(409, "ConditionalRequestConflict"), 2, id="409"),
        pytest.param("PUT", MANIFEST, answer(412, "PreconditionFailed"), 1, id="412-of-nobody"),
        pytest.param("PUT", RESULT, reset, 4, id="upload-reset"),
        pytest.param("PUT", RESULT, answer(400, "ExpiredToken"), 2, id="expired-mid-upload"),
        pytest.param("PUT", RESULT, answer(403, "AccessDenied"), 2, id="denied-mid-upload"),
        pytest.param("PUT", ANY, answer(503, "SlowDown"), 12, id="503-storm-of-writes"),
        pytest.param("GET", ANY, answer(503, "SlowDown"), 12, id="503-storm-of-reads"),
        pytest.param("GET", "incoming/.*", cut, 2, id="inputs-cut"),
        pytest.param("GET", "", cut, 2, id="listing-cut"),
        pytest.param("PUT", "leases/.*", apply_then(500, "InternalError"), 4, id="lease-but-500"),
        pytest.param("PUT", "processed/.*/files.txt", answer(500, "InternalError"), 7, id="F56"),
    ],
)
def test_a_failing_s3_only_delays_a_job(service, method, key, action, times):
    service.send("41")
    service.proxy.on(method, key, action, times)

    service.run_in_loop_until_idle()

    assert service.proxy.fired
    service.check(faults=service.proxy.fired)


def test_a_page_of_the_listing_that_comes_twice_or_without_its_end(service):
    service.send("41")
    ends = (b"<IsTruncated>false<", b"<IsTruncated>true<")
    again = rewrite(lambda page: page.replace(*ends))  # and no token of a next page
    service.proxy.on("GET", "", again, 3)

    service.run_in_loop_until_idle()

    service.check(faults=3)


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_wrong_clock_of_s3_changes_nothing(service, minutes):
    """The dates of S3's responses differ far from the clock of this machine."""
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    service.proxy.on("GET", "", with_header("Date", date), 10**6)
    service.send("41")

    if minutes > 0:
        service.run_until_idle()
    else:  # by S3's clock, the files were written in the future
        daemon = service.start()
        wait_until(lambda: service.proxy.fired > 5)
        assert not list(service.work_dir().glob("*/41"))
        service.proxy.calm()
        wait_until(lambda: service.is_done("41"))
        daemon.kill()

    service.check(faults=1)


def test_a_clock_that_s3_rejects_is_reported_until_it_is_corrected(service):
    service.send("41")
    daemon = service.start()
    wait_until(lambda: service.store.read_status("41") is not None)
    service.proxy.on("GET", "", answer(403, "RequestTimeTooSkewed"), 3)
    wait_until(lambda: service.proxy.fired == 3)

    wait_until(lambda: service.is_done("41"))

    daemon.kill()
    assert (
        "the clock of this machine differs from that of S3 by more than 15 minutes" in service.log
    )
    service.check(faults=3)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("s3_timeout", "seconds"),
    [
        # Five minutes and the timeout of the service, both scaled down by a hundred.
        (0.2, 3),
        pytest.param(20, 300, marks=pytest.mark.long),
    ],
)
def test_five_minutes_without_answers_from_s3_lose_nothing(service, s3_timeout, seconds):
    """S3 accepts requests and never responds; workers continue, and so does the daemon later."""
    back = threading.Event()
    (service.witness / "wait").touch()
    service.send("41")
    daemon = service.start(s3_timeout=s3_timeout)
    service.wait_for_worker("41")
    for method in ("GET", "PUT", "HEAD"):
        service.proxy.on(method, ANY, lambda _: back.wait(seconds + 60) and None, 10**6)
    until = time.monotonic() + seconds
    (service.witness / "wait").unlink()
    service.send("42")
    wait_until(lambda: time.monotonic() > until and service.proxy.fired > 3, seconds + 60)
    assert daemon.poll() is None

    service.proxy.calm()
    back.set()

    wait_until(lambda: service.is_done("41") and service.is_done("42"), 240)
    service.end(daemon)
    service.check(faults=1)


def test_sigterm_ends_a_daemon_within_ten_seconds_while_s3_does_not_answer(service):
    back = threading.Event()
    service.proxy.on("GET", ANY, lambda _: back.wait(60) and None, 10**6)
    daemon = service.start(s3_timeout=30)
    wait_until(lambda: service.proxy.fired > 0)

    daemon.send_signal(15)

    assert daemon.wait(10) == 0
    back.set()


def test_objects_that_change_between_the_listing_and_the_copy(service):
    changed = PARAMS.replace(b"0.12", b"0.13")
    put = service.store.client.put_object

    def replace_it(ask):
        put(Bucket=service.store.name, Key="incoming/41/params.csv", Body=changed)
        return ask()

    service.send("41")
    service.proxy.on("GET", "incoming/41/params.csv", replace_it)

    service.run_until_idle()

    service.check(faults=1)
    manifest = service.store.read_manifest("41")
    assert manifest["request"]["params"]["freqmin"] == 0.13


def test_rejected_uploads_of_one_job_do_not_delay_another(service):
    service.send("41")
    service.send("42")
    service.proxy.on("PUT", "processed/41/.*", answer(403, "AccessDenied"), 10**6)
    daemon = service.start(max_parallel=2)

    wait_until(lambda: service.is_done("42"))

    service.proxy.calm()
    wait_until(lambda: service.is_done("41"))
    service.end(daemon)
    service.check(faults=1)


def test_the_heartbeat_counts_queued_jobs_without_their_ids(service):
    ids = [str(7_104_200_100 + number) for number in range(9)]  # no other number looks like these
    for job_id in ids:
        service.send(job_id)
    service.slots(1)
    (service.witness / "wait").touch()
    service.start()

    def beat() -> dict:
        there = keys(service.store, "processed/_")
        return json.loads(read(service.store, "processed/_service.json")) if there else {}

    # On a busy machine a pass may be cut short and count fewer jobs.
    wait_until(lambda: (beat().get("queued"), beat().get("running")) == (8, 1))
    last = "queued (8 jobs ahead)"
    wait_until(lambda: (service.store.read_status(ids[-1]) or {}).get("stage") == last)

    state = beat()
    assert state["places"] == 1
    assert not [job_id for job_id in ids if job_id in json.dumps(state)]
