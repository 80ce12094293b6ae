"""Periods of a request: runs of days with the same channels, windows and pairs.

Windows and pairs are counted by a sweep over the starts and ends of channels, without enumerating
pairs, days or windows: there may be thousands of channels over years.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import accumulate

from .pair_counts import PairChoice, PairCounter
from .pairs import Pairs, pair_counter
from .stations import Channel
from .windows import Range, Span, WindowGrid, merged


@dataclass(frozen=True)
class Period:
    """Consecutive days with the same windows of the same channels."""

    first: int  # ordinal of its first day
    end: int  # and of the day after its last
    n_channels: int  # that have a window
    n_pairs: int  # of these channels
    channel_windows: int  # a day, of all channels
    pair_windows: int  # a day: windows of both channels of a pair, summed over pairs
    n_rows: int  # output windows a day; 0 where no pair shares a window

    @property
    def n_days(self) -> int:
        """Its number of days."""
        return self.end - self.first


@dataclass
class _Day:
    """The sums of a day on which a channel starts or ends."""

    channel_windows: int
    pair_windows: int
    used: list[Range]  # windows of enough channels for a pair


class Periods:
    """Counts of the windows inside the spans of channels.

    Parameters
    ----------
    channels : sequence of Channel
        Ordered by id.
    windows : WindowGrid
    choice : PairChoice
    pairs : Pairs
        Of pairs.csv; empty: all.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        windows: WindowGrid,
        choice: PairChoice,
        pairs: Pairs = (),
    ) -> None:
        self.channels = tuple(channels)
        self.windows, self.choice, self.pairs = windows, choice, pairs

    @cached_property
    def runs(self) -> list[tuple[Range, ...]]:
        """For each channel its windows, numbered over all days."""
        known: dict[tuple[Span, ...], tuple[Range, ...]] = {}
        for spans in {channel.spans for channel in self.channels}:
            known[spans] = self.windows.runs(spans)
        return [known[channel.spans] for channel in self.channels]

    @cached_property
    def day_runs(self) -> list[tuple[Range, ...]]:
        """For each channel the days on which it has a window."""
        n = self.windows.n_windows
        known = {
            runs: tuple(merged((first // n, (end - 1) // n + 1) for first, end in runs))
            for runs in set(self.runs)
        }
        return [known[runs] for runs in self.runs]

    @cached_property
    def all(self) -> tuple[Period, ...]:
        """The periods in which any channel has a window, in order."""
        windows = self._by_windows()
        found: list[Period] = []
        k = 0
        for first, end, n_channels, n_pairs in _swept(self.day_runs, self._counter()):
            while k < len(windows) and windows[k][0] < end:
                a, b, channel_windows, pair_windows, n_rows = windows[k]
                period = Period(max(a, first), min(b, end), n_channels, n_pairs,
                                channel_windows, pair_windows, n_rows)  # fmt: skip
                found.append(period)
                if b > end:
                    break
                k += 1
        return tuple(found)

    def _by_windows(self) -> list[tuple[int, int, int, int, int]]:
        """First day, day after the last, windows of channels, of pairs, output windows (a day)."""
        n, most_rows = self.windows.n_windows, self.windows.n_kept
        least = 1 if self.choice.autocorrelations else 2  # channels that share a window
        days: dict[int, _Day] = {}
        found: list[tuple[int, int, int, int, int]] = []

        def part(day: int, first: int, end: int, n_channels: int, n_pairs: int) -> None:
            one = days.setdefault(day, _Day(0, 0, []))
            one.channel_windows += (end - first) * n_channels
            one.pair_windows += (end - first) * n_pairs
            if n_channels >= least:
                one.used.append((first, end))

        for first, end, n_channels, n_pairs in _swept(self.runs, self._counter()):
            (a, at), (b, until) = divmod(first, n), divmod(end, n)
            if at or a == b:
                part(a, at, until if a == b else n, n_channels, n_pairs)
                a += 1
            if a < b:
                rows = most_rows if n_pairs else 0
                found.append((a, b, n * n_channels, n * n_pairs, rows))
            if until and a <= b:
                part(b, 0, until, n_channels, n_pairs)
        for day, one in days.items():
            rows = self.windows.n_rows(merged(one.used)) if one.pair_windows else 0
            found.append((day, day + 1, one.channel_windows, one.pair_windows, rows))
        return sorted(found)

    def _counter(self) -> PairCounter:
        return pair_counter(self.channels, self.choice, self.pairs)

    @cached_property
    def with_pairs(self) -> tuple[Period, ...]:
        """The periods with at least one pair."""
        return tuple(period for period in self.all if period.pair_windows)

    @cached_property
    def days(self) -> tuple[date, ...]:
        """The UTC days on which at least one pair can be made."""
        return tuple(
            date.fromordinal(day)
            for period in self.with_pairs
            for day in range(period.first, period.end)
        )

    def at(self, day: date) -> int:
        """Index in ``all`` of the period of a day; a KeyError where no channel has a window."""
        ordinal = day.toordinal()
        k = bisect_right(self.all, ordinal, key=lambda period: period.first) - 1
        if k < 0 or ordinal >= self.all[k].end:
            raise KeyError(day)
        return k

    def on(self, day: date) -> tuple[Channel, ...]:
        """The channels that have a window on a day, ordered by id."""
        ordinal = day.toordinal()
        return tuple(
            channel
            for channel, runs in zip(self.channels, self.day_runs, strict=True)
            if _holds(runs, ordinal)
        )

    @cached_property
    def n_pairs(self) -> int:
        """The number of different pairs, each channel counted from its first to its last window.

        An upper bound where the spans of a channel have gaps: two channels may never overlap.
        """
        outer = [((runs[0][0], runs[-1][1]),) if runs else () for runs in self.runs]
        counter = self._counter()
        total = sum(n_new for *_, n_new in _changes(outer, counter))
        return min(total, sum(period.n_pairs * period.n_days for period in self.with_pairs))

    @cached_property
    def days_of(self) -> list[int]:
        """For each channel the number of ``days`` on which it has a window."""
        firsts = [period.first for period in self.with_pairs]
        before = [0, *accumulate(period.n_days for period in self.with_pairs)]

        def n_before(day: int) -> int:
            k = bisect_right(firsts, day) - 1
            return 0 if k < 0 else before[k] + min(day, self.with_pairs[k].end) - firsts[k]

        return [sum(n_before(end) - n_before(first) for first, end in runs)
                for runs in self.day_runs]  # fmt: skip


def _holds(runs: Sequence[Range], number: int) -> bool:
    k = bisect_right(runs, number, key=lambda run: run[0]) - 1
    return k >= 0 and number < runs[k][1]


def _swept(
    runs: Sequence[tuple[Range, ...]], counter: PairCounter
) -> Iterator[tuple[int, int, int, int]]:
    """Start, end, number of members and number of their selected pairs, for each interval."""
    before, inside, total = 0, 0, 0
    for at, change, _ in _changes(runs, counter):
        if at > before and inside:
            yield before, at, inside, total
        before, inside, total = at, inside + change, counter.total


def _changes(
    runs: Sequence[tuple[Range, ...]], counter: PairCounter
) -> Iterator[tuple[int, int, int]]:
    """Ordered (position, 1 or -1, pairs of the new member) as members start (1) and end (-1)."""
    events = sorted(
        event
        for index, some in enumerate(runs)
        for first, end in some
        for event in ((first, 1, index), (end, -1, index))
    )
    for at, change, index in events:
        if change > 0:
            yield at, change, counter.add(index)
        else:
            counter.remove(index)
            yield at, change, 0
