"""Stacks, images, pair tables and the pairs with the highest SNR of a finished job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...atomic_files import remove
from ...errors import NoResultError, Problem, RequestError
from ...request.params import XcorParams
from ...request.stacking_params import STACKING, StackParams
from ..hdf5 import correlation_day
from ..hdf5.correlation_day import CorrDay
from ..stack import apparent_speed, peak
from ..stack.files import Stacked, stack_files, write_rotated
from ..stack.plan import StackPlan
from ..units.records import DayResult
from . import images
from .pair_tables import write_pair_table, write_row_index
from .render_pool import RenderPool, RenderTask

_N_BEST = 10  # pairs in the summary


def correlation_products(
    folder: Path,
    results: Sequence[DayResult],
    params: XcorParams,
    processes: int,
    report: Callable[[int, int], None] = lambda done, total: None,
    renderer: RenderPool | None = None,
) -> tuple[list[str], dict[str, Any]]:
    """Write the linear stack over all days and, with a renderer, the images of a correlation job.

    Returns
    -------
    names : list of str
        Files written, relative to the job folder.
    summary : dict
        Pairs, windows, and the pairs with the highest SNR, with lag and apparent speed.
    """
    tasks = [images.availability_task(folder, results)] if renderer else []
    names = [name.removeprefix("CORR/") for result in results for name in result.files]
    files = tuple(correlation_day.from_files(folder / "CORR", names))
    if not files:
        empty = {"pairs": 0, "windows_kept": 0, "best": []}
        return _render(folder, tasks, renderer), empty
    plan = StackPlan(files, StackParams("linear", None, True, ""), params)
    stacked = stack_files(folder / "STACK" / "linear.h5", plan, processes, report)
    written, summary = _write_products(folder, plan, stacked, tasks, renderer)
    return [write_row_index(folder, plan), *written], summary


def stacking_products(
    folder: Path,
    days: Sequence[CorrDay],
    stacking: StackParams,
    processes: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[str], dict[str, Any]]:
    """Write the stacks and images of a stacking job; returns as `correlation_products`.

    Raises
    ------
    RequestError
        If the request names a pair or channel that the correlations do not have.
    NoResultError
        If no pair has a stack; no stack file is left then.
    """
    plan = StackPlan(tuple(days), stacking, days[0].params)
    _check_selection(plan)
    stacked = stack_files(folder / "STACK" / f"{stacking.type}.h5", plan, processes, report)
    if not np.isfinite(stacked.stack).any():
        remove(stacked.path)
        raise _no_stack(plan, stacked)
    with RenderPool(processes, early=False) as renderer:
        return _write_products(folder, plan, stacked, [], renderer)


def _no_stack(plan: StackPlan, stacked: Stacked) -> NoResultError:
    """Why no pair has a stack: there are no windows, or the method selects none of them."""
    n_pairs, n_windows = stacked.pairs.first.size, int(stacked.n_windows.sum())
    if not n_windows:
        reason = "no correlation has a finite value"
    elif plan.stacking.type == "selective":
        reason = "no window passes the selection; lower threshold in stacking_params.csv"
    else:
        reason = f"type={plan.stacking.type} gives no finite value"
    size = f"{n_pairs:,} pairs, {n_windows:,} pair-windows, {len(plan.files):,} days"
    return NoResultError("stack", f"{reason} ({size})", (), RequestError.exit_code)


def _check_selection(plan: StackPlan) -> None:
    """Reject pairs and channels that the correlations do not have, before any work is done."""
    pairs, _ = plan.union
    in_pairs = np.unique(np.concatenate([pairs.first, pairs.second]))
    problems = []
    for column, asked, present in (
        ("pairs", plan.stacking.pairs, pairs.names),
        ("shots", plan.stacking.shots, [pairs.channels[k] for k in in_pairs]),
    ):
        for name in sorted(set(asked) - set(present)):
            need = f"is not in job {plan.stacking.job}; it has {len(present)}, such as {present[0]}"
            problems.append(Problem(STACKING, 2, column, name, need))
    if problems:
        raise RequestError(problems)


def _write_products(
    folder: Path,
    plan: StackPlan,
    stacked: Stacked,
    tasks: list[RenderTask],
    renderer: RenderPool | None,
) -> tuple[list[str], dict[str, Any]]:
    """Write rotated stacks, pair tables and images; gives all names, and the summary."""
    best = highest_snr_pairs(stacked, plan.lags)
    summary = {
        "pairs": stacked.pairs.first.size,
        "windows_kept": int(stacked.n_windows.sum()),
        "best": best,
    }
    stacks = [stacked, write_rotated(plan, stacked)]
    paths = [(s.path, write_pair_table(s, plan.lags)) for s in stacks if s is not None]
    names = [str(path.relative_to(folder)) for pair in paths for path in pair]
    if renderer:
        best_pair = stacked.pairs.names.index(best[0]["pair"]) if best else 0
        tasks = [*images.stack_tasks(folder, plan, stacked, best_pair), *tasks]
    return [*names, *_render(folder, tasks, renderer)], summary


def _render(folder: Path, tasks: list[RenderTask], renderer: RenderPool | None) -> list[str]:
    """Names of the images, relative to the job folder."""
    if renderer is None:
        return []
    return [str(path.relative_to(folder)) for path in renderer.render(tasks)]


def highest_snr_pairs(stacked: Stacked, lags: np.ndarray) -> list[dict[str, Any]]:
    """The pairs of two channels with the highest SNR, highest first; lags (n_lags,) in s."""
    pairs, ratio = stacked.pairs, stacked.snr
    lag, _ = peak(stacked.stack, lags)
    speed = apparent_speed(pairs.distance, lag)
    apart = (pairs.first != pairs.second) & np.isfinite(ratio)
    order = [int(k) for k in np.argsort(-ratio, kind="stable") if apart[k]][:_N_BEST]
    names = pairs.names
    return [
        {
            "pair": names[k],
            "distance_km": _rounded(pairs.distance[k], 3),
            "snr": _rounded(ratio[k], 2),
            "lag_s": _rounded(lag[k], 4),
            "speed_km_s": _rounded(speed[k], 3),
        }
        for k in order
    ]


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None
