"""A disk that is full or may not be written, on a small file system of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosting import wait_until

pytestmark = pytest.mark.real


@pytest.fixture
def small_disk(service) -> Iterator[Path]:
    """The work folder of a service as a disk of 3 MB."""
    folder = service.work_dir()
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    for process in service.processes:
        process.kill()
        process.wait(10)
    (service.witness / "wait").unlink(missing_ok=True)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Take all of a disk but for some bytes."""
    ballast = folder / ".ballast"
    about = os.statvfs(folder)
    with ballast.open("wb") as file:
        file.write(b"\0" * max(0, about.f_bavail * about.f_frsize - leave))
    return ballast


@pytest.mark.parametrize("leave", [0, 4096, 8192, 16384, 24576, 32768])
def test_a_disk_that_fills_up_at_any_write_delays_a_job(service, small_disk, leave):
    service.send("41")
    # The price is not asked for, or the job would wait; the disk is full in the middle of it.
    service.start("wait", reserve=0, host="work").wait(60)
    ballast = fill(small_disk, leave)
    service.send("42")
    daemon = service.start(reserve=0)
    wait_until(lambda: is_in_trouble(service))
    assert daemon.poll() is None

    ballast.unlink()
    wait_until(lambda: service.is_done("42"))

    daemon.kill()
    service.check(faults=1)


def is_in_trouble(service) -> bool:
    """Whether the disk was found full, or the job waits for room."""
    shown = service.store.read_status("42") or {}
    return "No space left" in service.log or "waits for its turn" in shown.get("stage", "")


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

    daemon.kill()
    service.check(faults=1)


def test_a_job_that_no_disk_here_could_hold_is_refused(service):
    service.send("41")
    service.may_fail.add("41")

    service.run_until_quiet(quota=1_000_000)

    assert "more than this service has" in service.store.read_status("41")["reason"]
    service.check(faults=1)
