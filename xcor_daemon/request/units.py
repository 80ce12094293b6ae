"""How a job is cut into units of work: days, and blocks of channels where days are large.

A pure function of the request: who does the work, and in how many processes, changes nothing. No
numpy: the estimate and the host count units too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from itertools import combinations_with_replacement, groupby
from math import isqrt

from .csv_table import LIMITS
from .pairs import count_pairs
from .parse import XcorRequest
from .periods import Period
from .stations import Channel

_COST = LIMITS["price"]  # core-seconds; see `estimate`


@dataclass(frozen=True)
class Unit:
    """A piece of a job that one process does from its start to its end.

    Without blocks: a whole day. With ``first`` only: the channels of that block are prepared for
    the day. With both: their pairs are correlated.
    """

    day: date
    first: int | None = None
    second: int | None = None
    cost: float = 0.0  # core-seconds, about; of all units of a job only the ratios matter
    prepares: float = 0.0  # share of the cost that goes into preparing channels
    without: tuple[int, ...] = ()  # blocks of the day that could not be prepared

    @property
    def name(self) -> str:
        """As its files are called: 2006-07-21, 2006-07-21/I000 or 2006-07-21/I000-J001."""
        if self.first is None:
            return str(self.day)
        block = f"{self.day}/I{self.first:03}"
        return block if self.second is None else f"{block}-J{self.second:03}"


@dataclass(frozen=True)
class Units:
    """The units of a request.

    Parameters
    ----------
    request : XcorRequest
    max_bytes : float
        Of correlations in one file; a day that makes more is split.
    max_channels : int
        Of a block; a day that has more is split.
    """

    request: XcorRequest
    max_bytes: float = field(default_factory=lambda: LIMITS["units"]["max_bytes"])
    max_channels: int = field(default_factory=lambda: LIMITS["units"]["max_channels"])

    @cached_property
    def _edges(self) -> tuple[str, ...]:
        """The first channel of every block, the same on all days.

        A block ends where a station does, since its components may share a weight.
        """
        channels = self.request.channels
        each = max((period.n_rows for period in self._periods), default=0) * self._row_bytes
        most = max(1, min(self.max_channels, isqrt(int(self.max_bytes / max(each, 1)))))
        width = -(-len(channels) // -(-len(channels) // most))  # blocks of nearly equal size
        edges, size = [channels[0].id], 0
        for _, members in groupby(channels, key=lambda c: (c.network, c.station)):
            station = list(members)
            if size and size + len(station) > width:
                edges.append(station[0].id)
                size = 0
            size += len(station)
        return tuple(edges)

    @property
    def _periods(self) -> tuple[Period, ...]:
        return self.request.periods.all

    @property
    def _row_bytes(self) -> int:
        """Bytes of an output window of a pair."""
        return (2 * self.request.params.n_lags + 1) * 4

    @cached_property
    def _blocks(self) -> list[dict[int, tuple[Channel, ...]]]:
        """For every period of the request the channels of its blocks; empty where it is whole."""
        return [self._cut(period) for period in self._periods]

    def _cut(self, period: Period) -> dict[int, tuple[Channel, ...]]:
        n_bytes = period.n_pairs * period.n_rows * self._row_bytes
        if n_bytes <= self.max_bytes and period.n_channels <= self.max_channels:
            return {}
        channels = self.request.on(date.fromordinal(period.first))
        blocks = groupby(channels, key=lambda c: bisect_right(self._edges, c.id) - 1)
        return {block: tuple(members) for block, members in blocks}

    def blocks(self, day: date) -> dict[int, tuple[Channel, ...]]:
        """The channels of every block of a day, by its number; empty where the day is whole."""
        return self._blocks[self.request.periods.at(day)]

    @cached_property
    def _patterns(self) -> list[tuple[list[Unit], list[Unit]]]:
        """Units of the first day of every period: those that come first, and those that follow."""
        return [
            self._pattern(period, blocks)
            for period, blocks in zip(self._periods, self._blocks, strict=True)
        ]

    def _pattern(
        self, period: Period, blocks: dict[int, tuple[Channel, ...]]
    ) -> tuple[list[Unit], list[Unit]]:
        day = date.fromordinal(period.first)
        preparing = (
            period.n_channels * _COST["per_channel_day"]
            + period.channel_windows * _COST["per_channel_window"]
        )
        correlating = period.pair_windows * _COST["per_pair_window"]
        if not blocks:
            cost = preparing + correlating
            return [Unit(day, cost=cost, prepares=preparing / cost)], []
        params, named = self.request.params, self.request.pairs
        per_channel = preparing / period.n_channels
        per_pair = correlating / max(period.n_pairs, 1)
        alone = {i: count_pairs(members, params, named) for i, members in blocks.items()}
        prepare = [Unit(day, i, cost=len(m) * per_channel, prepares=1.0) for i, m in blocks.items()]
        correlate = []
        for i, j in combinations_with_replacement(blocks, 2):
            n_pairs = alone[i] if i == j else self._between(blocks[i], blocks[j])
            if n_pairs:
                correlate.append(Unit(day, i, j, n_pairs * per_pair))
        return prepare, correlate

    def _between(self, first: tuple[Channel, ...], second: tuple[Channel, ...]) -> int:
        """Pairs of a channel of one block with one of another; they share no station."""
        params, named = self.request.params, self.request.pairs
        if not params.components and not named:
            return len(first) * len(second)
        apart = (count_pairs(some, params, named) for some in (first, second))
        return count_pairs((*first, *second), params, named) - sum(apart)

    def of(self, day: date) -> tuple[list[Unit], list[Unit]]:
        """The units of a day that can be done at once, and those that need all of them."""
        first, after = self._patterns[self.request.periods.at(day)]
        return _on(day, first), _on(day, after)

    @cached_property
    def n_files(self) -> int:
        """Files of correlations, at most."""
        return sum(n_days * (len(after) or len(first)) for n_days, first, after in self._counted())

    @cached_property
    def n_units(self) -> int:
        """Units in all."""
        return sum(n_days * (len(first) + len(after)) for n_days, first, after in self._counted())

    @cached_property
    def scratch_bytes(self) -> int:
        """Bytes that the channels of the largest day that is split take until it is done."""
        params = self.request.params
        each = 4 * params.n_samples
        each *= 2 if params.method in ("deconvolution", "phase") else 1  # two series a window
        split = zip(self._periods, self._blocks, strict=True)
        return max((each * period.channel_windows for period, blocks in split if blocks), default=0)

    def _counted(self) -> Iterator[tuple[int, list[Unit], list[Unit]]]:
        for period, (now, after) in zip(self._periods, self._patterns, strict=True):
            if period.pair_windows:
                yield period.n_days, now, after


def _on(day: date, units: list[Unit]) -> list[Unit]:
    return [replace(unit, day=day) for unit in units]
