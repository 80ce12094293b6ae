"""Passes of the daemon: jobs from incoming/ to their end, with failures at every step."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hosting import PARAMS, STACKING, STATIONS, FakeLauncher, keys, read, send, wait_until, work
from paths import SUPPORT

from xcor_daemon.config import Config
from xcor_daemon.errors import BusyError, ConfigError, DiskError, UnreachableError, XcorError
from xcor_daemon.service import admission
from xcor_daemon.service.daemon import Daemon
from xcor_daemon.storage import jobs, worker_outputs
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.storage.disk_space import size_of
from xcor_daemon.storage.jobs import Job, load_jobs
from xcor_daemon.storage.worker_outputs import BrokenOutputs
from xcor_daemon.workers.supervisor import read_record


class Host:
    """One machine: a work folder, a launcher, a daemon and a clock of its own."""

    def __init__(self, store: Bucket, work_dir: Path, **settings) -> None:
        self.store, self.launcher, self.time = store, FakeLauncher(), 1.8e9
        self.config = Config(bucket="xcor", work_dir=work_dir, source="archive:/data", **settings)
        self.start()

    def start(self) -> None:
        """Start a new daemon, as after a crash, with the same workers."""
        self.daemon = Daemon(self.store, self.launcher, self.config, now=lambda: self.time)
        with self.daemon.locked():
            pass

    def run_pass(self) -> int:
        return self.daemon.run_pass()

    def job(self, job_id: str = "41") -> Job:
        return self.daemon.jobs[job_id]

    def finish(self, job_id: str = "41", **changes) -> None:
        """Let the worker of a job write its results and exit with 0."""
        work(self.job(job_id).folder, **changes)
        self.launcher.end(job_id)

    def run_job(self, job_id: str = "41", **files: bytes) -> None:
        send(self.store, job_id, **files)
        self.run_pass()
        self.finish(job_id)
        self.run_pass()


@pytest.fixture(autouse=True)
def _a_pass_that_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the progress of a pass independent of the load of the machine."""
    for name in ("_SLICE", "_POSITIONS_SLICE"):
        monkeypatch.setattr(admission, name, 1e9)  # s


@pytest.fixture
def host(store, tmp_path) -> Host:
    return Host(store, tmp_path / "work")


@pytest.fixture
def make_host(store, tmp_path) -> Callable[..., Host]:
    return lambda name="work", **settings: Host(store, tmp_path / name, **settings)


def status(store: Bucket, job_id: str = "41") -> dict:
    return store.read_status(job_id)


def lines(store: Bucket, job_id: str = "41") -> list[str]:
    return read(store, f"processed/{job_id}/files.txt").decode().splitlines()


# --- the usual way ---


def test_a_job_is_published_with_all_its_files(host, store):
    host.run_job()

    manifest = store.read_manifest("41")
    prefix = f"processed/41/runs/{host.job().attempt}/"
    names = ["request.json", "summary.csv", "CORR/2019-01-01.h5", "xcor_log.txt"]
    assert [file["key"] for file in manifest["files"]] == [prefix + name for name in names]
    for file in manifest["files"]:
        assert len(read(store, file["key"])) == file["size"]
    assert manifest["files"][2]["arrays"][0]["name"] == "corr"
    assert manifest["units"] == {"done": 1, "empty": 0, "failed": []}
    assert manifest["request"]["params"]["freqmax"] == 0.35
    assert {i["key"] for i in manifest["inputs"]} == {
        "incoming/41/stations.csv",
        "incoming/41/params.csv",
    }
    assert lines(store) == [prefix + name for name in names] + ["done"]
    assert status(store)["state"] == "done"
    assert status(store)["manifest"] == "processed/41/manifest.json"
    assert host.job().state == "done"


def test_the_status_has_the_fields_of_the_contract_in_every_state(host, store):
    names = "id kind state stage days pairs eta_s started updated reason warnings log_tail"
    send(store, "41")
    host.run_pass()
    running = status(store)
    host.finish()
    host.run_pass()

    assert {*names.split(), "manifest", "version"} <= set(running)
    assert set(status(store)) == set(running)
    assert (running["state"], running["days"], running["pairs"]) == ("running", [0, 1], 1)
    assert running["started"] == "2027-01-15T08:00:00Z"


def test_input_files_are_not_changed(host, store):
    host.run_job()

    assert read(store, "incoming/41/params.csv") == PARAMS
    assert len(keys(store, "incoming/41/")) == 2


def test_a_half_uploaded_job_waits(host, store):
    send(store, "41", stations=STATIONS)
    assert host.run_pass() == 0
    assert host.daemon.jobs == {}

    send(store, "41", params=PARAMS)
    assert host.run_pass() == 1
    assert host.launcher.running == ["41"]


def test_a_job_that_has_not_settled_waits(store, tmp_path):
    store.settle = 3600
    host = Host(store, tmp_path)
    send(store, "41")

    assert host.run_pass() == 1, "it counts as unfinished"
    assert host.daemon.jobs == {}


def test_a_later_edit_of_incoming_changes_nothing(host, store):
    send(store, "41")
    host.run_pass()
    send(store, "41", params=b"nonsense")
    host.run_pass()
    host.finish()
    host.run_pass()

    assert (host.job().folder / "params.csv").read_bytes() == PARAMS
    assert status(store)["state"] == "done"


def test_progress_and_results_are_published_while_the_worker_runs(host, store):
    send(store, "41")
    host.run_pass()
    folder = host.job().folder
    progress = {"stage": "2019-01-01", "days": [0, 1], "pairs": 7, "eta_s": 3.5, "warnings": []}
    (folder / "progress.json").write_text(json.dumps(progress))
    (folder / "CORR").mkdir()
    (folder / "CORR/2019-01-01.h5").write_bytes(b"whole")
    (folder / "CORR/2019-01-02.h5.partial").write_bytes(b"half")
    host.run_pass()

    assert lines(store) == [f"processed/41/runs/{host.job().attempt}/CORR/2019-01-01.h5"]
    shown = status(store)
    assert (shown["stage"], shown["pairs"], shown["eta_s"]) == ("2019-01-01", 7, 3.5)
    assert not [key for key in keys(store) if "partial" in key]


def test_jobs_run_in_order_and_within_the_limit_of_parallel_jobs(make_host, store):
    host = make_host(max_parallel=2)
    for job_id in ("1", "2", "3"):
        send(store, job_id)
    host.run_pass()
    assert host.launcher.running == ["1", "2"]
    assert status(store, "3")["state"] == "queued"
    assert status(store, "3")["stage"] == "queued (2 jobs ahead)"
    assert status(store, "3")["ahead"] == 2

    host.finish("1")
    host.run_pass()
    host.run_pass()

    assert host.launcher.running == ["2", "3"]


# --- refusals ---


def test_the_status_of_a_rejected_job_has_every_reason(host, store):
    stations = STATIONS.replace(b"2019-01-02", b"2018-13-01")
    send(store, "41", stations=stations, params=PARAMS.replace(b"0.35", b"9"))
    host.run_pass()

    shown = status(store)
    assert shown["state"] == "rejected"
    assert {(p["file"], p["line"], p["column"]) for p in shown["problems"]} == {
        ("stations.csv", 2, "EndDate"),
        ("stations.csv", 3, "EndDate"),
        ("params.csv", 2, "freqmax"),
    }
    assert "stations.csv line 2: EndDate = 2018-13-01T00:00:00 is not a date" in shown["reason"]
    assert lines(store)[-1] == "done"
    assert "rejected" in read(store, lines(store)[0]).decode(), "xcor_log.txt"
    assert host.launcher.workers == {}
    assert store.read_manifest("41") is None


def test_a_job_that_is_too_large_is_rejected(host, store):
    rows = [f"NO,S{k:04},,BHZ,2000-01-01T00:00:00,2000-01-09T00:00:00" for k in range(3000)]
    header = STATIONS.splitlines()[0].decode()
    send(store, "41", stations="\n".join([header, *rows]).encode(), params=PARAMS)
    host.run_pass()

    assert status(store)["state"] == "rejected"
    assert "pair-days" in status(store)["reason"]


def test_an_unknown_source_is_rejected_by_name(host, store):
    params = b"fs,freqmin,freqmax,cc_step,cc_len,maxlag,source\n4,0.1,0.3,300,600,60,elsewhere\n"
    send(store, "41", stations=STATIONS, params=params)
    host.run_pass()

    assert status(store)["state"] == "rejected"
    assert "source = elsewhere cannot be used" in status(store)["reason"]


def test_a_job_is_rejected_with_the_errors_of_every_check(host, store):
    params = b"fs,freqmin,freqmax,cc_step,cc_len,maxlag,source\n4,nan,3,300,600,60,elsewhere\n"
    rows = [f"XX,S{k:04},,BHZ,2010-01-01,2019-12-31" for k in range(300)]
    send(store, "41", stations="\n".join(rows).encode(), params=params)
    host.run_pass()

    found = [(one["file"], one["column"]) for one in status(store)["problems"]]
    assert found == [
        ("params.csv", "freqmin"),
        ("params.csv", "freqmax"),  # above the Nyquist frequency
        ("stations.csv", ""),  # too many pair-days
        ("stations.csv", ""),  # too many bytes
        ("params.csv", "source"),
    ]
    assert len(status(store)["reason"].splitlines()) == 5


def test_exit_code_65_of_a_worker_rejects_the_job(host, store):
    send(store, "41")
    host.run_pass()
    host.launcher.end("41", 65, "error: no station has data")
    host.run_pass()

    assert status(store)["state"] == "rejected"
    assert status(store)["reason"] == "no station has data"
    assert status(store)["log_tail"] == ["one line", "error: no station has data"]


# --- workers that end badly ---


NOTHING = (
    "error: no correlation was made: {reason} (3 of 4 channel-days)\n"
    "channel-days without a correlation:\n"
    "       3  {reason} (such as XX.A..BHZ on 2019-01-01)\n"
    "       1  no window has enough samples (XX.B..BHZ on 2019-01-01)"
)


def test_a_job_without_correlations_fails_at_once_with_reasons_and_summary(host, store):
    text = NOTHING.format(reason="the archive does not have this channel")
    send(store, "41")
    host.run_pass()
    (host.job().folder / "summary.csv").write_bytes(b"day,channel,status\n")
    host.launcher.end("41", 65, text)
    host.run_pass()

    shown = status(store)
    assert (shown["state"], shown["manifest"]) == ("failed", None)
    assert shown["reason"] == text.removeprefix("error: ")
    prefix = f"processed/41/runs/{host.job().attempt}/"
    assert lines(store) == [f"{prefix}xcor_log.txt", f"{prefix}summary.csv", "done"]
    assert read(store, f"{prefix}summary.csv") == b"day,channel,status\n"
    host.time += 1e5
    host.run_pass()
    assert host.launcher.running == []


def test_an_unreachable_source_is_retried_eight_times_even_without_correlations(host, store):
    send(store, "41")
    host.run_pass()
    for count in range(1, 9):
        assert host.launcher.running == ["41"]
        host.launcher.end("41", 69, NOTHING.format(reason="the download failed: 500"))
        host.run_pass()
        assert status(store)["state"] == ("failed" if count == 8 else "queued")
        assert "no correlation was made: the download failed: 500" in status(store)["reason"]
        host.time += 7200
        host.run_pass()

    assert host.launcher.running == []
    assert status(store)["reason"].startswith("failed after 8 attempts: no correlation was made: ")


def test_every_line_of_an_error_of_the_worker_is_in_the_reason(host, store):
    send(store, "41")
    host.run_pass()
    host.launcher.end("41", 65, "error: params.csv line 2: fs is wrong\nparams.csv line 2: too")
    host.run_pass()

    assert status(store)["state"] == "rejected"
    assert status(store)["reason"] == "params.csv line 2: fs is wrong\nparams.csv line 2: too"


@pytest.mark.parametrize(
    ("reasons", "stage"),
    [
        (None, "finished"),  # a manifest of version 0.1.0
        ([], "finished"),
        ([{"reason": "x", "channel_days": 14}, {"reason": "y", "channel_days": 2}],
         "finished; channel-days without a correlation: 16"),
        ("nonsense", "finished"),
        ([{"channel_days": "many"}, 3], "finished"),
    ],
)  # fmt: skip
def test_the_stage_of_a_finished_job_counts_channel_days_without_correlation(
    host, store, reasons, stage
):
    send(store, "41")
    host.run_pass()
    outputs = json.loads(json.dumps(work(host.job().folder)))
    if reasons is not None:
        outputs["summary"]["reasons"] = reasons
    (host.job().folder / "outputs.json").write_text(json.dumps(outputs))
    host.launcher.end("41")
    host.run_pass()

    assert (status(store)["state"], status(store)["stage"]) == ("done", stage)


def broken_missing(folder: Path) -> None:
    (folder / "CORR/2019-01-01.h5").unlink()


def broken_hash(folder: Path) -> None:
    (folder / "CORR/2019-01-01.h5").write_bytes(b"\x89HDF correlatiogs")


def broken_link(folder: Path) -> None:
    (folder / "CORR/2019-01-01.h5").unlink()
    (folder.parent / "secret").write_bytes(b"\x89HDF correlations")
    (folder / "CORR/2019-01-01.h5").symlink_to(folder.parent / "secret")


def broken_list(folder: Path) -> None:
    (folder / "outputs.json").unlink()


def broken_name(folder: Path) -> None:
    text = (folder / "outputs.json").read_text()
    (folder / "outputs.json").write_text(text.replace("CORR/", "../41/CORR/"))


def broken_count(folder: Path) -> None:
    text = (folder / "outputs.json").read_text()
    (folder / "outputs.json").write_text(text.replace('"done": 1', '"done": 0'))


@pytest.mark.parametrize(
    ("breaking", "reason"),
    [
        (broken_missing, "No such file"),
        (broken_hash, "is not the file that outputs.json describes"),
        (broken_link, "cannot be opened as a file"),
        (broken_list, "outputs.json is missing"),
        (broken_name, "not a valid name of a result file"),
        (broken_count, "accounts for 0 of 1 days"),
    ],
)
def test_a_worker_with_broken_outputs_has_failed(make_host, store, breaking, reason):
    host = make_host(max_attempts=1)
    send(store, "41")
    host.run_pass()
    host.finish()
    breaking(host.job().folder)
    host.run_pass()

    assert status(store)["state"] == "failed"
    assert reason in status(store)["reason"]
    assert lines(store)[-1] == "done"
    assert store.read_manifest("41") is None


@pytest.mark.parametrize(
    ("exit_code", "runs"), [(1, 3), (74, 3), (139, 3), (69, 8), (75, 8), (None, 5), (78, 1)]
)
def test_a_job_fails_after_the_attempts_for_its_kind_of_failure(host, store, exit_code, runs):
    send(store, "41")
    host.run_pass()
    for count in range(1, runs + 1):
        assert host.launcher.running == ["41"]
        host.launcher.end("41", exit_code)
        host.run_pass()
        assert status(store)["state"] == ("failed" if count == runs else "queued")
        host.time += 7200
        host.run_pass()

    assert host.launcher.running == []
    assert status(store)["reason"]
    assert read(store, lines(store)[0]) == b"one line\nthe end\n"


def test_the_back_off_doubles_and_survives_a_restart(host, store):
    send(store, "41")
    host.run_pass()
    host.launcher.end("41", 1)
    host.run_pass()
    first = host.job().not_before - host.time

    host.start()
    host.run_pass()
    assert 15 <= first <= 30
    assert host.launcher.running == []
    assert "waiting until" in status(store)["stage"]
    assert "status 1: the end" in status(store)["reason"]

    host.time += first + 1
    host.run_pass()
    assert host.launcher.running == ["41"]
    host.launcher.end("41", 1)
    host.run_pass()
    assert 30 <= host.job().not_before - host.time <= 60


def test_a_second_worker_publishes_under_the_same_attempt(host, store):
    send(store, "41")
    host.run_pass()
    attempt = host.job().attempt
    host.launcher.end("41", None)
    host.run_pass()
    host.time += 60
    host.run_pass()
    host.finish()
    host.run_pass()

    assert store.read_manifest("41")["attempt"] == attempt
    assert status(store)["reason"] is None
    assert host.job().failures == 0


def test_a_worker_that_takes_too_long_is_stopped(make_host, store):
    host = make_host(deadline=100.0)
    send(store, "41")
    host.run_pass()
    host.time += 101
    host.run_pass()
    host.run_pass()

    assert host.launcher.stopped == ["41"]
    assert status(store)["state"] == "failed"
    assert "longer than 100 s" in status(store)["reason"]


# --- cancelling ---


def test_a_running_job_is_cancelled(host, store):
    send(store, "41")
    host.run_pass()
    send(store, "41", cancel=b"")
    host.run_pass()
    host.run_pass()

    assert host.launcher.stopped == ["41"]
    assert status(store)["state"] == "cancelled"
    assert lines(store)[-1] == "done"


def test_a_queued_job_is_cancelled(host, store):
    send(store, "40")
    send(store, "41")
    host.run_pass()
    send(store, "41", cancel=b"")
    host.run_pass()

    assert status(store)["state"] == "cancelled"
    assert host.launcher.running == ["40"]


def test_a_job_that_is_cancelled_before_admission_never_runs(host, store):
    send(store, "41", stations=STATIONS, params=PARAMS, cancel=b"")
    host.run_pass()

    assert status(store)["state"] == "cancelled"
    assert host.launcher.workers == {}


def test_a_published_job_cannot_be_cancelled(host, store):
    host.run_job()
    send(store, "41", cancel=b"")
    host.run_pass()
    host.start()
    host.run_pass()

    assert status(store)["state"] == "done"


def test_a_cancel_marker_alone_is_not_a_job(host, store):
    send(store, "41", cancel=b"")

    assert host.run_pass() == 0
    assert keys(store, "processed/41/") == []


# --- jobs do not get in each other's way ---


def test_an_error_of_one_job_does_not_delay_another(host, store, monkeypatch, caplog):
    for job_id in ("1", "2"):
        send(store, job_id)
    host.config = replace(host.config, max_parallel=2)
    host.start()
    host.run_pass()
    host.finish("1")
    host.finish("2")
    publish = Bucket.publish_file

    def refuse_one(self, key, file, sha256):
        if key.startswith("processed/1/"):
            raise UnreachableError("S3 cannot do that now")
        publish(self, key, file, sha256)

    monkeypatch.setattr(Bucket, "publish_file", refuse_one)
    host.run_pass()
    assert status(store, "2")["state"] == "done"
    assert f"job 1 attempt {host.job('1').attempt}: S3 cannot do that now" in caplog.text

    monkeypatch.undo()
    host.run_pass()
    assert status(store, "1")["state"] == "done"


def test_ignored_keys_are_logged_once(host, store, caplog):
    caplog.set_level(logging.INFO)
    store.client.put_object(Bucket="xcor", Key="incoming/999/../777/params.csv", Body=b"")
    host.run_pass()
    host.run_pass()

    assert caplog.text.count("1 keys under incoming/ are ignored") == 1
    assert {path.name for path in host.config.work_dir.iterdir()} == {".lock", ".owner"}


TROUBLES = {
    "publish_file": UnreachableError("S3 cannot do that now"),
    "put_files": UnreachableError("S3 cannot do that now"),
    "put_status": ConfigError("S3 refuses it"),
    "commit_manifest": UnreachableError("S3 does not answer"),
    "read_manifest": XcorError("it is damaged"),
    "write_json": DiskError("no space left"),
    "start": DiskError("no worker can be started"),
    "inspect": UnreachableError("the engine does not answer"),
    "read_outputs": BrokenOutputs("outputs.json is missing"),
}


@pytest.mark.parametrize("what", TROUBLES)
def test_a_failing_job_does_not_delay_the_publication_of_another(
    make_host, store, monkeypatch, what
):
    """I15: whichever step of the first job fails repeatedly, the second is published at once."""
    host = make_host(max_parallel=3)
    for job_id in ("1", "2"):
        send(store, job_id)
    if what != "start":
        host.run_pass()
        host.finish("1")
        host.finish("2")
    owners = {"write_json": jobs, "read_outputs": worker_outputs, "start": host.launcher}
    owner = owners.get(what, host.launcher if what == "inspect" else Bucket)
    whole, failed = getattr(owner, what), []

    def fail_the_first(*arguments, **named):
        about = " ".join(str(a) for a in arguments)
        if " 1 " in f" {about.replace('/', ' ')} " or "job 1 " in about:
            failed.append(what)
            raise TROUBLES[what]
        return whole(*arguments, **named)

    monkeypatch.setattr(owner, what, fail_the_first)
    host.run_pass()
    if what == "start":
        host.finish("2")
        host.run_pass()

    assert status(store, "2")["state"] == "done"
    assert failed
    send(store, "3")
    host.run_pass()
    host.finish("3")
    host.run_pass()
    assert status(store, "3")["state"] == "done", "a later job is not delayed either"


# --- crashes, restarts, other daemons ---


def test_a_queue_position_is_published_again_after_a_restart(host, store):
    for number in range(8):
        send(store, f"4{number}")
    host.run_pass()
    assert status(store, "47")["stage"] == "queued (7 jobs ahead)"

    host.start()
    for _ in range(2):
        host.finish(host.launcher.running[0])
        host.run_pass()
    host.time += 30
    host.run_pass()

    assert status(store, "47")["stage"] == "queued (5 jobs ahead)"


def test_no_queue_position_is_published_for_a_job_of_another_daemon(make_host, store):
    first, second = make_host("one"), make_host("two", max_parallel=1)
    send(store, "41")
    first.run_pass()
    first.launcher.end("41", 1)
    first.run_pass()  # the job backs off
    shown = status(store)["stage"]
    for number in range(6):
        send(store, f"3{number}")
    second.run_pass()
    second.time += 60
    second.run_pass()

    assert status(store)["stage"] == shown


def test_the_work_folder_stays_within_its_quota(make_host, store):
    """I11: space is freed by removing ended jobs, never running ones."""
    quota = 4_000_000  # bytes; a job is estimated at 1.72 MB and takes 1.5 MB
    host = make_host(quota=float(quota), max_parallel=3)
    for number in range(8):
        send(store, str(100 + number))
    used = []
    for _ in range(20):
        host.run_pass()
        for job_id in host.launcher.running:
            work(host.job(job_id).folder, b"x" * 1_500_000)
            used.append(size_of(host.config.work_dir))
            host.launcher.end(job_id)

    assert all(status(store, str(100 + k))["state"] == "done" for k in range(8))
    assert quota / 2 < max(used) <= quota
    assert len(list(host.config.work_dir.glob("*/*"))) < 8, "the oldest folders were removed"


def test_an_interrupted_staging_is_repeated(host, store):
    half = host.config.work_dir / "20200615_102819/41"
    half.mkdir(parents=True)
    (half / "stations.csv").write_bytes(b"half")
    host.start()
    host.run_job()

    assert not half.exists()
    assert status(store)["state"] == "done"


def test_a_file_replaced_between_listing_and_copy_is_staged_in_the_next_pass(host, store):
    send(store, "41")
    listing = store.waiting()
    send(store, "41", params=PARAMS.replace(b"0.12", b"0.13"))
    store.waiting, whole = lambda skip: listing, store.waiting
    host.run_pass()
    assert host.daemon.jobs == {}

    store.waiting = whole
    host.run_pass()
    assert b"0.13" in (host.job().folder / "params.csv").read_bytes()


def test_a_worker_that_was_started_but_not_recorded_is_adopted(host, store):
    send(store, "41")
    host.run_pass()
    host.job().changed(state="queued")  # as if the daemon had died before recording the start
    host.start()
    host.launcher.start = None
    host.run_pass()

    assert host.job().state == "running"
    host.run_pass()
    assert status(store)["state"] == "running", "its deadline counts from its adoption"


@pytest.mark.parametrize(
    "operation", ["put_files", "put_status", "commit_manifest", "publish_file"]
)
@pytest.mark.parametrize("is_after", [False, True])
def test_a_job_is_published_once_wherever_the_daemon_dies(
    host, store, monkeypatch, operation, is_after
):
    send(store, "41")
    host.run_pass()
    host.finish()
    original = getattr(Bucket, operation)

    def die(self, *arguments):
        if is_after:
            original(self, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Bucket, operation, die)
    with pytest.raises(KeyboardInterrupt):
        host.run_pass()
    monkeypatch.undo()
    before = store.read_manifest("41")
    host.start()
    host.run_pass()

    assert status(store)["state"] == host.job().state == "done"
    assert before in (None, store.read_manifest("41"))
    assert lines(store)[-1] == "done"


def test_one_of_two_daemons_publishes_and_both_record_it(make_host, store):
    first, second = make_host("one", lease=0.0), make_host("two", lease=0.0)
    send(store, "41")
    for host in (first, second):
        host.run_pass()
        host.finish()
    first.run_pass()
    second.run_pass()

    assert first.job().attempt != second.job().attempt
    assert store.read_manifest("41")["attempt"] == first.job().attempt
    assert second.job().state == "done"
    assert all(first.job().attempt in line for line in lines(store)[:-1])
    assert status(store)["state"] == "done"


def test_a_failure_does_not_hide_what_another_daemon_published(make_host, store):
    first, second = make_host("one", lease=0.0), make_host("two", max_attempts=1, lease=0.0)
    send(store, "41")
    second.run_pass()
    first.run_job()
    second.launcher.end("41", 1)
    second.run_pass()

    assert status(store)["state"] == "done"
    assert second.job().state == "done"


def test_a_job_that_ended_elsewhere_is_not_run_again(make_host, store):
    make_host("one").run_job()
    send(store, "42", stations=STATIONS, params=b"nonsense")
    make_host("one").run_pass()

    other = make_host("two")

    assert other.run_pass() == 0
    assert other.daemon.jobs == {}
    other.store.read_status = None  # a second request would fail
    assert other.run_pass() == 0


def test_missing_views_of_a_published_job_are_written(make_host, store):
    make_host("one").run_job()
    for name in ("status.json", "files.txt"):
        store.client.delete_object(Bucket="xcor", Key=f"processed/41/{name}")
    make_host("two").run_pass()

    assert status(store)["state"] == "done"
    assert lines(store)[-1] == "done"


def test_a_job_of_a_lost_machine_runs_on_another(make_host, store, monkeypatch):
    send(store, "41")
    lost = make_host("one")
    lost.run_pass()
    assert status(store)["state"] == "running"

    other = make_host("two")
    assert other.run_pass() == 0, "another daemon holds its lease"
    assert other.launcher.running == []
    find = store.find
    monkeypatch.setattr(store, "find", lambda key: replace(find(key), age=1e9))  # s, by S3's clock
    other.daemon.leases.now = lambda: 1e9  # and by this machine's clock
    assert other.run_pass() == 1
    assert other.launcher.running == ["41"]

    other.finish()
    other.run_pass()
    assert status(store)["state"] == "done"


def test_a_work_folder_belongs_to_one_daemon(host):
    other = Daemon(host.store, host.launcher, host.config)

    with host.daemon.locked(), pytest.raises(BusyError), other.locked():
        pass


# --- stacking ---


def test_a_stacking_job_gets_the_folder_of_the_correlations(host, store):
    host.run_job("41")
    send(store, "50", stacking_params=STACKING)
    host.run_pass()

    assert host.job("50").kind == "stack"
    assert host.launcher.jobs["50"].corr == str(host.job("41").folder / "CORR")
    host.finish("50")
    host.run_pass()
    assert status(store, "50")["state"] == "done"
    assert status(store, "50")["kind"] == "stack"


def test_correlations_of_another_machine_are_fetched(make_host, store):
    make_host("one").run_job("41")
    send(store, "50", stacking_params=STACKING)
    host = make_host("two")
    host.run_pass()

    corr = Path(host.launcher.jobs["50"].corr)
    assert corr == host.job("50").folder / "input/CORR"
    assert [path.name for path in corr.iterdir()] == ["2019-01-01.h5"]


def test_correlations_that_cannot_be_stacked_are_explained(host, store):
    send(store, "50", stacking_params=STACKING)
    host.run_pass()
    assert "job = 41 is not a job of this service" in status(store, "50")["reason"]

    send(store, "41")
    host.run_pass()
    send(store, "51", stacking_params=STACKING)
    host.run_pass()
    assert status(store, "51")["state"] == "rejected"
    assert "job = 41 is still running" in status(store, "51")["reason"]

    send(store, "41", cancel=b"")
    host.run_pass()
    host.run_pass()
    send(store, "52", stacking_params=STACKING)
    host.run_pass()
    assert "job = 41 was cancelled" in status(store, "52")["reason"]


def test_a_stack_cannot_be_stacked(host, store):
    host.run_job("41")
    host.run_job("50", stacking_params=STACKING)
    send(store, "60", stacking_params=STACKING.replace(b"41", b"50"))
    host.run_pass()

    assert "job = 50 has no correlations to stack" in status(store, "60")["reason"]


# --- loops ---


@pytest.mark.parametrize(
    ("interval", "left", "low", "high"),
    [(0.0, 3, 0.8, 1.2), (0.0, 0, 4.0, 6.0), (1.0, 0, 1.0, 1.0)],
)
def test_the_interval_is_shorter_while_jobs_are_unfinished_and_has_jitter(
    make_host, interval, left, low, high
):
    host, waits = make_host(interval=interval), []

    class Stop(threading.Event):
        def wait(self, timeout: float) -> bool:
            waits.append(timeout)
            return False

        def is_set(self) -> bool:
            return len(waits) == 300

    host.daemon.run_pass = lambda: left
    host.daemon.run_forever(Stop())

    assert low <= min(waits) <= max(waits) <= high
    assert max(waits) - min(waits) >= 0.9 * (high - low), "they have jitter"


def test_the_interval_doubles_while_s3_is_unreachable(make_host):
    host, waits = make_host(), []

    class Stop(threading.Event):
        def wait(self, timeout: float) -> bool:
            waits.append(timeout)
            return False

        def is_set(self) -> bool:
            return len(waits) == 12

    def away() -> int:
        raise UnreachableError("away")

    host.daemon.run_pass = away
    host.daemon.run_forever(Stop())

    for number, wait in enumerate(waits):
        assert 0.8 <= wait / min(2.0**number, 60) <= 1.2


def test_run_once_waits_until_all_jobs_have_ended(make_host, store):
    host = make_host()
    send(store, "41")

    class Stop(threading.Event):
        def wait(self, timeout: float) -> bool:
            host.finish()  # between two passes
            return False

    ended = host.daemon.run_once(wait=True, stop=Stop())

    assert [(job.id, job.state) for job in ended] == [("41", "done")]


def test_the_daemon_outlives_an_outage_of_s3(make_host, store):
    host, stop, calls = make_host(interval=0.05), threading.Event(), []

    def run_pass() -> int:
        calls.append(len(calls))
        if len(calls) == 4:
            stop.set()
        if len(calls) in (1, 3):
            raise UnreachableError("away")
        if len(calls) == 4:
            raise ConfigError("the rights are gone")
        return 0

    host.daemon.run_pass = run_pass
    host.daemon.run_forever(stop)

    assert calls == [0, 1, 2, 3]


def test_a_wrong_setting_ends_the_daemon_at_once(store, tmp_path):
    host = Host(Bucket(store.client, "no-such-bucket"), tmp_path)

    with pytest.raises(ConfigError, match="no-such-bucket"):
        host.daemon.run_forever(threading.Event())


# --- with a real server, real processes and real signals ---

DAEMON = """
import logging, sys
from pathlib import Path
from xcor_daemon.config import Config
from xcor_daemon.service.daemon import Daemon
from xcor_daemon.service.signals import stop_on_signals
from xcor_daemon.storage import jobs, worker_outputs
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.workers.local_launcher import LocalLauncher

logging.basicConfig(level=logging.INFO)
endpoint, name, work_dir, worker, interval = sys.argv[1:]
config = Config(bucket=name, endpoint_url=endpoint, work_dir=Path(work_dir), settle=0,
                interval=float(interval), source="archive:/data")
stop = stop_on_signals()
launcher = LocalLauncher(lambda job: [sys.executable, worker, str(job.folder)], {})
daemon = Daemon(Bucket.connect(config), launcher, config, backoff=0.1)
with daemon.locked():
    daemon.run_forever(stop)
"""

WORKER = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(SUPPORT)!r})
from hosting import work
folder = Path(sys.argv[1])
print("up", flush=True)
while not (folder / "go").exists():
    time.sleep(0.02)
work(folder)
"""


@pytest.fixture
def run_daemon(bucket, tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts daemons on one work folder, whose workers wait for a file named `go`."""
    (tmp_path / "worker.py").write_text(WORKER)
    started = []
    arguments = [bucket.server.endpoint, bucket.name, tmp_path / "work", tmp_path / "worker.py"]

    def run(interval: float = 0.1) -> subprocess.Popen:
        command = [sys.executable, "-c", DAEMON, *map(str, [*arguments, interval])]
        started.append(subprocess.Popen(command, env={**os.environ, **bucket.server.environ}))
        return started[-1]

    yield run
    for job in load_jobs(tmp_path / "work"):
        (job.folder / "go").touch()
    for daemon in started:
        daemon.kill()
        daemon.wait()


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_daemon_adopts_the_worker_of_one_that_ended(bucket, run_daemon, tmp_path, number):
    store = Bucket(bucket.server.client(), bucket.name)
    send(store, "41")
    daemon = run_daemon()
    wait_until(lambda: (status(store) or {}).get("log_tail") == ["up"])
    (job,) = load_jobs(tmp_path / "work")

    daemon.send_signal(number)
    assert daemon.wait(10) == (0 if number == signal.SIGTERM else -9)
    run_daemon()
    (job.folder / "go").touch()
    wait_until(lambda: status(store)["state"] == "done")

    assert store.read_manifest("41")["attempt"] == job.attempt
    assert status(store)["log_tail"] == ["up"], "one worker has run"


@pytest.mark.real
def test_a_worker_killed_from_outside_is_retried(bucket, run_daemon, tmp_path):
    store = Bucket(bucket.server.client(), bucket.name)
    send(store, "41")
    run_daemon()
    wait_until(lambda: (status(store) or {}).get("log_tail") == ["up"])
    (job,) = load_jobs(tmp_path / "work")

    wait_until(
        lambda: "worker" in read_record(job.folder)
    )  # recorded at about the same time as its first line
    os.kill(read_record(job.folder)["worker"]["pid"], signal.SIGKILL)
    wait_until(lambda: status(store)["log_tail"] == ["up", "up"])
    (job.folder / "go").touch()
    wait_until(lambda: status(store)["state"] == "done")

    assert load_jobs(tmp_path / "work")[0].killed == 1


@pytest.mark.real
def test_the_end_of_a_worker_and_sigterm_end_the_wait_between_passes(bucket, run_daemon, tmp_path):
    store = Bucket(bucket.server.client(), bucket.name, settle=0)
    send(store, "41")
    wait_until(lambda: store.waiting().jobs[0].is_settled)
    daemon = run_daemon(interval=3600)  # s until its second pass
    wait_until(lambda: load_jobs(tmp_path / "work"))
    (load_jobs(tmp_path / "work")[0].folder / "go").touch()

    wait_until(lambda: (status(store) or {}).get("state") == "done")
    daemon.send_signal(signal.SIGTERM)

    assert daemon.wait(10) == 0


@pytest.mark.real
def test_a_real_worker_is_stopped_when_its_job_is_cancelled(bucket, run_daemon, tmp_path):
    store = Bucket(bucket.server.client(), bucket.name)
    send(store, "41")
    run_daemon()
    wait_until(lambda: (status(store) or {}).get("log_tail") == ["up"])

    send(store, "41", cancel=b"")

    wait_until(lambda: status(store)["state"] == "cancelled")
    (job,) = load_jobs(tmp_path / "work")
    worker = read_record(job.folder)["worker"]["pid"]
    assert not Path(f"/proc/{worker}").exists()
