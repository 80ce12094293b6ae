"""kill -9 before and after every step that leaves something behind, and at random moments."""

from __future__ import annotations

import itertools
import random
import signal
import time

import pytest
from hosting import PARAMS, STACKING, STATIONS, wait_until

from xcor_daemon.storage import operator_commands
from xcor_daemon.storage.fault_injection import ON_DISK, POINTS, STEPS

pytestmark = pytest.mark.real

# Steps that are reached only with special jobs.
_OF_REFUSED = {"record.verdict", "log.write"}
_OF_STACK = {"corr.fetch"}
_OF_BROKEN = {"record.retry"}
_OF_CANCELLED = {"worker.stop"}
_OF_QUEUE = {"view.waiting"}
_OF_FULL_DISK = {"purge"}
_ODD = _OF_REFUSED | _OF_STACK | _OF_BROKEN | _OF_CANCELLED | _OF_QUEUE | _OF_FULL_DISK


def points_of(steps: set[str]) -> list[str]:
    return [point for point in POINTS if point.rpartition(".")[0] in steps]


def die_at(service, point: str, **settings: float) -> None:
    daemon = service.start("wait", fault=f"{point}:kill", **{"max_parallel": 8, **settings})
    assert daemon.wait(60) == -signal.SIGKILL, f"{point} was never reached\n{service.log}"


def test_every_step_has_two_points():
    assert len(POINTS) == 2 * len(STEPS) == len(set(POINTS))


def test_a_kill_before_and_after_every_step_loses_and_duplicates_nothing(service):
    points = points_of(STEPS.keys() - _ODD)
    for number, point in enumerate(points):
        service.send(str(100 + number))
        die_at(service, point)

    service.run_until_idle()

    service.check(faults=len(points))


def test_a_kill_while_a_job_is_rejected(service):
    points = points_of(_OF_REFUSED)
    for number, point in enumerate(points):
        service.send(str(100 + number), stations=STATIONS, params=PARAMS.replace(b"0.35", b"9"))
        die_at(service, point)

    service.run_until_idle()

    service.check(faults=len(points))
    states = [service.store.read_status(str(100 + k))["state"] for k in range(len(points))]
    assert states == ["rejected"] * len(points)


def test_a_kill_while_correlations_are_fetched_from_another_machine(service):
    service.send("41")
    service.run_until_idle("first")
    points = points_of(_OF_STACK)
    for number, point in enumerate(points):
        service.send(str(100 + number), stacking_params=STACKING)
        die_at(service, point)

    service.run_until_idle()

    service.check(faults=len(points))
    assert all(service.is_done(str(100 + k)) for k in range(len(points)))


def test_a_kill_while_a_failed_worker_is_retried(service):
    points = points_of(_OF_BROKEN)
    (service.witness / "fail").write_text("1")
    service.send("41")
    for point in points:
        die_at(service, point)
    (service.witness / "fail").unlink()

    service.run_until_idle()

    service.check(faults=len(points))


def test_a_kill_while_a_worker_is_stopped(service):
    (service.witness / "wait").touch()
    points = points_of(_OF_CANCELLED)
    service.send("41")
    service.start()
    service.wait_for_worker("41")
    service.processes[-1].kill()
    service.may_fail.add("41")
    service.send("41", cancel=b"")
    for point in points:
        die_at(service, point)

    service.run_until_idle()

    service.check(faults=len(points))
    assert service.store.read_status("41")["state"] == "cancelled"


def test_a_kill_while_a_queue_position_is_published(service):
    for number in range(8):
        service.send(str(100 + number))
    for point in points_of(_OF_QUEUE):
        die_at(service, point, max_parallel=1)

    service.run_until_idle()

    service.check(faults=2)


def test_a_kill_while_disk_space_is_purged(service):
    # A job needs 1.72 MB: 1 MB, and 1.3 times 287 windows of 481 lags of 4 bytes.
    service.send("41")
    service.run_until_idle()
    points = points_of(_OF_FULL_DISK)
    for number, point in enumerate(points):
        service.send(str(100 + number))
        die_at(service, point, quota=1_730_000)

    service.run_until_idle(quota=1_730_000)

    service.check(faults=len(points))
    assert not list(service.work_dir().glob("*/41")), "the oldest was purged"


@pytest.mark.parametrize("action", ["raise", "enospc"])
def test_an_error_at_every_point_only_delays_a_job(service, action):
    points = points_of((STEPS if action == "raise" else ON_DISK).keys() - _ODD)
    for number, point in enumerate(points):
        service.send(str(100 + number))
        service.run_until_idle(fault=f"{point}:{action}", max_parallel=8)

    service.check(faults=len(points))
    assert service.log.count(f"fault: {action} at") == len(points)


def test_a_slow_step_has_no_effect_on_the_result(service):
    service.send("41")
    service.run_until_idle(fault="manifest.commit.before:sleep")

    service.check(faults=1)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_kill_after_each_of_the_files_that_are_uploaded(service, count):
    numbers = itertools.count(1)

    def put_and_die(ask):
        given = ask()
        if next(numbers) == count:
            daemon.kill()
        return given

    daemon = service.start()
    service.proxy.on("PUT", "processed/41/runs/.*", put_and_die, 10**6)
    service.send("41")
    assert daemon.wait(60) == -signal.SIGKILL

    service.run_until_idle()

    service.check(faults=1)


@pytest.mark.parametrize(
    "step",
    ["stage.input", "record.queued", "worker.start", "result.upload", "manifest.commit",
     "record.ended", "lease.release"],
)  # fmt: skip
def test_sigterm_in_the_middle_of_a_step_ends_the_daemon_and_loses_nothing(service, step):
    service.send("41")
    daemon = service.start(fault=f"{step}.after:sleep")
    wait_until(lambda: f"fault: sleep at {step}.after" in service.log)

    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(10) == 0

    service.run_until_idle()
    service.check(faults=1)


def test_operator_commands_race_with_passes_and_kills(service):
    chance = random.Random(36)
    ids = [str(100 + number) for number in range(6)]
    for job_id in ids:
        service.send(job_id)
    for _ in range(8):
        daemon = service.start(max_parallel=2)
        for _ in range(8):
            operator_commands.post(
                service.work_dir(), chance.choice(ids), chance.choice(operator_commands.ACTIONS)
            )
            time.sleep(chance.uniform(0.0, 0.1))  # at a random moment
        daemon.kill()
        daemon.wait(10)
    for job_id in ids:
        operator_commands.post(service.work_dir(), job_id, "release")
    service.may_fail |= service.valid  # possibly cancelled

    service.run_until_idle(max_parallel=2)

    service.check(faults=64)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("kills", "jobs"), [(20, 6), pytest.param(200, 20, marks=pytest.mark.long)]
)
def test_kills_at_random_moments(service, kills, jobs):
    service.slots(3)
    chance = random.Random(20260101)
    for number in range(jobs):
        service.send(str(100 + number))
    for number in range(kills):
        daemon = service.start(max_parallel=3)
        time.sleep(chance.uniform(0.0, 0.4))  # at a random moment
        daemon.kill()
        assert daemon.wait(10) == -signal.SIGKILL
        if number % max(1, kills // jobs) == 0:  # so that there is always an unfinished job
            service.send(str(1000 + number))

    service.run_until_idle(max_parallel=3)

    service.check(faults=kills)
