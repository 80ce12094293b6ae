"""The jobs that this machine knows, and every change of them; what is at its end elsewhere."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from . import jobs
from .jobs import Job

log = logging.getLogger(__name__)


class Register:
    """Jobs by id; a job that another daemon has taken over is as good as unknown."""

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        self.jobs: dict[str, Job] = {}
        self.ended: set[str] = set()  # ids that came to their end, here or elsewhere
        self.units = 0  # days of the jobs that were published here
        self.endings: Counter[str] = Counter()  # how workers ended

    def load(self) -> None:
        """Know what an earlier daemon left in the work folder."""
        self.jobs, self.ended = {}, set()
        for job in jobs.load_jobs(self.work_dir):
            self.add(job)

    def add(self, job: Job) -> None:
        """Know a job; of two folders of one job, the later counts."""
        self.jobs[job.id] = job
        self._sort(job)

    def change(self, job: Job, **changes: Any) -> Job:
        """Write a change to job.json, then know it, then say it."""
        before = job.verdict or job.state
        self.jobs[job.id] = job = job.changed(**changes)
        self._sort(job)
        if (now := job.verdict or job.state) != before:
            log.info("job %s: %s%s", job.id, now, f": {job.reason}" if job.reason else "")
        return job

    def _sort(self, job: Job) -> None:
        (self.ended.add if job.state in jobs.TERMINAL else self.ended.discard)(job.id)

    def live(self) -> list[Job]:
        """The jobs that are not at their end, first come first."""
        found = [job for job in self.jobs.values() if job.is_live]
        return sorted(found, key=lambda job: (job.seen, job.id))

    def knows(self, job_id: str) -> bool:
        """Whether a job is this machine's, or was."""
        job = self.jobs.get(job_id)
        return job is not None and job.state != jobs.LEFT

    def counts(self) -> Counter[str]:
        """How many jobs are in each state."""
        return Counter(job.state for job in self.jobs.values())

    def running(self, but: str = "") -> int:
        """How many workers run, that of one job apart."""
        return sum(j.state == jobs.RUNNING and j.id != but for j in self.jobs.values())

    def forget(self, job_ids: Collection[str]) -> None:
        """Drop jobs whose folders are gone; that they ended stays known."""
        for job_id in job_ids:
            del self.jobs[job_id]
