"""The container's corridor: a job folder in, correlations, stacks and images out.

`correlate_job` and `stack_job` hold nothing but the order of the steps.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, fields, replace
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any

from .. import __version__
from ..errors import DiskError, Problem, RequestError, XcorError
from ..request import STACKING, StackRequest, XcorRequest, read_request
from ..stations import STATIONS
from . import corrfile, products
from .datatypes import ChannelDay, Progress
from .day import DayPlan, DayResult, correlate_day, finished
from .executors import Outcome, run_units
from .served import served
from .sources import NOTHING_SHARED, Access, open_sources

log = logging.getLogger(__name__)

REQUEST, PROGRESS, SUMMARY, OUTPUTS = "request.json", "progress.json", "summary.csv", "outputs.json"
_SHOW_EVERY, _WRITE_EVERY = 0.1, 0.5  # s between two reports, and two writes of progress.json


class Reporter:
    """Tells whoever waits how far the job is: the caller, and progress.json for the host."""

    def __init__(self, folder: Path, report: Callable[[Progress], None]) -> None:
        self.progress = Progress()
        self._folder, self._report = folder, report
        self._began = monotonic()
        self._shown = self._written = 0.0
        self._restored = 0  # days that an earlier run had done

    def begin(self, days: int, restored: int) -> None:
        """Days are about to be worked on; some are there already."""
        self.progress.days, self.progress.days_done = days, restored
        self._restored, self._began = restored, monotonic()

    def stage(self, stage: str) -> None:
        """A new step."""
        self._update(stage, 0.0)
        self._show()
        self._write()

    def within_day(self, day: date, done: int, of: int, what: str, rate: float) -> None:
        """So many channels, then pair-windows, of a day are done, ``rate`` a second."""
        if monotonic() - self._shown < _SHOW_EVERY:
            return
        # Roughly: channels take as long as pairs.
        self._update(
            f"{day}: {done:,} of {of:,} {what}, {rate:,.0f}/s",
            0.5 * done / of + 0.5 * (what != "channels"),
        )
        self._show()
        if monotonic() - self._written > _WRITE_EVERY:
            self._write()

    def _update(self, stage: str, part: float) -> None:
        progress = self.progress
        progress.stage, progress.part = stage, part
        done = progress.days_done - self._restored + part
        left = progress.days - progress.days_done - part
        progress.eta = round((monotonic() - self._began) * left / done, 1) if done > 0.02 else None

    def _show(self) -> None:
        self._shown = monotonic()
        self._report(self.progress)

    def _write(self) -> None:
        self._written = monotonic()
        write_json(self._folder / PROGRESS, self._content())

    def day(self, result: DayResult) -> None:
        """A day is done."""
        self.progress.days_done += 1
        self.progress.pairs = max(self.progress.pairs, result.pairs)
        self.progress.warnings.extend(result.warnings)
        self.stage(f"{result.day}: {result.pairs} pairs in {result.seconds:.1f} s")

    def _content(self) -> dict[str, Any]:
        p = self.progress
        days = [p.days_done, p.days]
        return {"stage": p.stage, "days": days, "pairs": p.pairs, "eta_s": p.eta,
                "warnings": p.warnings[-1000:]}  # fmt: skip


def correlate_job(
    folder: Path,
    source: str,
    processes: int = 0,
    report: Callable[[Progress], None] = lambda progress: None,
    images: bool = True,
    sources: Mapping[str, str] | None = None,
    access: Access = NOTHING_SHARED,
) -> dict[str, Any]:
    """Correlate a job folder: stations.csv and params.csv in, everything else out.

    Days that an earlier run finished are kept.

    Parameters
    ----------
    folder : Path
        Holds the two files; results are written beside them.
    source : str
        ``archive:PATH``, ``fdsn:URL-or-name`` or ``s3:NAME``; for channels without a DataCenter.
    processes : int
        Processes to work in; 0 takes every core. The result does not depend on it.
    report : callable
        Called with the `Progress` whenever it changes.
    images : bool
        Draw the images of PLOT.
    sources : mapping, optional
        Configured names -> sources, for the column DataCenter of stations.csv.
    access : Access
        What this job shares with others; without a ``cache``, nothing.

    Returns
    -------
    outputs : dict
        What outputs.json holds: units, files, warnings, summary.

    Raises
    ------
    RequestError
        If the folder is no job, or its job cannot be done.
    UnreachableError
        If the source does not answer.
    DiskError
        If the disk is full.
    """
    request = _read(folder, XcorRequest, STATIONS)
    write_json(folder / REQUEST, request.to_json())
    reporter = Reporter(folder, report)
    reporter.stage("looking up stations and responses")
    access = replace(access, cache=_cache(folder, access.cache), keep=folder / ".downloads")
    opened = open_sources(source, request.channels, sources or {}, access)
    metadata = opened.metadata(request.channels, request.params.response)
    cores = processes
    processes, threads = _share(processes, len(request.days))
    plan = DayPlan(folder, request.params, opened, metadata, _key(request, source), threads,
                   request.pairs)  # fmt: skip
    results, lost = _all_days(plan, request, processes, reporter)
    _write_summary(folder / SUMMARY, results)
    units = {
        "done": sum(result.file is not None for result in results),
        "empty": sum(result.file is None for result in results),
        "failed": lost,
    }
    if lost and not results:
        raise XcorError(f"no day could be done; the first, {lost[0]['day']}: {lost[0]['reason']}")
    reporter.stage("stacking and drawing" if images else "stacking")
    made, summary = products.of_correlation(
        folder, results, request.params, _cores(cores), _stacked(reporter), images
    )
    summary["sources"] = served(row for result in results for row in result.rows)
    names = [REQUEST, SUMMARY, *(r.file for r in results if r.file), *made]
    return _finish(folder, names, units, reporter, summary)


def _read(folder: Path, kind: type, file: str) -> Any:
    request = read_request(folder)
    if not isinstance(request, kind):
        other = "stack" if isinstance(request, StackRequest) else "correlate"
        need = f"asks for another kind of job; use `xcor-daemon {other}`"
        raise RequestError([Problem(file, 0, "", "", need)])
    return request


def _cache(folder: Path, shared: Path | None) -> Path:
    """The folder that jobs share, made if need be; the job's own where that cannot be written."""
    own = folder / ".cache"
    if shared is None:
        return own
    try:
        shared.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_ours = os.access(shared, os.W_OK | os.X_OK)
    except OSError:
        is_ours = False
    if not is_ours:
        log.warning("%s cannot be written; connections are counted for this job only", shared)
    return shared if is_ours else own


def _key(request: XcorRequest, source: str) -> str:
    """What a finished day must agree with to be kept."""
    content = json.dumps([request.to_json(), source, __version__], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _share(processes: int, days: int) -> tuple[int, int]:
    """Processes, and threads in each, for so many days."""
    cores = _cores(processes)
    used = max(1, min(cores, days))
    return used, max(1, cores // used)


def _cores(processes: int) -> int:
    """So many processes, or as many as there are cores."""
    return processes or len(os.sched_getaffinity(0))


def _stacked(reporter: Reporter) -> Callable[[int, int], None]:
    """Tells how many pairs are stacked."""
    return lambda done, of: reporter.stage(f"stacking: {done:,} of {of:,} pairs")


def _all_days(
    plan: DayPlan, request: XcorRequest, processes: int, reporter: Reporter
) -> tuple[list[DayResult], list[dict[str, str]]]:
    """Every day's record, in order; and the days that could not be done."""
    results = {day: result for day in request.days if (result := finished(plan, day)) is not None}
    todo = [day for day in request.days if day not in results]
    reporter.begin(len(request.days), len(results))
    lost = []
    single = processes == 1

    def work(day: date) -> DayResult:
        began: dict[str, float] = {}

        def within(done: int, of: int, what: str) -> None:
            if single:  # a process apart has no way to tell
                spent = monotonic() - began.setdefault(what, monotonic())
                reporter.within_day(day, done, of, what, done / spent if spent > 0 else 0.0)

        return correlate_day(plan, day, request.on(day), within)

    for outcome in run_units(work, todo, processes):
        if outcome.result is None:
            lost.append(_lost(outcome))
        else:
            results[outcome.unit] = outcome.result
            reporter.day(outcome.result)
    return [results[day] for day in request.days if day in results], lost


def _lost(outcome: Outcome[date, DayResult]) -> dict[str, str]:
    """A day that failed as a whole; a full disk ends the job, since the next day fails as well."""
    if isinstance(outcome.error, DiskError):
        raise outcome.error
    log.error("%s failed", outcome.unit, exc_info=outcome.error)
    reason = f"{type(outcome.error).__name__}: {outcome.error}"
    return {"day": str(outcome.unit), "reason": reason}


def _write_summary(path: Path, results: Sequence[DayResult]) -> None:
    """summary.csv: a row for every channel and day."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(ChannelDay))
        writer.writerows(astuple(row) for result in results for row in result.rows)
    partial.replace(path)


def stack_job(
    folder: Path,
    corr_folder: Path,
    processes: int = 0,
    report: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Stack a finished correlation job: stacking_params.csv in, STACK and PLOT out.

    Parameters
    ----------
    folder : Path
        Holds stacking_params.csv; results are written beside it.
    corr_folder : Path
        Holds the correlation job's CORR files.
    processes, report
        As for `correlate_job`.

    Returns
    -------
    outputs : dict
        What outputs.json holds.

    Raises
    ------
    RequestError
        If the folder is no stacking job, or the other has no correlations, or not those asked for.
    """
    request = _read(folder, StackRequest, STACKING)
    write_json(folder / REQUEST, request.to_json())
    reporter = Reporter(folder, report)
    files = sorted(corr_folder.glob("*.h5"))
    if not files:
        need = "is a job without correlations: no day of it had data"
        raise RequestError([Problem(STACKING, 2, "job", request.params.job, need)])
    reporter.begin(len(files), 0)
    reporter.stage(f"stacking {len(files)} days")
    made, summary = products.of_stacking(
        folder, files, request.params, _cores(processes), _stacked(reporter)
    )
    reporter.progress.days_done = len(files)
    units = {"done": len(files), "empty": 0, "failed": []}
    return _finish(folder, [REQUEST, *made], units, reporter, summary)


def _finish(
    folder: Path,
    names: Sequence[str],
    units: dict[str, Any],
    reporter: Reporter,
    summary: dict[str, Any],
) -> dict[str, Any]:
    """Write outputs.json, the last act: its presence says that all is there."""
    reporter.stage("checking files")
    outputs = {
        "units": units,
        "files": [{"name": name, **corrfile.describe(folder / name)} for name in names],
        "warnings": reporter.progress.warnings[:1000],
        "summary": summary,
    }
    reporter.stage("finished")
    write_json(folder / OUTPUTS, outputs)
    return outputs


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file at once, so that a reader finds the old or the new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, default=_plain))
    partial.replace(path)


def _plain(value: Any) -> Any:
    """Numbers of numpy and dates as JSON has them."""
    return value.item() if hasattr(value, "item") else str(value)


