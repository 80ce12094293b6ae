"""Which daemon does a job: leases/ID.json, written on conditions.

A lease saves the work of a second worker and nothing else: whatever happens to it, results are
kept apart by attempt and published once. It runs out ``ttl`` seconds after S3 says that it was
written, by the clock of S3's answers; this machine's clock is never compared with another one.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from . import fault_injection
from .bucket import Bucket, Found

log = logging.getLogger(__name__)


def boot_seconds() -> float:
    """Seconds since the machine was started, those that it slept included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class _Held:
    etag: str
    generation: int
    renewed: float  # boot_seconds


@dataclass
class Leases:
    """The leases of one daemon, known by ``owner``; none are used where ``ttl`` is 0."""

    bucket: Bucket
    owner: str
    ttl: float  # s
    now: Callable[[], float] = boot_seconds
    lost: int = 0  # leases that another daemon took over
    _held: dict[str, _Held] = field(default_factory=dict)
    _others: dict[str, float] = field(default_factory=dict)  # not to be asked for until then

    def claim(self, job_id: str) -> bool:
        """Take the lease of a job, if no other daemon holds it."""
        if not self.ttl or job_id in self._held:
            return True
        if self.is_held_by_other(job_id):
            return False
        if self._write(job_id, 1, None):
            return True
        found = self.bucket.find(_key(job_id))
        if found is None:
            return False  # released this moment; the next pass gets it
        owner, generation, _ = self._read(found)
        if self._remember_holder(job_id, found):
            return False
        is_mine = self._write(job_id, generation + 1, found.etag)
        if is_mine and owner != self.owner:
            log.info("job %s: taken over from a daemon that is gone", job_id)
        return is_mine

    def renew(self, job_id: str) -> bool:
        """Renew a lease when it is due; False once another daemon has taken it."""
        held = self._held.get(job_id)
        if held is None:
            return self.claim(job_id)
        if not self.ttl or self.now() < held.renewed + self.ttl / 3:
            return True
        if self._write(job_id, held.generation, held.etag):
            return True
        # Not as it was: taken over, deleted, or written by a PUT whose answer was lost.
        del self._held[job_id]
        if self.claim(job_id):
            return True
        self.lost += 1
        return False

    def release(self, job_id: str) -> None:
        """Give a lease back at the end of a job."""
        if held := self._held.pop(job_id, None):
            with fault_injection.fault_point("lease.release"):
                self.bucket.delete_lease(_key(job_id), held.etag)

    def is_held_by_other(self, job_id: str) -> bool:
        """Whether another daemon held a job when its lease was looked at last."""
        until = self._others.get(job_id)
        return until is not None and self.now() < until

    def is_held_elsewhere(self, job_id: str) -> bool:
        """Whether another daemon does a job, by its lease as it is now.

        Without leases nobody can tell, and a daemon that is not sure leaves the job to the other.
        """
        if not self.ttl or self.is_held_by_other(job_id):
            return True
        found = self.bucket.find(_key(job_id))
        return found is not None and self._remember_holder(job_id, found)

    def drop_absent(self, present: set[str]) -> None:
        """Forget what was known of jobs that are no longer under incoming/."""
        for job_id in self._others.keys() - present:
            del self._others[job_id]

    def _remember_holder(self, job_id: str, found: Found) -> bool:
        """Whether a lease is another daemon's and has not run out; until then it is left alone."""
        owner, _, ttl = self._read(found)
        left = ttl - found.age
        if owner == self.owner or left <= 0:
            return False
        self._others[job_id] = self.now() + left + 1.0  # S3's dates are whole seconds
        return True

    def _read(self, found: Found) -> tuple[str, int, float]:
        """Owner, generation and life (s); a lease that nobody can read lives as long as ours."""
        try:
            content = json.loads(found.content)
            return str(content["owner"]), int(content["generation"]), float(content["ttl"])
        except (ValueError, TypeError, KeyError):
            return "", 0, self.ttl

    def _write(self, job_id: str, generation: int, etag: str | None) -> bool:
        content = {"owner": self.owner, "generation": generation, "ttl": self.ttl}
        written = self.now()
        with fault_injection.fault_point("lease.write"):
            new = self.bucket.put_if(_key(job_id), json.dumps(content).encode(), etag)
        if new is None:
            return False
        self._held[job_id] = _Held(new, generation, written)
        self._others.pop(job_id, None)
        return True


def _key(job_id: str) -> str:
    return f"leases/{job_id}.json"
