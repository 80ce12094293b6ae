"""The share of accepted windows by channel and day."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from ..datatypes import ChannelDay
from .captions import counted, ordinal
from .figure import (
    BLANK,
    COLOUR_BAR_WIDTH,
    SHARE,
    colour_bar,
    interpolation,
    new_figure,
    save,
    styled,
    write_title,
)

_MAX_CHANNELS = 200  # lines of the image


def availability(
    rows: Iterable[ChannelDay], title: str, *, path: Path, svg: bool = False
) -> list[Path]:
    """Plot the accepted share of the requested windows, channel by day; grey if none is requested.

    Parameters
    ----------
    rows : iterable of ChannelDay
        As in summary.csv, in any order.
    title : str
        Title of the image.
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
    note = f"every {ordinal(every)} of {len(channels):,} channels" if every > 1 else ""
    share = share[::every]
    with styled():
        height = min(10.0, max(4.0, 2.2 + 0.19 * len(share)))
        names = 0.2 + 0.075 * max((len(channel) for channel in channels), default=0)
        figure = new_figure((9, height), left=names, right=COLOUR_BAR_WIDTH)
        axes = figure.subplots()
        write_title(axes, title, note)
        start = first.toordinal() - date(1970, 1, 1).toordinal()
        shown = axes.imshow(
            share,
            extent=(start, start + share.shape[1], len(share) - 0.5, -0.5),
            aspect="auto",
            interpolation=interpolation(share.shape[1]),
            cmap=SHARE,
            vmin=0,
            vmax=1,
        )
        axes.set_facecolor(BLANK)
        thin = max(1, math.ceil(len(share) / 45))
        axes.set_yticks(range(0, len(share), thin), channels[:: every * thin] or [""], fontsize=8)
        locator = AutoDateLocator(
            minticks=min(3, share.shape[1]), maxticks=8, interval_multiples=True
        )
        locator.intervald[3] = [1, 2, 3, 7, 14]  # of the daily ticks; there are none within a day
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.set_xlabel("Day (UTC)")
        colour_bar(shown, axes, "Share of accepted windows (grey: none requested)")
        return save(figure, path, title, _availability_facts(rows, channels), svg)


def _availability_facts(rows: Sequence[ChannelDay], channels: Sequence[str]) -> list[str]:
    days = sorted({row.day for row in rows})
    accepted, requested = sum(r.windows_kept for r in rows), sum(r.windows for r in rows)
    facts = [
        f"{counted(len(channels), 'channel')} on {counted(len(days), 'day')}"
        + (f" from {days[0]} to {days[-1]}." if days else "."),
        f"{accepted:,} of {requested:,} requested windows were accepted.",
    ]
    empty = [r for r in sorted(rows, key=lambda r: (r.channel, r.day)) if not r.windows_kept]
    if empty:
        facts.append(
            f"{counted(len(empty), 'channel-day')} of {len(rows):,} have no accepted window:"
        )
        facts += [
            f"  {r.channel} {r.day}: {r.status}{', ' if r.reason else ''}{r.reason}"
            for r in empty[:20]
        ]
        facts += [f"  and {len(empty) - 20:,} more; see summary.csv."] * (len(empty) > 20)
    return facts
