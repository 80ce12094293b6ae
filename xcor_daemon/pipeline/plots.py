"""Correlations, stacks and stations -> images: arrays in, ``NAME.png`` and ``NAME.txt`` out.

The text file beside an image says what it shows, for those who do not see it. Where there is more
than an image can hold, its title says what was averaged or left out. The same arrays give the
same bytes. This is the only module that loads matplotlib.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from .datatypes import ChannelDay

_SIGNED, _SHARE = "RdBu_r", "cividis"  # both read the same to the colour-blind
_BLANK = "0.8"  # grey where there is nothing
_DARK, _ACCENT = "0.15", "#0072b2"
_LINE_STYLES = ("-", "--", "-.", ":")
_STYLE = {
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "figure.dpi": 110,
    "font.size": 10,
    "legend.fontsize": 9,
    "svg.hashsalt": "xcor-daemon",
}
_MAX_WIGGLES = 60  # traces that can be told apart; more become an image
_MAX_ROWS = 300  # rows of an image
_COLUMNS = 800  # pixels across an image, about
_MAX_CHANNELS = 200  # rows of the table of availability
_MAX_PATHS = 3000  # lines between stations
_KM_PER_DEGREE = 111.195  # of a great circle on a sphere of 6371 km
_LAG_SIGN = "Positive lag: the wave reaches the second channel of a pair after the first."


def record_section(
    stacks: np.ndarray,
    lags: np.ndarray,
    distances: np.ndarray,
    names: Sequence[str],
    title: str,
    *,
    path: Path,
    speeds: Sequence[float] = (2, 3, 4),
    snr: np.ndarray | None = None,
    peak_lags: np.ndarray | None = None,
    svg: bool = False,
) -> list[Path]:
    """Draw the stacks of all pairs by distance: wiggles for a few, an image for many.

    Every trace is scaled to its largest value. An image averages the traces of pairs at nearly
    the same distance. Pairs without data or coordinates are left out, and counted in the title;
    where no coordinate is known, pairs stand in their order.

    Parameters
    ----------
    stacks : float array, shape (n_pairs, n_lags)
        NaN where a pair has no stack.
    lags : array, shape (n_lags,)
        In seconds, 0 in the middle; positive: the wave reaches the second channel later.
    distances : array, shape (n_pairs,)
        In km; NaN where unknown.
    names : sequence of str
        ``FIRST|SECOND`` of every pair.
    title : str
        What is stacked: days, band and method.
    path : Path
        The image without its ending.
    speeds : sequence of float
        Lines of constant speed (km/s).
    snr, peak_lags : array, shape (n_pairs,), optional
        Signal-to-noise ratio and lag of the largest value (s), for the text.
    svg : bool
        Write ``NAME.svg`` too.

    Returns
    -------
    list of Path
        The files written.
    """
    facts = [_LAG_SIGN, *_peak_facts(names, distances, snr, peak_lags)]
    with _style():
        return _gather(stacks, lags, distances, names, title, "pair", speeds, facts, path, svg)


def virtual_shot(
    stacks: np.ndarray,
    lags: np.ndarray,
    distances: np.ndarray,
    names: Sequence[str],
    channel: str,
    title: str,
    *,
    path: Path,
    speeds: Sequence[float] = (2, 3, 4),
    snr: np.ndarray | None = None,
    peak_lags: np.ndarray | None = None,
    svg: bool = False,
) -> list[Path]:
    """Draw one channel against all others, as if it were a source.

    A stack in which ``channel`` is the second of the pair is turned round in lag, so that
    everywhere a positive lag is a wave that travels away from ``channel`` and a negative lag
    one that travels towards it. The autocorrelation stands at distance 0. Parameters as in
    `record_section`; ``channel`` is an id that occurs in ``names``.

    Raises
    ------
    ValueError
        If no pair has the channel.
    """
    ends = [name.split("|") for name in names]
    chosen = [k for k, pair in enumerate(ends) if channel in pair]
    if not chosen:
        raise ValueError(f"no pair has the channel {channel}.")
    turned = np.array([ends[k][0] != channel for k in chosen])
    stacks = np.where(turned[:, None], np.asarray(stacks)[chosen, ::-1], np.asarray(stacks)[chosen])
    others = [ends[k][0] if ends[k][0] != channel else ends[k][1] for k in chosen]
    distances = np.asarray(distances)[chosen]
    if snr is not None:
        snr = np.asarray(snr)[chosen]
    if peak_lags is not None:
        peak_lags = np.where(turned, -1, 1) * np.asarray(peak_lags)[chosen]
    facts = [
        f"Positive lag: the wave travels away from {channel}; negative: towards it.",
        *_peak_facts(others, distances, snr, peak_lags),
    ]
    with _style():
        return _gather(stacks, lags, distances, others, title, "channel", speeds, facts, path, svg)


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
    """Draw the windows of one pair, lag against time, below their stack.

    Time runs downwards in rows of equal length, at most 300; a row that holds more than one
    window shows their mean, and the title says so. Missing windows are grey. Colours end at
    the 99th percentile of the absolute values, so that one earthquake does not hide the rest.

    Parameters
    ----------
    windows : float array, shape (n_windows, n_lags)
        Correlations of a pair; NaN where a window is missing.
    lags : array, shape (n_lags,)
        In seconds, 0 in the middle; positive: the wave reaches the second channel later.
    times : array, shape (n_windows,)
        Starts of the windows, in seconds since 1970 (UTC), in any order.
    stack : array, shape (n_lags,)
        The trace to draw on top.
    title : str
        Pair, days and method.
    path : Path
        The image without its ending.
    distance, snr, peak_lag : float
        Of the pair (km), and of the stack (s), for the text; NaN where unknown.
    svg : bool
        Write ``NAME.svg`` too.
    """
    windows, times = np.asarray(windows), np.asarray(times, dtype=np.float64)
    rows, begin, length, step = _time_rows(windows, times)
    facts = [*_window_facts(windows, lags, times), *_pair_facts(distance, snr, peak_lag)]
    note = f"mean of the windows in every {_duration(length)}" if length > step * 1.01 else ""
    with _style():
        figure = _figure((8, 7.5))
        top, image = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3.2))
        _title(top, title, note)
        top.axvline(0, color=_BLANK, linewidth=0.8)
        top.plot(lags, stack, color=_DARK, linewidth=0.9)
        top.set_ylabel("Stack")
        limit = _limit(rows)
        end = begin + length * len(rows)
        shown = image.imshow(
            rows,
            extent=(*_edges(lags), end / 86400, begin / 86400),
            aspect="auto",
            interpolation=_interpolation(lags.size),
            cmap=_SIGNED,
            vmin=-limit,
            vmax=limit,
        )
        image.set_facecolor(_BLANK)
        if np.isfinite(rows).any():
            locator = AutoDateLocator(minticks=3, maxticks=9)
            image.yaxis.set_major_locator(locator)
            image.yaxis.set_major_formatter(ConciseDateFormatter(locator))
        else:
            _say_nothing(image)
        image.set_xlabel("Lag (s)")
        image.set_ylabel("Start of window (UTC)")
        figure.colorbar(
            shown, ax=image, label="Correlation (grey: missing)", extend="both", pad=0.02
        )
        return _save(figure, path, title, [f"Shown: {note}."] * bool(note) + facts, svg)


def station_map(
    longitude: np.ndarray,
    latitude: np.ndarray,
    names: Sequence[str],
    title: str,
    *,
    path: Path,
    pairs: np.ndarray | None = None,
    svg: bool = False,
) -> list[Path]:
    """Draw the stations, and the pairs between them, at the right aspect with a scale in km.

    Below 20 km the axes count metres or kilometres from the middle, above it degrees. Names
    that would lie on others are left out, and the title says how many are shown.

    Parameters
    ----------
    longitude, latitude : array, shape (n_stations,)
        Degrees; NaN where unknown. The date line is no seam.
    names : sequence of str
        Stations, or channels; one at the place of another is drawn once.
    title : str
        Of the map.
    path : Path
        The image without its ending.
    pairs : int array, shape (n_pairs, 2), optional
        Indices of the stations to join.
    svg : bool
        Write ``NAME.svg`` too.
    """
    longitude = _unwrapped(np.asarray(longitude, dtype=np.float64))
    latitude = np.asarray(latitude, dtype=np.float64)
    known = np.isfinite(longitude) & np.isfinite(latitude)
    facts = [f"{_count(int(known.sum()), 'station')} on the map."]
    notes = []
    if unknown := [name for name, there in zip(names, known, strict=True) if not there]:
        notes.append(f"{len(unknown)} without coordinates")
        facts.append(f"Without coordinates: {_some(unknown)}.")
    with _style():
        figure = _figure((8, 7.5))
        axes = figure.subplots()
        if not known.any():
            _say_nothing(axes)
            _title(axes, title, "; ".join(notes))
            return _save(figure, path, title, facts, svg)
        x, y, per_km = _map_axes(axes, longitude, latitude, known)
        if pairs is not None and len(pairs):
            pairs = np.asarray(pairs)
            facts.append(f"{_count(len(pairs), 'pair')} joined by lines.")
            joined = pairs[known[pairs].all(axis=1)]
            if (every := math.ceil(len(joined) / _MAX_PATHS)) > 1:
                notes.append(f"every {_ordinal(every)} of {len(joined):,} pairs")
            ends = np.stack([x[joined[:: every or 1]], y[joined[:: every or 1]]], axis=-1)
            alpha = min(0.6, max(0.04, 60 / max(len(ends), 1)))
            axes.add_collection(LineCollection(ends, colors="0.4", linewidths=0.6, alpha=alpha))
        axes.scatter(
            x[known],
            y[known],
            marker="^",
            s=45 if known.sum() < 200 else 12,
            color=_ACCENT,
            edgecolor="white",
            linewidth=0.5,
            zorder=3,
        )
        _scale_bar(axes, per_km)
        _title(axes, title, "; ".join(notes))
        places = {(x[k], y[k]): names[k] for k in np.flatnonzero(known)[::-1]}
        if (labelled := _label(figure, axes, places)) < len(places):
            notes.insert(0, f"{labelled} of {len(places)} names")
            _title(axes, title, "; ".join(notes))
        facts += [
            f"  {name}: {latitude[k]:.5f} N, {_west(longitude[k]):.5f} E"
            for k, name in enumerate(names)
            if known[k]
        ]
        return _save(figure, path, title, facts, svg)


def availability(
    rows: Iterable[ChannelDay], title: str, *, path: Path, svg: bool = False
) -> list[Path]:
    """Draw the share of windows kept, channel by day; grey where a day was not asked for.

    Parameters
    ----------
    rows : iterable of ChannelDay
        As in summary.csv, in any order.
    title : str
        Of the table.
    path : Path
        The image without its ending.
    svg : bool
        Write ``NAME.svg`` too.
    """
    rows = list(rows)
    channels = sorted({row.channel for row in rows})
    line = {channel: k for k, channel in enumerate(channels)}
    first = min((date.fromisoformat(row.day) for row in rows), default=date(1970, 1, 1))
    column = [(date.fromisoformat(row.day) - first).days for row in rows]
    share = np.full((max(len(channels), 1), max(column, default=0) + 1), np.nan)
    for row, k in zip(rows, column, strict=True):
        share[line[row.channel], k] = row.windows_kept / max(row.windows, 1)
    every = max(1, math.ceil(len(channels) / _MAX_CHANNELS))
    note = f"every {_ordinal(every)} of {len(channels):,} channels" if every > 1 else ""
    share = share[::every]
    with _style():
        figure = _figure((9, min(10.0, max(4.0, 2.2 + 0.19 * len(share)))))
        axes = figure.subplots()
        _title(axes, title, note)
        start = first.toordinal() - date(1970, 1, 1).toordinal()
        shown = axes.imshow(
            share,
            extent=(start, start + share.shape[1], len(share) - 0.5, -0.5),
            aspect="auto",
            interpolation=_interpolation(share.shape[1]),
            cmap=_SHARE,
            vmin=0,
            vmax=1,
        )
        axes.set_facecolor(_BLANK)
        thin = max(1, math.ceil(len(share) / 45))
        axes.set_yticks(range(0, len(share), thin), channels[:: every * thin] or [""], fontsize=8)
        locator = AutoDateLocator(
            minticks=min(3, share.shape[1]), maxticks=8, interval_multiples=True
        )
        locator.intervald[3] = [1, 2, 3, 7, 14]  # of the daily ticks; there are none within a day
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.set_xlabel("Day (UTC)")
        figure.colorbar(
            shown, ax=axes, label="Share of windows kept (grey: not asked for)", pad=0.02
        )
        return _save(figure, path, title, _availability_facts(rows, channels), svg)


# What record sections and virtual shots share


def _gather(
    stacks: np.ndarray,
    lags: np.ndarray,
    distances: np.ndarray,
    names: Sequence[str],
    title: str,
    noun: str,
    speeds: Sequence[float],
    facts: list[str],
    path: Path,
    svg: bool,
) -> list[Path]:
    """Traces by distance, or in their order where no distance is known."""
    stacks, distances = np.asarray(stacks), np.asarray(distances, dtype=np.float64)
    located = bool(np.isfinite(distances).any())
    place = distances if located else np.arange(1, len(stacks) + 1, dtype=np.float64)
    # The largest value of a trace with a NaN is NaN.
    largest = np.maximum(stacks.max(axis=-1, initial=0), -stacks.min(axis=-1, initial=0))
    alive = np.isfinite(largest) & (largest > 0)
    order = np.argsort(place, kind="stable")
    order = order[(alive & np.isfinite(place))[order]]
    unit, km = (
        ("m", 1000.0)
        if located and place[order].max(initial=-1) < 1 and len(order)
        else ("km", 1.0)
    )
    place = place * (km if located else 1)
    notes = []
    if dead := int((~alive).sum()):
        notes.append(f"{_count(dead, noun)} without data not shown")
    if unknown := int((alive & ~np.isfinite(place)).sum()):
        notes.append(f"{_count(unknown, noun)} without coordinates not shown")
    figure = _figure((8.5, 7.5))
    axes = figure.subplots()
    axes.set_xlabel("Lag (s)")
    axes.set_ylabel(f"Distance ({unit})" if located else f"Number in the list of {noun}s")
    if not len(order):
        _say_nothing(axes)
    elif len(order) <= _MAX_WIGGLES:
        _wiggles(axes, stacks[order] / largest[order, None], lags, place[order])
        _names_beside(axes, place[order], [names[k] for k in order])
    else:
        bin_note = _distance_image(
            axes, stacks, largest, lags, place, order, unit if located else ""
        )
        notes.insert(0, f"{_count(len(order), noun)}, {bin_note}")
    if located and len(order):
        _speed_lines(axes, speeds, place[order].max(), km)
    axes.set_xlim(*_edges(lags))
    _title(axes, title, "; ".join(notes))
    span = (
        f", {place[order[0]]:.4g} to {place[order[-1]]:.4g} {unit}"
        if located and len(order)
        else ""
    )
    head = f"{_count(len(order), noun)} shown{span}; lags {lags[0]:g} to {lags[-1]:g} s."
    scaled = "Every trace is scaled to its own largest value."
    return _save(figure, path, title, [head, *(f"Note: {n}." for n in notes), scaled, *facts], svg)


def _wiggles(axes: Axes, traces: np.ndarray, lags: np.ndarray, place: np.ndarray) -> None:
    """Traces about their place, the positive half filled."""
    reach = np.ptp(place) if len(place) > 1 else 1.0
    height = 1.6 * (reach or 1.0) / max(len(place), 8)
    for k, (trace, base) in enumerate(zip(traces, place, strict=True)):
        curve = base + height * trace
        axes.fill_between(
            lags, base, curve, where=trace > 0, color=_ACCENT, alpha=0.55, linewidth=0, zorder=2 + k
        )
        axes.plot(lags, curve, color=_DARK, linewidth=0.6, zorder=2.5 + k)
    axes.set_ylim(place.min() - 1.2 * height, place.max() + 1.2 * height)


def _names_beside(axes: Axes, place: np.ndarray, names: Sequence[str]) -> None:
    """Names on the right of the traces, as many as fit."""
    low, high = axes.get_ylim()
    gap = (high - low) / 48  # a line of small letters
    ticks: list[float] = []
    labels: list[str] = []
    for y, name in zip(place, names, strict=True):
        if not ticks or y - ticks[-1] >= gap:
            ticks.append(y)
            labels.append(name)
    right = axes.secondary_yaxis("right")
    right.set_yticks(ticks, labels, fontsize=7)
    right.tick_params(length=2)


def _distance_image(
    axes: Axes,
    stacks: np.ndarray,
    largest: np.ndarray,
    lags: np.ndarray,
    place: np.ndarray,
    order: np.ndarray,
    unit: str,
) -> str:
    """Traces as colours, a row for each step in distance; returns what a row is."""
    low, high = place[order[0]], place[order[-1]]
    # Three pairs to a row: distances are uneven, and empty rows show less than wide ones.
    n_rows = min(_MAX_ROWS, max(_MAX_WIGGLES, len(order) // 3)) if high > low else 1
    step = (high - low) / n_rows or 1.0
    row = np.minimum((place[order] - low) / step, n_rows - 1).astype(np.int64)
    image = np.full((n_rows, stacks.shape[-1]), np.nan)
    bounds = np.searchsorted(row, np.arange(n_rows + 1))
    for k in range(n_rows):
        members = order[bounds[k] : bounds[k + 1]]
        if len(members):
            mean = (stacks[members] / largest[members, None]).mean(axis=0, dtype=np.float64)
            image[k] = mean / (np.abs(mean).max() or 1)
    axes.imshow(
        image,
        extent=(*_edges(lags), low, low + n_rows * step),
        origin="lower",
        aspect="auto",
        interpolation=_interpolation(lags.size),
        cmap=_SIGNED,
        vmin=-1,
        vmax=1,
    )
    axes.set_facecolor(_BLANK)
    if n_rows == 1:
        return "the mean of all"
    return f"averaged in steps of {step:.2g} {unit}".rstrip()


def _speed_lines(axes: Axes, speeds: Sequence[float], furthest: float, km: float) -> None:
    """Lag = distance / speed on both sides."""
    unit = "km/s" if km == 1 else "m/s"
    limits = axes.get_ylim()
    for k, speed in enumerate(speeds):
        lag = furthest / (speed * km)
        style = _LINE_STYLES[k % len(_LINE_STYLES)]
        axes.plot(
            [-lag, 0, lag],
            [furthest, 0, furthest],
            color="black",
            linestyle=style,
            linewidth=1.0,
            zorder=1000,
            label=f"{speed * km:g} {unit}",
        )
    axes.set_ylim(limits)
    if speeds:
        axes.legend(loc="lower right", framealpha=0.9, title="Speed").set_zorder(1001)


# What a correlogram needs


def _time_rows(windows: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, float, float, float]:
    """Windows on an even grid of time: rows, start and length of a row, usual step (s)."""
    order = np.argsort(times, kind="stable")
    if not len(order):
        return np.full((1, windows.shape[-1]), np.nan), 0.0, 3600.0, 3600.0
    begin = times[order[0]]
    span = times[order[-1]] - begin
    steps = np.diff(times[order])
    step = float(np.median(steps[steps > 0])) if span > 0 else 3600.0
    n_rows = min(_MAX_ROWS, round(span / step) + 1)
    length = max(step, (span + step) / n_rows)
    # Half a step: a start that is rounded down must not fall into the row before.
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
        f"{_count(len(windows), 'window')}, {missing:,} of them missing; "
        f"lags {lags[0]:g} to {lags[-1]:g} s.",
        _LAG_SIGN,
    ]
    if times.size:
        facts.insert(1, f"They start from {_utc(times.min())} to {_utc(times.max())} UTC.")
    return facts


def _limit(values: np.ndarray) -> float:
    """Where the colours of signed values end."""
    finite = np.abs(values[np.isfinite(values)])
    return float(np.percentile(finite, 99) if finite.size else 0) or 1.0


# What a map needs


def _unwrapped(longitude: np.ndarray) -> np.ndarray:
    """Longitudes cut where the widest gap between stations is, not at the date line."""
    there = np.sort(longitude[np.isfinite(longitude)] % 360)
    if not there.size:
        return longitude
    gaps = np.diff(there, append=there[0] + 360)
    east_of_gap = there[(gaps.argmax() + 1) % there.size]
    turned = (longitude - east_of_gap) % 360 + east_of_gap
    return turned - 360 * (east_of_gap >= 180)


def _west(longitude: float) -> float:
    """A longitude from -180 to 180 degrees."""
    return (longitude + 180) % 360 - 180


def _map_axes(
    axes: Axes, longitude: np.ndarray, latitude: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Set up the axes; x, y of the stations, and how long a km is along x."""
    middle = [float(np.mean([v[known].min(), v[known].max()])) for v in (longitude, latitude)]
    narrowing = max(math.cos(math.radians(middle[1])), 0.05)
    east = (longitude - middle[0]) * _KM_PER_DEGREE * narrowing
    north = (latitude - middle[1]) * _KM_PER_DEGREE
    extent = max(np.ptp(east[known]), np.ptp(north[known]))
    if extent < 20:
        unit, factor = ("m", 1000.0) if extent < 2 else ("km", 1.0)
        where = f"of {middle[1]:.4f}° N, {_west(middle[0]):.4f}° E"
        axes.set_xlabel(f"East {where} ({unit})")
        axes.set_ylabel(f"North ({unit})")
        x, y, aspect, per_km = east * factor, north * factor, 1.0, factor
    else:
        axes.set_xlabel("Longitude (degrees east)")
        axes.set_ylabel("Latitude (degrees north)")
        axes.xaxis.set_major_formatter(lambda value, _: f"{_west(value):.6g}")
        x, y, aspect = longitude, latitude, 1 / narrowing
        per_km = 1 / (_KM_PER_DEGREE * narrowing)
    # Half the width and height of the view in km, no narrower than 1 to 2.
    view = np.maximum([np.ptp(east[known]), np.ptp(north[known])], 0.5 * (extent or 0.1)) * 0.58
    for set_limits, v, half in (
        (axes.set_xlim, x, view[0] * per_km),
        (axes.set_ylim, y, view[1] * per_km / aspect),
    ):
        centre = (v[known].min() + v[known].max()) / 2
        set_limits(centre - half, centre + half)
    longest = 6.6 / view.max()  # inches for a km of view
    axes.figure.set_size_inches(1.2 + longest * view[0], 1.2 + longest * view[1])
    axes.set_aspect(aspect, adjustable="box")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    return x, y, per_km


def _scale_bar(axes: Axes, per_km: float) -> None:
    """A bar of a round length, below the left end of the map."""
    low, high = axes.get_xlim()
    longest = (high - low) / per_km / 4
    length = max(
        digit * 10.0**power
        for power in (math.floor(math.log10(longest)) + k for k in (-1, 0))
        for digit in (1, 2, 5)
        if digit * 10.0**power <= longest
    )
    bottom, top = axes.get_ylim()
    x, y = low + 0.04 * (high - low), bottom + 0.03 * (top - bottom)
    axes.plot([x, x + length * per_km], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    text = f"{length:g} km" if length >= 1 else f"{length * 1000:g} m"
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.annotate(text, (x, y), (2, 6), textcoords="offset points", size=9, zorder=5, bbox=box)


def _label(figure: Figure, axes: Axes, places: dict[tuple[float, float], str]) -> int:
    """Write the names that do not lie on one another; how many they are."""
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    pixels = {place: tuple(axes.transData.transform(place)) for place in places}
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in pixels.values()]  # the triangles
    labelled = 0
    for place, name in sorted(places.items(), key=lambda item: (item[1], item[0])):
        x, y = pixels[place]
        width, height = 7.6 * len(name), 13.0  # pixels of 8-point letters at 110 dpi
        for left, bottom in (
            (x + 7, y - height / 2),
            (x - 7 - width, y - height / 2),
            (x - width / 2, y + 7),
            (x - width / 2, y - 7 - height),
        ):
            box = (left, bottom, left + width, bottom + height)
            inside = frame.x0 <= box[0] and box[2] <= frame.x1
            inside &= frame.y0 <= box[1] and box[3] <= frame.y1
            if inside and not _hits(box, taken):
                offset = ((left - x) * 72 / figure.dpi, (bottom + height / 2 - y) * 72 / figure.dpi)
                axes.annotate(
                    name, place, offset, textcoords="offset points", size=8, va="center", zorder=4
                )
                taken.append(box)
                labelled += 1
                break
    return labelled


def _hits(a: tuple[float, ...], others: Iterable[tuple[float, ...]]) -> bool:
    return any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in others)


# Words


def _peak_facts(
    names: Sequence[str],
    distances: np.ndarray,
    snr: np.ndarray | None,
    peak_lags: np.ndarray | None,
) -> list[str]:
    """What the traces show, and the ten that show it best."""
    if snr is None or peak_lags is None or not len(names):
        return []
    snr, peak_lags = np.asarray(snr, dtype=np.float64), np.asarray(peak_lags, dtype=np.float64)
    measured = np.flatnonzero(np.isfinite(snr) & np.isfinite(peak_lags))
    if not len(measured):
        return ["No trace has a measurable peak."]
    speed = np.array([_speed(distances[k], peak_lags[k]) for k in measured])
    facts = [f"Median signal-to-noise ratio {np.median(snr[measured]):.3g}."]
    if np.isfinite(speed).any():
        facts.append(
            "Median apparent speed (distance / lag of the largest value) "
            f"{np.median(speed[np.isfinite(speed)]):.3g} km/s."
        )
    best = measured[np.argsort(-snr[measured], kind="stable")[:10]]
    facts.append("Largest signal-to-noise ratios:")
    facts += [
        f"  {names[k]}: " + " ".join(_pair_facts(distances[k], snr[k], peak_lags[k])) for k in best
    ]
    return facts


def _pair_facts(distance: float, snr: float, peak_lag: float) -> list[str]:
    facts = []
    if np.isfinite(distance):
        facts.append(f"Distance {distance:.4g} km.")
    if np.isfinite(snr):
        facts.append(f"Signal-to-noise ratio {snr:.3g}.")
    if np.isfinite(peak_lag):
        speed = _speed(distance, peak_lag)
        apparent = f", an apparent speed of {speed:.3g} km/s" if np.isfinite(speed) else ""
        facts.append(f"Largest value at a lag of {peak_lag:+.3f} s{apparent}.")
    return facts


def _speed(distance: float, lag: float) -> float:
    """Apparent speed (km/s); NaN where it has no meaning."""
    return abs(distance / lag) if lag and distance > 0 else math.nan


def _availability_facts(rows: Sequence[ChannelDay], channels: Sequence[str]) -> list[str]:
    days = sorted({row.day for row in rows})
    kept, all_windows = sum(r.windows_kept for r in rows), sum(r.windows for r in rows)
    facts = [
        f"{_count(len(channels), 'channel')} on {_count(len(days), 'day')}"
        + (f" from {days[0]} to {days[-1]}." if days else "."),
        f"{kept:,} of {all_windows:,} windows were kept.",
    ]
    empty = [r for r in sorted(rows, key=lambda r: (r.channel, r.day)) if not r.windows_kept]
    if empty:
        facts.append(f"{_count(len(empty), 'channel-day')} of {len(rows):,} kept none:")
        facts += [
            f"  {r.channel} {r.day}: {r.status}{', ' if r.reason else ''}{r.reason}"
            for r in empty[:20]
        ]
        facts += [f"  and {len(empty) - 20:,} more; see summary.csv."] * (len(empty) > 20)
    return facts


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{ending}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")


def _utc(seconds: float) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(seconds))
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


# The sheet of paper


def _style() -> AbstractContextManager[None]:
    """matplotlib's own defaults and ours, whatever the user's matplotlibrc says."""
    return matplotlib.style.context(["default", _STYLE])


def _figure(size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _title(axes: Axes, title: str, note: str = "") -> None:
    """The title, and in brackets what was averaged or left out; broken into lines."""
    lines = [line for part in title.splitlines() for line in textwrap.wrap(part, 84)]
    axes.set_title("\n".join([*lines, *(textwrap.wrap(f"({note})", 84) if note else [])]))


def _interpolation(n_columns: int) -> str:
    """Sharp cells make small files; many times more columns than pixels must be averaged."""
    return "nearest" if n_columns <= 3 * _COLUMNS else "auto"


def _say_nothing(axes: Axes) -> None:
    """An empty image that is meant to be empty."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, "Nothing to show", transform=axes.transAxes, ha="center", va="center")


def _edges(lags: np.ndarray) -> tuple[float, float]:
    """Left edge of the first and right edge of the last lag as a pixel (s)."""
    half = (lags[-1] - lags[0]) / max(len(lags) - 1, 1) / 2 or 0.5
    return float(lags[0] - half), float(lags[-1] + half)


def _save(figure: Figure, path: Path, title: str, facts: Iterable[str], svg: bool) -> list[Path]:
    """Write the image and its text, each whole or not at all."""
    # No date and no version: the same arrays must give the same bytes.
    written = [
        _write(
            path, ".png", lambda out: figure.savefig(out, format="png", metadata={"Software": None})
        )
    ]
    if svg:
        written.append(
            _write(
                path, ".svg", lambda out: figure.savefig(out, format="svg", metadata={"Date": None})
            )
        )
    text = "\n".join([title, *facts]) + "\n"
    written.append(_write(path, ".txt", lambda out: out.write(text.encode())))
    return written


def _write(path: Path, ending: str, fill: Callable[[io.BytesIO], object]) -> Path:
    out = io.BytesIO()
    fill(out)
    target = path.with_name(
        path.name + ending
    )  # a name such as TA.I02A..BHZ has no suffix to replace
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(out.getvalue())
    return partial.replace(target)
