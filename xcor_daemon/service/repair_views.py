"""Repairs the views (status.json, files.txt) of published jobs, one job at a time.

A daemon that was suspended may overwrite status.json with an old state before it is lost, and a
view that could not be written is missing. No later pass would otherwise write it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..storage.bucket import Bucket
from ..storage.jobs import DONE
from .publish import Publisher

log = logging.getLogger(__name__)

_EVERY = 30.0  # s between two jobs


@dataclass
class ViewRepair:
    """Checks one ended job after the other, cyclically, against its manifest."""

    bucket: Bucket
    publisher: Publisher
    now: Callable[[], float]
    _last: str = ""
    _checked_at: float = float("-inf")

    def repair_next_view(self, ended: Collection[str]) -> None:
        """Check the next job if it is due, and write its views again if they are wrong."""
        if not ended or self.now() < self._checked_at + _EVERY:
            return
        self._checked_at = self.now()
        self._last = min((i for i in ended if i > self._last), default=min(ended))
        status = self.bucket.read_status(self._last) or {}
        if status.get("state") == DONE:
            return
        if manifest := self.bucket.read_manifest(self._last):
            log.warning(
                "job %s: repairing its status.json, which did not match its manifest", self._last
            )
            self.publisher.write_final_views(manifest, [])
