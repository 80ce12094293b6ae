"""Failures of the machine: power cuts, a wrong clock, repeated crashes, other versions."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hosting import wait_until

from xcor_daemon.operations.recovery import rebuild_state

pytestmark = pytest.mark.real


# --- power ---


class PoweredDisk:
    """The work folder of a service on an ext4 of its own, of which a power cut can be had.

    The file system's image is a file. What the kernel has not written to it yet, since nobody
    asked for that with fsync, is lost in a copy of the image: as in a power cut.
    """

    def __init__(self, service) -> None:
        self.service, self.cuts = service, 0
        self.folder = service.work_dir()
        self.folder.mkdir()
        self._make(service.folder / "disk.0")

    def _make(self, image: Path) -> None:
        with image.open("wb") as file:
            file.truncate(64_000_000)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        self._mount(image)
        shutil.rmtree(self.folder / "lost+found")
        os.sync()

    def _mount(self, image: Path) -> None:
        # The kernel writes nothing back by itself during a test.
        options = "loop,commit=300"
        subprocess.run(["mount", "-o", options, image, self.folder], check=True)
        self._image = image

    def cut(self, *daemons) -> None:
        """Cut the power under daemons and start the machine again."""
        for daemon in daemons:
            daemon.send_signal(signal.SIGSTOP)
        self.cuts += 1
        after = self._image.with_name(f"disk.{self.cuts}")
        subprocess.run(["cp", "--sparse=always", self._image, after], check=True)
        for daemon in daemons:
            daemon.kill()
            daemon.wait(10)
        self.service.end_workers()
        subprocess.run(["umount", "-l", self.folder], check=True)
        self._mount(after)


@pytest.fixture
def powered(service) -> Iterator[PoweredDisk]:
    """A disk whose power can be cut."""
    if os.geteuid():
        pytest.fail("a disk cannot be mounted; run the tests as root")
    disk = PoweredDisk(service)
    yield disk
    for process in service.processes:
        process.kill()
        process.wait(10)
    service.end_workers()
    subprocess.run(["umount", "-l", disk.folder], check=True)


def test_a_power_cut_loses_data_that_is_not_synced(powered):
    """Checks the method of the tests below."""
    with (powered.folder / ".kept").open("wb") as file:
        file.write(b"kept")
        file.flush()
        os.fsync(file.fileno())
    (powered.folder / ".lost").write_bytes(b"lost")
    powered.cut()

    assert (powered.folder / ".kept").read_bytes() == b"kept"
    assert not (powered.folder / ".lost").exists()


LASTING = (
    "stage.record.after",
    "record.queued.after",
    "worker.start.after",
    "record.running.after",
    "result.upload.after",
    "manifest.commit.before",
    "manifest.commit.after",
    "record.ended.after",
)


def test_power_cuts_lose_and_duplicate_nothing(service, powered):
    """The power is cut right after each step that must be durable."""
    for number, point in enumerate(LASTING):
        service.send(str(100 + number))
        daemon = service.start("wait", fault=f"{point}:hang", max_parallel=8, reserve=0)
        wait_until(lambda point=point: f"fault: hang at {point}" in service.log)
        powered.cut(daemon)

    service.run_until_idle(reserve=0)

    service.check(faults=len(LASTING))
    assert all(service.is_done(str(100 + k)) for k in range(len(LASTING)))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cuts", [4, pytest.param(40, marks=pytest.mark.long)])
def test_power_cuts_at_random_moments(service, powered, cuts):
    chance = random.Random(20261122)
    for number in range(cuts):
        service.send(str(100 + number))
        daemon = service.start(max_parallel=3, reserve=0)
        time.sleep(chance.uniform(0.05, 1.0))  # at a random moment
        powered.cut(daemon)

    service.run_until_idle(max_parallel=3, reserve=0)

    service.check(faults=cuts)


# --- clock ---


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_wrong_clock_delays_no_job(service, minutes):
    service.send("41")
    daemon = service.start(clock=f"{minutes:+}m")
    wait_until(lambda: service.is_done("41"))
    daemon.kill()

    service.check(faults=1)
    stamp = next(service.work_dir().glob("*/41")).parent.name
    at = time.mktime(time.strptime(stamp, "%Y%m%d_%H%M%S")) - time.timezone
    assert abs(at - time.time() - 60 * minutes) < 300, "the clock was wrong"


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_clock_that_s3_rejects_is_reported_and_the_job_waits(service, minutes):
    service.send("41")
    service.proxy.limit_skew(15 * 60)
    daemon = service.start(clock=f"{minutes:+}m")
    wait_until(lambda: "differs from that of S3 by more than 15 minutes" in service.log)
    assert daemon.poll() is None, "it continues once the clock is right"
    daemon.kill()
    daemon.wait(10)
    assert not list(service.work_dir().glob("*/41"))

    service.run_until_idle()  # with a correct clock

    service.check(faults=1)


# --- crashes in a row ---


def test_a_daemon_that_crashes_ten_times_in_a_row_at_one_place(service):
    places = ("stage.record.after", "worker.start.before", "manifest.commit.before")
    for number, place in enumerate(places):
        service.send(str(100 + number))
        for _ in range(10):
            daemon = service.start("wait", fault=f"{place}:kill")
            if daemon.wait(120) == 0:
                break  # a completed step is not repeated
            assert daemon.returncode == -signal.SIGKILL

    service.run_until_idle()

    service.check(faults=10 * len(places))
    assert all(service.is_done(str(100 + k)) for k in range(len(places)))


# --- versions ---


def rewrite_job(service, change: Callable[[dict], None]) -> Path:
    """Change a job's job.json; returns its path."""
    (path,) = service.work_dir().glob("*/41/job.json")
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def left_running(service):
    """A service whose daemon was killed while its worker runs."""
    (service.witness / "wait").touch()
    service.send("41")
    daemon = service.start()
    service.wait_for_worker("41")
    daemon.kill()
    assert daemon.wait(10) == -signal.SIGKILL
    return service


def test_a_job_of_an_older_version_is_continued(left_running):
    """Its job.json has only the required keys; its worker is adopted."""

    def forget(content: dict) -> None:
        for field in ("executor", "starved", "needed", "past", "is_held", "problems"):
            del content[field]

    rewrite_job(left_running, forget)
    (left_running.witness / "wait").unlink()

    left_running.run_until_idle()

    left_running.check(faults=1)


def test_a_job_of_a_newer_version_is_not_touched(left_running):
    path = rewrite_job(left_running, lambda content: content.update(shape="round", age=3))
    before = path.read_bytes()

    assert left_running.start("wait").wait(60) != 0

    assert (
        "was written by a newer version of xcor-daemon (unknown fields: age, shape)"
        in left_running.log
    )
    assert path.read_bytes() == before
    (left_running.witness / "wait").unlink()
    rewrite_job(left_running, lambda content: [content.pop(name) for name in ("shape", "age")])
    left_running.run_until_idle()  # in place of the newer version
    left_running.check(faults=1)


def test_a_job_of_a_newer_version_can_be_set_aside(left_running):
    left_running.end_workers()
    rewrite_job(left_running, lambda content: content.update(shape="round"))
    (left_running.witness / "wait").unlink()

    (told,) = rebuild_state(left_running.work_dir())

    assert "job 41: set aside" in told
    left_running.run_until_idle()
    left_running.check(faults=1)
