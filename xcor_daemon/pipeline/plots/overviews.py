"""Overviews of all pairs: number of windows, signal-to-noise ratio, amplitude spectra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import LogFormatter, MaxNLocator

from .captions import counted, ordinal
from .figure import (
    ACCENT,
    BLANK,
    COLOUR_BAR_WIDTH,
    DARK,
    MAX_ROWS,
    SECOND,
    SHARE,
    colour_bar,
    interpolation,
    new_figure,
    save,
    styled,
    write_no_data,
    write_title,
)

_PERCENTILES = (10, 50, 90)
_MAX_SPECTRA = 5000  # pairs of which the median is computed


def overview(
    n_windows: np.ndarray,
    days: Sequence[str],
    snr: np.ndarray,
    distances: np.ndarray,
    names: Sequence[str],
    title: str,
    *,
    path: Path,
    max_windows: int,
    svg: bool = False,
) -> list[Path]:
    """Plot the number of windows of each pair and day, and the signal-to-noise ratio of each pair.

    Pairs are sorted by distance, those of unknown distance last. Beyond 300 pairs the left panel
    shows every n-th, and the title states that; the right panel shows all.

    Parameters
    ----------
    n_windows : int array, shape (n_pairs, n_days)
        Windows with data.
    days : sequence of str
        Such as ``2019-01-01``, in order; days between them have no data.
    snr, distances : array, shape (n_pairs,)
        Signal-to-noise ratio of the stack and distance (km); NaN where unknown.
    names : sequence of str
        ``FIRST|SECOND`` of every pair.
    title : str
        Band, method and days of the stacks.
    path : Path
        The image without its ending.
    max_windows : int
        Largest number of windows of a pair on a day: a share of 1.
    svg : bool
        Write ``NAME.svg`` too.
    """
    n_windows, snr = np.asarray(n_windows), np.asarray(snr, dtype=np.float64)
    distances = np.asarray(distances, dtype=np.float64)
    order = np.argsort(distances, kind="stable")
    every = max(1, math.ceil(len(order) / MAX_ROWS))
    note = f"left: every {ordinal(every)} of {len(order):,} pairs" if every > 1 else ""
    table, start = _by_date(n_windows[order[::every]], days, max_windows)
    known = np.isfinite(snr) & (snr > 0)
    located = known & np.isfinite(distances)
    with styled():
        figure = new_figure((10.5, 6.0))
        between = COLOUR_BAR_WIDTH + 0.75  # inches
        mean = (10.5 - 0.85 - 0.2 - between) / 2
        left, right = figure.subplots(
            1, 2, width_ratios=(1.6, 1), gridspec_kw={"wspace": between / mean}
        )
        write_title(left, title, note)
        shown = left.imshow(
            table,
            extent=(start, start + table.shape[1], len(table) + 0.5, 0.5),
            aspect="auto",
            interpolation=interpolation(table.shape[1]),
            cmap=SHARE,
            vmin=0,
            vmax=1,
        )
        left.set_facecolor(BLANK)
        locator = AutoDateLocator(minticks=min(3, table.shape[1]), maxticks=6)
        locator.intervald[3] = [1, 2, 3, 7, 14]  # of the daily ticks; there are none within a day
        left.xaxis.set_major_locator(locator)
        left.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        left.set_xlabel("Day (UTC)")
        left.set_ylabel("Pair, nearest first")
        left.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if every > 1:
            left.yaxis.set_major_formatter(lambda row, _: f"{1 + (row - 1) * every:,.0f}")
        colour_bar(shown, left, f"Share of {counted(max_windows, 'window')} a day (grey: no day)")
        if located.any():
            right.scatter(
                distances[located], snr[located], s=max(2, min(20, 4000 / located.sum())),
                color=ACCENT, alpha=0.6, linewidth=0, rasterized=True,
            )  # fmt: skip
            right.set_xlabel("Distance (km)")
        elif known.any():
            right.plot(np.sort(snr[known])[::-1], ".", color=ACCENT)
            right.set_xlabel("Pair, highest ratio first (distances unknown)")
        else:
            write_no_data(right)
        if known.any():
            right.set_yscale("log")
            right.axhline(np.median(snr[known]), color=SECOND, linewidth=1.2, linestyle="--",
                          label=f"median {np.median(snr[known]):.3g}")  # fmt: skip
            right.legend(loc="upper right")
            right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            right.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        right.set_ylabel("Signal-to-noise ratio of the stack")
        right.grid(color="0.9", linewidth=0.6, which="both")
        right.set_axisbelow(True)
        facts = _overview_facts(n_windows, days, snr, names, max_windows)
        return save(figure, path, title, [f"Note: {note}."] * bool(note) + facts, svg)


def spectrum(
    stacks: np.ndarray,
    lags: np.ndarray,
    names: Sequence[str],
    title: str,
    *,
    path: Path,
    band: tuple[float, float],
    single: int | None = None,
    svg: bool = False,
) -> list[Path]:
    """Plot amplitude spectra of the stacks: median and percentiles of all pairs, and one pair.

    Each spectrum is scaled to its own maximum, so that all pairs have equal weight.

    Parameters
    ----------
    stacks : float array, shape (n_pairs, n_lags)
        NaN where a pair has no stack.
    lags : array, shape (n_lags,)
        In seconds.
    names : sequence of str
        ``FIRST|SECOND`` of every pair.
    title : str
        Band, method and days of the stacks.
    path : Path
        The image without its ending.
    band : (freqmin, freqmax)
        Pass band of the correlations (Hz), shown as lines.
    single : int, optional
        Index of the pair that is plotted on its own.
    svg : bool
        Write ``NAME.svg`` too.
    """
    stacks = np.asarray(stacks)
    with_stack = np.flatnonzero(np.isfinite(stacks).all(axis=-1) & stacks.any(axis=-1))
    every = max(1, math.ceil(len(with_stack) / _MAX_SPECTRA))
    note = f"every {ordinal(every)} of {len(with_stack):,} pairs" if every > 1 else ""
    n_with_stack, with_stack = len(with_stack), with_stack[::every]
    spacing = (lags[-1] - lags[0]) / max(len(lags) - 1, 1)
    taper = np.hanning(len(lags) + 2)[1:-1]  # so that the ends of the lags are no steps
    frequency = np.fft.rfftfreq(len(lags), spacing)
    levels = np.empty((len(with_stack), frequency.size), dtype=np.float32)
    for k, pair in enumerate(with_stack):
        amplitude = np.abs(np.fft.rfft(stacks[pair] / np.abs(stacks[pair]).max() * taper))
        levels[k] = 20 * np.log10(np.maximum(amplitude / (amplitude.max() or 1), 1e-6))
    with styled():
        figure = new_figure((8.5, 5.0))
        axes = figure.subplots()
        write_title(axes, title, note)
        facts = [f"Note: {note}."] * bool(note)
        facts += [
            f"{counted(n_with_stack, 'pair')} with a stack; band {band[0]:g} to {band[1]:g} Hz."
        ]
        if len(with_stack):
            low, middle, high = np.percentile(levels, _PERCENTILES, axis=0)
            if len(with_stack) > 1:
                axes.fill_between(frequency, low, high, color=ACCENT, alpha=0.25, linewidth=0,
                                  label="10 to 90 % of the pairs")  # fmt: skip
                label = f"median of {counted(len(with_stack), 'pair')}"
                axes.plot(frequency, middle, color=ACCENT, linewidth=1.6, label=label)
            top = frequency[middle.argmax()]
            inside = frequency[middle >= middle.max() - 6]
            facts.append(
                f"The median is largest at {top:.4g} Hz and within 6 dB of that from "
                f"{inside.min():.4g} to {inside.max():.4g} Hz."
            )
            if single is not None and single in with_stack:
                level = levels[np.searchsorted(with_stack, single)]
                name = names[single].replace("|", " to ")
                axes.plot(frequency, level, color=DARK, linewidth=0.9, linestyle="--", label=name)
                facts.append(f"{name}: largest at {frequency[level.argmax()]:.4g} Hz.")
            edges = f"band {band[0]:g}-{band[1]:g} Hz"
            axes.axvline(band[0], color=SECOND, linewidth=1.1, linestyle=":", label=edges)
            axes.axvline(band[1], color=SECOND, linewidth=1.1, linestyle=":")
            axes.set_xlim(0, min(frequency[-1], 3 * band[1]))
            axes.set_ylim(-60, 3)
            axes.legend(loc="lower right")
            axes.grid(color="0.9", linewidth=0.6)
        else:
            write_no_data(axes)
        axes.set_xlabel("Frequency (Hz)")
        axes.set_ylabel("Amplitude (dB below the maximum)")
        return save(figure, path, title, facts, svg)


def _by_date(
    n_windows: np.ndarray, days: Sequence[str], max_windows: int
) -> tuple[np.ndarray, int]:
    """Share of windows for every day, NaN for days without data; and the first day since 1970."""
    number = [(date.fromisoformat(day) - date(1970, 1, 1)).days for day in days]
    start = min(number, default=0)
    shape = (max(len(n_windows), 1), max(number, default=0) - start + 1)
    table = np.full(shape, np.nan, dtype=np.float32)
    for column, day in enumerate(number):
        if len(n_windows):
            table[:, day - start] = n_windows[:, column] / max(max_windows, 1)
    return table, start


def _overview_facts(
    n_windows: np.ndarray,
    days: Sequence[str],
    snr: np.ndarray,
    names: Sequence[str],
    max_windows: int,
) -> list[str]:
    total = n_windows.sum(axis=1)
    share = total.sum() / max(n_windows.size * max_windows, 1)
    facts = [
        f"{counted(len(names), 'pair')}, {counted(len(days), 'day')}, "
        f"up to {counted(max_windows, 'window')} a day; "
        f"{100 * share:.3g} % of all windows have data."
    ]
    known = np.isfinite(snr)
    if known.any():
        low, middle, high = np.percentile(snr[known], _PERCENTILES)
        facts.append(
            f"Signal-to-noise ratio: median {middle:.3g}, 10 % of the pairs below {low:.3g}, "
            f"10 % above {high:.3g}."
        )
    worst = np.argsort(total, kind="stable")[:10]
    facts.append("Pairs with the fewest windows:")
    facts += [f"  {names[k]}: {total[k]:,} windows" for k in worst]
    return facts
