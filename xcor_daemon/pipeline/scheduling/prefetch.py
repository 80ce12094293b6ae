"""Downloads from data centres, ahead of the units that need them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import date

from ...errors import NoDataError
from ...request.parse import XcorRequest
from ..sources import needs_data_centre, require_downloads, source_of
from ..units.plan import DayPlan, fetch_span

log = logging.getLogger(__name__)

_DAYS_AHEAD = 2


class Downloads:
    """Downloads the data of data centres some days ahead; use it in a ``with`` block.

    Parameters
    ----------
    plan : DayPlan
        Its source caches downloads in a folder that all workers can read.
    request : XcorRequest
    days : sequence of date
        The days to process, in this order.
    """

    def __init__(self, plan: DayPlan, request: XcorRequest, days: Sequence[date]) -> None:
        self._plan, self._request, self._days = plan, request, days
        require_downloads(plan.source)
        self._position = {day: k for k, day in enumerate(days)}
        self._pool = ThreadPoolExecutor(1, "downloads")
        self._futures: dict[date, Future[None]] = {}

    def is_ready(self, day: date, timeout: float = 0.0) -> bool:
        """Start the downloads of a day and of the next ones; wait up to ``timeout`` s for the day.

        Raises
        ------
        DiskError
            If a download cannot be written.
        """
        position = self._position[day]
        for upcoming in self._days[position : position + 1 + _DAYS_AHEAD]:
            if upcoming not in self._futures:
                self._futures[upcoming] = self._pool.submit(self._fetch, upcoming)
        wait([self._futures[day]], timeout)
        if not self._futures[day].done():
            return False
        self._futures[day].result()
        return True

    def _fetch(self, day: date) -> None:
        source = self._plan.source
        channels = [c for c in self._request.on(day) if needs_data_centre(source_of(source, c))]
        for channel, result in source.fetch(channels, *fetch_span(self._plan.params, day)):
            # The source caches the received channels; a worker reports a failed channel as missing.
            if isinstance(result, NoDataError) and result.status == "failed":
                log.warning("%s, %s: %s", channel.id, day, result)

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
