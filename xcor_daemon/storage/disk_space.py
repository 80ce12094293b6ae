"""Room on the disk of the work folder: priced before a job is taken, made by purging what ended."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..atomic_files import disk_errors, size_text
from ..request.cost import Estimate
from . import fault_injection, jobs
from .jobs import Job

log = logging.getLogger(__name__)

_MARGIN = 1.3  # of a job's estimate: images, logs, what is written before it is renamed
_LEAST = 1_000_000  # bytes of a job that correlates nothing
_MOST_TIMES, _MOST_OVER = 4, 20e9  # of what was estimated; bytes, for a day of raw data
_KEEP_FAILED = 7 * 86400.0  # s for which somebody may look at what failed


def bytes_needed(price: Estimate | None) -> int:
    """What a job's folder grows to; None for one that is not priced."""
    return _LEAST + round(_MARGIN * (price.bytes_out if price else 0))


def most_bytes(job: Job) -> float:
    """What a job's folder may take before something must be wrong, downloads included."""
    return _MOST_OVER + _MOST_TIMES * job.disk_estimate


def size_of(folder: Path) -> int:
    """Bytes that a folder takes on the disk; files that vanish meanwhile are left out."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


@dataclass
class Disk:
    """The disk of a work folder, of which ``reserve`` bytes stay free and ``quota`` are ours."""

    work_dir: Path
    reserve: float
    quota: float  # bytes; 0 leaves it to the disk
    _ended: dict[Path, int] = field(default_factory=dict)  # sizes of folders that stay as they are

    def free(self) -> int:
        """Bytes that are free now."""
        about = os.statvfs(self.work_dir)
        return about.f_bavail * about.f_frsize

    def could_ever_hold(self, needed: int) -> bool:
        """Whether a job fits where nothing else is."""
        about = os.statvfs(self.work_dir)
        most = about.f_blocks * about.f_frsize - self.reserve
        return needed <= (min(most, self.quota) if self.quota else most)

    def limit_text(self) -> str:
        """What jobs may take of the disk where nothing else is, in words."""
        about = os.statvfs(self.work_dir)
        whole = f"{size_text(about.f_blocks * about.f_frsize)} on its disk"
        kept = f"{size_text(self.reserve)} to stay free (XCOR_RESERVE)"
        quota = f", a quota of {size_text(self.quota)} (XCOR_QUOTA)" if self.quota else ""
        return f"{whole}, {kept}{quota}"

    def room(self, known: Iterable[Job]) -> float:
        """Bytes for another job, once those at work have grown to their size."""
        known = list(known)
        live = {job.folder: size_of(job.folder) for job in known if job.is_live}
        room = self.free() - self.reserve
        if self.quota:
            room = min(room, self.quota - self._used(known, live))
        return room - sum(max(0, j.disk_estimate - live[j.folder]) for j in known if j.is_live)

    def _used(self, known: Iterable[Job], live: Mapping[Path, int]) -> int:
        """Bytes of the work folder; a folder whose job has ended is looked at only once."""
        hidden = (path for path in self.work_dir.iterdir() if path.name.startswith("."))
        used = sum(size_of(path) for path in hidden if path.is_dir()) + sum(live.values())
        for job in known:
            if not job.is_live:
                if job.folder not in self._ended:
                    self._ended[job.folder] = size_of(job.folder)
                used += self._ended[job.folder]
        return used

    def make_room(self, needed: int, known: Collection[Job]) -> list[str]:
        """Purge ended jobs, oldest first, until a job fits.

        Returns
        -------
        list of str
            Ids of the jobs whose folders were removed; `room` tells whether that was enough.
        """
        left = {job.folder: job for job in known}
        if self.room(left.values()) >= needed:
            return []
        purged: list[str] = []
        for job in purgeable(known):
            remove(job)
            del left[job.folder]
            self._ended.pop(job.folder, None)
            purged.append(job.id)
            if self.room(left.values()) >= needed:
                break
        return purged


def purgeable(known: Collection[Job], now: float | None = None) -> list[Job]:
    """Jobs whose folders nobody needs any more, oldest first."""
    now = time.time() if now is None else now
    used = {Path(job.corr).parent for job in known if job.is_live and job.corr}
    ended = [job for job in known if not job.is_live and job.results not in used]
    kept = [j for j in ended if j.state != jobs.FAILED or j.submitted_at + _KEEP_FAILED < now]
    return sorted(kept, key=lambda job: job.folder.parent.name)


def remove(job: Job) -> None:
    """Remove the folder of an ended job; job.json goes first, so that half a folder shows."""
    with disk_errors(job.folder), fault_injection.fault_point("purge"):
        (job.folder / jobs.JOB_FILE).unlink()
        shutil.rmtree(job.folder)
        if not any(job.folder.parent.iterdir()):
            job.folder.parent.rmdir()
    log.info("%s: its folder was removed, it came to its end: %s", job, job.folder)
