"""Why channel-days came to no correlation: reasons counted, the most frequent first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import NothingMadeError, RequestError, UnreachableError, reason_lines
from ..datatypes import UNREADABLE, ChannelDay

_WITHOUT_PARTNER = "windows, but no other channel of a pair has one at the same time"
_MOST = 100  # reasons in outputs.json; each has one channel-day at least


def reasons_of(days: Iterable[tuple[Sequence[ChannelDay], bool]]) -> list[dict[str, Any]]:
    """Count the channel-days without a correlation by their reasons.

    Parameters
    ----------
    days : iterable of (rows, bool)
        Rows of a day, and whether the day has a file of correlations.

    Returns
    -------
    reasons : list of dict
        ``reason``; ``channel_days``, how many; ``channel`` and ``day`` of the first of them, with
        its ``detail``. The most frequent reason is the first.
    """
    found: dict[str, dict[str, Any]] = {}
    for rows, has_file in sorted(days, key=lambda day: day[0][0].day if day[0] else ""):
        for row in rows:
            if row.status == "kept" and has_file:
                continue
            reason, detail = (_WITHOUT_PARTNER, "") if row.status == "kept" else _parts(row)
            first = {"channel_days": 0, "channel": row.channel, "day": row.day, "detail": detail}
            found.setdefault(reason, {"reason": reason, **first})["channel_days"] += 1
    return sorted(found.values(), key=lambda one: -one["channel_days"])[:_MOST]


def nothing_made(days: Sequence[tuple[Sequence[ChannelDay], bool]]) -> NothingMadeError:
    """The error of a job that made no correlation.

    Its exit code is 69 where some channel-day failed for want of the source, which may answer
    another time, and 65 where the data that were asked for can give nothing.
    """
    may_come = any(_is_out_of_reach(row) for rows, _ in days for row in rows)
    code = UnreachableError.exit_code if may_come else RequestError.exit_code
    reasons, n_rows = reasons_of(days), sum(len(rows) for rows, _ in days)
    first = reasons[0]  # a job asks for a channel on a day at least
    share = f"{first['channel_days']:,} of {n_rows:,} channel-days"
    return NothingMadeError(
        "correlation", f"{first['reason']} ({share})", reason_lines(reasons), code
    )


def failed_day(day: str, channels: Iterable[str], reason: str) -> list[ChannelDay]:
    """Rows of a day that could not be done."""
    why = f"the day could not be done; {reason}"
    return [ChannelDay(day, channel, "failed", reason=why) for channel in channels]


def _parts(row: ChannelDay) -> tuple[str, str]:
    """The reason of a row, which is the same for others, and what goes for this row alone."""
    reason = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in row.reason)
    parts = reason.split("; ")  # of texts of NoDataError the first is the same for all
    if row.status == "empty":  # what was noticed stands before the reason
        parts = sorted(parts, key=lambda part: not part.startswith("no window"))
    dropped = [f"left out by {row.dropped}"] if row.dropped else []
    return parts[0].removesuffix(".") or row.status, "; ".join([*parts[1:], *dropped]).removesuffix(
        "."
    )


def _is_out_of_reach(row: ChannelDay) -> bool:
    """Whether a source could not be asked, rather than has data that cannot be used."""
    is_archive = row.source.startswith("archive:")
    return row.status == "failed" and (not is_archive or row.reason.startswith(UNREADABLE))
