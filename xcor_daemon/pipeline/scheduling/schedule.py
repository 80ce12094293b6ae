"""The units of a job in the order in which they can be done, and what becomes of them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from ...errors import DiskError, NoDataError
from ...request.parse import XcorRequest
from ...request.units import Unit, Units
from ..executors import Executor, Outcome
from ..sources import needs_data_centre, require_downloads, source_of
from ..units.blocks import correlate_blocks, done_before, join_day, prepare_block
from ..units.channels import DayPlan, Report, time_of
from ..units.day import DayResult, correlate_day, finished
from .unit_progress import Teller, forget_told

log = logging.getLogger(__name__)

_LOOK_EVERY = 0.5  # s between two looks at what is under way


@dataclass(frozen=True)
class Work:
    """What any worker of a job can do, given a unit; it can be pickled."""

    plan: DayPlan
    units: Units

    def __call__(self, unit: Unit) -> Any:
        """Do a unit, and tell in a file how far it is: that reaches any machine."""
        if before := self.done_before(unit):  # its worker died with the answer
            return before
        try:
            return self.do(unit, Teller(self.plan.folder, unit))
        finally:
            forget_told(self.plan.folder, unit)

    def done_before(self, unit: Unit) -> Any:
        """What became of a unit that is done; nothing where it is to be done."""
        if unit.first is None:
            return finished(self.plan, unit.day)
        return done_before(self.plan, _as_planned(unit))

    def do(self, unit: Unit, report: Report) -> Any:
        """Do a unit: gives a `DayResult`, or the record of a part of a day."""
        if unit.first is None:
            return correlate_day(self.plan, unit.day, self.units.request.on(unit.day), report)
        step = prepare_block if unit.second is None else correlate_blocks
        return step(self.plan, self.units, unit, report)


def _as_planned(unit: Unit) -> Unit:
    """A unit without what came to be known of its day."""
    return replace(unit, without=())


@dataclass
class _Split:
    """A day in blocks that is under way."""

    prepare: list[Unit]
    correlate: list[Unit]
    records: dict[Unit, Any] = field(default_factory=dict)
    lost: dict[Unit, str] = field(default_factory=dict)
    waiting: set[Unit] = field(default_factory=set)  # units that are not at their end


class Downloads:
    """Fetches what a data centre has, some days ahead of their units; use it in a ``with`` block.

    Parameters
    ----------
    plan : DayPlan
        Its source keeps what is fetched in a folder that all workers see.
    request : XcorRequest
    days : sequence of date
        Those to do, in their order.
    """

    _AHEAD = 2  # days

    def __init__(self, plan: DayPlan, request: XcorRequest, days: Sequence[date]) -> None:
        self._plan, self._request, self._days = plan, request, days
        require_downloads(plan.source)
        self._places = {day: k for k, day in enumerate(days)}
        self._pool = ThreadPoolExecutor(1, "downloads")
        self._under_way: dict[date, Future[None]] = {}

    def has(self, day: date, seconds: float = 0.0) -> bool:
        """Whether a day is there, some seconds from now; the next ones are begun."""
        place = self._places[day]
        for one in self._days[place : place + 1 + self._AHEAD]:
            if one not in self._under_way:
                self._under_way[one] = self._pool.submit(self._fetch, one)
        wait([self._under_way[day]], seconds)
        if not self._under_way[day].done():
            return False
        self._under_way[day].result()
        return True

    def _fetch(self, day: date) -> None:
        source = self._plan.source
        channels = [c for c in self._request.on(day) if needs_data_centre(source_of(source, c))]
        for channel, result in source.fetch(channels, *time_of(self._plan.params, day)):
            # The source keeps what came; of what failed a worker knows only that it is not there.
            if isinstance(result, NoDataError) and result.status == "failed":
                log.warning("%s, %s: %s", channel.id, day, result)

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Schedule:
    """Gives the units that can be done, day after day, and gathers what became of the days.

    Parameters
    ----------
    work : Work
    days : sequence of date
        Those to do; days that an earlier run finished are not done again.
    """

    def __init__(self, work: Work, days: Sequence[date]) -> None:
        self.work = work
        found = {day: finished(work.plan, day) for day in days}
        self.results: dict[date, DayResult] = {
            day: result for day, result in found.items() if result is not None
        }
        self.lost: list[dict[str, str]] = []
        self.restored = len(self.results)
        self.todo = [day for day in days if day not in self.results]
        self.cost = sum(
            unit.cost for day in self.todo for some in work.units.of(day) for unit in some
        )
        self.cost_done = 0.0  # of units of this run
        self._ready: deque[Unit] = deque()
        self._split: dict[date, _Split] = {}
        self.downloads: Downloads | None = None  # a day's units wait for its own
        self.waits_for: date | None = None  # a day that is being downloaded
        self._fresh = iter(self._first_units())
        self._ended: list[DayResult] = []

    def next(self) -> Unit | None:
        """A unit that can be done now, if any; what ends a day that is begun comes first."""
        if self._ready:
            return self._ready.popleft()
        unit = next(self._fresh, None)
        return self._ready.popleft() if unit is None and self._ready else unit

    @property
    def is_through(self) -> bool:
        """Whether there was nothing to do."""
        return not self.todo

    def _first_units(self) -> Iterator[Unit | None]:
        for day in self.todo:
            while self.downloads is not None and not self.downloads.has(day):
                self.waits_for = day
                yield None
            self.waits_for = None
            prepare, correlate = self.work.units.of(day)
            if prepare[0].first is None:
                yield from prepare
                continue
            split = self._split[day] = _Split(prepare, correlate)
            for unit in prepare:
                if record := done_before(self.work.plan, unit):
                    self._take(split, unit, record)
            split.waiting = {unit for unit in prepare if unit not in split.records}
            if not split.waiting:
                for unit in correlate:
                    if record := done_before(self.work.plan, unit):
                        self._take(split, unit, record)
                self._go_on(day, split)
                while self._ready:
                    yield self._ready.popleft()
            yield from (unit for unit in prepare if unit in split.waiting)

    def _take(self, split: _Split, unit: Unit, record: Any) -> None:
        split.records[unit] = record
        self.cost -= unit.cost  # not of this run

    def through(self) -> list[DayResult]:
        """The days that came to their end since this was asked before."""
        ended, self._ended = self._ended, []
        return ended

    def ended(self, outcome: Outcome[Unit, Any]) -> None:
        """Take what became of a unit.

        Raises
        ------
        DiskError
            If the disk is full: the next unit would fail as well.
        """
        unit = outcome.unit
        if isinstance(outcome.error, DiskError):
            raise outcome.error
        self.cost_done += unit.cost
        if outcome.error is not None:
            log.error("%s failed", unit.name, exc_info=outcome.error)
        if unit.first is None:
            self._day_ended(unit, outcome)
        else:
            split = self._split[unit.day]
            asked = _as_planned(unit)
            split.waiting.discard(asked)
            if outcome.error is None:
                split.records[asked] = outcome.result
            else:
                split.lost[asked] = _reason(outcome.error)
            if not split.waiting:
                self._go_on(unit.day, split)

    def _day_ended(self, unit: Unit, outcome: Outcome[Unit, Any]) -> None:
        if outcome.error is not None:
            self.lost.append({"day": str(unit.day), "reason": _reason(outcome.error)})
            return
        self.results[unit.day] = outcome.get()
        self._ended.append(outcome.get())

    def _go_on(self, day: date, split: _Split) -> None:
        """The units that follow, once all channels are prepared; or the end of the day."""
        absent = {unit.first for unit in split.lost if unit.second is None}
        without = tuple(sorted(block for block in absent if block is not None))
        rest = [
            unit
            for unit in split.correlate
            if unit not in split.records
            and unit not in split.lost
            and not {unit.first, unit.second} & absent
        ]
        if rest:
            split.waiting = set(rest)
            self._ready.extend(replace(unit, without=without) for unit in rest)
            return
        result = join_day(self.work.plan, self.work.units, day, split.records, split.lost)
        del self._split[day]
        self.results[day] = result
        if result.lost:
            self.lost.append({"day": str(day), "reason": "; ".join(result.lost)})
        self._ended.append(result)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def work_through(
    schedule: Schedule,
    executor: Executor[Unit],
    look: Callable[[Sequence[Unit]], None],
    ended: Callable[[DayResult], None],
) -> None:
    """Submit units as far as the executor has places, until all are at their end.

    Parameters
    ----------
    look : callable
        Called now and then with the units that are under way.
    ended : callable
        Called with every day that is through.
    """
    underway: dict[str, Unit] = {}
    is_through = False
    try:
        while True:
            while len(underway) < executor.slots and (unit := schedule.next()) is not None:
                underway[unit.name] = unit
                executor.submit(unit)
            if underway:
                for outcome in executor.results(_LOOK_EVERY):
                    del underway[outcome.unit.name]
                    schedule.ended(outcome)
            elif schedule.waits_for is not None and schedule.downloads is not None:
                schedule.downloads.has(schedule.waits_for, _LOOK_EVERY)
            else:
                is_through = True
            for result in schedule.through():
                ended(result)
            if is_through:
                return
            look(list(underway.values()))
    except BaseException:
        executor.cancel()
        raise
