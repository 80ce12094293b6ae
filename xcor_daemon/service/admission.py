"""From incoming/ to a folder of this machine: admits jobs and publishes queue positions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ..atomic_files import size_text
from ..config import Config
from ..errors import RequestError
from ..request.cost import check_files
from ..request.parse import XcorRequest
from ..request.units import Units
from ..storage import jobs
from ..storage.bucket import Bucket
from ..storage.disk_space import Disk, bytes_needed
from ..storage.leases import Leases
from ..storage.listing import WaitingJob
from ..storage.registry import JobRegistry
from ..workers.placement import choose_executor
from .publish import Publisher

log = logging.getLogger(__name__)

_AHEAD = 4  # jobs that are staged beyond those that can run, so that no slot is ever empty
_SLICE = 2.0  # s of a pass for inspecting and admitting jobs; the next pass continues
_POSITIONS_SLICE = 0.5  # s of a pass for publishing queue positions
_POSITION_EVERY = 10.0  # s between two positions of one job, longer towards the end of the queue


Isolate = Callable[[str], AbstractContextManager[None]]  # logs the errors of one job


@dataclass
class _Candidate:
    """A job before it is admitted."""

    waiting: WaitingJob  # the listing from which its files were read
    kind: str
    needed: int  # bytes
    is_rejected: bool  # its request is invalid, so it needs no slot
    ahead: int = -1  # the published queue position
    next_update: float = 0.0  # the position is published no earlier (s since 1970)
    etag: str | None = None  # of the status.json written by this daemon


@dataclass
class Admission:
    """Admits complete, settled jobs while there are free slots and enough disk space."""

    bucket: Bucket
    config: Config
    registry: JobRegistry
    publisher: Publisher
    leases: Leases
    disk: Disk
    now: Callable[[], float]
    retried: set[str] = field(default_factory=set)  # ended jobs to be admitted again
    held: set[str] = field(default_factory=set)  # to be put on hold once admitted
    is_paused: bool = False  # no job is admitted
    _candidates: dict[str, _Candidate] = field(default_factory=dict)
    _free_slots: int = 0  # left in this pass
    _too_large: float = float("inf")  # bytes that did not fit on the disk in this pass

    def admit(self, queue: Sequence[WaitingJob], isolate: Isolate) -> None:
        """Admit the first jobs of a queue and publish the positions of the others.

        Parameters
        ----------
        queue : sequence
            Complete, settled jobs that are not on this machine, oldest first.
        isolate : callable
            Returns a context in which an error of one job does not affect the others.
        """
        stop_at = time.monotonic() + _SLICE
        present = {waiting.id for waiting in queue}
        self.leases.drop_absent(present)
        for job_id in self._candidates.keys() - present:
            del self._candidates[job_id]
        self._free_slots, self._too_large = self._count_free_slots(), float("inf")
        queued = []
        for waiting in queue:
            known = self._candidates.get(waiting.id)
            if known is not None and known.waiting is waiting and not self._is_due(known):
                queued.append(waiting)  # most of a long queue, without a request to S3
            elif time.monotonic() < stop_at:  # else the next pass continues
                with isolate(waiting.id):
                    if self._inspect(waiting) and not self._admit_one(waiting):
                        queued.append(waiting)
        self._publish_queue_positions(queued, isolate)

    def _is_due(self, candidate: _Candidate) -> bool:
        """Whether an inspected job could be admitted now."""
        if candidate.is_rejected or candidate.waiting.is_cancelled:
            return True
        return self._free_slots > 0 and candidate.needed < self._too_large

    def _inspect(self, waiting: WaitingJob) -> _Candidate | None:
        """Read a job's files once; None if they changed or the job has ended elsewhere."""
        known = self._candidates.get(waiting.id)
        if known is not None and known.waiting is waiting:
            return known
        if self._is_finished(waiting.id):
            self.registry.ended.add(waiting.id)
            return None
        contents = self.bucket.fetch(waiting)
        if contents is None:
            return None
        candidate = _Candidate(waiting, "xcor", bytes_needed(None), is_rejected=False)
        try:
            request, estimate = check_files(contents)
            if isinstance(request, XcorRequest):
                assert estimate is not None
                choose_executor(request, estimate, self.config)
                candidate.needed = bytes_needed(estimate) + 2 * Units(request).scratch_bytes
            else:
                candidate.kind = "stack"
        except RequestError:
            candidate.is_rejected = True
        self._candidates[waiting.id] = candidate
        return candidate

    def _is_finished(self, job_id: str) -> bool:
        """Whether a job has ended, here or on another machine."""
        status = self.bucket.read_status(job_id) or {}
        if status.get("state") in jobs.TERMINAL and job_id not in self.retried:
            return True
        manifest = self.bucket.read_manifest(job_id)
        if manifest is not None and status.get("state") != jobs.DONE:
            self.publisher.write_final_views(manifest, [])
        return manifest is not None

    def _count_free_slots(self) -> int:
        """How many jobs may be staged; a job on hold or backing off takes no slot."""
        if self.is_paused:
            return 0
        active = [
            job
            for job in self.registry.live()
            if not job.is_held and job.not_before <= self.now() and not job.final_state
        ]
        return self.config.max_parallel + _AHEAD - len(active)

    def _admit_one(self, waiting: WaitingJob) -> bool:
        """Stage a job if there is a free slot, a free lease and enough disk space."""
        candidate = self._candidates[waiting.id]
        # Such a job is admitted only to publish its end: it takes no slot and little space.
        is_ending = candidate.is_rejected or waiting.is_cancelled
        if not is_ending and not (self._is_due(candidate) and self._has_space(candidate)):
            return False
        if not self.leases.claim(waiting.id):
            return False
        if waiting.id not in self.retried and self._is_finished(waiting.id):
            self.registry.ended.add(waiting.id)
            self.leases.release(waiting.id)
            return True
        contents = self.bucket.fetch(waiting)
        if contents is None:
            log.info("job %s: input files changed during staging; will retry", waiting.id)
            return False
        self._stage(waiting, contents, candidate)
        self._free_slots -= not is_ending
        return True

    def _stage(
        self, waiting: WaitingJob, contents: dict[str, bytes], candidate: _Candidate
    ) -> None:
        inputs = [
            jobs.Input.of(remote.key, remote.etag, contents[name])
            for name, remote in waiting.files.items()
        ]
        work_dir, needed = self.registry.work_dir, candidate.needed
        job = jobs.create_job(work_dir, waiting.id, contents, inputs, waiting.submitted_at, needed)
        self.publisher.drop(job.id)
        self.registry.add(job)
        log.info("%s: staged as %s", job, job.folder)
        self._candidates.pop(job.id, None)
        self.retried.discard(job.id)
        if waiting.is_cancelled:
            self.registry.change(job, final_state=jobs.CANCELLED, reason="cancelled by its user")
        elif not self.disk.could_ever_hold(needed):
            reason = f"the job needs {size_text(needed)} of disk, more than this service has "
            reason += f"({self.disk.limit_text()}); request fewer stations, days or windows"
            self.registry.change(job, final_state=jobs.REJECTED, reason=reason)
        elif job.id in self.held:
            self.held.discard(job.id)
            self.registry.change(job, is_held=True)

    def _has_space(self, candidate: _Candidate) -> bool:
        """Whether the disk has space for a job, after purging ended ones if necessary."""
        if not self.disk.could_ever_hold(candidate.needed):
            return True  # to be rejected
        self.registry.drop(self.disk.purge_until(candidate.needed, self.registry.jobs.values()))
        if self.disk.available(self.registry.jobs.values()) < candidate.needed:
            self._too_large = candidate.needed
            return False
        return True

    def _publish_queue_positions(self, queued: Sequence[WaitingJob], isolate: Isolate) -> None:
        """Publish queue positions, those first that are overdue longest; a few in each pass."""
        stop_at, now = time.monotonic() + _POSITIONS_SLICE, self.now()
        due = []
        for ahead, waiting in enumerate(queued, len(self.registry.live())):
            candidate = self._candidates[waiting.id]
            if ahead != candidate.ahead and now >= candidate.next_update:
                due.append((candidate.next_update, ahead, waiting.id))
        for _, ahead, job_id in sorted(due):
            if time.monotonic() > stop_at:
                break
            with isolate(job_id):
                self._publish_queue_position(job_id, self._candidates[job_id], ahead)

    def _publish_queue_position(self, job_id: str, candidate: _Candidate, ahead: int) -> None:
        """Publish one position, unless another daemon is processing the job."""
        candidate.next_update = self.now() + _POSITION_EVERY * (1 + ahead / 10)
        etag = candidate.etag
        if etag is None:  # of an earlier daemon, of another one, or no status.json yet
            status, etag = self.bucket.find_status(job_id)
            if status and (status["state"] != jobs.QUEUED or self.leases.is_held_elsewhere(job_id)):
                return
        candidate.etag = self.publisher.write_queue_position(job_id, candidate.kind, ahead, etag)
        if candidate.etag is not None:
            candidate.ahead = ahead
