"""The commands of operators and their output."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result
from hosting import PARAMS, STATIONS, FakeLauncher, bucket_of_moto, send, work

from xcor_daemon import logs
from xcor_daemon.cli import main
from xcor_daemon.config import Config
from xcor_daemon.service.daemon import Daemon
from xcor_daemon.service.metrics import Metrics
from xcor_daemon.storage import operator_commands
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.storage.jobs import Job


class Host:
    """A daemon, the commands of its operator, and workers that the test controls."""

    def __init__(self, store: Bucket, folder: Path, **settings) -> None:
        self.store, self.folder, self.launcher, self.time = store, folder, FakeLauncher(), 1.8e9
        base = {"bucket": "xcor", "work_dir": folder, "source": "archive:/data", "settle": 0.0}
        self.config = Config(**base, **settings)
        self.daemon = Daemon(store, self.launcher, self.config, now=lambda: self.time)
        with self.daemon.locked():
            pass
        self.run_pass = self.daemon.run_pass

    def call(self, *arguments: str) -> Result:
        command = ["--bucket", "xcor", "--work-dir", str(self.folder), *arguments]
        return CliRunner().invoke(main, command, env={"XCOR_SETTLE": "0"})

    def job(self, job_id: str = "41") -> Job:
        return self.daemon.jobs[job_id]

    def state(self, job_id: str = "41") -> str:
        return self.store.read_status(job_id)["state"]

    def fail(self, job_id: str = "41", times: int = 3) -> None:
        for _ in range(times):
            self.run_pass()
            self.launcher.end(job_id, 1)
            self.run_pass()
            self.time += 7200

    def finish(self, job_id: str = "41") -> None:
        work(self.job(job_id).folder)
        self.launcher.end(job_id)
        self.run_pass()


@pytest.fixture
def make_host(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with bucket_of_moto() as bucket:
        yield lambda **settings: Host(bucket, tmp_path / "w", **settings)


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    return make_host()


def test_a_failed_job_is_retried(host):
    send(host.store, "41")
    host.fail()
    assert host.state() == "failed"

    assert host.call("retry", "41").exit_code == 0
    host.run_pass()

    assert host.launcher.running == ["41"], "a worker of its own number"
    assert host.state() == "running"
    host.finish()
    assert host.state() == "done"
    assert operator_commands.pending(host.folder) == []


def test_a_job_that_failed_elsewhere_is_retried_here(make_host, tmp_path):
    first = make_host()
    send(first.store, "41")
    first.fail()
    other = Host(first.store, tmp_path / "other")
    assert other.run_pass() == 0

    other.call("retry", "41")
    other.run_pass()
    other.run_pass()

    assert other.launcher.running == ["41"]


def test_a_published_job_is_not_retried(host, caplog):
    send(host.store, "41")
    host.run_pass()
    host.finish()
    host.call("retry", "41")
    host.run_pass()

    assert "submit it again" in caplog.text
    assert host.state() == "done"


def test_an_operator_cancels_a_job(host):
    send(host.store, "41")
    host.run_pass()
    host.call("cancel", "41")
    host.run_pass()
    host.run_pass()

    assert host.state() == "cancelled"
    assert "by the operator" in host.store.read_status("41")["reason"]


def test_a_command_that_is_posted_while_another_runs_is_not_lost(tmp_path):
    operator_commands.post(tmp_path, "41", "hold")
    (first,) = operator_commands.pending(tmp_path)
    operator_commands.post(tmp_path, "41", "release")

    operator_commands.remove(first)

    (later,) = operator_commands.pending(tmp_path)
    assert later.action == "release"
    operator_commands.remove(later)
    operator_commands.remove(later)  # nothing is left of it
    assert operator_commands.pending(tmp_path) == []


def test_a_held_job_waits_without_blocking_others(host):
    send(host.store, "41")
    send(host.store, "42")
    host.call("hold", "41")
    host.run_pass()

    assert host.launcher.running == ["42"]
    assert host.store.read_status("41")["stage"] == "held by the operator of the service"
    host.finish("42")
    assert host.run_pass() == 0, "a held job is nothing to wait for"

    host.call("release", "41")
    host.run_pass()
    assert host.launcher.running == ["41"]


def test_a_command_for_an_unknown_job_is_rejected_or_dropped(host, caplog):
    assert "is not a job id" in host.call("cancel", "../../etc").stderr
    host.call("cancel", "99")
    host.run_pass()

    assert "cannot cancel a job that is not on this machine" in caplog.text
    assert operator_commands.pending(host.folder) == []


def test_the_log_of_a_job_is_read_here_or_from_s3(host, tmp_path):
    send(host.store, "41")
    host.run_pass()
    host.finish()

    assert host.call("logs", "41").stdout == "one line\nthe end\n"
    elsewhere = Host(host.store, tmp_path / "other")
    assert elsewhere.call("logs", "41").stdout == "one line\nthe end\n"
    assert "has no log" in elsewhere.call("logs", "42").stderr


def test_gc_removes_ended_jobs_and_keeps_recent_failures(host):
    for job_id in ("41", "42"):
        send(host.store, job_id)
    host.fail("41")
    host.daemon.jobs["41"] = host.job("41").changed(submitted_at=4e9)  # not long ago
    host.run_pass()
    host.finish("42")
    folder = host.job("42").folder

    shown = host.call("gc", "--dry-run").stdout
    assert f"{folder} done" in shown
    assert folder.exists()
    assert host.call("gc").stdout.splitlines() == shown.splitlines()
    assert not folder.exists()
    assert host.job("41").folder.exists()


def test_a_damaged_job_is_set_aside_and_staged_from_s3_again(make_host):
    host = make_host()
    send(host.store, "41")
    host.run_pass()
    (host.job().folder / "job.json").write_bytes(b"{")
    with pytest.raises(Exception, match="rebuild-state"):
        make_host()

    result = host.call("rebuild-state").stdout

    assert "job 41: set aside" in result
    again = make_host()
    again.run_pass()
    assert again.launcher.running == ["41"]


def test_sync_lists_the_jobs_to_copy_and_the_reasons_against_others(host):
    send(host.store, "41")
    host.run_pass()
    send(host.store, "42")
    send(host.store, "43", stations=STATIONS)
    send(host.store, "44")
    host.run_pass()
    send(host.store, "44", params=PARAMS.replace(b"0.12", b"0.13"))
    send(host.store, "45")
    host.store.client.put_object(Bucket="xcor", Key="incoming/999/../7/params.csv", Body=b"")

    lines = host.call("sync").stdout.splitlines()

    assert sorted(lines) == [
        "! 'incoming/999/../7/params.csv'",
        "* 44 params.csv stations.csv",
        "+ 45 params.csv stations.csv",
        "- 43 stations.csv: incomplete, some files are missing",
        "= 41 params.csv stations.csv",
        "= 42 params.csv stations.csv",
    ]
    assert host.call("sync", "--dry-run").stdout.splitlines() == lines  # as version 0.1.0 required


def test_doctor_passes_on_a_working_service(host):
    result = host.call("doctor")

    assert result.exit_code == 0, result.stdout
    assert {line.split()[0] for line in result.stdout.splitlines()} <= {"ok", "warn"}
    assert "If-None-Match and If-Match are respected" in result.stdout


FACTS = ("access lists", "policy", "versions", "expiry")


def test_doctor_checks_the_configuration_of_the_bucket(host):
    def found() -> dict[str, list[str]]:
        lines = json.loads(host.call("doctor", "--json").stdout)
        return {line["name"]: [line["state"], line["text"]] for line in lines}

    bare = found()
    assert [bare[name][0] for name in FACTS] == ["warn"] * 4

    client = host.store.client
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    client.put_public_access_block(
        Bucket="xcor", PublicAccessBlockConfiguration=dict.fromkeys(blocks, True)
    )
    client.put_bucket_versioning(Bucket="xcor", VersioningConfiguration={"Status": "Enabled"})
    rule = {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "incoming/"}}
    rule |= {"Expiration": {"Days": 30}}
    rule |= {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}}
    client.put_bucket_lifecycle_configuration(
        Bucket="xcor", LifecycleConfiguration={"Rules": [rule]}
    )
    tls = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::xcor/*"}
    tls["Condition"] = {"Bool": {"aws:SecureTransport": "false"}}
    client.put_bucket_policy(Bucket="xcor", Policy=json.dumps({"Statement": [tls]}))
    good = found()
    assert [good[name][0] for name in FACTS] == ["ok"] * 4

    opened = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"]}
    opened["Resource"] = "*"
    client.put_bucket_policy(Bucket="xcor", Policy=json.dumps({"Statement": [tls, opened]}))
    assert found()["policy"][0] == "fail"
    assert "s3:listbucket is allowed to everyone" in found()["policy"][1]


def test_doctor_names_the_settings_that_it_may_not_read(host, monkeypatch):
    def denied(**_):
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "Get")

    monkeypatch.setattr("xcor_daemon.storage.s3_client.connect", lambda _: host.store.client)
    for name in ("public_access_block", "bucket_policy", "bucket_versioning"):
        monkeypatch.setattr(host.store.client, f"get_{name}", denied)

    result = host.call("doctor")

    assert result.exit_code == 0
    assert "ok    bucket's setup: access lists, policy, versions: not readable" in result.stdout


def test_status_watch_repeats_until_ctrl_c(host, monkeypatch):
    send(host.store, "41")
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        host.run_pass()
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("xcor_daemon.operations.commands.time.sleep", wait)
    result = host.call("status", "--watch")

    assert result.exit_code == 0
    assert waits == [2, 2, 2]
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith("41 ")]
    states = [[word for word in line if word in ("waiting", "running")] for line in lines]
    assert states == [["waiting"], ["running"], ["running"]]


def test_doctor_names_the_failed_checks(host):
    command = ["--bucket", "elsewhere", "--work-dir", "/proc/nowhere", "doctor"]
    result = CliRunner().invoke(main, command)

    assert result.exit_code == 1
    assert "fail  bucket: S3 bucket 'elsewhere' does not exist" in result.stdout
    assert "fail  work folder: /proc/nowhere" in result.stdout


# --- logs and figures ---


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("xcor_daemon", logging.INFO, "", 0, message, arguments, None)


def test_a_json_line_has_its_job_in_a_field():
    line = json.loads(logs.JsonLines().format(record("job %s: staged as %s", "41", "/w/41")))

    assert (line["job"], line["level"], line["event"]) == ("41", "INFO", "staged as /w/41")


def test_untrusted_text_cannot_begin_a_log_line():
    text = logs.TextLines().format(record("job 41: %s", "bad\njob 42: done\x1b[2J"))

    assert "\n" not in text
    assert "\x1b" not in text
    assert text.endswith("job 41: bad\\njob 42: done\\x1b[2J")


def test_metrics_are_written_for_prometheus(make_host, tmp_path):
    host = make_host(metrics_file=str(tmp_path / "xcor.prom"))
    send(host.store, "41")
    host.run_pass()

    text = (tmp_path / "xcor.prom").read_text()

    assert 'xcor_jobs{state="running"} 1\n' in text
    assert "# TYPE xcor_s3_errors_total counter" in text
    assert "# TYPE xcor_disk_free_bytes gauge" in text
    assert len(list(tmp_path.glob("*.partial"))) == 0


def test_metrics_are_an_emf_line():
    line = json.loads(Metrics({"xcor_jobs": {"done": 2}, "xcor_pass_seconds": 0.5}).emf(2.0))

    (about,) = line["_aws"]["CloudWatchMetrics"]
    assert line["_aws"]["Timestamp"] == 2000
    assert {"Name": "xcor_pass_seconds", "Unit": "Seconds"} in about["Metrics"]
    assert all(metric["Name"] in line for metric in about["Metrics"])
    assert line["xcor_jobs.done"] == 2
