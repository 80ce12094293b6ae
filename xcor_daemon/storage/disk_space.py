"""Disk space of the work folder: estimated before a job is admitted, freed by purging."""

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

_MARGIN = 1.3  # factor on the estimate of a job: images, logs, partial files
_LEAST = 1_000_000  # bytes; of a job that makes no correlations
_MOST_TIMES, _MOST_OVER = 4, 20e9  # factor on the estimate; bytes, for a day of raw data
_KEEP_FAILED = 7 * 86400.0  # s for which folders of failed jobs are kept for inspection


def bytes_needed(estimate: Estimate | None) -> int:
    """Estimated size of a job's folder (bytes); ``estimate`` is None for a stacking job."""
    return _LEAST + round(_MARGIN * (estimate.bytes_out if estimate else 0))


def most_bytes(job: Job) -> float:
    """Size (bytes) beyond which a job's folder, downloads included, fails the job."""
    return _MOST_OVER + _MOST_TIMES * job.disk_estimate


def size_of(folder: Path) -> int:
    """Bytes that a folder takes on the disk, without files that are removed meanwhile."""
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
    """The disk of a work folder: ``reserve`` bytes stay free, jobs may take ``quota`` bytes."""

    work_dir: Path
    reserve: float
    quota: float  # bytes; 0: no limit but the disk
    _ended: dict[Path, int] = field(default_factory=dict)  # sizes of the folders of ended jobs

    def free(self) -> int:
        """Free bytes."""
        about = os.statvfs(self.work_dir)
        return about.f_bavail * about.f_frsize

    def could_ever_hold(self, needed: int) -> bool:
        """Whether a job of ``needed`` bytes fits on the empty disk."""
        about = os.statvfs(self.work_dir)
        most = about.f_blocks * about.f_frsize - self.reserve
        return needed <= (min(most, self.quota) if self.quota else most)

    def limit_text(self) -> str:
        """The limits on disk space, for a message."""
        about = os.statvfs(self.work_dir)
        whole = f"a disk of {size_text(about.f_blocks * about.f_frsize)}"
        kept = f"{size_text(self.reserve)} reserved (XCOR_RESERVE)"
        quota = f", a quota of {size_text(self.quota)} (XCOR_QUOTA)" if self.quota else ""
        return f"{whole}, {kept}{quota}"

    def available(self, all_jobs: Iterable[Job]) -> float:
        """Bytes for another job, once the live ones have grown to their estimated size."""
        all_jobs = list(all_jobs)
        live = {job.folder: size_of(job.folder) for job in all_jobs if job.is_live}
        available = self.free() - self.reserve
        if self.quota:
            available = min(available, self.quota - self._used(all_jobs, live))
        return available - sum(
            max(0, j.disk_estimate - live[j.folder]) for j in all_jobs if j.is_live
        )

    def _used(self, all_jobs: Iterable[Job], live: Mapping[Path, int]) -> int:
        """Bytes of the work folder; the folder of an ended job is measured once."""
        hidden = (path for path in self.work_dir.iterdir() if path.name.startswith("."))
        used = sum(size_of(path) for path in hidden if path.is_dir()) + sum(live.values())
        for job in all_jobs:
            if not job.is_live:
                if job.folder not in self._ended:
                    self._ended[job.folder] = size_of(job.folder)
                used += self._ended[job.folder]
        return used

    def purge_until(self, needed: int, all_jobs: Collection[Job]) -> list[str]:
        """Purge ended jobs, oldest first, until a job of ``needed`` bytes fits.

        Returns
        -------
        list of str
            Ids of the jobs whose folders were removed, which may not be enough; see `available`.
        """
        left = {job.folder: job for job in all_jobs}
        if self.available(left.values()) >= needed:
            return []
        purged: list[str] = []
        for job in purgeable(all_jobs):
            remove(job)
            del left[job.folder]
            self._ended.pop(job.folder, None)
            purged.append(job.id)
            if self.available(left.values()) >= needed:
                break
        return purged


def purgeable(all_jobs: Collection[Job], now: float | None = None) -> list[Job]:
    """Jobs whose folders may be removed, oldest first."""
    now = time.time() if now is None else now
    used = {Path(job.corr).parent for job in all_jobs if job.is_live and job.corr}
    ended = [job for job in all_jobs if not job.is_live and job.results not in used]
    kept = [j for j in ended if j.state != jobs.FAILED or j.submitted_at + _KEEP_FAILED < now]
    return sorted(kept, key=lambda job: job.folder.parent.name)


def remove(job: Job) -> None:
    """Remove the folder of an ended job; job.json first, since it marks a complete folder."""
    with disk_errors(job.folder), fault_injection.fault_point("purge"):
        (job.folder / jobs.JOB_FILE).unlink()
        shutil.rmtree(job.folder)
        if not any(job.folder.parent.iterdir()):
            job.folder.parent.rmdir()
    log.info("%s: removed the folder of the ended job: %s", job, job.folder)
