"""What a finished job shows: stacks, images and the clearest pairs, out of its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Problem, RequestError
from ..request import STACKING, StackParams, XcorParams
from . import corrfile, plots
from .corrfile import CorrFile
from .datatypes import PairTable
from .day import DayResult
from .stack import peak
from .stacking import Stacked, StackPlan, stack_files, windows_of

_BEST = 10  # pairs in the summary


def of_correlation(
    folder: Path,
    results: Sequence[DayResult],
    params: XcorParams,
    processes: int,
    report: Callable[[int, int], None] = lambda done, of: None,
    images: bool = True,
) -> tuple[list[str], dict[str, Any]]:
    """The linear stack over all days and the images of a correlation job.

    Returns
    -------
    names : list of str
        Files made, in the job folder.
    summary : dict
        Pairs, windows, and the clearest pairs with SNR, lag and apparent speed.
    """
    made = _draw_availability(folder, results) if images else []
    files = tuple(CorrFile(folder / result.file) for result in results if result.file)
    if not files:
        return made, {"pairs": 0, "windows_kept": 0, "best": []}
    plan = StackPlan(files, StackParams("linear", None, True, ""), params)
    stacked = stack_files(folder / "STACK" / "linear.h5", plan, processes, report)
    shown, summary = _show(folder, plan, stacked, images)
    return [*made, *shown], summary


def of_stacking(
    folder: Path,
    paths: Sequence[Path],
    stacking: StackParams,
    processes: int,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[list[str], dict[str, Any]]:
    """The stacks and images of a stacking job.

    Raises
    ------
    RequestError
        If the correlations do not have what is asked for.
    """
    files = tuple(CorrFile(path) for path in paths)
    plan = StackPlan(files, stacking, files[0].params)
    _check_selection(plan)
    stacked = stack_files(folder / "STACK" / f"{stacking.type}.h5", plan, processes, report)
    return _show(folder, plan, stacked)


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
    folder: Path, plan: StackPlan, stacked: Stacked, images: bool = True
) -> tuple[list[str], dict[str, Any]]:
    """The names of stack file and images, and the summary."""
    best = clearest(stacked, plan.lags)
    summary = {
        "pairs": stacked.pairs.first.size,
        "windows_kept": int(stacked.n_windows.sum()),
        "best": best,
    }
    stack_name = str(stacked.path.relative_to(folder))
    drawn = _draw(folder, plan, stacked, best) if images else []
    return [stack_name, *drawn], summary


def clearest(stacked: Stacked, lags: np.ndarray) -> list[dict[str, Any]]:
    """The pairs of two channels with the highest SNR, best first."""
    pairs, ratio = stacked.pairs, stacked.snr
    lag, _ = peak(stacked.stack, lags)
    apart = (pairs.first != pairs.second) & np.isfinite(ratio)
    order = [int(k) for k in np.argsort(-ratio, kind="stable") if apart[k]][:_BEST]
    names = pairs.names
    return [
        {
            "pair": names[k],
            "distance_km": _rounded(pairs.distance[k], 3),
            "snr": _rounded(ratio[k], 2),
            "lag_s": _rounded(lag[k], 4),
            "speed_km_s": _rounded(abs(pairs.distance[k] / lag[k]), 3) if lag[k] else None,
        }
        for k in order
    ]


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def _names(folder: Path, paths: Sequence[Path]) -> list[str]:
    return [str(path.relative_to(folder)) for path in paths]


def span(days: Sequence[str]) -> str:
    """The days in words."""
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]} ({len(days)} days)"


def _what(plan: StackPlan) -> str:
    """What the stacks are, in words."""
    s, p = plan.stacking, plan.params
    band = f"{p.freqmin:g}-{p.freqmax:g} Hz"
    days = span(plan.days)
    if s.stack_all:
        return f"{band}, {s.type} stack of {days}"
    every = f"{s.every} every {s.moving}" if s.moving else s.every
    return f"{band}, mean of {len(plan.intervals)} {s.type} stacks ({every}) of {days}"


def _draw_availability(folder: Path, results: Sequence[DayResult]) -> list[str]:
    (folder / "PLOT").mkdir(exist_ok=True)
    rows = [row for result in results for row in result.rows]
    title = f"Windows kept, {span([result.day for result in results])}"
    return _names(folder, plots.availability(rows, title, path=folder / "PLOT" / "availability"))


def _draw(
    folder: Path, plan: StackPlan, stacked: Stacked, best: Sequence[dict[str, Any]]
) -> list[str]:
    """The images: all pairs, overview, spectrum, map, and those of some pairs and channels."""
    (folder / "PLOT").mkdir(exist_ok=True)
    s, pairs, lags = plan.stacking, stacked.pairs, plan.lags
    names, what, plot = pairs.names, _what(plan), folder / "PLOT"
    clear = names.index(best[0]["pair"]) if best else 0
    measures = {"snr": stacked.snr, "peak_lags": peak(stacked.stack, lags)[0], "svg": s.svg}
    section = (stacked.stack, lags, pairs.distance, names)
    made = plots.record_section(
        *section, f"All pairs, {what}", path=plot / "record_section", **measures
    )
    made += plots.overview(
        stacked.n_windows,
        plan.days,
        stacked.snr,
        pairs.distance,
        names,
        f"Windows and clarity, {what}",
        path=plot / "overview",
        most=plan.params.n_kept,
        svg=s.svg,
    )
    made += plots.spectrum(
        stacked.stack,
        lags,
        names,
        f"Spectra, {what}",
        path=plot / "spectrum",
        band=(plan.params.freqmin, plan.params.freqmax),
        clearest=clear,
        svg=s.svg,
    )
    made += _draw_map(plot, pairs, s.svg)
    shots = s.shots or (pairs.channels[pairs.first[clear]],)
    for channel in shots:
        path = plot / (f"virtual_shot_{channel}" if s.shots else "virtual_shot")
        title = f"Virtual shot at {channel}, {what}"
        made += plots.virtual_shot(*section, channel, title, path=path, **measures)
    for name in s.pairs or (names[clear],):
        path = plot / (f"correlogram_{name.replace('|', '_')}" if s.pairs else "correlogram")
        made += _draw_correlogram(plan, stacked, names.index(name), measures, path)
    if s.dvv != "none":
        drawn = [names.index(name) for name in s.pairs] or [clear]
        for pair in drawn:
            path = plot / (f"dvv_{names[pair].replace('|', '_')}" if s.pairs else "dvv")
            made += _draw_changes(plan, stacked, pair, path)
    return _names(folder, made)


def _draw_map(plot: Path, pairs: PairTable, svg: bool) -> list[Path]:
    return plots.station_map(
        pairs.longitude,
        pairs.latitude,
        pairs.channels,
        f"{len(pairs.channels)} channels, pairs joined: {pairs.first.size:,}",
        path=plot / "station_map",
        pairs=np.column_stack([pairs.first, pairs.second]),
        svg=svg,
    )


def _draw_correlogram(
    plan: StackPlan, stacked: Stacked, pair: int, measures: dict[str, Any], path: Path
) -> list[Path]:
    return plots.correlogram(
        windows_of(plan, pair),
        plan.lags,
        np.concatenate([file.starts for file in plan.files]),
        stacked.stack[pair],
        f"{stacked.pairs.names[pair].replace('|', ' to ')}, {_what(plan)}",
        path=path,
        distance=stacked.pairs.distance[pair],
        snr=stacked.snr[pair],
        peak_lag=measures["peak_lags"][pair],
        svg=plan.stacking.svg,
    )


def _draw_changes(plan: StackPlan, stacked: Stacked, pair: int, path: Path) -> list[Path]:
    coda = plan.coda
    assert coda is not None
    where = f"coda of {coda.min_lag:g} to {coda.max_lag:.4g} s"
    return plots.velocity_changes(
        *(
            corrfile.read_variable(stacked.path, name)
            for name in ("dvv", "dvv_error", "dvv_correlation")
        ),
        plan.intervals,
        stacked.pairs.names,
        f"dv/v by {plan.stacking.dvv}, {where}, {_what(plan)}",
        path=path,
        clearest=pair,
        svg=plan.stacking.svg,
    )
