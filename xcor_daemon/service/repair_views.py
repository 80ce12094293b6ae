"""A slow second look at jobs that ended: their views must say what their manifest says.

A daemon that was stopped for long may write an old status.json just before it is lost for good;
and a view that could not be written for a while is missing. Nobody else would ever notice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..storage.bucket import Bucket
from ..storage.jobs import DONE
from .publish import Publisher

log = logging.getLogger(__name__)

_EVERY = 30.0  # s between two looks


@dataclass
class ViewRepair:
    """Looks at one ended job after the other, round and round."""

    bucket: Bucket
    publisher: Publisher
    now: Callable[[], float]
    _last: str = ""
    _when: float = float("-inf")

    def repair_next_view(self, ended: Collection[str]) -> None:
        """Look at the next job where it is time."""
        if not ended or self.now() < self._when + _EVERY:
            return
        self._when = self.now()
        self._last = min((i for i in ended if i > self._last), default=min(ended))
        status = self.bucket.read_status(self._last) or {}
        if status.get("state") == DONE:
            return
        if manifest := self.bucket.read_manifest(self._last):
            log.warning("job %s: its status.json was not that of a published job", self._last)
            self.publisher.write_final_views(manifest, [])
