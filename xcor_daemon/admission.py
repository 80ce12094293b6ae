"""From incoming/ to a folder of this machine: who is taken, when, and what the others are told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from . import jobs
from .bucket import Bucket
from .config import Config
from .disk import Disk, bytes_needed
from .errors import RequestError
from .estimate import estimate
from .lease import Leases
from .listing import Waiting
from .publish import SLICE, Publisher
from .register import Register
from .request import XcorRequest, parse_request

log = logging.getLogger(__name__)

_AHEAD = 4  # jobs that are staged beyond those that can run, so that no place is ever empty
_SHOWN = 10  # places in the queue that are written in one pass
_SHOWN_EVERY = 10.0  # s between two of one job


@dataclass
class _Prospect:
    """What is known of a job before it is taken."""

    stamp: tuple[str, ...]  # ETags of the files that were read
    kind: str
    needed: int  # bytes
    is_refused: bool  # its end is known, so it need not wait for a place
    ahead: int = -1  # as its user was told
    told: float = 0.0
    etag: str | None = None  # of the status.json that was written here
    is_silent: bool = False  # another daemon writes its status


@dataclass
class Admission:
    """Takes jobs that are complete and quiet, as far as there are places and there is disk."""

    bucket: Bucket
    config: Config
    register: Register
    publisher: Publisher
    leases: Leases
    disk: Disk
    now: Callable[[], float]
    again: set[str] = field(default_factory=set)  # to be tried again though they ended
    held: set[str] = field(default_factory=set)  # to be held once they are taken
    _prospects: dict[str, _Prospect] = field(default_factory=dict)
    _places: int = 0  # that this pass may still give
    _too_big: float = float("inf")  # bytes for which this pass found no room

    def admit(self, queue: Sequence[Waiting], one_job: Callable) -> None:
        """Take the first jobs of a queue and tell the others their place.

        Parameters
        ----------
        queue : sequence
            Complete, quiet jobs that this machine does not know, first come first.
        one_job : callable
            Gives a context that keeps one job's trouble from the others.
        """
        stop_at = time.monotonic() + SLICE
        present = {waiting.id for waiting in queue}
        self.leases.forget(present)
        for job_id in self._prospects.keys() - present:
            del self._prospects[job_id]
        self._places, self._too_big = self._free_places(), float("inf")
        left = []
        for waiting in queue:
            if time.monotonic() > stop_at:
                break  # the next pass goes on
            with one_job(waiting.id):
                if self._look(waiting) and not self._take(waiting):
                    left.append(waiting)
        self._tell(left, one_job)

    def _look(self, waiting: Waiting) -> _Prospect | None:
        """Read a job's files once; None where they changed or the job has ended elsewhere."""
        stamp = tuple(file.etag for file in waiting.files.values())
        known = self._prospects.get(waiting.id)
        if known is not None and known.stamp == stamp:
            return known
        if self._is_finished(waiting.id):
            self.register.ended.add(waiting.id)
            return None
        contents = self.bucket.fetch(waiting)
        if contents is None:
            return None
        prospect = _Prospect(stamp, "xcor", bytes_needed(None), is_refused=False)
        try:
            request = parse_request(contents)
            if isinstance(request, XcorRequest):
                prospect.needed = bytes_needed(estimate(request))
            else:
                prospect.kind = "stack"
        except RequestError:
            prospect.is_refused = True
        self._prospects[waiting.id] = prospect
        return prospect

    def _is_finished(self, job_id: str) -> bool:
        """Whether a job that this machine does not know came to its end somewhere else."""
        status = self.bucket.read_status(job_id) or {}
        if status.get("state") in jobs.TERMINAL and job_id not in self.again:
            return True
        manifest = self.bucket.read_manifest(job_id)
        if manifest is not None and status.get("state") != jobs.DONE:
            self.publisher.announce(manifest, [])
        return manifest is not None

    def _free_places(self) -> int:
        """How many jobs may be staged; what waits for another try takes no place."""
        waiting = [
            job
            for job in self.register.live()
            if not job.is_held and job.not_before <= self.now() and not job.verdict
        ]
        return self.config.max_parallel + _AHEAD - len(waiting)

    def _take(self, waiting: Waiting) -> bool:
        """Stage a job, if it has a place, this daemon gets its lease and the disk has room."""
        prospect = self._prospects[waiting.id]
        is_short = prospect.is_refused or waiting.is_cancelled
        if not is_short and not (self._places > 0 and self._has_room(prospect)):
            return False
        if not self.leases.claim(waiting.id):
            return False
        if waiting.id not in self.again and self._is_finished(waiting.id):
            self.register.ended.add(waiting.id)
            self.leases.release(waiting.id)
            return True
        contents = self.bucket.fetch(waiting)
        if contents is None:
            log.info("job %s: its files changed while they were copied; later again", waiting.id)
            return False
        self._stage(waiting, contents, prospect)
        self._places -= not is_short
        return True

    def _stage(self, waiting: Waiting, contents: dict[str, bytes], prospect: _Prospect) -> None:
        inputs = [
            jobs.Input.of(remote.key, remote.etag, contents[name])
            for name, remote in waiting.files.items()
        ]
        work_dir, needed = self.register.work_dir, prospect.needed
        job = jobs.create_job(work_dir, waiting.id, contents, inputs, waiting.seen, needed)
        self.publisher.forget(job.id)
        self.register.add(job)
        log.info("job %s: staged as %s", job.id, job.folder)
        self._prospects.pop(job.id, None)
        self.again.discard(job.id)
        if waiting.is_cancelled:
            self.register.change(job, verdict=jobs.CANCELLED, reason="cancelled by its user")
        elif not self.disk.could_ever_hold(needed):
            reason = f"it needs {needed:.2g} bytes of disk, more than this service has"
            self.register.change(job, verdict=jobs.REJECTED, reason=reason)
        elif job.id in self.held:
            self.held.discard(job.id)
            self.register.change(job, is_held=True)

    def _has_room(self, prospect: _Prospect) -> bool:
        if not self.disk.could_ever_hold(prospect.needed):
            return True  # to be refused
        if prospect.needed >= self._too_big:
            return False
        known = self.register.jobs.values()
        purged = self.disk.make_room(prospect.needed, known)
        self.register.forget(purged or ())
        live = self.register.live()
        if purged is None or self.disk.room(live) < prospect.needed:
            self._too_big = prospect.needed
            return False
        return True

    def _tell(self, left: Sequence[Waiting], one_job: Callable) -> None:
        """Write places in the queue, a few in a pass; who takes a job writes over them."""
        first, told = len(self.register.live()), 0
        for place, waiting in enumerate(left):
            prospect, ahead = self._prospects[waiting.id], first + place
            is_due = ahead != prospect.ahead and self.now() >= prospect.told + _SHOWN_EVERY
            if prospect.is_silent or not is_due or told >= _SHOWN:
                continue
            with one_job(waiting.id):
                told += 1
                etag = self.publisher.show_waiting(
                    waiting.id, prospect.kind, ahead, prospect.etag
                )
                prospect.ahead, prospect.told = ahead, self.now()
                prospect.etag, prospect.is_silent = etag, etag is None
