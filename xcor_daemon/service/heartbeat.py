"""The heartbeat: processed/_service.json, from which the page sees that the service is running."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import __version__
from ..config import Config
from ..storage.bucket import Bucket
from ..storage.jobs import QUEUED, RUNNING
from ..storage.registry import JobRegistry
from .publish import iso

_EVERY, _AT_LEAST = 30.0, 5.0  # s between heartbeats, without and with a change of counts


@dataclass
class Heartbeat:
    """Publishes the numbers of queued and running jobs, without their ids: those are secret."""

    bucket: Bucket
    config: Config
    now: Callable[[], float]
    _written_counts: tuple[int, int] | None = None
    _written_at: float = float("-inf")

    def write_if_due(self, registry: JobRegistry, waiting: int, seconds: float) -> bool:
        """Write the heartbeat if it is due; returns whether it was.

        Parameters
        ----------
        waiting : int
            Complete jobs that are not admitted yet.
        seconds : float
            Duration of the pass.
        """
        counts = registry.counts()
        figures = (counts[QUEUED] + waiting, counts[RUNNING])
        if self.now() < self._written_at + (
            _EVERY if figures == self._written_counts else _AT_LEAST
        ):
            return False
        state = {
            "version": __version__,
            "updated": iso(self.now()),
            "next": iso(self.now() + 2 * _EVERY),
            "queued": figures[0],
            "running": figures[1],
            "places": self.config.max_parallel,
            "pass_s": round(seconds, 3),
        }
        self.bucket.put_service(state)
        self._written_counts, self._written_at = figures, self.now()
        return True
