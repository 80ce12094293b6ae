"""The container's corridor: a job folder in, correlations, stacks and images out.

`correlate_job` and `stack_job` hold nothing but the order of the steps.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from .. import __version__
from ..atomic_files import make_folder, sync, write_json
from ..errors import (
    ConfigError,
    DiskError,
    Problem,
    RequestError,
    UnreachableError,
    XcorError,
    reason_lines,
)
from ..request.job_files import (
    OUTPUTS_FILE,
    PROGRESS_FILE,
    REQUEST_FILE,
    SUMMARY_FILE,
    DayCounts,
    FailedDay,
)
from ..request.parse import StackRequest, XcorRequest, read_request
from ..request.stacking_params import STACKING
from ..request.stations import STATIONS
from ..request.units import Unit, Units
from .datatypes import ChannelDay, Progress
from .executors import Executor, Here, Processes
from .hdf5 import correlation_day
from .products import products
from .products.data_sources import served
from .products.reasons import failed_day, nothing_made, reasons_of
from .products.render_pool import Painters
from .products.summary import outputs_of, write_summary
from .scheduling.progress import Reporter
from .scheduling.schedule import Downloads, Schedule, Work, work_through
from .scheduling.unit_progress import Rates, clear_told, told
from .sources import NOTHING_SHARED, Access, needs_data_centre, open_sources, picklable_for_workers
from .units.blocks import clear_shelf
from .units.channels import DayPlan
from .units.day import DayResult, clear_partial_records
from .worker_process import with_one_thread

log = logging.getLogger(__name__)

CONNECTIONS = ".connections"  # of the job folder
_SMALL = 32e6  # bytes of stacks, days together, of a job whose painters are there from the start


@dataclass(frozen=True)
class Crew:
    """Who does the units of a job."""

    executor: str = "processes"  # or dask
    dask_address: str = ""  # of a scheduler; empty starts a cluster on this machine
    joins: bool = False  # all days were done by shards; nothing is left but what comes after


@with_one_thread
def correlate_job(
    folder: Path,
    source: str,
    processes: int = 0,
    report: Callable[[Progress], None] = lambda progress: None,
    images: bool = True,
    sources: Mapping[str, str] | None = None,
    access: Access = NOTHING_SHARED,
    crew: Crew = Crew(),
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
    crew : Crew
        Who does the units; the results do not depend on it.

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
    NothingMadeError
        If no correlation was made; summary.csv and outputs.json are there.
    DiskError
        If the disk is full.
    """
    request = _read(folder, XcorRequest, STATIONS)
    write_json(folder / REQUEST_FILE, request.to_json())
    reporter = Reporter(folder, report)
    with ExitStack() as stack:
        painters = stack.enter_context(_painters(request, processes)) if images else None
        work = _work(folder, request, source, sources or {}, access, processes, reporter)
        schedule = Schedule(work, request.days)
        if crew.joins and schedule.todo:
            days = ", ".join(str(day) for day in schedule.todo[:10])
            need = "run their shards again, or leave out --join to do them here"
            raise XcorError(f"{len(schedule.todo)} days are not done yet, such as {days}; {need}.")
        _do(schedule, len(request.days), processes, crew, reporter)
        return _close(folder, request, schedule, processes, reporter, painters)


@with_one_thread
def correlate_shard(
    folder: Path,
    source: str,
    shard: tuple[int, int],
    processes: int = 0,
    report: Callable[[Progress], None] = lambda progress: None,
    sources: Mapping[str, str] | None = None,
    access: Access = NOTHING_SHARED,
) -> list[dict[str, str]]:
    """Do one day of every so many of a job, as one of an array of jobs that share its folder.

    Parameters
    ----------
    shard : (int, int)
        Number of this one, from 0, and of all. Every day belongs to one shard.
    folder, source, processes, report, sources, access
        As for `correlate_job`, which joins the shards when all are through.

    Returns
    -------
    lost : list
        Days that could not be done, and why.

    Raises
    ------
    NothingMadeError
        If no day has correlations because the source was out of reach; otherwise as
        `correlate_job`, but days without data are no error.
    """
    number, of = shard
    request = _read(folder, XcorRequest, STATIONS)
    days = request.days[number::of]
    reporter = Reporter(folder, report, PROGRESS_FILE.replace(".", f"-{number}."))
    # Shards run on many machines: what a data centre allows one user is counted where all see it.
    access = replace(access, lock_folder=folder / CONNECTIONS)
    work = _work(folder, request, source, sources or {}, access, processes, reporter)
    schedule = Schedule(work, days)
    _do(schedule, len(days), processes, Crew(), reporter)
    reporter.stage("finished")
    rows = _rows_of(request, schedule)
    if rows and not schedule.lost and not any(has_file for _, has_file in rows):
        error = nothing_made(rows)
        if error.exit_code == UnreachableError.exit_code:  # else it has a day without data
            raise error
    for line in reason_lines(reasons_of(rows)):
        log.warning("shard %d of %d: %s", number, of, line)
    return schedule.lost


def _painters(request: XcorRequest, processes: int) -> Painters:
    """Who draws; ready from the start where a second counts and there is little to hand over."""
    n_pairs = request.periods.n_pairs
    handed_over = 4 * n_pairs * (2 * request.params.n_lags + 1) * len(request.days)  # bytes
    return Painters(_cores(processes), early=handed_over <= _SMALL)


def _work(
    folder: Path,
    request: XcorRequest,
    source: str,
    sources: Mapping[str, str],
    access: Access,
    processes: int,
    reporter: Reporter,
) -> Work:
    """What the workers of a job must know."""
    reporter.stage("looking up stations and responses")
    lock_folder = access.lock_folder or _connections(folder, access.cache)
    access = replace(access, lock_folder=lock_folder, download_folder=folder / ".downloads")
    opened = open_sources(source, request.channels, sources, access)
    metadata = opened.metadata(request.channels, request.params.response)
    units = Units(request)
    threads = max(1, _cores(processes) // max(1, units.n_units))
    key = _key(request, source)
    folder = folder.resolve()  # workers may stand elsewhere
    plan = DayPlan(folder, request.params, opened, metadata, key, threads, request.pairs)
    return Work(plan, units)


def _do(schedule: Schedule, days: int, processes: int, crew: Crew, reporter: Reporter) -> None:
    """Do the units of all days that are left."""
    work = schedule.work
    reporter.begin(days, schedule.restored)

    def look(underway: Sequence[Unit]) -> None:
        found = {unit: told(work.plan.folder, unit) for unit in underway}
        reporter.within(schedule, {unit: told for unit, told in found.items() if told})

    def here(unit: Unit) -> Any:
        rates = Rates()

        def report(done: int, of: int, what: str) -> None:
            reporter.within(schedule, {unit: rates.told(done, of, what)})

        return work.do(unit, report)

    def ended(result: DayResult) -> None:
        reporter.day(schedule, result)

    if schedule.is_through:
        return
    workers = min(_cores(processes), work.units.n_units)
    with ExitStack() as stack:
        if crew.executor == "dask":
            executor: Executor[Unit] = _cluster(schedule, crew, workers, stack)
        else:
            executor = Processes(work, workers) if workers > 1 else Here(here)
        stack.enter_context(closing(executor))
        work_through(schedule, executor, look, ended)


def _cluster(schedule: Schedule, crew: Crew, workers: int, stack: ExitStack) -> Executor[Unit]:
    """A Dask cluster; what a data centre has is downloaded here, by one machine."""
    try:
        from .scheduling.dask_cluster import Cluster  # Dask takes a second to import
    except ImportError as error:
        need = "Dask is not installed; pip install 'xcor-daemon[dask]'"
        raise ConfigError(f"--executor dask: {need}.") from error
    work, source = schedule.work, schedule.work.plan.source
    plan = replace(work.plan, threads=1)
    if crew.dask_address:
        plan = replace(plan, source=picklable_for_workers(source))
        if needs_data_centre(source):
            downloads = Downloads(work.plan, work.units.request, schedule.todo)
            schedule.downloads = stack.enter_context(downloads)
    return Cluster(Work(plan, work.units), plan.folder, crew.dask_address, workers)


def _close(
    folder: Path,
    request: XcorRequest,
    schedule: Schedule,
    processes: int,
    reporter: Reporter,
    painters: Painters | None,
) -> dict[str, Any]:
    """What comes when all days are at their end: summary, stacks, images, outputs.json."""
    results = [schedule.results[day] for day in request.days if day in schedule.results]
    write_summary(folder / SUMMARY_FILE, results)
    lost = schedule.lost
    names = [name for result in results for name in result.files]
    if lost and not names:
        raise XcorError(f"no day could be done; the first, {lost[0]['day']}: {lost[0]['reason']}")
    rows = _rows_of(request, schedule)
    whole = [result for result in results if not result.lost]
    days = DayCounts(
        done=sum(bool(result.files) for result in whole),
        empty=sum(not result.files for result in whole),
        failed=tuple(FailedDay(**day) for day in lost),
    )
    reporter.stage("stacking and drawing" if painters else "stacking")
    made, summary = products.of_correlation(
        folder, results, request.params, _cores(processes), reporter.stacked, painters
    )
    summary["sources"] = served(row for result in results for row in result.rows)
    summary["reasons"] = reasons_of(rows)
    clear_shelf(folder)
    clear_told(folder)
    clear_partial_records(folder)
    is_empty = not names
    names = [REQUEST_FILE, SUMMARY_FILE, *names, *made]
    outputs = _finish(folder, names, days, _cores(processes), reporter, summary)
    if is_empty:  # summary.csv says why, and outputs.json lists it
        raise nothing_made(rows)
    return outputs


def _rows_of(request: XcorRequest, schedule: Schedule) -> list[tuple[list[ChannelDay], bool]]:
    """The rows of every day, and whether it has correlations."""
    rows = [(result.rows, bool(result.files)) for result in schedule.results.values()]
    for lost in schedule.lost:
        day = date.fromisoformat(lost["day"])
        if day not in schedule.results:
            names = (channel.id for channel in request.on(day))
            rows.append((failed_day(lost["day"], names, lost["reason"]), False))
    return rows


def _read(folder: Path, kind: type, file: str) -> Any:
    request = read_request(folder)
    if not isinstance(request, kind):
        other = "stack" if isinstance(request, StackRequest) else "correlate"
        need = f"asks for another kind of job; use `xcor-daemon {other}`"
        raise RequestError([Problem(file, 0, "", "", need)])
    return request


def _connections(folder: Path, cache: Path | None) -> Path:
    """Where connections are counted: for the machine, or for the job where that cannot be."""
    own = folder / CONNECTIONS
    if cache is None:
        return own
    shared = cache / "connections"
    try:
        make_folder(shared, mode=0o700)
        is_ours = os.access(shared, os.W_OK | os.X_OK)
    except DiskError:
        is_ours = False
    if not is_ours:
        log.info("%s cannot be written; connections are counted for this job only", shared)
    return shared if is_ours else own


def _key(request: XcorRequest, source: str) -> str:
    """What a finished day must agree with to be kept."""
    content = json.dumps([request.to_json(), source, __version__], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _cores(processes: int) -> int:
    """So many processes, or as many as there are cores."""
    return processes or len(os.sched_getaffinity(0))


@with_one_thread
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
    NothingMadeError
        If no pair has a stack.
    """
    request = _read(folder, StackRequest, STACKING)
    write_json(folder / REQUEST_FILE, request.to_json())
    reporter = Reporter(folder, report)
    days = correlation_day.from_folder(corr_folder)
    if not days:
        need = f"has no correlations: there is no DAY.h5 in {corr_folder}"
        raise RequestError([Problem(STACKING, 2, "job", request.params.job, need)])
    reporter.begin(len(days), 0)
    reporter.stage(f"stacking {len(days)} days")
    made, summary = products.of_stacking(
        folder, days, request.params, _cores(processes), reporter.stacked
    )
    reporter.progress.days_done = len(days)
    names = [REQUEST_FILE, *made]
    counts = DayCounts(done=len(days), empty=0)
    return _finish(folder, names, counts, _cores(processes), reporter, summary)


def _finish(
    folder: Path,
    names: Sequence[str],
    days: DayCounts,
    processes: int,
    reporter: Reporter,
    summary: dict[str, Any],
) -> dict[str, Any]:
    """Write outputs.json, the last act: its presence says that all is there."""
    reporter.stage("checking files")
    warnings = reporter.progress.warnings
    outputs = outputs_of(folder, names, days, processes, warnings, summary).to_json()
    sync(folder / name for name in names)  # all at once; outputs.json vouches for them
    reporter.stage("finished")
    write_json(folder / OUTPUTS_FILE, outputs)
    return outputs
