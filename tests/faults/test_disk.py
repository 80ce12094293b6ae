"""A full or read-only disk, on a small file system of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosting import wait_until
from small_disk import small_disk as small_disk_of

pytestmark = pytest.mark.real


@pytest.fixture
def small_disk(service) -> Iterator[Path]:
    """The work folder of a service as a disk of 3 MB."""
    with small_disk_of(service.work_dir(), "size=3m,nr_inodes=200") as disk:
        yield disk.folder
        for process in service.processes:
            process.kill()
            process.wait(10)
        (service.witness / "wait").unlink(missing_ok=True)


def fill(folder: Path, leave: int) -> Path:
    """Fill a disk except for some bytes."""
    ballast = folder / ".ballast"
    about = os.statvfs(folder)
    with ballast.open("wb") as file:
        file.write(b"\0" * max(0, about.f_bavail * about.f_frsize - leave))
    return ballast


def fill_inodes(folder: Path, leave: int) -> Path:
    """Use up the inodes of a disk except for some."""
    ballast = folder / ".ballast"
    ballast.mkdir()
    for number in range(os.statvfs(folder).f_favail - leave):
        (ballast / str(number)).touch()
    return ballast


@pytest.mark.parametrize("leave", [0, 4096, 8192, 16384, 24576, 32768])
def test_a_disk_that_fills_up_at_any_write_delays_a_job(service, small_disk, leave):
    service.send("41")
    # Without a reserve, or the job would wait; the disk fills up while it runs.
    service.start("wait", reserve=0, host="work").wait(60)
    ballast = fill(small_disk, leave)
    service.send("42")
    daemon = service.start(reserve=0)
    wait_until(lambda: is_in_trouble(service))
    assert daemon.poll() is None

    ballast.unlink()
    wait_until(lambda: service.is_done("42"))

    service.end(daemon, reserve=0)
    service.check(faults=1)


@pytest.mark.parametrize("leave", [0, 3, 8])
def test_a_disk_without_free_inodes_delays_a_job(service, small_disk, leave):
    service.send("41")
    service.start("wait", reserve=0).wait(60)
    ballast = fill_inodes(small_disk, leave)
    service.send("42")
    daemon = service.start(reserve=0)
    wait_until(lambda: is_in_trouble(service))
    assert daemon.poll() is None

    shutil.rmtree(ballast)
    wait_until(lambda: service.is_done("42"))

    service.end(daemon, reserve=0)
    service.check(faults=1)


def test_a_reached_quota_stops_no_worker_and_admits_no_job(service):
    quota = 4_000_000  # bytes; a job needs 1.72 MB
    (service.witness / "wait").touch()
    service.send("41")
    daemon = service.start(quota=quota, max_parallel=2)
    service.wait_for_worker("41")
    ballast = service.work_dir() / ".damaged"
    ballast.mkdir()
    (ballast / "left").write_bytes(b"\0" * quota)
    service.send("42")
    wait_until(lambda: "queued (" in stage_of(service, "42"))
    (service.witness / "wait").unlink()
    wait_until(lambda: service.is_done("41"))
    assert not list(service.work_dir().glob("*/42"))

    shutil.rmtree(ballast)
    wait_until(lambda: service.is_done("42"))

    service.end(daemon, reserve=0)
    service.check(faults=1)


def stage_of(service, job_id: str) -> str:
    return (service.store.read_status(job_id) or {}).get("stage", "")


def is_in_trouble(service) -> bool:
    """Whether the disk was found full, or the job waits for space."""
    return "No space left" in service.log or "queued (" in stage_of(service, "42")


def test_a_disk_that_is_remounted_read_only_delays_a_job(service, small_disk):
    service.send("41")
    service.start("wait", reserve=0).wait(60)
    daemon = service.start(reserve=0)
    wait_until(lambda: (small_disk / ".lock").exists())
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    service.send("42")
    wait_until(lambda: "Read-only file system" in service.log)
    assert daemon.poll() is None

    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    wait_until(lambda: service.is_done("42"))

    service.end(daemon, reserve=0)
    service.check(faults=1)


def test_a_job_larger_than_the_disk_is_rejected(service):
    service.send("41")
    service.may_fail.add("41")

    service.run_until_idle(quota=1_000_000)

    assert "more than this service has" in service.store.read_status("41")["reason"]
    service.check(faults=1)
