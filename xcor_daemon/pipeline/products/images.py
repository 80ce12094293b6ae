"""Which images a finished job has, and what each is called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...atomic_files import make_folder
from ..datatypes import PairTable
from ..hdf5 import correlation_file
from ..stack import peak
from ..stack.files import Stacked
from ..stack.plan import StackPlan, read_pair_windows
from ..units.day import DayResult
from .render_pool import Drawing


def of_days(folder: Path, results: Sequence[DayResult]) -> Drawing:
    """The share of windows kept, by channel and day."""
    make_folder(folder / "PLOT")
    rows = [row for result in results for row in result.rows]
    title = f"Windows kept, {span([result.day for result in results])}"
    return partial(_plot, "availability", rows, title, path=folder / "PLOT" / "availability")


def of_stacks(folder: Path, plan: StackPlan, stacked: Stacked, clear: int) -> list[Drawing]:
    """The images: all pairs, overview, spectrum, map, and those of some pairs and channels.

    ``clear`` is the row of the clearest pair, which is drawn where the request names none.
    """
    make_folder(folder / "PLOT")
    return list(_drawings(folder / "PLOT", plan, stacked, clear))


def _plot(image: str, *about: Any, **how: Any) -> list[Path]:
    """Draw an image; who does not draw, but says what is to be drawn, needs no matplotlib."""
    from .. import plots

    files: list[Path] = getattr(plots, image)(*about, **how)
    return files


def _drawings(plot: Path, plan: StackPlan, stacked: Stacked, clear: int) -> Iterator[Drawing]:
    """What draws each image."""
    s, pairs, lags = plan.stacking, stacked.pairs, plan.lags
    names, what = pairs.names, _what(plan)
    measures = {"snr": stacked.snr, "peak_lags": peak(stacked.stack, lags)[0], "svg": s.svg}
    section = (stacked.stack, lags, pairs.distance, names)
    title = f"All pairs, {what}"
    path = plot / "record_section"
    yield partial(_plot, "record_section", *section, title, path=path, **measures)
    yield partial(
        _plot,
        "overview",
        stacked.n_windows,
        plan.days,
        stacked.snr,
        pairs.distance,
        names,
        f"Windows and clarity, {what}",
        path=plot / "overview",
        most=max(file.starts.size for file in plan.files),
        svg=s.svg,
    )
    yield partial(
        _plot,
        "spectrum",
        stacked.stack,
        lags,
        names,
        f"Spectra, {what}",
        path=plot / "spectrum",
        band=(plan.params.freqmin, plan.params.freqmax),
        clearest=clear,
        svg=s.svg,
    )
    yield partial(_draw_map, plot, pairs, s.svg)
    for channel in s.shots or (pairs.channels[pairs.first[clear]],):
        path = plot / (f"virtual_shot_{channel}" if s.shots else "virtual_shot")
        title = f"Virtual shot at {channel}, {what}"
        yield partial(_plot, "virtual_shot", *section, channel, title, path=path, **measures)
    for name in s.pairs or (names[clear],):
        path = plot / (f"correlogram_{name.replace('|', '_')}" if s.pairs else "correlogram")
        yield partial(_draw_correlogram, plan, stacked, names.index(name), measures, path)
    if s.dvv != "none":
        for pair in [names.index(name) for name in s.pairs] or [clear]:
            path = plot / (f"dvv_{names[pair].replace('|', '_')}" if s.pairs else "dvv")
            yield partial(_draw_changes, plan, stacked, pair, path)


def _draw_map(plot: Path, pairs: PairTable, svg: bool) -> list[Path]:
    return _plot(
        "station_map",
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
    return _plot(
        "correlogram",
        read_pair_windows(plan, pair),
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
    return _plot(
        "velocity_changes",
        *(
            correlation_file.read_variable(stacked.path, name)
            for name in ("dvv", "dvv_error", "dvv_correlation")
        ),
        plan.intervals,
        stacked.pairs.names,
        f"dv/v by {plan.stacking.dvv}, {where}, {_what(plan)}",
        path=path,
        clearest=pair,
        svg=plan.stacking.svg,
    )


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
