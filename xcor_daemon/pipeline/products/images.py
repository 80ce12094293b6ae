"""The images of a finished job: arrays, titles and file names of each."""

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
from ..units.records import DayResult
from .render_pool import RenderTask


def availability_task(folder: Path, results: Sequence[DayResult]) -> RenderTask:
    """The task for the image of accepted windows by channel and day."""
    make_folder(folder / "PLOT")
    rows = [row for result in results for row in result.channel_days]
    title = f"Accepted windows, {span([result.day for result in results])}"
    return partial(_plot, "availability", rows, title, path=folder / "PLOT" / "availability")


def stack_tasks(folder: Path, plan: StackPlan, stacked: Stacked, best: int) -> list[RenderTask]:
    """The tasks for the images of all pairs (record section, overview, spectrum, map) and of some.

    ``best`` is the index of the pair with the highest SNR, which is plotted if the request does
    not name pairs or channels.
    """
    make_folder(folder / "PLOT")
    return list(_tasks(folder / "PLOT", plan, stacked, best))


def _plot(function: str, *args: Any, **kwargs: Any) -> list[Path]:
    """Call a function of `plots`; only the process that renders loads matplotlib."""
    from .. import plots

    files: list[Path] = getattr(plots, function)(*args, **kwargs)
    return files


def _tasks(plot: Path, plan: StackPlan, stacked: Stacked, best: int) -> Iterator[RenderTask]:
    s, pairs, lags = plan.stacking, stacked.pairs, plan.lags
    names, stacks = pairs.names, _describe_stacks(plan)
    measures = {"snr": stacked.snr, "peak_lags": peak(stacked.stack, lags)[0], "svg": s.svg}
    section = (stacked.stack, lags, pairs.distance, names)
    title = f"All pairs, {stacks}"
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
        f"Windows and signal-to-noise ratio, {stacks}",
        path=plot / "overview",
        max_windows=max(file.starts.size for file in plan.files),
        svg=s.svg,
    )
    yield partial(
        _plot,
        "spectrum",
        stacked.stack,
        lags,
        names,
        f"Spectra, {stacks}",
        path=plot / "spectrum",
        band=(plan.params.freqmin, plan.params.freqmax),
        single=best,
        svg=s.svg,
    )
    yield partial(_plot_map, plot, pairs, s.svg)
    for channel in s.shots or (pairs.channels[pairs.first[best]],):
        path = plot / (f"virtual_shot_{channel}" if s.shots else "virtual_shot")
        title = f"Virtual source gather of {channel}, {stacks}"
        yield partial(_plot, "virtual_shot", *section, channel, title, path=path, **measures)
    for name in s.pairs or (names[best],):
        path = plot / (f"correlogram_{name.replace('|', '_')}" if s.pairs else "correlogram")
        yield partial(_plot_correlogram, plan, stacked, names.index(name), measures, path)
    if s.dvv != "none":
        for pair in [names.index(name) for name in s.pairs] or [best]:
            path = plot / (f"dvv_{names[pair].replace('|', '_')}" if s.pairs else "dvv")
            yield partial(_plot_dvv, plan, stacked, pair, path)


def _plot_map(plot: Path, pairs: PairTable, svg: bool) -> list[Path]:
    n_pairs = pairs.first.size
    return _plot(
        "station_map",
        pairs.longitude,
        pairs.latitude,
        pairs.channels,
        f"{len(pairs.channels)} channels, {n_pairs:,} pair{'s' if n_pairs != 1 else ''}",
        path=plot / "station_map",
        pairs=np.column_stack([pairs.first, pairs.second]),
        svg=svg,
    )


def _plot_correlogram(
    plan: StackPlan, stacked: Stacked, pair: int, measures: dict[str, Any], path: Path
) -> list[Path]:
    return _plot(
        "correlogram",
        read_pair_windows(plan, pair),
        plan.lags,
        np.concatenate([file.starts for file in plan.files]),
        stacked.stack[pair],
        f"{stacked.pairs.names[pair].replace('|', ' to ')}, {_describe_stacks(plan)}",
        path=path,
        distance=stacked.pairs.distance[pair],
        snr=stacked.snr[pair],
        peak_lag=measures["peak_lags"][pair],
        svg=plan.stacking.svg,
    )


def _plot_dvv(plan: StackPlan, stacked: Stacked, pair: int, path: Path) -> list[Path]:
    coda = plan.coda
    assert coda is not None
    window = f"coda of {coda.min_lag:g} to {coda.max_lag:.4g} s"
    return _plot(
        "velocity_changes",
        *(
            correlation_file.read_variable(stacked.path, name)
            for name in ("dvv", "dvv_error", "dvv_correlation")
        ),
        plan.intervals,
        stacked.pairs.names,
        f"dv/v by {plan.stacking.dvv}, {window}, {_describe_stacks(plan)}",
        path=path,
        single=pair,
        svg=plan.stacking.svg,
    )


def span(days: Sequence[str]) -> str:
    """The days as text."""
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]} ({len(days)} days)"


def _describe_stacks(plan: StackPlan) -> str:
    """Band, method and days of the stacks as text."""
    s, p = plan.stacking, plan.params
    band = f"{p.freqmin:g}-{p.freqmax:g} Hz"
    days = span(plan.days)
    if s.stack_all:
        return f"{band}, {s.type} stack of {days}"
    every = f"{s.every} every {s.moving}" if s.moving else s.every
    return f"{band}, mean of {len(plan.intervals)} {s.type} stacks ({every}) of {days}"
