"""Relative velocity change dv/v against time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from .captions import counted, utc
from .figure import ACCENT, DARK, SECOND, new_figure, save, styled, write_no_data, write_title

_MAX_BARS = 200  # error bars that can be distinguished


def velocity_changes(
    dvv: np.ndarray,
    errors: np.ndarray,
    correlations: np.ndarray,
    intervals: np.ndarray,
    names: Sequence[str],
    title: str,
    *,
    path: Path,
    single: int = 0,
    svg: bool = False,
) -> list[Path]:
    """Plot dv/v against time: one pair with its errors, and median and quartiles of all pairs.

    The panel below shows the correlation of the stacks with the stretched reference: where it is
    low, dv/v is not reliable.

    Parameters
    ----------
    dvv, errors, correlations : array, shape (n_pairs, n_intervals)
        Relative change, its standard error, and correlation; NaN where unknown.
    intervals : array, shape (n_intervals, 2)
        Start and end of each, in seconds since 1970 (UTC).
    names : sequence of str
        ``FIRST|SECOND`` of every pair.
    title : str
        Method, coda window and days.
    path : Path
        The image without its ending.
    single : int
        Index of the pair that is plotted on its own.
    svg : bool
        Write ``NAME.svg`` too.
    """
    percent, bars = 100 * np.asarray(dvv, np.float64), 100 * np.asarray(errors, np.float64)
    correlations, intervals = np.asarray(correlations), np.asarray(intervals)
    middle = intervals.mean(axis=1) / 86400
    known = np.isfinite(percent)
    name = names[single].replace("|", " to ")
    facts = _facts(percent, bars, intervals, names, single)
    with styled():
        figure = new_figure((9.0, 6.5), left=1.0)
        top, bottom = figure.subplots(
            2, 1, sharex=True, height_ratios=(2.4, 1), gridspec_kw={"hspace": 0.16}
        )
        write_title(top, title)
        top.axhline(0, color="0.6", linewidth=0.8)
        if not known.any():
            write_no_data(top)
        if len(names) > 1 and known.any():
            has_values = known.any(axis=0)
            quartiles = np.full((3, len(middle)), np.nan)
            quartiles[:, has_values] = np.nanpercentile(
                percent[:, has_values], (25, 50, 75), axis=0
            )
            top.fill_between(middle, quartiles[0], quartiles[2], color=ACCENT, alpha=0.25,
                             linewidth=0, label="half of the pairs")  # fmt: skip
            top.plot(middle, quartiles[1], color=ACCENT, linewidth=1.6, marker="o", markersize=2,
                     label=f"median of {counted(len(names), 'pair')}")  # fmt: skip
        n_known = int(known[single].sum())
        if n_known:
            with_bars = n_known <= _MAX_BARS
            # The line is interrupted where dv/v is unknown.
            top.errorbar(
                middle,
                percent[single],
                bars[single] if with_bars else None,
                color=DARK,
                ecolor="0.45",
                linewidth=0.8,
                marker="s",
                markersize=3.5 if with_bars else 1.5,
                capsize=2,
                zorder=3 if with_bars else 1,
                label=f"{name}" + (", one standard error" if with_bars else ""),
            )
        if known.any():
            # Below the axes, where it does not hide a curve.
            top.legend(loc="upper left", bbox_to_anchor=(0, -0.02), ncols=3, borderaxespad=0.2)
        top.set_ylabel("dv/v (%)")
        top.grid(color="0.9", linewidth=0.6)
        if np.isfinite(correlations[single]).any():
            bottom.plot(middle, correlations[single], color=DARK, marker="s", markersize=2,
                        linewidth=0.8)  # fmt: skip
        if len(names) > 1 and np.isfinite(correlations).any():
            has_values = np.isfinite(correlations).any(axis=0)
            values = np.nanmedian(correlations[:, has_values], axis=0)
            bottom.plot(
                middle[has_values], values, color=ACCENT, linewidth=1.6, marker="o", markersize=2
            )
        bottom.axhline(0.5, color=SECOND, linewidth=0.9, linestyle=":")
        bottom.set_ylim(min(0, np.nanmin(correlations, initial=0)), 1.05)
        bottom.set_ylabel("Correlation with\nthe reference")
        bottom.set_xlabel("Middle of the interval (UTC)")
        bottom.grid(color="0.9", linewidth=0.6)
        locator = AutoDateLocator(minticks=min(3, max(len(middle), 1)), maxticks=8)
        bottom.xaxis.set_major_locator(locator)
        bottom.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        return save(figure, path, title, facts, svg)


def _facts(
    percent: np.ndarray,
    bars: np.ndarray,
    intervals: np.ndarray,
    names: Sequence[str],
    single: int,
) -> list[str]:
    known = np.isfinite(percent)
    facts = [
        "Positive: waves arrive earlier, the velocity is higher than in the reference.",
        f"{counted(len(names), 'pair')}, {counted(len(intervals), 'interval')}; "
        f"{known.sum():,} of {known.size:,} values of dv/v are known.",
    ]
    if known.any():
        facts.append(
            f"Median {np.median(percent[known]):+.3g} %, median standard error "
            f"{np.nanmedian(bars[known]):.2g} %."
        )
    facts.append(f"{names[single]}:")
    shown = np.flatnonzero(known[single])
    facts += [
        f"  from {utc(intervals[k, 0])}: {percent[single, k]:+.4f} % "
        f"(error {bars[single, k]:.2g} %)"
        for k in shown[:40]
    ]
    facts += [f"  and {len(shown) - 40} more; see the stack file."] * (len(shown) > 40)
    return facts
