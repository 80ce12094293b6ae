"""Progress of a job: reported to the caller, and to the daemon in progress.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any

from ...request.job_files import MAX_WARNINGS, PROGRESS_FILE, JobProgress, JobWarning
from ...request.units import Unit
from ..datatypes import Progress
from ..units.records import DayResult
from .unit_progress import UnitProgress, write_progress

_REPORT_INTERVAL, _WRITE_INTERVAL = 0.1, 0.5  # s between two reports, and two progress.json
_MIN_SHARE, _MIN_TIME = 0.02, 1.0  # share of the cost, and s, before the time left is estimated
_MIN_RATE = 0.001  # items/s; a lower rate is not shown


class ProgressReporter:
    """Reports the progress of a job to its caller, and to the daemon in progress.json.

    Parameters
    ----------
    folder : Path
        Of the job.
    report : callable
        Called with the `Progress` whenever it changes.
    name : str
        Of the file, instead of progress.json.
    """

    def __init__(
        self, folder: Path, report: Callable[[Progress], None], name: str = PROGRESS_FILE
    ) -> None:
        self.progress = Progress()
        self._path, self._report = folder / name, report
        self._began = monotonic()
        self._reported = self._written = 0.0
        self._restored = 0  # days finished by an earlier run
        self._share = 0.0  # of the cost of this run, done so far

    def begin(self, days: int, restored: int) -> None:
        """Start measuring: ``restored`` of the days were finished by an earlier run."""
        self.progress.days, self.progress.days_done = days, restored
        self._restored, self._began = restored, monotonic()

    def stage(self, stage: str) -> None:
        """Begin a stage whose duration is not known."""
        self.progress.eta = None
        self._enter(stage)

    def _enter(self, stage: str) -> None:
        self.progress.stage = stage
        self._call()
        self._write()

    def update(
        self, share: float, running: Mapping[Unit, UnitProgress], downloading: date | None = None
    ) -> None:
        """Report the progress of the running units.

        Parameters
        ----------
        share : float
            Share of the cost of this run that is done, 0 to 1, running units included.
        running : mapping
            Running units -> their progress.
        downloading : date, optional
            Day whose download the job is waiting for.
        """
        if 0 <= monotonic() - self._reported < _REPORT_INTERVAL:
            return
        self._measure(share)
        if running:
            self.progress.stage = _describe(running)
        elif downloading is not None:
            self.progress.stage = f"{downloading}: downloading"
        self._call()
        if not 0 <= monotonic() - self._written <= _WRITE_INTERVAL:
            self._write()

    def _measure(self, share: float) -> None:
        """Set the part done and the time left; the share never decreases.

        A unit that ends has no progress file any more, but its cost counts only a moment later.
        """
        progress, share = self.progress, max(self._share, min(share, 1.0))
        self._share = share
        todo = progress.days - self._restored
        progress.part = max(0.0, share * todo - (progress.days_done - self._restored))
        spent = monotonic() - self._began
        is_known = share > _MIN_SHARE and spent >= _MIN_TIME
        progress.eta = round(spent * (1 - share) / share, 1) if is_known else None

    def day_done(self, share: float, result: DayResult) -> None:
        """Report a day that is done; ``share`` as in `update`."""
        self.progress.days_done += 1
        self.progress.pairs = max(self.progress.pairs, result.pairs)
        self.progress.warnings.extend(result.warnings)
        self._measure(share)
        self._enter(f"{result.day}: {result.pairs} pairs in {result.seconds:.1f} s")

    def stacked(self, done: int, total: int) -> None:
        """Report the number of pairs that are stacked."""
        self.stage(f"stacking: {done:,} of {total:,} pairs")

    def _call(self) -> None:
        self._reported = monotonic()
        self._report(self.progress)

    def _write(self) -> None:
        self._written = monotonic()
        write_progress(self._path, self._content())

    def _content(self) -> dict[str, Any]:
        p = self.progress
        warnings = tuple(JobWarning(**warning) for warning in p.warnings[-MAX_WARNINGS:])
        return JobProgress(p.stage, (p.days_done, p.days), p.pairs, p.eta, warnings).to_json()


def _describe(running: Mapping[Unit, UnitProgress]) -> str:
    """Progress of the running units as text: items done, and rates where known."""
    first = min(running, key=lambda unit: unit.name)
    name = first.name if len(running) == 1 else f"{first.name} and {len(running) - 1} more"
    kinds = sorted({progress.kind for progress in running.values()})
    parts = [_describe_kind([p for p in running.values() if p.kind == kind]) for kind in kinds]
    return f"{name}: {' and '.join(parts)}"


def _describe_kind(same_kind: Sequence[UnitProgress]) -> str:
    """The sum over units with the same kind of item, such as ``12 of 24 channels, 3.1/s``."""
    done, total = sum(p.done for p in same_kind), sum(p.total for p in same_kind)
    rates = [p.rate for p in same_kind if p.rate is not None]
    rate = sum(rates) if len(rates) == len(same_kind) else 0.0  # never the sum of only some
    text = f", {rate:,.0f}/s" if rate >= 10 else f", {rate:.2g}/s" if rate >= _MIN_RATE else ""
    return f"{done:,} of {total:,} {same_kind[0].kind}{text}"
