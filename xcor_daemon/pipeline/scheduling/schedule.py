"""The units of a job in the order in which they can run, and the results of its days."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from ...errors import DiskError
from ...request.units import CorrelateUnit, DayUnit, PrepareUnit, SplitDay, Unit, Units
from ..executors import Executor, Outcome
from ..units.blocks import (
    combine_blocks,
    correlate_blocks,
    load_correlated,
    load_prepared,
    prepare_block,
)
from ..units.day import correlate_day
from ..units.plan import DayPlan, ProgressCallback
from ..units.records import CorrelatedBlocks, DayResult, PreparedBlock, load_finished
from .prefetch import Downloads
from .unit_progress import ProgressWriter, UnitProgress, remove_progress

log = logging.getLogger(__name__)

_POLL_INTERVAL = 0.5  # s between two looks at the progress of running units

UnitResult = DayResult | PreparedBlock | CorrelatedBlocks


@dataclass(frozen=True)
class UnitRunner:
    """Runs any unit of a job. It can be pickled, so any worker can call it."""

    plan: DayPlan
    units: Units

    def __call__(self, unit: Unit) -> UnitResult:
        """Run a unit; its progress is written to a file that every machine can read."""
        if done := self.load_finished(unit):  # its worker died before it could answer
            return done
        try:
            return self.run(unit, ProgressWriter(self.plan.folder, unit))
        finally:
            remove_progress(self.plan.folder, unit)

    def load_finished(self, unit: Unit) -> UnitResult | None:
        """The record of a unit that was finished before; None if the unit has to be run."""
        match unit:
            case DayUnit():
                return load_finished(self.plan, unit.day)
            case PrepareUnit():
                return load_prepared(self.plan, unit)
            case CorrelateUnit():
                return load_correlated(self.plan, unit)

    def run(self, unit: Unit, report: ProgressCallback) -> UnitResult:
        """Run a unit in this process."""
        match unit:
            case DayUnit():
                channels = self.units.request.on(unit.day)
                return correlate_day(self.plan, unit.day, channels, report)
            case PrepareUnit():
                return prepare_block(self.plan, self.units, unit, report)
            case CorrelateUnit():
                return correlate_blocks(self.plan, self.units, unit, report)


@dataclass
class _DayInBlocks:
    """A split day that is being processed."""

    units: SplitDay
    prepared: dict[PrepareUnit, PreparedBlock] = field(default_factory=dict)
    correlated: dict[CorrelateUnit, CorrelatedBlocks] = field(default_factory=dict)
    failed: dict[PrepareUnit | CorrelateUnit, str] = field(default_factory=dict)
    pending: set[PrepareUnit | CorrelateUnit] = field(default_factory=set)  # of this step

    def record(self, unit: PrepareUnit | CorrelateUnit, outcome: Outcome[Unit, UnitResult]) -> None:
        """Take the outcome of a unit of the day."""
        if isinstance(unit, CorrelateUnit):
            unit = replace(unit, failed_blocks=())  # as in `units`
        self.pending.discard(unit)
        if outcome.error is not None:
            self.failed[unit] = _reason(outcome.error)
        elif isinstance(unit, PrepareUnit) and isinstance(outcome.result, PreparedBlock):
            self.prepared[unit] = outcome.result
        elif isinstance(unit, CorrelateUnit) and isinstance(outcome.result, CorrelatedBlocks):
            self.correlated[unit] = outcome.result

    def next_step(self) -> list[CorrelateUnit]:
        """The units that can run when nothing is pending: none at the end of the day.

        Pairs with a block that could not be prepared are left out.
        """
        failed = {unit.block for unit in self.failed if isinstance(unit, PrepareUnit)}
        units = [
            unit
            for unit in self.units.correlate
            if unit not in self.correlated
            and unit not in self.failed
            and not {unit.first, unit.second} & failed
        ]
        self.pending = set(units)
        return [replace(unit, failed_blocks=tuple(sorted(failed))) for unit in units]


class Schedule:
    """Gives the units that can run, day by day, and collects the results of the days.

    Parameters
    ----------
    runner : UnitRunner
    days : sequence of date
        Days that an earlier run finished are not processed again.
    """

    def __init__(self, runner: UnitRunner, days: Sequence[date]) -> None:
        self.runner = runner
        found = {day: load_finished(runner.plan, day) for day in days}
        self.results: dict[date, DayResult] = {
            day: result for day, result in found.items() if result is not None
        }
        self.failed_days: list[dict[str, str]] = []  # day and reason
        self.restored = len(self.results)
        self.todo = [day for day in days if day not in self.results]
        self.downloads: Downloads | None = None  # a day's units wait for its download
        self.downloading: date | None = None  # the day that `next` waits for
        self._cost = sum(runner.units.cost(day) for day in self.todo)  # of this run
        self._cost_done = 0.0
        self._ready: deque[Unit] = deque()
        self._in_blocks: dict[date, _DayInBlocks] = {}
        self._first_units = iter(self._units_of_new_days())
        self._finished: list[DayResult] = []

    @property
    def is_done(self) -> bool:
        """Whether an earlier run finished all days."""
        return not self.todo

    def next(self) -> Unit | None:
        """A unit that can run now, if any; units that complete a day in progress come first."""
        return self._ready.popleft() if self._ready else next(self._first_units, None)

    def _units_of_new_days(self) -> Iterator[Unit | None]:
        """The units with which each day starts; None while the next day is being downloaded.

        A generator, so that each call of `next` asks again whether the download is complete.
        """
        for day in self.todo:
            while self.downloads is not None and not self.downloads.is_ready(day):
                self.downloading = day
                yield None
            self.downloading = None
            units = self.runner.units.of(day)
            if isinstance(units, DayUnit):
                yield units
                continue
            yield from self._start(day, units)
            while self._ready:  # the day was restored up to its second step, or to its end
                yield self._ready.popleft()

    def _start(self, day: date, units: SplitDay) -> list[PrepareUnit]:
        """Restore the finished units of a split day; gives the blocks that are to be prepared."""
        split = self._in_blocks[day] = _DayInBlocks(units)
        plan = self.runner.plan
        for unit in units.prepare:
            if block := load_prepared(plan, unit):
                split.prepared[unit] = block
                self._cost -= unit.cost  # not of this run
        todo = [unit for unit in units.prepare if unit not in split.prepared]
        split.pending = set(todo)
        if not todo:
            for pair in units.correlate:
                if record := load_correlated(plan, pair):
                    split.correlated[pair] = record
                    self._cost -= pair.cost
            self._next_step(day, split)
        return todo

    def share(self, running: Mapping[Unit, UnitProgress] | None = None) -> float:
        """Share of the cost of this run that is done, with that of running units; 0 to 1."""
        within = sum(p.share(unit) * unit.cost for unit, p in (running or {}).items())
        return (self._cost_done + within) / self._cost if self._cost else 1.0

    def take_finished_days(self) -> list[DayResult]:
        """The days that finished since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def record(self, outcome: Outcome[Unit, UnitResult]) -> None:
        """Take the outcome of a unit.

        Raises
        ------
        DiskError
            If the disk is full: the next unit would fail as well.
        """
        unit = outcome.unit
        if isinstance(outcome.error, DiskError):
            raise outcome.error
        self._cost_done += unit.cost
        if outcome.error is not None:
            log.error("%s failed", unit.name, exc_info=outcome.error)
        if isinstance(unit, DayUnit):
            self._record_day(unit.day, outcome)
            return
        split = self._in_blocks[unit.day]
        split.record(unit, outcome)
        if not split.pending:
            self._next_step(unit.day, split)

    def _record_day(self, day: date, outcome: Outcome[Unit, UnitResult]) -> None:
        if outcome.error is not None:
            self.failed_days.append({"day": str(day), "reason": _reason(outcome.error)})
            return
        result = outcome.get()
        assert isinstance(result, DayResult)
        self.results[day] = result
        self._finished.append(result)

    def _next_step(self, day: date, split: _DayInBlocks) -> None:
        """Queue the next units of a split day, or combine its blocks when it has no more."""
        if units := split.next_step():
            self._ready.extend(units)
            return
        plan, job_units = self.runner.plan, self.runner.units
        result = combine_blocks(
            plan, job_units, split.units, split.prepared, split.correlated, split.failed
        )
        del self._in_blocks[day]
        self.results[day] = result
        if result.failed_units:
            self.failed_days.append({"day": str(day), "reason": "; ".join(result.failed_units)})
        self._finished.append(result)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def run_schedule(
    schedule: Schedule,
    executor: Executor[Unit],
    on_poll: Callable[[Sequence[Unit]], None],
    on_day: Callable[[DayResult], None],
) -> None:
    """Submit units while the executor has free slots, until all have ended.

    Parameters
    ----------
    schedule : Schedule
        Order and state of the units.
    executor : Executor
        Runs the units.
    on_poll : callable
        Called with the running units, about twice per second.
    on_day : callable
        Called with the result of every day that finishes.
    """
    running: dict[str, Unit] = {}
    is_done = False
    try:
        while True:
            while len(running) < executor.slots and (unit := schedule.next()) is not None:
                running[unit.name] = unit
                executor.submit(unit)
            if running:
                for outcome in executor.results(_POLL_INTERVAL):
                    del running[outcome.unit.name]
                    schedule.record(outcome)
            elif schedule.downloading is not None and schedule.downloads is not None:
                schedule.downloads.is_ready(schedule.downloading, _POLL_INTERVAL)
            else:
                is_done = True
            for result in schedule.take_finished_days():
                on_day(result)
            if is_done:
                return
            on_poll(list(running.values()))
    except BaseException:
        executor.cancel()
        raise
