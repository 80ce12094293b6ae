"""The service under a real systemd: a container boots, and a release is installed there."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosting import PARAMS, STATIONS, send, wait_until
from machine import SOCKET, Machine, boot

from xcor_daemon.storage.bucket import Bucket

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts/aws"))
import release

# Includes building the machine, and its base image if that is new.
pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
# A day without data in the archive: a worker ends within seconds.
EMPTY = {"stations": STATIONS.replace(b"2019-01-0", b"2019-02-0"), "params": PARAMS}
SOON = "[Service]\nRestartSec=100ms\n"


@pytest.fixture(scope="module")
def machine(docker_host, base_image, norsar, s3_server, tmp_path_factory) -> Iterator[Machine]:
    bundle, _ = release.build(tmp_path_factory.mktemp("dist"))
    with boot(docker_host, base_image, bundle, {norsar: "/opt/norsar"}) as made:
        made.drop_in(SOON)
        made.set(XCOR_SOURCE="archive:/opt/norsar", XCOR_INTERVAL="0.3", XCOR_SETTLE="0",
                 XCOR_PROCESSES="1", **s3_server.environ)  # fmt: skip
        yield made


@pytest.fixture
def store(bucket, machine) -> Iterator[Bucket]:
    """A bucket configured in the service, which is stopped at the end."""
    machine.set(XCOR_BUCKET=bucket.name, XCOR_FAULT="")
    # A worker of the previous test survives its daemon and may still be writing there.
    wait_until(lambda: machine.sh("rm -rf /var/lib/xcor/work && echo gone", False) == "gone")
    yield Bucket(bucket.server.client(), bucket.name, settle=0)
    machine.sh("systemctl stop xcor-poll.timer xcor-poll.service xcor-daemon", check=False)
    machine.sh("systemctl reset-failed", check=False)


def has_ended(store: Bucket, state: str = "done") -> bool:
    return (store.read_status("41") or {}).get("state") == state


@pytest.fixture
def watchdog(machine) -> Iterator[None]:
    """A short watchdog timeout; in other tests it would expire on a busy machine."""
    machine.drop_in(f"{SOON}WatchdogSec=6s\n")
    yield
    machine.drop_in(SOON)


def stop_worker(machine: Machine) -> int:
    """Wait for the worker of a job and suspend it; returns its PID."""
    wait_until(lambda: machine.worker_of("41"), 200)
    worker = machine.worker_of("41")
    machine.sh(f"kill -STOP {worker}")
    return worker


def test_the_service_is_ready_after_a_pass_and_runs_as_its_user(machine, store):
    machine.sh("systemctl start xcor-daemon")

    assert machine.show("ActiveState") == "active"
    assert machine.show("StatusText") == "unfinished jobs: 0"
    wait_until(lambda: store.find("processed/_service.json") is not None)
    process = machine.show("MainPID")
    status = machine.sh(f"cat /proc/{process}/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Uid"].split() == ["10001"] * 4
    assert (facts["CapEff"], facts["CapBnd"]) == ("0" * 16, "0" * 16)
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert machine.sh("stat --format='%U %a' /var/lib/xcor") == "xcor 700"
    # For the service, only its own folders are writable.
    seen = machine.sh(f"awk '$5 == \"/\" {{print $6}}' /proc/{process}/mountinfo")
    assert seen.split(",")[0] == "ro"


def test_a_job_survives_a_stop_and_a_start_adopts_it(machine, store):
    machine.sh("systemctl start xcor-daemon")
    send(store, "41")
    worker = stop_worker(machine)

    machine.sh("systemctl stop xcor-daemon")
    assert machine.show("ActiveState") == "inactive"
    assert machine.show("Result") == "success"
    assert machine.show("ExecMainStatus") == "0"
    assert machine.state_of(worker) == "T"

    machine.sh("systemctl start xcor-daemon")
    machine.sh(f"kill -CONT {worker}")
    wait_until(lambda: has_ended(store), 600)  # its kernels are compiled, in the sandbox
    assert machine.worker_of("41") == worker
    assert len(store.read_manifest("41")["files"]) > 5


def test_a_hung_loop_is_restarted_by_the_watchdog_and_continues_its_job(machine, watchdog, store):
    machine.set(XCOR_FAULT="record.running.after:hang")
    machine.sh("systemctl start xcor-daemon")
    before = machine.show("MainPID")
    send(store, "41", **EMPTY)

    machine.wait_for("NRestarts", "1")
    machine.wait_for_words("Watchdog timeout")
    wait_until(lambda: has_ended(store, "failed"), 600)  # no correlation was made

    assert machine.show("MainPID") != before
    assert machine.show("NRestarts") == "1"
    assert machine.journal().count("fault: hang") == 1


def test_a_hung_loop_still_stops_on_sigterm(machine, store):
    machine.set(XCOR_FAULT="record.running.before:hang")
    machine.sh("systemctl start xcor-daemon")
    send(store, "41", **EMPTY)
    wait_until(lambda: machine.journal().endswith("hang at record.running.before\n"), 60)

    machine.sh("systemctl stop xcor-daemon")

    assert machine.show("Result") == "success"
    machine.wait_for_words("stopped during a pass")


def test_a_killed_daemon_is_restarted(machine, store):
    machine.sh("systemctl start xcor-daemon")
    machine.sh("systemctl kill --signal=KILL xcor-daemon")

    machine.wait_for("NRestarts", "1")
    machine.wait_for("ActiveState", "active")


def test_a_start_with_a_wrong_setting_is_not_retried(machine, store):
    machine.set(XCOR_BUCKET="no-such-bucket")
    machine.sh("systemctl start xcor-daemon", check=False)

    assert machine.show("ActiveState") == "failed"
    assert machine.show("ExecMainStatus") == "78"
    assert machine.show("NRestarts") == "0"
    machine.wait_for_words("does not exist")


def test_a_start_waits_for_s3(machine, store):
    machine.set(AWS_ENDPOINT_URL_S3="http://127.0.0.1:1")
    machine.sh("systemctl start --no-block xcor-daemon")

    wait_until(lambda: "Could not connect" in machine.show("StatusText"), 60)
    assert machine.show("ActiveState") == "activating"
    machine.sh("systemctl stop xcor-daemon")
    machine.set(AWS_ENDPOINT_URL_S3=store.endpoint)


def test_a_timer_runs_a_pass_each_second_and_finds_earlier_workers(machine, store):
    send(store, "41", **EMPTY)
    began = time.monotonic()
    machine.sh("systemctl start xcor-poll.timer")
    wait_until(lambda: has_ended(store, "failed"), 600)  # no correlation was made
    machine.sh("systemctl stop xcor-poll.timer")
    seconds = time.monotonic() - began

    def passes() -> int:
        return machine.journal("xcor-poll").count("Finished")

    wait_until(lambda: passes() >= 2)  # the last one may still be ending
    assert passes() <= seconds + 1
    wait_until(lambda: machine.show("ActiveState", "xcor-poll.service") == "inactive")
    assert machine.show("Result", "xcor-poll.service") == "success"


def test_the_daemon_reaches_the_engine_from_the_stricter_sandbox(machine, store):
    machine.sh("/opt/xcor/systemd/install /opt/xcor/venv")
    machine.set(XCOR_LAUNCHER="docker", XCOR_IMAGE="xcor-systemd-test:no-such-image",
                DOCKER_HOST=f"unix://{SOCKET}")  # fmt: skip
    machine.sh("systemctl start xcor-daemon")
    send(store, "41", **EMPTY)

    wait_until(lambda: "No such image" in machine.journal(), 60)
    assert machine.show("ActiveState") == "active"
    assert machine.show("MemoryDenyWriteExecute") == "yes"
    process, group = machine.show("MainPID"), machine.sh(f"stat --format=%g {SOCKET}")
    assert machine.sh(f"awk '/^Groups:/ {{print $2}}' /proc/{process}/status") == group
