"""Correlation files -> a stack file, by blocks of pairs in parallel, day after day.

Each window is read once. Additive methods keep the sums of each open interval, the others its
windows, for one block of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datatypes import PairTable
from ..executors import run_units
from ..hdf5 import correlation_file, provenance, stack_file
from ..hdf5.stack_file import StackWriter
from ..measure.dvv import METHODS as DVV
from ..measure.dvv import Coda
from . import NonAdditiveMethod, bootstrap, snr, valid_rows
from .plan import StackPlan, read_windows
from .rotation import rotate

_READ_BYTES = 32_000_000  # of correlations in memory at a time, in each process
_KEPT_BYTES = 256_000_000  # of windows, or stacks, of open intervals in each process
_SMALL_BYTES = 64_000_000  # of correlations that are stacked faster than processes start
_BLOCKS_PER_PROCESS = 3  # so that all processes end at about the same time


@dataclass(frozen=True)
class Stacked:
    """A stack file, and one trace a pair: the stack, or the mean of the intervals' stacks."""

    path: Path
    pairs: PairTable
    stack: np.ndarray  # (n_pairs, n_lags), in the unit of the correlations
    snr: np.ndarray  # (n_pairs,), without unit
    n_windows: np.ndarray  # int (n_pairs, n_days): windows with data


def stack_files(
    path: Path,
    plan: StackPlan,
    processes: int,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> Stacked:
    """Stack all pairs of all days and write the stack file.

    Parameters
    ----------
    path : Path
        The file to write.
    plan : StackPlan
        Days, parameters and method.
    processes : int
        Number of processes; the file does not depend on it.
    report : callable
        Called with the number of stacked pairs and of all.

    Raises
    ------
    RequestError
        If dv/v is requested and the lags have no such coda.
    DiskError
        If the disk is full or a write fails.
    """
    pairs, _ = plan.union
    n_pairs = pairs.first.size
    counts = np.zeros((n_pairs, len(plan.files)), dtype=np.int32)
    intervals = None if plan.stacking.stack_all else plan.intervals
    variables = _variables(plan)
    if _is_small(plan):
        processes = 1
    blocks = list(_blocks(plan, processes))
    with stack_file.create_stack(
        path, pairs, plan.params, _method_attributes(plan), intervals, variables
    ) as writer:
        done = 0
        for outcome in run_units(lambda rows: _stack_block(plan, rows, writer), blocks, processes):
            rows = outcome.unit
            counts[rows] = outcome.get()
            done += rows.stop - rows.start
            report(done, n_pairs)
    mean = correlation_file.read_variable(path, "stack" if plan.stacking.stack_all else "mean")
    ratio = snr(mean, plan.lags, pairs.distance, margin=1 / plan.params.freqmin)
    return Stacked(path, pairs, mean, ratio, counts)


def write_rotated(plan: StackPlan, stacked: Stacked) -> Stacked | None:
    """Write the R, T, Z components of a stack file to ``NAME-RTZ.h5`` in the same folder.

    Returns None if ``rotate`` is false, or no two stations have E, N and Z.
    """
    if not plan.params.rotate:
        return None
    stack = correlation_file.read_variable(stacked.path, "stack")
    counts = correlation_file.read_variable(stacked.path, "n_windows")
    pairs, stack, counts = rotate(stacked.pairs, stack, counts)
    if not pairs.first.size:
        return None
    path = stacked.path.with_name(f"{stacked.path.stem}-RTZ.h5")
    intervals = None if plan.stacking.stack_all else plan.intervals
    variables = {name: _variables(plan)[name] for name in ("stack", "n_windows")}
    extra = _method_attributes(plan)
    with stack_file.create_stack(path, pairs, plan.params, extra, intervals, variables) as writer:
        writer.write("stack", 0, stack)
        writer.write("n_windows", 0, counts)
    mean, counts = (stack, counts[:, None]) if intervals is None else (_mean_of(stack), counts)
    ratio = snr(mean, plan.lags, pairs.distance, margin=1 / plan.params.freqmin)
    return Stacked(path, pairs, mean, ratio, counts)


def _method_attributes(plan: StackPlan) -> dict[str, Any]:
    """The attributes of a stack file beyond those of its correlations."""
    of_images = ("pairs", "shots", "svg", "type")
    settings = {
        f"stacking_{name}": int(value) if isinstance(value, bool) else value
        for name, value in asdict(plan.stacking).items()
        if value not in (None, "", "none") and name not in of_images
    }
    return {"method": plan.stacking.type, "days": " ".join(plan.days), **settings}


def _variables(plan: StackPlan) -> dict[str, tuple[str, str, str]]:
    """Variables of a stack file: name -> (dimensions, unit, meaning)."""
    unit = provenance.units(plan.params)
    by = "pair" if plan.stacking.stack_all else "pair day"
    held = {
        "stack": (f"{by} lag", unit, f"{plan.stacking.type} stack; NaN where no window is"),
        "n_windows": (by, "1", "windows that went in"),
        "snr": (by, "1", "peak of the envelope over the root mean square of the noise"),
    }
    if plan.stacking.bootstrap:
        held["error"] = (f"{by} lag", unit, "standard error of the stack, by bootstrap")
    if not plan.stacking.stack_all:
        held["mean"] = ("pair lag", unit, "mean of the stacks of all intervals")
    if plan.stacking.dvv != "none":
        by_dvv = plan.stacking.dvv
        held["dvv"] = (by, "1", f"relative change of velocity against the mean, by {by_dvv}")
        held["dvv_error"] = (by, "1", "standard error of dvv")
        held["dvv_correlation"] = (by, "1", "of the stack with the mean stretched by dvv")
    return held


def _is_small(plan: StackPlan) -> bool:
    """Whether stacking takes less time than starting processes."""
    s, (pairs, _) = plan.stacking, plan.union
    n_bytes = 4 * pairs.first.size * plan.lags.size * sum(f.starts.size for f in plan.files)
    return s.type == "linear" and not s.bootstrap and plan.coda is None and n_bytes < _SMALL_BYTES


def _blocks(plan: StackPlan, processes: int) -> Iterator[slice]:
    """Blocks of pairs that fit in memory and keep all processes busy."""
    pairs, _ = plan.union
    n_pairs, n_lags = pairs.first.size, plan.lags.size
    a_day = 4 * n_lags * max(file.starts.size for file in plan.files)
    kept = 4 * n_lags * len(plan.intervals) * (3 if plan.stacking.bootstrap else 2)
    if plan.keeps_windows:
        span = plan.intervals[0, 1] - plan.intervals[0, 0]
        kept += a_day * int(min(len(plan.files), np.ceil(span / 86400)))
    most = min(
        _READ_BYTES // a_day, _KEPT_BYTES // kept, -(-n_pairs // (processes * _BLOCKS_PER_PROCESS))
    )
    size = max(1, most)
    for a in range(0, n_pairs, size):
        yield slice(a, min(n_pairs, a + size))


def _stack_block(plan: StackPlan, rows: slice, writer: StackWriter) -> np.ndarray:
    """Stack and write some pairs; return their numbers of windows, int (n_pairs, n_files)."""
    n_pairs, n_intervals = rows.stop - rows.start, len(plan.intervals)
    shape = (n_pairs, n_intervals, plan.lags.size)
    out = {"stack": np.full(shape, np.nan, np.float32), "n_windows": np.zeros(shape[:2], np.int32)}
    if plan.stacking.bootstrap:
        out["error"] = np.full(shape, np.nan, np.float32)
    counts = np.zeros((n_pairs, len(plan.files)), dtype=np.int32)
    open_intervals = [_OpenIntervals(plan) for _ in range(n_pairs)]
    _, places = plan.union
    for k, (file, place) in enumerate(zip(plan.files, places, strict=True)):
        windows = read_windows(file, place[rows], plan.lags.size)
        following = plan.files[k + 1].starts.min() if k + 1 < len(plan.files) else np.inf
        for pair in range(n_pairs):
            counts[pair, k] = open_intervals[pair].add(windows[pair], file.starts)
            for interval, trace, count, error in open_intervals[pair].finished(following):
                out["stack"][pair, interval] = trace
                out["n_windows"][pair, interval] = count
                if error is not None:
                    out["error"][pair, interval] = error
    pairs, _ = plan.union
    distance = np.broadcast_to(pairs.distance[rows, None], shape[:2])
    out["snr"] = snr(out["stack"], plan.lags, distance, margin=1 / plan.params.freqmin)
    if plan.stacking.stack_all:
        out = {name: values[:, 0] for name, values in out.items()}
    else:
        out["mean"] = _mean_of(out["stack"])
    if plan.coda is not None:
        out |= _changes(plan, out["stack"], out["mean"], plan.coda)
    for name, values in out.items():
        writer.write(name, rows.start, values)
    return counts


class _OpenIntervals:
    """Sums or windows of the open intervals of one pair, by the cells between all boundaries."""

    def __init__(self, plan: StackPlan) -> None:
        self._method = plan.method
        self._resamples = int(plan.stacking.bootstrap)
        self._bounds = np.unique(plan.intervals)
        self._cells = np.searchsorted(
            self._bounds, plan.intervals
        )  # first cell of each and the one after its last
        self._ends = plan.intervals[:, 1]
        self._next = 0  # the first open interval
        self._parts: dict[int, list[Any]] = {}

    def add(self, windows: np.ndarray, starts: np.ndarray) -> int:
        """Add the windows (n_windows, n_lags) of a day; return how many have data."""
        cells = np.searchsorted(self._bounds, starts, side="right") - 1
        used = 0
        for cell in np.unique(cells):
            rows = valid_rows(windows[cells == cell] if len(starts) > 1 else windows)
            used += len(rows)
            if not len(rows):
                continue
            parts = self._parts.setdefault(int(cell), [])
            # The bootstrap resamples windows, so they are kept.
            parts.append(rows.copy() if self._resamples else self._method.gather(rows))
            if not self._keeps_rows and len(parts) > 1:
                parts[:] = [self._method.merge(parts)]
        return used

    @property
    def _keeps_rows(self) -> bool:
        return bool(self._resamples) or isinstance(self._method, NonAdditiveMethod)

    def finished(self, until: float) -> Iterator[tuple[int, np.ndarray, int, np.ndarray | None]]:
        """Finish intervals that end by a time: index, trace, number of windows, error."""
        while self._next < len(self._ends) and (self._ends[self._next] <= until):
            first, end = self._cells[self._next]
            parts = [part for cell in range(first, end) for part in self._parts.get(cell, ())]
            if parts:
                yield self._next, *self._finish(parts)
            self._next += 1
            if self._next < len(self._ends):
                begin = self._cells[self._next, 0]
                self._parts = {c: part for c, part in self._parts.items() if c >= begin}

    def _finish(self, parts: list[Any]) -> tuple[np.ndarray, int, np.ndarray | None]:
        if not self._resamples:
            merged: Any = self._method.merge(parts)  # of the type that `gather` returns
            return *self._method.finish(merged), None
        rows = np.concatenate(parts)
        error = bootstrap(self._method, rows, self._resamples)
        gathered: Any = self._method.gather(rows)
        return *self._method.finish(gathered), error


def _mean_of(stacks: np.ndarray) -> np.ndarray:
    """Mean of stacks (n_pairs, n_intervals, n_lags) over intervals, without missing ones."""
    good = np.isfinite(stacks).all(axis=-1)
    total = np.where(good[..., None], stacks, 0).sum(axis=1, dtype=np.float64)
    n = good.sum(axis=1)[:, None]
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)


def _changes(
    plan: StackPlan, stacks: np.ndarray, means: np.ndarray, coda: Coda
) -> dict[str, np.ndarray]:
    """dv/v of stacks (n_pairs, n_intervals, n_lags) against means (n_pairs, n_lags)."""
    measure = DVV[plan.stacking.dvv]
    changes = [
        measure(mean, stack, plan.lags, coda) for mean, stack in zip(means, stacks, strict=True)
    ]
    return {
        "dvv": np.array([change.dvv for change in changes]),
        "dvv_error": np.array([change.error for change in changes]),
        "dvv_correlation": np.array([change.correlation for change in changes]),
    }
