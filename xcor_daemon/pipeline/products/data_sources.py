"""Who served a job's data: which source which channel on which days, and how many bytes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from ..datatypes import ChannelDay

_MOST_SPANS = 100_000  # of all channels; some MB of JSON, which a page must read


def served(rows: Iterable[ChannelDay]) -> dict[str, Any]:
    """What summary.csv says row by row, summed up; channel-days without data are left out.

    Returns
    -------
    sources : dict
        Source -> ``bytes``, ``channel_days`` and ``channels``: id -> ``bytes``, ``days`` (how
        many) and ``spans``, pairs of a first and a last day. A job with very many gaps has one
        span a channel, around all of its days.
    """
    found: dict[str, dict[str, list[ChannelDay]]] = {}
    for row in rows:
        if row.n_bytes:
            found.setdefault(row.source, {}).setdefault(row.channel, []).append(row)
    spans = {
        (source, channel): _spans(date.fromisoformat(row.day) for row in some)
        for source, channels in found.items()
        for channel, some in channels.items()
    }
    if sum(map(len, spans.values())) > _MOST_SPANS:
        spans = {key: [[some[0][0], some[-1][1]]] for key, some in spans.items()}
    return {
        source: {
            "bytes": sum(row.n_bytes for some in channels.values() for row in some),
            "channel_days": sum(map(len, channels.values())),
            "channels": {
                channel: {
                    "bytes": sum(row.n_bytes for row in some),
                    "days": len(some),
                    "spans": spans[source, channel],
                }
                for channel, some in sorted(channels.items())
            },
        }
        for source, channels in sorted(found.items())
    }


def _spans(days: Iterable[date]) -> list[list[str]]:
    """First and last of the days that follow each other."""
    joined: list[list[date]] = []
    for day in sorted(days):
        if joined and day == joined[-1][1] + timedelta(days=1):
            joined[-1][1] = day
        else:
            joined.append([day, day])
    return [[str(first), str(last)] for first, last in joined]
