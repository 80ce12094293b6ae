"""The windows of a day, and which of them lie inside the requested times.

The one definition: the pipeline cuts by it, the estimate counts by it, and the page does the same
(site/js/request/windows.js). No numpy: the host counts too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

SECONDS_PER_DAY = 86400

Span = tuple[datetime, datetime]  # [start, end), UTC
Range = tuple[int, int]  # [first, end) of consecutive integers

_MICROSECOND = timedelta(microseconds=1)
_SAMPLE_TOLERANCE = 1e-6  # samples; rounding of times, which have microseconds


@dataclass(frozen=True)
class WindowGrid:
    """The windows of a day, counted from midnight, whatever data exist.

    Windows of a whole request are numbered: ordinal of the day times ``n_windows`` plus the window
    of the day. Windows of consecutive days then have consecutive numbers.
    """

    fs: float  # Hz
    cc_step: float  # s, from the start of one window to the next
    cc_len: float  # s
    substack: float = 0.0  # s; 0: no substacks
    min_coverage: float = 1.0  # smallest fraction of a window that must be recorded samples

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> WindowGrid:
        """From values of params.csv; a KeyError where one of them is missing."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    @cached_property
    def n_day(self) -> int:
        """Samples of a day: those at midnight + k / fs that lie before the next midnight."""
        return math.ceil(SECONDS_PER_DAY * self.fs - _SAMPLE_TOLERANCE)

    @cached_property
    def n_samples(self) -> int:
        """Samples in a window."""
        return round(self.cc_len * self.fs)

    @cached_property
    def n_step(self) -> int:
        """Samples from the start of one window to the next."""
        return round(self.cc_step * self.fs)

    @cached_property
    def n_windows(self) -> int:
        """Windows in a day: as many as fit from midnight to midnight."""
        return math.floor((SECONDS_PER_DAY - self.cc_len) / self.cc_step + 1e-9) + 1

    @cached_property
    def n_kept(self) -> int:
        """Output windows in a day: the windows, or their substacks."""
        return self.interval(self.n_windows - 1) + 1

    @cached_property
    def least(self) -> int:
        """Recorded samples that a window must have."""
        return max(1, math.ceil((self.min_coverage - 1e-6) * self.n_samples))

    def interval(self, window: int) -> int:
        """Number of the output window to which a window of the day contributes."""
        if not self.substack:
            return window
        return math.floor(window * self.cc_step / self.substack + 1e-9)

    def n_rows(self, ranges: Iterable[Range]) -> int:
        """Output windows of some windows of a day; ``ranges`` are in order and disjoint."""
        n, last = 0, -1
        for first, end in ranges:
            a, b = self.interval(first), self.interval(end - 1)
            n += b - max(a, last + 1) + 1
            last = b
        return n

    def samples(self, day: int, spans: Iterable[Span]) -> list[Range]:
        """The samples of a day that lie in spans: start <= time < end.

        Parameters
        ----------
        day : int
            Its ordinal (`date.toordinal`).
        spans : iterable of (datetime, datetime)
            In order and disjoint, UTC.
        """
        midnight = datetime.fromordinal(day)
        found = []
        for start, end in spans:
            first, after = (
                math.ceil((t.replace(tzinfo=None) - midnight) / _MICROSECOND * self.fs / 1e6
                          - _SAMPLE_TOLERANCE)
                for t in (start, end)
            )  # fmt: skip
            first, after = max(first, 0), min(after, self.n_day)
            if first < after:
                found.append((first, after))
        return found

    def inside(self, ranges: Sequence[Range]) -> list[Range]:
        """The windows of a day that have at least ``least`` samples in ranges of samples.

        The number of samples is a linear function of the window between those windows of which an
        end passes an end of a range, so it is solved for, not counted window by window: there may
        be millions.
        """
        size, step, most = self.n_samples, self.n_step, self.n_windows
        if len(ranges) == 1:  # nearly always
            ((a, b),) = ranges
            first = max(0, -((size - self.least - a) // step))
            end = min(most, (b - self.least) // step + 1)
            return [(first, end)] if b - a >= self.least and first < end else []
        starts = {0, most}
        for edge in (edge for ends in ranges for edge in ends):
            # The first windows that end after the edge, and that start at it or later.
            starts |= {min(max(-(-at // step), 0), most) for at in (edge - size, edge)}

        def n_inside(window: int) -> int:
            a = window * step
            return sum(max(0, min(a + size, end) - max(a, first)) for first, end in ranges)

        pieces = sorted(starts)
        return merged(
            piece
            for first, end in zip(pieces, pieces[1:], strict=False)
            for piece in self._solved(first, end, n_inside(first), n_inside(end - 1))
        )

    def _solved(self, first: int, end: int, n_first: int, n_last: int) -> Iterator[Range]:
        """Which of the windows first ... end - 1 have enough samples, by linear interpolation."""
        enough_first, enough_last = n_first >= self.least, n_last >= self.least
        if enough_first and enough_last:
            yield first, end
        elif enough_first or enough_last:
            slope = (n_last - n_first) // (end - 1 - first)  # exact: the counts lie on a line
            if enough_last:
                yield first - (n_first - self.least) // slope, end
            else:
                yield first, first + (n_first - self.least) // -slope + 1

    def on(self, day: int, spans: Iterable[Span]) -> list[Range]:
        """The windows of a day that lie inside spans."""
        return self.inside(self.samples(day, spans))

    def runs(self, spans: Sequence[Span]) -> tuple[Range, ...]:
        """The windows of all days that lie inside spans, numbered over the whole request."""
        n = self.n_windows
        edges: dict[int, list[Span]] = {}
        found: list[Range] = []
        for start, end in spans:
            first = start.toordinal()
            last = max(first, (end - _MICROSECOND).toordinal())
            for day in {first, last}:
                edges.setdefault(day, []).append((start, end))
            if last - first > 1:
                found.append(((first + 1) * n, last * n))
        for day, some in edges.items():
            found += [(day * n + first, day * n + end) for first, end in self.on(day, some)]
        return tuple(merged(sorted(found)))


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Ordered ranges, merged where they touch."""
    joined: list[Range] = []
    for first, end in ranges:
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((first, end))
    return joined


def n_windows_on(day: date, spans: Iterable[Span], grid: WindowGrid) -> int:
    """The number of windows of a day that lie inside spans."""
    return sum(end - first for first, end in grid.on(day.toordinal(), spans))
