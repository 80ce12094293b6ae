"""From incoming/ to a folder of this machine: who is taken, when, and what the others are told."""

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
from ..storage.listing import Waiting
from ..storage.registry import JobRegistry
from ..workers.placement import choose_executor
from .publish import Publisher

log = logging.getLogger(__name__)

_AHEAD = 4  # jobs that are staged beyond those that can run, so that no place is ever empty
_SLICE = 2.0  # s of a pass in which jobs are looked at and taken; the rest comes with the next
_TELLING = 0.5  # s of a pass in which places in the queue are written
_SHOWN_EVERY = 10.0  # s between two of one job; the further back it stands, the longer


OneJob = Callable[[str], AbstractContextManager[None]]  # keeps one job's trouble from the others


@dataclass
class _Candidate:
    """What is known of a job before it is taken."""

    waiting: Waiting  # as it was when its files were read
    kind: str
    needed: int  # bytes
    is_refused: bool  # its end is known, so it need not wait for a place
    ahead: int = -1  # as its user was told
    again: float = 0.0  # its user is told no earlier
    etag: str | None = None  # of the status.json that this daemon wrote


@dataclass
class Admission:
    """Takes jobs that are complete and quiet, as far as there are places and there is disk."""

    bucket: Bucket
    config: Config
    registry: JobRegistry
    publisher: Publisher
    leases: Leases
    disk: Disk
    now: Callable[[], float]
    again: set[str] = field(default_factory=set)  # to be tried again though they ended
    held: set[str] = field(default_factory=set)  # to be held once they are taken
    is_paused: bool = False  # no job is taken
    _candidates: dict[str, _Candidate] = field(default_factory=dict)
    _places: int = 0  # that this pass may still give
    _too_big: float = float("inf")  # bytes for which this pass found no room

    def admit(self, queue: Sequence[Waiting], one_job: OneJob) -> None:
        """Take the first jobs of a queue and tell the others their place.

        Parameters
        ----------
        queue : sequence
            Complete, quiet jobs that this machine does not know, first come first.
        one_job : callable
            Gives a context that keeps one job's trouble from the others.
        """
        stop_at = time.monotonic() + _SLICE
        present = {waiting.id for waiting in queue}
        self.leases.drop_absent(present)
        for job_id in self._candidates.keys() - present:
            del self._candidates[job_id]
        self._places, self._too_big = self._free_places(), float("inf")
        left = []
        for waiting in queue:
            known = self._candidates.get(waiting.id)
            if known is not None and known.waiting is waiting and not self._is_due(known):
                left.append(waiting)  # the most of a long queue; nothing is asked of S3
            elif time.monotonic() < stop_at:  # else the next pass goes on
                with one_job(waiting.id):
                    if self._inspect(waiting) and not self._admit_one(waiting):
                        left.append(waiting)
        self._publish_queue_positions(left, one_job)

    def _is_due(self, candidate: _Candidate) -> bool:
        """Whether a job that was looked at could be taken now."""
        if candidate.is_refused or candidate.waiting.is_cancelled:
            return True
        return self._places > 0 and candidate.needed < self._too_big

    def _inspect(self, waiting: Waiting) -> _Candidate | None:
        """Read a job's files once; None where they changed or the job has ended elsewhere."""
        known = self._candidates.get(waiting.id)
        if known is not None and known.waiting is waiting:
            return known
        if self._is_finished(waiting.id):
            self.registry.ended.add(waiting.id)
            return None
        contents = self.bucket.fetch(waiting)
        if contents is None:
            return None
        candidate = _Candidate(waiting, "xcor", bytes_needed(None), is_refused=False)
        try:
            request, estimate = check_files(contents)
            if isinstance(request, XcorRequest):
                assert estimate is not None
                choose_executor(request, estimate, self.config)
                candidate.needed = bytes_needed(estimate) + 2 * Units(request).scratch_bytes
            else:
                candidate.kind = "stack"
        except RequestError:
            candidate.is_refused = True
        self._candidates[waiting.id] = candidate
        return candidate

    def _is_finished(self, job_id: str) -> bool:
        """Whether a job that this machine does not know came to its end somewhere else."""
        status = self.bucket.read_status(job_id) or {}
        if status.get("state") in jobs.TERMINAL and job_id not in self.again:
            return True
        manifest = self.bucket.read_manifest(job_id)
        if manifest is not None and status.get("state") != jobs.DONE:
            self.publisher.write_final_views(manifest, [])
        return manifest is not None

    def _free_places(self) -> int:
        """How many jobs may be staged; what waits for another try takes no place."""
        if self.is_paused:
            return 0
        waiting = [
            job
            for job in self.registry.live()
            if not job.is_held and job.not_before <= self.now() and not job.final_state
        ]
        return self.config.max_parallel + _AHEAD - len(waiting)

    def _admit_one(self, waiting: Waiting) -> bool:
        """Stage a job, if it has a place, this daemon gets its lease and the disk has room."""
        candidate = self._candidates[waiting.id]
        is_short = candidate.is_refused or waiting.is_cancelled
        if not is_short and not (self._is_due(candidate) and self._has_room(candidate)):
            return False
        if not self.leases.claim(waiting.id):
            return False
        if waiting.id not in self.again and self._is_finished(waiting.id):
            self.registry.ended.add(waiting.id)
            self.leases.release(waiting.id)
            return True
        contents = self.bucket.fetch(waiting)
        if contents is None:
            log.info("job %s: its files changed while they were copied; later again", waiting.id)
            return False
        self._stage(waiting, contents, candidate)
        self._places -= not is_short
        return True

    def _stage(self, waiting: Waiting, contents: dict[str, bytes], candidate: _Candidate) -> None:
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
        self.again.discard(job.id)
        if waiting.is_cancelled:
            self.registry.change(job, final_state=jobs.CANCELLED, reason="cancelled by its user")
        elif not self.disk.could_ever_hold(needed):
            reason = f"it needs {size_text(needed)} of disk, more than this service has: "
            reason += f"{self.disk.limit_text()}; ask for fewer stations, days or windows"
            self.registry.change(job, final_state=jobs.REJECTED, reason=reason)
        elif job.id in self.held:
            self.held.discard(job.id)
            self.registry.change(job, is_held=True)

    def _has_room(self, candidate: _Candidate) -> bool:
        if not self.disk.could_ever_hold(candidate.needed):
            return True  # to be refused
        self.registry.drop(self.disk.purge_until(candidate.needed, self.registry.jobs.values()))
        if self.disk.available(self.registry.jobs.values()) < candidate.needed:
            self._too_big = candidate.needed
            return False
        return True

    def _publish_queue_positions(self, left: Sequence[Waiting], one_job: OneJob) -> None:
        """Write places in the queue, those first that were told longest ago; a few in a pass."""
        stop_at, now, first = time.monotonic() + _TELLING, self.now(), len(self.registry.live())
        due = []
        for ahead, waiting in enumerate(left, first):
            candidate = self._candidates[waiting.id]
            if ahead != candidate.ahead and now >= candidate.again:
                due.append((candidate.again, ahead, waiting.id))
        for _, ahead, job_id in sorted(due):
            if time.monotonic() > stop_at:
                break
            with one_job(job_id):
                self._publish_queue_position(job_id, self._candidates[job_id], ahead)

    def _publish_queue_position(self, job_id: str, candidate: _Candidate, ahead: int) -> None:
        """Write the place of a job, unless a daemon that knows more has written its status."""
        candidate.again = self.now() + _SHOWN_EVERY * (1 + ahead / 10)
        etag = candidate.etag
        if etag is None:  # written by this daemon's predecessor, by another one, or by nobody
            shown, etag = self.bucket.find_status(job_id)
            if shown and (shown["state"] != jobs.QUEUED or self.leases.is_held_elsewhere(job_id)):
                return
        candidate.etag = self.publisher.write_queue_position(job_id, candidate.kind, ahead, etag)
        if candidate.etag is not None:
            candidate.ahead = ahead
