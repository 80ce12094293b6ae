"""What a finished job shows: stacks, images and the clearest pairs, out of its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...atomic_files import remove
from ...errors import NothingMadeError, Problem, RequestError
from ...request.params import XcorParams
from ...request.stacking_params import STACKING, StackParams
from ..hdf5 import correlation_day
from ..hdf5.correlation_day import CorrDay
from ..stack import apparent_speed, peak
from ..stack.files import Stacked, stack_files, write_rotated
from ..stack.plan import StackPlan
from ..units.day import DayResult
from . import images
from .pair_tables import write_pairs, write_rows
from .render_pool import Drawing, Painters

_BEST = 10  # pairs in the summary


def of_correlation(
    folder: Path,
    results: Sequence[DayResult],
    params: XcorParams,
    processes: int,
    report: Callable[[int, int], None] = lambda done, of: None,
    painters: Painters | None = None,
) -> tuple[list[str], dict[str, Any]]:
    """The linear stack over all days and, where there are painters, images of a correlation job.

    Returns
    -------
    names : list of str
        Files made, in the job folder.
    summary : dict
        Pairs, windows, and the clearest pairs with SNR, lag and apparent speed.
    """
    drawings = [images.of_days(folder, results)] if painters else []
    names = [name.removeprefix("CORR/") for result in results for name in result.files]
    files = tuple(correlation_day.from_files(folder / "CORR", names))
    if not files:
        nothing = {"pairs": 0, "windows_kept": 0, "best": []}
        return _draw(folder, drawings, painters), nothing
    plan = StackPlan(files, StackParams("linear", None, True, ""), params)
    stacked = stack_files(folder / "STACK" / "linear.h5", plan, processes, report)
    shown, summary = _show(folder, plan, stacked, drawings, painters)
    return [write_rows(folder, plan), *shown], summary


def of_stacking(
    folder: Path,
    days: Sequence[CorrDay],
    stacking: StackParams,
    processes: int,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[list[str], dict[str, Any]]:
    """The stacks and images of a stacking job.

    Raises
    ------
    RequestError
        If the correlations do not have what is asked for.
    NothingMadeError
        If no pair has a stack; there is no file of stacks then.
    """
    plan = StackPlan(tuple(days), stacking, days[0].params)
    _check_selection(plan)
    stacked = stack_files(folder / "STACK" / f"{stacking.type}.h5", plan, processes, report)
    if not np.isfinite(stacked.stack).any():
        remove(stacked.path)
        raise _no_stack(plan, stacked)
    with Painters(processes, early=False) as painters:
        return _show(folder, plan, stacked, [], painters)


def _no_stack(plan: StackPlan, stacked: Stacked) -> NothingMadeError:
    """Why no pair has a stack: there are no windows, or the method takes none of them."""
    n_pairs, n_windows = stacked.pairs.first.size, int(stacked.n_windows.sum())
    if not n_windows:
        reason = "no correlation has a finite value"
    elif plan.stacking.type == "selective":
        reason = "no window passes the selection; lower threshold in stacking_params.csv"
    else:
        reason = f"type={plan.stacking.type} gives no finite value"
    size = f"{n_pairs:,} pairs, {n_windows:,} pair-windows, {len(plan.files):,} days"
    return NothingMadeError("stack", f"{reason} ({size})", (), RequestError.exit_code)


def _check_selection(plan: StackPlan) -> None:
    """Refuse pairs and channels that the correlations do not have, before anything is done."""
    pairs, _ = plan.union
    in_pairs = np.unique(np.concatenate([pairs.first, pairs.second]))
    problems = []
    for column, asked, there in (
        ("pairs", plan.stacking.pairs, pairs.names),
        ("shots", plan.stacking.shots, [pairs.channels[k] for k in in_pairs]),
    ):
        for name in sorted(set(asked) - set(there)):
            need = f"is not in job {plan.stacking.job}; it has {len(there)}, such as {there[0]}"
            problems.append(Problem(STACKING, 2, column, name, need))
    if problems:
        raise RequestError(problems)


def _show(
    folder: Path,
    plan: StackPlan,
    stacked: Stacked,
    drawings: list[Drawing],
    painters: Painters | None,
) -> tuple[list[str], dict[str, Any]]:
    """The names of stack files and images, and the summary."""
    best = clearest(stacked, plan.lags)
    summary = {
        "pairs": stacked.pairs.first.size,
        "windows_kept": int(stacked.n_windows.sum()),
        "best": best,
    }
    stacks = [stacked, write_rotated(plan, stacked)]
    paths = [(s.path, write_pairs(s, plan.lags)) for s in stacks if s is not None]
    names = [str(path.relative_to(folder)) for pair in paths for path in pair]
    if painters:
        clear = stacked.pairs.names.index(best[0]["pair"]) if best else 0
        drawings = [*images.of_stacks(folder, plan, stacked, clear), *drawings]
    return [*names, *_draw(folder, drawings, painters)], summary


def _draw(folder: Path, drawings: list[Drawing], painters: Painters | None) -> list[str]:
    """Names of the images, in the job folder."""
    if painters is None:
        return []
    return [str(path.relative_to(folder)) for path in painters.draw(drawings)]


def clearest(stacked: Stacked, lags: np.ndarray) -> list[dict[str, Any]]:
    """The pairs of two channels with the highest SNR, best first."""
    pairs, ratio = stacked.pairs, stacked.snr
    lag, _ = peak(stacked.stack, lags)
    speed = apparent_speed(pairs.distance, lag)
    apart = (pairs.first != pairs.second) & np.isfinite(ratio)
    order = [int(k) for k in np.argsort(-ratio, kind="stable") if apart[k]][:_BEST]
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
