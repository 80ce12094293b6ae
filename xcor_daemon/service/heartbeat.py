"""The heartbeat: processed/_service.json, by which the page knows that the service is up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import __version__
from ..config import Config
from ..storage.bucket import Bucket
from ..storage.jobs import QUEUED, RUNNING
from ..storage.registry import JobRegistry
from .publish import iso

_EVERY, _AT_MOST_EVERY = 30.0, 5.0  # s; the longer where nothing has changed


@dataclass
class Heartbeat:
    """Says how many jobs wait and run; ids are secret and stay out of it."""

    bucket: Bucket
    config: Config
    now: Callable[[], float]
    _said: tuple[int, int] | None = None
    _when: float = float("-inf")

    def write_if_due(self, registry: JobRegistry, waiting: int, seconds: float) -> bool:
        """Write the heartbeat where it is due, and say whether it was.

        Parameters
        ----------
        waiting : int
            Jobs that are complete but not taken yet.
        seconds : float
            What the pass took.
        """
        counts = registry.counts()
        figures = (counts[QUEUED] + waiting, counts[RUNNING])
        if self.now() < self._when + (_EVERY if figures == self._said else _AT_MOST_EVERY):
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
        self._said, self._when = figures, self.now()
        return True
