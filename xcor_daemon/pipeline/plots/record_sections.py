"""Traces by distance: the record section of all pairs, the virtual source gather of a channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from .captions import LAG_SIGN, counted, peak_facts
from .figure import (
    ACCENT,
    BLANK,
    DARK,
    LINE_STYLES,
    MAX_ROWS,
    SIGNED,
    edges,
    interpolation,
    new_figure,
    save,
    styled,
    write_no_data,
    write_title,
)

_MAX_WIGGLES = 60  # traces that can be distinguished; more are shown as an image


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
    """Plot the stacks of all pairs by distance: wiggles for up to 60 pairs, else an image.

    Every trace is scaled to its maximum. An image averages the traces of pairs at nearly the same
    distance. Pairs without data or coordinates are left out, and the title states their number;
    if no coordinate is known, the pairs are in their order.

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
        Days, band and method of the stacks.
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
    facts = [LAG_SIGN, *peak_facts(names, distances, snr, peak_lags)]
    with styled():
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
    """Plot the virtual source gather (virtual shot) of a channel: its pairs with all others.

    A stack in which ``channel`` is the second of the pair is reversed in lag, so that waves at
    positive lags travel away from ``channel`` and waves at negative lags towards it. The
    autocorrelation is at distance 0. Shapes as in `record_section`, lags in s, distances in km;
    ``channel`` is an id that occurs in ``names``.

    Raises
    ------
    ValueError
        If no pair has the channel.
    """
    ends = [name.split("|") for name in names]
    chosen = [k for k, pair in enumerate(ends) if channel in pair]
    if not chosen:
        raise ValueError(f"no pair has the channel {channel}.")
    is_reversed = np.array([ends[k][0] != channel for k in chosen])
    stacks = np.where(
        is_reversed[:, None], np.asarray(stacks)[chosen, ::-1], np.asarray(stacks)[chosen]
    )
    others = [ends[k][0] if ends[k][0] != channel else ends[k][1] for k in chosen]
    distances = np.asarray(distances)[chosen]
    if snr is not None:
        snr = np.asarray(snr)[chosen]
    if peak_lags is not None:
        peak_lags = np.where(is_reversed, -1, 1) * np.asarray(peak_lags)[chosen]
    facts = [
        f"Positive lag: the wave travels away from {channel}; negative: towards it.",
        *peak_facts(others, distances, snr, peak_lags),
    ]
    with styled():
        return _gather(stacks, lags, distances, others, title, "channel", speeds, facts, path, svg)


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
    """Plot traces by distance, or in their order if no distance is known."""
    stacks, distances = np.asarray(stacks), np.asarray(distances, dtype=np.float64)
    located = bool(np.isfinite(distances).any())
    position = distances if located else np.arange(1, len(stacks) + 1, dtype=np.float64)
    # The largest value of a trace with a NaN is NaN.
    largest = np.maximum(stacks.max(axis=-1, initial=0), -stacks.min(axis=-1, initial=0))
    has_data = np.isfinite(largest) & (largest > 0)
    order = np.argsort(position, kind="stable")
    order = order[(has_data & np.isfinite(position))[order]]
    unit, km = (
        ("m", 1000.0)
        if located and position[order].max(initial=-1) < 1 and len(order)
        else ("km", 1.0)
    )
    position = position * (km if located else 1)
    notes = []
    if n_empty := int((~has_data).sum()):
        notes.append(f"{counted(n_empty, noun)} without data not shown")
    if unknown := int((has_data & ~np.isfinite(position)).sum()):
        notes.append(f"{counted(unknown, noun)} without coordinates not shown")
    has_names = bool(len(order)) and len(order) <= _MAX_WIGGLES  # in small letters
    right = 0.2 + 0.067 * max(len(names[k]) for k in order) if has_names else 0.2
    figure = new_figure((8.5, 7.5), right=right)
    axes = figure.subplots()
    axes.set_xlabel("Lag (s)")
    axes.set_ylabel(f"Distance ({unit})" if located else f"Index in the list of {noun}s")
    if not len(order):
        write_no_data(axes)
    elif has_names:
        _wiggles(axes, stacks[order] / largest[order, None], lags, position[order])
        _write_names(axes, position[order], [names[k] for k in order])
    else:
        bin_note = _distance_image(
            axes, stacks, largest, lags, position, order, unit if located else ""
        )
        notes.insert(0, f"{counted(len(order), noun)}, {bin_note}")
    if located and len(order):
        _speed_lines(axes, speeds, position[order].max(), km)
    axes.set_xlim(*edges(lags))
    write_title(axes, title, "; ".join(notes))
    span = (
        f", {position[order[0]]:.4g} to {position[order[-1]]:.4g} {unit}"
        if located and len(order)
        else ""
    )
    head = f"{counted(len(order), noun)} shown{span}; lags {lags[0]:g} to {lags[-1]:g} s."
    scaled = "Every trace is scaled to its own maximum."
    return save(figure, path, title, [head, *(f"Note: {n}." for n in notes), scaled, *facts], svg)


def _wiggles(axes: Axes, traces: np.ndarray, lags: np.ndarray, position: np.ndarray) -> None:
    """Plot traces at their distances, positive amplitudes filled."""
    extent = np.ptp(position) if len(position) > 1 else 1.0
    height = 1.6 * (extent or 1.0) / max(len(position), 8)
    fills = np.empty((len(traces), 2 * lags.size, 2))
    fills[:, :, 0] = np.concatenate([lags, lags[::-1]])
    fills[:, : lags.size, 1] = position[:, None] + height * np.maximum(traces, 0)
    fills[:, lags.size :, 1] = position[:, None]
    curves = np.stack(
        [np.broadcast_to(lags, traces.shape), position[:, None] + height * traces], -1
    )
    # Matplotlib's type hints require a list, which is slower than one array.
    polygons = cast(Sequence[Any], fills)
    axes.add_collection(
        PolyCollection(polygons, facecolor=ACCENT, alpha=0.55, linewidth=0, zorder=2), autolim=False
    )
    axes.add_collection(
        LineCollection(list(curves), color=DARK, linewidth=0.6, zorder=2.5), autolim=False
    )
    axes.set_ylim(position.min() - 1.2 * height, position.max() + 1.2 * height)


def _write_names(axes: Axes, position: np.ndarray, names: Sequence[str]) -> None:
    """Write names on the right of the traces, as many as fit."""
    low, high = axes.get_ylim()
    gap = (high - low) / 48  # a line of small letters
    last = -np.inf
    for y, name in zip(position, names, strict=True):
        if y - last >= gap:
            axes.annotate(f"\N{EN DASH} {name}", (1, y), (1, 0), ("axes fraction", "data"),
                          "offset points", size=7, va="center")  # fmt: skip
            last = y


def _distance_image(
    axes: Axes,
    stacks: np.ndarray,
    largest: np.ndarray,
    lags: np.ndarray,
    position: np.ndarray,
    order: np.ndarray,
    unit: str,
) -> str:
    """Plot traces as an image with even steps in distance; gives a note on its lines."""
    low, high = position[order[0]], position[order[-1]]
    # Three pairs per row on average: distances are uneven, and empty rows would hide the others.
    n_rows = min(MAX_ROWS, max(_MAX_WIGGLES, len(order) // 3)) if high > low else 1
    step = (high - low) / n_rows or 1.0
    row = np.minimum((position[order] - low) / step, n_rows - 1).astype(np.int64)
    image = np.full((n_rows, stacks.shape[-1]), np.nan)
    bounds = np.searchsorted(row, np.arange(n_rows + 1))
    for k in range(n_rows):
        members = order[bounds[k] : bounds[k + 1]]
        if len(members):
            mean = (stacks[members] / largest[members, None]).mean(axis=0, dtype=np.float64)
            image[k] = mean / (np.abs(mean).max() or 1)
    axes.imshow(
        image,
        extent=(*edges(lags), low, low + n_rows * step),
        origin="lower",
        aspect="auto",
        interpolation=interpolation(lags.size),
        cmap=SIGNED,
        vmin=-1,
        vmax=1,
    )
    axes.set_facecolor(BLANK)
    if n_rows == 1:
        return "the mean of all"
    return f"averaged in steps of {step:.2g} {unit}".rstrip()


def _speed_lines(axes: Axes, speeds: Sequence[float], max_distance: float, km: float) -> None:
    """Plot lines of constant speed (km/s) on both sides."""
    unit = "km/s" if km == 1 else "m/s"
    limits = axes.get_ylim()
    for k, speed in enumerate(speeds):
        lag = max_distance / (speed * km)
        style = LINE_STYLES[k % len(LINE_STYLES)]
        axes.plot(
            [-lag, 0, lag],
            [max_distance, 0, max_distance],
            color="black",
            linestyle=style,
            linewidth=1.0,
            zorder=1000,
            label=f"{speed * km:g} {unit}",
        )
    axes.set_ylim(limits)
    if speeds:
        axes.legend(loc="lower right", framealpha=0.9, title="Speed").set_zorder(1001)
