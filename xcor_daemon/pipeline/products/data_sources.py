"""The data sources that a job used: channels, days and bytes of each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from ..datatypes import ChannelDay

_MAX_SPANS = 100_000  # of all channels together: some MB of JSON, which the page must load


def data_sources_used(rows: Iterable[ChannelDay]) -> dict[str, Any]:
    """Sum up the rows of summary.csv by source; channel-days without data are left out.

    Returns
    -------
    sources : dict
        Source -> ``bytes``, ``channel_days`` and ``channels``: id -> ``bytes``, ``days`` (their
        number) and ``spans``, pairs of a first and a last day. A job with very many gaps has one
        span per channel, from its first day to its last.
    """
    found: dict[str, dict[str, list[ChannelDay]]] = {}
    for row in rows:
        if row.n_bytes:
            found.setdefault(row.source, {}).setdefault(row.channel, []).append(row)
    spans = {
        (source, channel): _spans(date.fromisoformat(row.day) for row in of_channel)
        for source, channels in found.items()
        for channel, of_channel in channels.items()
    }
    if sum(map(len, spans.values())) > _MAX_SPANS:
        spans = {key: [[days[0][0], days[-1][1]]] for key, days in spans.items()}
    return {
        source: {
            "bytes": sum(row.n_bytes for rows in channels.values() for row in rows),
            "channel_days": sum(map(len, channels.values())),
            "channels": {
                channel: {
                    "bytes": sum(row.n_bytes for row in of_channel),
                    "days": len(of_channel),
                    "spans": spans[source, channel],
                }
                for channel, of_channel in sorted(channels.items())
            },
        }
        for source, channels in sorted(found.items())
    }


def _spans(days: Iterable[date]) -> list[list[str]]:
    """First and last day of each run of consecutive days."""
    runs: list[list[date]] = []
    for day in sorted(days):
        if runs and day == runs[-1][1] + timedelta(days=1):
            runs[-1][1] = day
        else:
            runs.append([day, day])
    return [[str(first), str(last)] for first, last in runs]
