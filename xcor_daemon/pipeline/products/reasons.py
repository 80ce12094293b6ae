"""Why channel-days have no correlation: the reasons, counted, the most frequent first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import NoResultError, RequestError, UnreachableError, reason_lines
from ..datatypes import UNREADABLE, ChannelDay

_NO_PARTNER = "no other channel of a pair has a window at the same time"
_MAX_REASONS = 100  # reasons in outputs.json


def count_reasons(days: Iterable[tuple[Sequence[ChannelDay], bool]]) -> list[dict[str, Any]]:
    """Count the channel-days without a correlation by reason.

    Parameters
    ----------
    days : iterable of (rows, bool)
        Channel-days of a day, and whether the day has a file of correlations.

    Returns
    -------
    reasons : list of dict
        ``reason``; number of ``channel_days``; ``channel``, ``day`` and ``detail`` of the first of
        them. The most frequent reason comes first.
    """
    found: dict[str, dict[str, Any]] = {}
    for rows, has_file in sorted(days, key=lambda day: day[0][0].day if day[0] else ""):
        for row in rows:
            if row.status == "kept" and has_file:
                continue
            reason, detail = (_NO_PARTNER, "") if row.status == "kept" else _split_reason(row)
            first = {"channel_days": 0, "channel": row.channel, "day": row.day, "detail": detail}
            found.setdefault(reason, {"reason": reason, **first})["channel_days"] += 1
    return sorted(found.values(), key=lambda entry: -entry["channel_days"])[:_MAX_REASONS]


def nothing_made_error(days: Sequence[tuple[Sequence[ChannelDay], bool]]) -> NoResultError:
    """The error of a job without any correlation.

    Its exit code is 69 if a source could not be reached for some channel-day, since it may answer
    another time, and 65 if the requested data cannot give a correlation.
    """
    may_succeed = any(_is_out_of_reach(row) for rows, _ in days for row in rows)
    code = UnreachableError.exit_code if may_succeed else RequestError.exit_code
    reasons, n_rows = count_reasons(days), sum(len(rows) for rows, _ in days)
    first = reasons[0]  # a request has at least one channel-day
    share = f"{first['channel_days']:,} of {n_rows:,} channel-days"
    return NoResultError("correlation", f"{first['reason']} ({share})", reason_lines(reasons), code)


def failed_channel_days(day: str, channels: Iterable[str], reason: str) -> list[ChannelDay]:
    """The rows of a day that could not be processed."""
    reason = f"the day could not be processed; {reason}"
    return [ChannelDay(day, channel, "failed", reason=reason) for channel in channels]


def _split_reason(row: ChannelDay) -> tuple[str, str]:
    """The reason of a row as it is counted, and the detail of this row alone."""
    reason = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in row.reason)
    parts = reason.split("; ")  # of a NoDataError only the first part is the same for all
    if row.status == "empty":  # warnings stand before the reason
        parts = sorted(parts, key=lambda part: not part.startswith("no window"))
    dropped = [f"dropped by {row.dropped}"] if row.dropped else []
    detail = "; ".join([*parts[1:], *dropped])
    return parts[0].removesuffix(".") or row.status, detail.removesuffix(".")


def _is_out_of_reach(row: ChannelDay) -> bool:
    """Whether the source could not be reached; otherwise its data cannot be used."""
    is_archive = row.source.startswith("archive:")
    return row.status == "failed" and (not is_archive or row.reason.startswith(UNREADABLE))
