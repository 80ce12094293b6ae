"""The main sequence of a worker: a job folder in; correlations, stacks and images out.

`correlate_job`, `correlate_shard` and `stack_job` call the steps in order.
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
from .executors import Executor, InProcessExecutor, ProcessPool
from .hdf5 import correlation_day
from .products import products
from .products.data_sources import data_sources_used
from .products.reasons import count_reasons, failed_channel_days, nothing_made_error
from .products.render_pool import RenderPool
from .products.summary import describe_outputs, write_summary
from .scheduling.prefetch import Downloads
from .scheduling.progress import ProgressReporter
from .scheduling.schedule import Schedule, UnitResult, UnitRunner, run_schedule
from .scheduling.unit_progress import ProgressMeter, UnitProgress, clear_progress, read_progress
from .sources import NOTHING_SHARED, Access, needs_data_centre, open_sources, picklable_for_workers
from .units.blocks import clear_prepared
from .units.plan import DayPlan
from .units.records import DayResult, clear_partial_records
from .worker_process import with_one_thread

log = logging.getLogger(__name__)

CONNECTIONS = ".connections"  # folder of the job in which connections are counted
_SMALL = 32e6  # bytes of stacks times days, up to which the renderer is started early


@dataclass(frozen=True)
class ExecutionOptions:
    """Where the units of a job run; the results do not depend on it."""

    executor: str = "processes"  # or dask
    dask_address: str = ""  # of a scheduler; empty starts a cluster on this machine
    combine_shards: bool = False  # shards have processed all days: only combine them


@with_one_thread
def correlate_job(
    folder: Path,
    source: str,
    processes: int = 0,
    report: Callable[[Progress], None] = lambda progress: None,
    images: bool = True,
    sources: Mapping[str, str] | None = None,
    access: Access = NOTHING_SHARED,
    execution: ExecutionOptions = ExecutionOptions(),
) -> dict[str, Any]:
    """Run a correlation job: stations.csv and params.csv in, everything else out.

    Days that an earlier run finished are not processed again.

    Parameters
    ----------
    folder : Path
        Contains the two files; results are written beside them.
    source : str
        ``archive:PATH``, ``fdsn:URL-or-name`` or ``s3:NAME``; for channels without a DataCenter.
    processes : int
        Number of worker processes (0: one per core). The results do not depend on it.
    report : callable
        Called with the `Progress` whenever it changes.
    images : bool
        Whether to render the images in PLOT.
    sources : mapping, optional
        Configured names -> sources, for the column DataCenter of stations.csv.
    access : Access
        Cache and connection limits shared with other jobs; nothing without a ``cache``.
    execution : ExecutionOptions
        Executor of the units; the results do not depend on it.

    Returns
    -------
    outputs : dict
        The content of outputs.json: units, files, warnings, summary.

    Raises
    ------
    RequestError
        If the folder is not a correlation job, or its request is not valid.
    UnreachableError
        If the source does not answer.
    NoResultError
        If no correlation was made; summary.csv and outputs.json are written.
    DiskError
        If the disk is full.
    """
    request = _read_job(folder, XcorRequest, STATIONS)
    write_json(folder / REQUEST_FILE, request.to_json())
    reporter = ProgressReporter(folder, report)
    with ExitStack() as stack:
        renderer = stack.enter_context(_render_pool(request, processes)) if images else None
        runner = _unit_runner(folder, request, source, sources or {}, access, processes, reporter)
        schedule = Schedule(runner, request.days)
        if execution.combine_shards and schedule.todo:
            days = ", ".join(str(day) for day in schedule.todo[:10])
            count = f"{len(schedule.todo)} of {len(request.days)}"
            need = "run their shards again, or leave out --join to process them here"
            raise XcorError(f"days not processed yet: {count}, such as {days}; {need}.")
        _run_units(schedule, len(request.days), processes, execution, reporter)
        return _write_results(folder, request, schedule, processes, reporter, renderer)


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
    """Process every N-th day of a job, as one of N shards that share its folder.

    Parameters
    ----------
    shard : (int, int)
        Number of this shard (from 0) and number of all shards. Every day belongs to one shard.
    folder, source, processes, report, sources, access
        As for `correlate_job`, which combines the shards when all are done.

    Returns
    -------
    failed_days : list of dict
        ``day`` and ``reason`` of the days that could not be processed.

    Raises
    ------
    NoResultError
        If no day has correlations because a source could not be reached. Otherwise as
        `correlate_job`, but days without data are not an error.
    """
    number, n_shards = shard
    request = _read_job(folder, XcorRequest, STATIONS)
    days = request.days[number::n_shards]
    reporter = ProgressReporter(folder, report, PROGRESS_FILE.replace(".", f"-{number}."))
    # Shards run on many machines: the limit of a data centre is counted in the folder they share.
    access = replace(access, lock_folder=folder / CONNECTIONS)
    runner = _unit_runner(folder, request, source, sources or {}, access, processes, reporter)
    schedule = Schedule(runner, days)
    _run_units(schedule, len(days), processes, ExecutionOptions(), reporter)
    reporter.stage("finished")
    by_day = _channel_days(request, schedule)
    if by_day and not schedule.failed_days and not any(has_file for _, has_file in by_day):
        error = nothing_made_error(by_day)
        if error.exit_code == UnreachableError.exit_code:  # otherwise its days have no data
            raise error
    for line in reason_lines(count_reasons(by_day)):
        log.warning("shard %d of %d: %s", number, n_shards, line)
    return schedule.failed_days


def _render_pool(request: XcorRequest, processes: int) -> RenderPool:
    """The renderer; started early for a small job, where seconds count and the pipe is fast."""
    n_pairs = request.periods.n_pairs
    n_bytes = 4 * n_pairs * (2 * request.params.n_lags + 1) * len(request.days)
    return RenderPool(_process_count(processes), early=n_bytes <= _SMALL)


def _unit_runner(
    folder: Path,
    request: XcorRequest,
    source: str,
    sources: Mapping[str, str],
    access: Access,
    processes: int,
    reporter: ProgressReporter,
) -> UnitRunner:
    """Open the sources, read the metadata and plan the units."""
    reporter.stage("looking up stations and responses")
    lock_folder = access.lock_folder or _connections_folder(folder, access.cache)
    access = replace(access, lock_folder=lock_folder, download_folder=folder / ".downloads")
    opened = open_sources(source, request.channels, sources, access)
    metadata = opened.metadata(request.channels, request.params.response)
    units = Units(request)
    threads = max(1, _process_count(processes) // max(1, units.n_units))
    key = _request_key(request, source)
    folder = folder.resolve()  # workers may have another working directory
    plan = DayPlan(folder, request.params, opened, metadata, key, threads, request.pairs)
    return UnitRunner(plan, units)


def _run_units(
    schedule: Schedule,
    days: int,
    processes: int,
    execution: ExecutionOptions,
    reporter: ProgressReporter,
) -> None:
    """Run the units of all days that are not finished."""
    runner = schedule.runner
    reporter.begin(days, schedule.restored)

    def update(running: Mapping[Unit, UnitProgress]) -> None:
        reporter.update(schedule.share(running), running, schedule.downloading)

    def on_poll(running: Sequence[Unit]) -> None:
        found = {unit: read_progress(runner.plan.folder, unit) for unit in running}
        update({unit: progress for unit, progress in found.items() if progress})

    def run_in_process(unit: Unit) -> UnitResult:
        meter = ProgressMeter()

        def report(done: int, total: int, kind: str) -> None:
            update({unit: meter.measure(done, total, kind)})

        return runner.run(unit, report)

    def on_day(result: DayResult) -> None:
        reporter.day_done(schedule.share(), result)

    if schedule.is_done:
        return
    workers = min(_process_count(processes), runner.units.n_units)
    with ExitStack() as stack:
        executor: Executor[Unit]
        if execution.executor == "dask":
            executor = _dask_executor(schedule, execution, workers, stack)
        elif workers > 1:
            executor = ProcessPool(runner, workers)
        else:
            executor = InProcessExecutor(run_in_process)
        stack.enter_context(closing(executor))
        run_schedule(schedule, executor, on_poll, on_day)


def _dask_executor(
    schedule: Schedule, execution: ExecutionOptions, workers: int, stack: ExitStack
) -> Executor[Unit]:
    """An executor on a Dask cluster; only this machine downloads from data centres."""
    try:
        from .scheduling.dask_cluster import DaskExecutor  # Dask takes a second to import
    except ImportError as error:
        need = "Dask is not installed; pip install 'xcor-daemon[dask]'"
        raise ConfigError(f"--executor dask: {need}.") from error
    runner, source = schedule.runner, schedule.runner.plan.source
    plan = replace(runner.plan, threads=1)
    if execution.dask_address:
        plan = replace(plan, source=picklable_for_workers(source))
        if needs_data_centre(source):
            downloads = Downloads(runner.plan, runner.units.request, schedule.todo)
            schedule.downloads = stack.enter_context(downloads)
    work = UnitRunner(plan, runner.units)
    return DaskExecutor(work, plan.folder, execution.dask_address, workers)


def _write_results(
    folder: Path,
    request: XcorRequest,
    schedule: Schedule,
    processes: int,
    reporter: ProgressReporter,
    renderer: RenderPool | None,
) -> dict[str, Any]:
    """Write summary, stacks, images and outputs.json when all days have ended."""
    results = [schedule.results[day] for day in request.days if day in schedule.results]
    write_summary(folder / SUMMARY_FILE, results)
    failed = schedule.failed_days
    names = [name for result in results for name in result.files]
    if failed and not names:
        first = failed[0]
        raise XcorError(f"no day could be processed; the first, {first['day']}: {first['reason']}")
    by_day = _channel_days(request, schedule)
    complete = [result for result in results if not result.failed_units]
    days = DayCounts(
        done=sum(bool(result.files) for result in complete),
        empty=sum(not result.files for result in complete),
        failed=tuple(FailedDay(**day) for day in failed),
    )
    reporter.stage("stacking and plotting" if renderer else "stacking")
    written, summary = products.correlation_products(
        folder, results, request.params, _process_count(processes), reporter.stacked, renderer
    )
    summary["sources"] = data_sources_used(row for result in results for row in result.channel_days)
    summary["reasons"] = count_reasons(by_day)
    clear_prepared(folder)
    clear_progress(folder)
    clear_partial_records(folder)
    is_empty = not names
    names = [REQUEST_FILE, SUMMARY_FILE, *names, *written]
    outputs = _write_outputs(folder, names, days, _process_count(processes), reporter, summary)
    if is_empty:  # summary.csv has the reasons, and outputs.json lists it
        raise nothing_made_error(by_day)
    return outputs


def _channel_days(request: XcorRequest, schedule: Schedule) -> list[tuple[list[ChannelDay], bool]]:
    """The channel-days of every day, and whether the day has correlations."""
    by_day = [(result.channel_days, bool(result.files)) for result in schedule.results.values()]
    for failed in schedule.failed_days:
        day = date.fromisoformat(failed["day"])
        if day not in schedule.results:
            names = (channel.id for channel in request.on(day))
            by_day.append((failed_channel_days(failed["day"], names, failed["reason"]), False))
    return by_day


def _read_job(folder: Path, kind: type, file: str) -> Any:
    request = read_request(folder)
    if not isinstance(request, kind):
        is_stacking = isinstance(request, StackRequest)
        job, command = ("stacking", "stack") if is_stacking else ("correlation", "correlate")
        need = f"the folder contains a {job} job; run `xcor-daemon {command}`"
        raise RequestError([Problem(file, 0, "", "", need)])
    return request


def _connections_folder(folder: Path, cache: Path | None) -> Path:
    """The folder in which connections are counted: of the machine if writable, else of the job."""
    own = folder / CONNECTIONS
    if cache is None:
        return own
    shared = cache / "connections"
    try:
        make_folder(shared, mode=0o700)
        is_writable = os.access(shared, os.W_OK | os.X_OK)
    except DiskError:
        is_writable = False
    if not is_writable:
        log.info("%s is not writable; connections are limited for this job only", shared)
    return shared if is_writable else own


def _request_key(request: XcorRequest, source: str) -> str:
    """Digest of the request, the source and the version: records with another key are not used."""
    content = json.dumps([request.to_json(), source, __version__], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _process_count(processes: int) -> int:
    """The number of processes; 0 means one per core."""
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
        Contains stacking_params.csv; results are written beside it.
    corr_folder : Path
        Contains the CORR files of the correlation job.
    processes, report
        As for `correlate_job`.

    Returns
    -------
    outputs : dict
        The content of outputs.json.

    Raises
    ------
    RequestError
        If the folder is not a stacking job, or the other folder does not have the correlations.
    NoResultError
        If no pair has a stack.
    """
    request = _read_job(folder, StackRequest, STACKING)
    write_json(folder / REQUEST_FILE, request.to_json())
    reporter = ProgressReporter(folder, report)
    days = correlation_day.from_folder(corr_folder)
    if not days:
        need = f"has no correlations: no DAY.h5 in {corr_folder}"
        raise RequestError([Problem(STACKING, 2, "job", request.params.job, need)])
    reporter.begin(len(days), 0)
    reporter.stage(f"stacking {len(days)} days")
    written, summary = products.stacking_products(
        folder, days, request.params, _process_count(processes), reporter.stacked
    )
    reporter.progress.days_done = len(days)
    counts = DayCounts(done=len(days), empty=0)
    names = [REQUEST_FILE, *written]
    return _write_outputs(folder, names, counts, _process_count(processes), reporter, summary)


def _write_outputs(
    folder: Path,
    names: Sequence[str],
    days: DayCounts,
    processes: int,
    reporter: ProgressReporter,
    summary: dict[str, Any],
) -> dict[str, Any]:
    """Write outputs.json, last: its presence means that all results are complete."""
    reporter.stage("checking files")
    warnings = reporter.progress.warnings
    outputs = describe_outputs(folder, names, days, processes, warnings, summary).to_json()
    sync(folder / name for name in names)  # all at once; outputs.json implies that they are durable
    reporter.stage("finished")
    write_json(folder / OUTPUTS_FILE, outputs)
    return outputs
