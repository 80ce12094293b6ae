"""How far a job is: told to whoever started it, and to the host by progress.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from ...request.job_files import MAX_WARNINGS, PROGRESS_FILE, JobProgress, JobWarning
from ...request.units import Unit
from ..datatypes import Progress
from ..units.day import DayResult
from .schedule import Schedule
from .unit_progress import Told, write_progress

_SHOW_EVERY, _WRITE_EVERY = 0.1, 0.5  # s between two reports, and two writes of progress.json
_LEAST_SHARE, _LEAST_TIME = 0.02, 1.0  # of the cost, and s, that foretell the time that is left
_LEAST_RATE = 0.001  # 1/s; a slower one is not worth a figure


class Reporter:
    """Tells whoever waits how far the job is: the caller, and progress.json for the host."""

    def __init__(
        self, folder: Path, report: Callable[[Progress], None], name: str = PROGRESS_FILE
    ) -> None:
        self.progress = Progress()
        self._path, self._report = folder / name, report
        self._began = monotonic()
        self._shown = self._written = 0.0
        self._restored = 0  # days that an earlier run had done
        self._share = 0.0  # of this run's cost that is done

    def begin(self, days: int, restored: int) -> None:
        """Days are about to be worked on; some are there already."""
        self.progress.days, self.progress.days_done = days, restored
        self._restored, self._began = restored, monotonic()

    def stage(self, stage: str) -> None:
        """A new step, of which nobody knows how long it takes."""
        self.progress.eta = None
        self._enter(stage)

    def _enter(self, stage: str) -> None:
        self.progress.stage = stage
        self._show()
        self._write()

    def within(self, schedule: Schedule, underway: Mapping[Unit, Told]) -> None:
        """How far the units are that somebody works on."""
        if 0 <= monotonic() - self._shown < _SHOW_EVERY:
            return
        done = schedule.cost_done + sum(t.share(unit) * unit.cost for unit, t in underway.items())
        self._measure(done / schedule.cost if schedule.cost else 1.0)
        if underway:
            self.progress.stage = _sentence(underway)
        elif schedule.waits_for is not None:
            self.progress.stage = f"{schedule.waits_for}: downloading"
        self._show()
        if not 0 <= monotonic() - self._written <= _WRITE_EVERY:
            self._write()

    def _measure(self, share: float) -> None:
        """At least ``share`` of this run's cost is done; of a unit that ends no part is known."""
        progress, share = self.progress, max(self._share, min(share, 1.0))
        self._share = share
        todo = progress.days - self._restored
        progress.part = max(0.0, share * todo - (progress.days_done - self._restored))
        spent = monotonic() - self._began
        is_known = share > _LEAST_SHARE and spent >= _LEAST_TIME
        progress.eta = round(spent * (1 - share) / share, 1) if is_known else None

    def day(self, schedule: Schedule, result: DayResult) -> None:
        """A day is done."""
        self.progress.days_done += 1
        self.progress.pairs = max(self.progress.pairs, result.pairs)
        self.progress.warnings.extend(result.warnings)
        self._measure(schedule.cost_done / schedule.cost if schedule.cost else 1.0)
        self._enter(f"{result.day}: {result.pairs} pairs in {result.seconds:.1f} s")

    def stacked(self, done: int, of: int) -> None:
        """So many pairs are stacked."""
        self.stage(f"stacking: {done:,} of {of:,} pairs")

    def _show(self) -> None:
        self._shown = monotonic()
        self._report(self.progress)

    def _write(self) -> None:
        self._written = monotonic()
        write_progress(self._path, self._content())

    def _content(self) -> dict[str, Any]:
        p = self.progress
        warnings = tuple(JobWarning(**warning) for warning in p.warnings[-MAX_WARNINGS:])
        return JobProgress(p.stage, (p.days_done, p.days), p.pairs, p.eta, warnings).to_json()


def _sentence(underway: Mapping[Unit, Told]) -> str:
    """How far the units are that are being done: items, and items per second where known."""
    first = min(underway, key=lambda unit: unit.name)
    name = first.name if len(underway) == 1 else f"{first.name} and {len(underway) - 1} more"
    kinds = sorted({one.what for one in underway.values()})
    parts = [_items([one for one in underway.values() if one.what == kind]) for kind in kinds]
    return f"{name}: {' and '.join(parts)}"


def _items(some: Sequence[Told]) -> str:
    """``12 of 24 channels, 3.1/s`` of units that do the same kind of item, all together."""
    done, of = sum(one.done for one in some), sum(one.of for one in some)
    rates = [one.rate for one in some if one.rate is not None]
    rate = sum(rates) if len(rates) == len(some) else 0.0  # a part of the sum would be no rate
    fast = f", {rate:,.0f}/s" if rate >= 10 else f", {rate:.2g}/s" if rate >= _LEAST_RATE else ""
    return f"{done:,} of {of:,} {some[0].what}{fast}"
