"""Which daemon runs a job: leases/ID.json, written conditionally.

A lease only avoids duplicate work. Correctness does not depend on it: results are separate for each
attempt and are published once. A lease expires ``ttl`` seconds after its LastModified, by the Date
of S3's responses; the clocks of two machines are never compared.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from . import fault_injection
from .bucket import Bucket, StoredObject

log = logging.getLogger(__name__)


def boot_seconds() -> float:
    """Seconds since the machine was booted, time in suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class _Held:
    etag: str
    generation: int
    renewed: float  # boot_seconds


@dataclass
class Leases:
    """The leases of one daemon, named ``owner``; with ``ttl`` = 0 no leases are used."""

    bucket: Bucket
    owner: str
    ttl: float  # s
    now: Callable[[], float] = boot_seconds
    lost: int = 0  # leases that another daemon took over
    _held: dict[str, _Held] = field(default_factory=dict)
    _others: dict[str, float] = field(
        default_factory=dict
    )  # job id -> boot_seconds until which another daemon holds it

    def claim(self, job_id: str) -> bool:
        """Acquire the lease of a job unless another daemon holds it."""
        if not self.ttl or job_id in self._held:
            return True
        if self.is_held_by_other(job_id):
            return False
        if self._write(job_id, 1, None):
            return True
        found = self.bucket.find(_key(job_id))
        if found is None:
            return False  # just released; the next pass can acquire it
        owner, generation, _ = self._read(found)
        if self._remember_holder(job_id, found):
            return False
        is_mine = self._write(job_id, generation + 1, found.etag)
        if is_mine and owner != self.owner:
            log.info("job %s: took over the expired lease of another daemon", job_id)
        return is_mine

    def renew(self, job_id: str) -> bool:
        """Renew a lease that is due; False once another daemon has taken it over."""
        held = self._held.get(job_id)
        if held is None:
            return self.claim(job_id)
        if not self.ttl or self.now() < held.renewed + self.ttl / 3:
            return True
        if self._write(job_id, held.generation, held.etag):
            return True
        # It was taken over or deleted, or a PUT whose response was lost has written it.
        del self._held[job_id]
        if self.claim(job_id):
            return True
        self.lost += 1
        return False

    def release(self, job_id: str) -> None:
        """Delete the lease of a job that has ended."""
        if held := self._held.pop(job_id, None):
            with fault_injection.fault_point("lease.release"):
                self.bucket.delete_lease(_key(job_id), held.etag)

    def is_held_by_other(self, job_id: str) -> bool:
        """Whether another daemon held the lease of a job when it was last read."""
        until = self._others.get(job_id)
        return until is not None and self.now() < until

    def is_held_elsewhere(self, job_id: str) -> bool:
        """Whether another daemon holds the lease of a job now.

        True without leases: then the holder is unknown, and the job is left to the other daemon.
        """
        if not self.ttl or self.is_held_by_other(job_id):
            return True
        found = self.bucket.find(_key(job_id))
        return found is not None and self._remember_holder(job_id, found)

    def drop_absent(self, present: set[str]) -> None:
        """Drop the holders of jobs that are no longer under incoming/."""
        for job_id in self._others.keys() - present:
            del self._others[job_id]

    def _remember_holder(self, job_id: str, found: StoredObject) -> bool:
        """Whether another daemon holds an unexpired lease; if so, remember until when."""
        owner, _, ttl = self._read(found)
        left = ttl - found.age
        if owner == self.owner or left <= 0:
            return False
        self._others[job_id] = self.now() + left + 1.0  # S3's dates are whole seconds
        return True

    def _read(self, found: StoredObject) -> tuple[str, int, float]:
        """Owner, generation and lifetime (s); a lease that cannot be parsed has our lifetime."""
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
