"""Correlogram of one pair: lag against time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from .captions import LAG_SIGN, counted, duration, pair_facts, utc
from .figure import (
    BLANK,
    COLOUR_BAR_WIDTH,
    DARK,
    MAX_ROWS,
    SIGNED,
    colour_bar,
    edges,
    interpolation,
    new_figure,
    save,
    styled,
    write_no_data,
    write_title,
)


def correlogram(
    windows: np.ndarray,
    lags: np.ndarray,
    times: np.ndarray,
    stack: np.ndarray,
    title: str,
    *,
    path: Path,
    distance: float = np.nan,
    snr: float = np.nan,
    peak_lag: float = np.nan,
    svg: bool = False,
) -> list[Path]:
    """Plot the windows of one pair, lag against time, below their stack.

    Time runs downwards in at most 300 lines of equal duration; a line with more than one window
    shows their mean, and the title states that. Missing windows are grey. The colour scale ends
    at the 99th percentile of the absolute values, so that one earthquake does not hide the rest.

    Parameters
    ----------
    windows : float array, shape (n_windows, n_lags)
        Correlations of a pair; NaN where a window is missing.
    lags : array, shape (n_lags,)
        In seconds, 0 in the middle; positive: the wave reaches the second channel later.
    times : array, shape (n_windows,)
        Starts of the windows, in seconds since 1970 (UTC), in any order.
    stack : array, shape (n_lags,)
        The trace on top.
    title : str
        Pair, days and method.
    path : Path
        The image without its ending.
    distance, snr, peak_lag : float
        Distance of the pair (km), signal-to-noise ratio and peak lag (s) of its stack, for the
        text; NaN where unknown.
    svg : bool
        Write ``NAME.svg`` too.
    """
    windows, times = np.asarray(windows), np.asarray(times, dtype=np.float64)
    rows, begin, length, step = _time_rows(windows, times)
    facts = [*_window_facts(windows, lags, times), *pair_facts(distance, snr, peak_lag)]
    note = f"mean of the windows in every {duration(length)}" if length > step * 1.01 else ""
    with styled():
        figure = new_figure((8, 7.5), left=0.9, right=1.25 * COLOUR_BAR_WIDTH)
        top, image = figure.subplots(
            2, 1, sharex=True, height_ratios=(1, 3.2), gridspec_kw={"hspace": 0.09}
        )
        write_title(top, title, note)
        top.axvline(0, color=BLANK, linewidth=0.8)
        top.plot(lags, stack, color=DARK, linewidth=0.9)
        top.set_ylabel("Stack")
        top.yaxis.set_major_formatter(
            lambda value, _: f"{value:g}"
        )  # an offset factor would overlap the title
        limit = _limit(rows)
        end = begin + length * len(rows)
        shown = image.imshow(
            rows,
            extent=(*edges(lags), end / 86400, begin / 86400),
            aspect="auto",
            interpolation=interpolation(lags.size),
            cmap=SIGNED,
            vmin=-limit,
            vmax=limit,
        )
        image.set_facecolor(BLANK)
        if np.isfinite(rows).any():
            locator = AutoDateLocator(minticks=3, maxticks=9)
            image.yaxis.set_major_locator(locator)
            image.yaxis.set_major_formatter(ConciseDateFormatter(locator))
        else:
            write_no_data(image)
        image.set_xlabel("Lag (s)")
        image.set_ylabel("Start of window (UTC)")
        colour_bar(shown, image, "Correlation (grey: missing)", extend="both")
        return save(figure, path, title, [f"Shown: {note}."] * bool(note) + facts, svg)


def _time_rows(windows: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, float, float, float]:
    """Windows averaged on an even time grid.

    Returns
    -------
    rows : float array, shape (n_rows, n_lags)
    begin, length, step : float
        Start of the first row, duration of a row and median step of the windows (s).
    """
    order = np.argsort(times, kind="stable")
    if not len(order):
        return np.full((1, windows.shape[-1]), np.nan), 0.0, 3600.0, 3600.0
    begin = times[order[0]]
    span = times[order[-1]] - begin
    steps = np.diff(times[order])
    step = float(np.median(steps[steps > 0])) if span > 0 else 3600.0
    n_rows = min(MAX_ROWS, round(span / step) + 1)
    length = max(step, (span + step) / n_rows)
    # Half a step, so that a start that is rounded down does not fall into the previous row.
    row = np.minimum((times[order] - begin + step / 2) / length, n_rows - 1).astype(np.int64)
    bounds = np.searchsorted(row, np.arange(n_rows + 1))
    rows = np.full((n_rows, windows.shape[-1]), np.nan)
    for k in range(n_rows):
        members = windows[order[bounds[k] : bounds[k + 1]]]
        members = members[np.isfinite(members).all(axis=-1)]
        if len(members):
            rows[k] = members.mean(axis=0, dtype=np.float64)
    return rows, begin, length, step


def _window_facts(windows: np.ndarray, lags: np.ndarray, times: np.ndarray) -> list[str]:
    missing = int((~np.isfinite(windows).all(axis=-1)).sum())
    facts = [
        f"{counted(len(windows), 'window')}, {missing:,} of them missing; "
        f"lags {lags[0]:g} to {lags[-1]:g} s.",
        LAG_SIGN,
    ]
    if times.size:
        facts.insert(1, f"They start from {utc(times.min())} to {utc(times.max())} UTC.")
    return facts


def _limit(values: np.ndarray) -> float:
    """Upper end of the colour scale: the 99th percentile of the absolute values."""
    finite = np.abs(values[np.isfinite(values)])
    return float(np.percentile(finite, 99) if finite.size else 0) or 1.0
