"""The jobs of this machine and every change of their state; the ids of jobs that have ended."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from . import jobs
from .jobs import Job

log = logging.getLogger(__name__)


class JobRegistry:
    """Jobs by id; a job that another daemon has taken over counts as absent."""

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        self.jobs: dict[str, Job] = {}
        self.ended: set[str] = set()  # ids of jobs that ended, here or elsewhere
        self.days_published = 0  # of all jobs that this process published
        self.worker_ends: Counter[str] = Counter()  # how workers ended
        # Read on every pass, whose cost must not grow with the number of ended jobs.
        self._live: dict[str, Job] = {}
        self._states: Counter[str] = Counter()

    def load(self) -> None:
        """Load the jobs that an earlier daemon left in the work folder."""
        for job in jobs.load_jobs(self.work_dir):
            self.add(job)

    def add(self, job: Job) -> None:
        """Add a job; of two folders of the same job, the later one counts."""
        self._discard(job.id)
        self.jobs[job.id] = job
        self._states[job.state] += 1
        if job.is_live:
            self._live[job.id] = job
        (self.ended.add if job.state in jobs.TERMINAL else self.ended.discard)(job.id)

    def change(self, job: Job, **changes: Any) -> Job:
        """Persist a change to job.json, then update the registry and log the transition."""
        before = job.final_state or job.state
        job = job.changed(**changes)
        self.add(job)
        if (now := job.final_state or job.state) != before:
            facts = {"state_from": before, "state_to": now, "reason": job.reason or None}
            reason = f": {job.reason}" if job.reason else ""
            log.info("%s: %s%s", job, now, reason, extra={"facts": facts})
        return job

    def live(self) -> list[Job]:
        """The jobs that have not ended, oldest first."""
        return sorted(self._live.values(), key=lambda job: (job.submitted_at, job.id))

    def has(self, job_id: str) -> bool:
        """Whether a job belongs to this machine, live or ended."""
        job = self.jobs.get(job_id)
        return job is not None and job.state != jobs.RELINQUISHED

    def counts(self) -> Counter[str]:
        """The number of jobs in each state."""
        return self._states

    def running(self, but: str = "") -> int:
        """The number of running workers, without that of the job ``but``."""
        return sum(j.state == jobs.RUNNING and j.id != but for j in self._live.values())

    def drop(self, job_ids: Collection[str]) -> None:
        """Drop jobs whose folders were removed; their ids stay in ``ended``."""
        for job_id in job_ids:
            self._discard(job_id)

    def _discard(self, job_id: str) -> None:
        if (job := self.jobs.pop(job_id, None)) is not None:
            self._states[job.state] -= 1
            self._live.pop(job_id, None)
