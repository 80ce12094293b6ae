"""How a job is split into units of work: days, and blocks of channels where days are large.

A pure function of the request: executor and number of processes do not matter. No numpy, because
the cost estimate and the daemon count units too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from itertools import combinations_with_replacement, groupby
from math import isqrt
from typing import ClassVar

from .csv_table import LIMITS
from .pairs import count_pairs
from .parse import XcorRequest
from .periods import Period
from .stations import Channel

_COST = LIMITS["cost"]  # core-seconds per item; see `cost.estimate`


@dataclass(frozen=True)
class DayUnit:
    """A whole day: fetch, preprocess and correlate all of its channels."""

    day: date
    cost: float = 0.0  # core-seconds, roughly; only the ratios within a job matter
    prepare_share: float = 0.0  # share of the cost that preprocessing takes, 0 to 1

    @property
    def name(self) -> str:
        """The name of its files, such as 2006-07-21."""
        return str(self.day)


@dataclass(frozen=True)
class PrepareUnit:
    """One block of channels of a large day: fetch and preprocess them."""

    day: date
    block: int
    cost: float = 0.0  # as of a DayUnit
    prepare_share: ClassVar[float] = 1.0

    @property
    def name(self) -> str:
        """The name of its files, such as 2006-07-21/I000."""
        return f"{self.day}/I{self.block:03}"


@dataclass(frozen=True)
class CorrelateUnit:
    """The pairs of two blocks of channels of a large day, or those within one block."""

    day: date
    first: int  # number of a block
    second: int  # number of a block, >= first
    cost: float = 0.0  # as of a DayUnit
    failed_blocks: tuple[int, ...] = ()  # blocks of the day that could not be prepared
    prepare_share: ClassVar[float] = 0.0

    @property
    def name(self) -> str:
        """The name of its files, such as 2006-07-21/I000-J001."""
        return f"{self.day}/I{self.first:03}-J{self.second:03}"


Unit = DayUnit | PrepareUnit | CorrelateUnit


@dataclass(frozen=True)
class SplitDay:
    """The units of a day that is split into blocks of channels."""

    prepare: tuple[PrepareUnit, ...]
    correlate: tuple[CorrelateUnit, ...]  # each can start when all of `prepare` are done

    @property
    def day(self) -> date:
        """The day of all units."""
        return self.prepare[0].day


@dataclass(frozen=True)
class Units:
    """The units of a request.

    Parameters
    ----------
    request : XcorRequest
    max_bytes : float
        Largest size of a file of correlations (bytes); a day that exceeds it is split.
    max_channels : int
        Largest number of channels of a block; a day that exceeds it is split.
    """

    request: XcorRequest
    max_bytes: float = field(default_factory=lambda: LIMITS["channel_blocks"]["max_bytes"])
    max_channels: int = field(default_factory=lambda: LIMITS["channel_blocks"]["max_channels"])

    @cached_property
    def _edges(self) -> tuple[str, ...]:
        """The id of the first channel of every block, the same on all days.

        A block holds all components of a station, which may share their day weights.
        """
        channels = self.request.channels
        pair_bytes = max((period.n_rows for period in self._periods), default=0) * self._row_bytes
        limit = max(1, min(self.max_channels, isqrt(int(self.max_bytes / max(pair_bytes, 1)))))
        width = -(-len(channels) // -(-len(channels) // limit))  # blocks of nearly equal size
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
        """The channels of the blocks of every period; empty where its days are not split."""
        return [self._split(period) for period in self._periods]

    def _split(self, period: Period) -> dict[int, tuple[Channel, ...]]:
        n_bytes = period.n_pairs * period.n_rows * self._row_bytes
        if n_bytes <= self.max_bytes and period.n_channels <= self.max_channels:
            return {}
        channels = self.request.on(date.fromordinal(period.first))
        blocks = groupby(channels, key=lambda c: bisect_right(self._edges, c.id) - 1)
        return {block: tuple(members) for block, members in blocks}

    def blocks(self, day: date) -> dict[int, tuple[Channel, ...]]:
        """Block number -> its channels on a day; empty where the day is not split."""
        return self._blocks[self.request.periods.at(day)]

    @cached_property
    def _patterns(self) -> list[DayUnit | SplitDay]:
        """The units of the first day of every period."""
        return [
            self._pattern(period, blocks)
            for period, blocks in zip(self._periods, self._blocks, strict=True)
        ]

    def _pattern(
        self, period: Period, blocks: dict[int, tuple[Channel, ...]]
    ) -> DayUnit | SplitDay:
        day = date.fromordinal(period.first)
        preparing = (
            period.n_channels * _COST["per_channel_day"]
            + period.channel_windows * _COST["per_channel_window"]
        )
        correlating = period.pair_windows * _COST["per_pair_window"]
        if not blocks:
            cost = preparing + correlating
            return DayUnit(day, cost, preparing / cost)
        params, named = self.request.params, self.request.pairs
        per_channel = preparing / period.n_channels
        per_pair = correlating / max(period.n_pairs, 1)
        within = {i: count_pairs(members, params, named) for i, members in blocks.items()}
        prepare = [PrepareUnit(day, i, len(members) * per_channel) for i, members in blocks.items()]
        correlate = []
        for i, j in combinations_with_replacement(blocks, 2):
            n_pairs = within[i] if i == j else self._between(blocks[i], blocks[j])
            if n_pairs:
                correlate.append(CorrelateUnit(day, i, j, n_pairs * per_pair))
        return SplitDay(tuple(prepare), tuple(correlate))

    def _between(self, first: tuple[Channel, ...], second: tuple[Channel, ...]) -> int:
        """Pairs of a channel of one block with one of another; blocks share no station."""
        params, named = self.request.params, self.request.pairs
        if not params.components and not named:
            return len(first) * len(second)
        within = (count_pairs(channels, params, named) for channels in (first, second))
        return count_pairs((*first, *second), params, named) - sum(within)

    def of(self, day: date) -> DayUnit | SplitDay:
        """The unit of a whole day, or the units of a split one."""
        pattern = self._patterns[self.request.periods.at(day)]
        if isinstance(pattern, DayUnit):
            return replace(pattern, day=day)
        return SplitDay(
            tuple(replace(unit, day=day) for unit in pattern.prepare),
            tuple(replace(unit, day=day) for unit in pattern.correlate),
        )

    def cost(self, day: date) -> float:
        """Cost of all units of a day (core-seconds, roughly)."""
        pattern = self._patterns[self.request.periods.at(day)]
        if isinstance(pattern, DayUnit):
            return pattern.cost
        cost = sum(unit.cost for unit in pattern.prepare)
        return cost + sum(unit.cost for unit in pattern.correlate)

    @cached_property
    def n_files(self) -> int:
        """Files of correlations, at most."""
        return sum(
            n_days * (1 if isinstance(units, DayUnit) else len(units.correlate))
            for n_days, units in self._counted()
        )

    @cached_property
    def n_units(self) -> int:
        """Number of units of the job."""
        return sum(
            n_days
            * (1 if isinstance(units, DayUnit) else len(units.prepare) + len(units.correlate))
            for n_days, units in self._counted()
        )

    @cached_property
    def scratch_bytes(self) -> int:
        """Bytes on disk of the prepared channels of the largest split day."""
        params = self.request.params
        each = 4 * params.n_samples
        each *= 2 if params.method in ("deconvolution", "phase") else 1  # two series a window
        split = zip(self._periods, self._blocks, strict=True)
        return max((each * period.channel_windows for period, blocks in split if blocks), default=0)

    def _counted(self) -> Iterator[tuple[int, DayUnit | SplitDay]]:
        """Number of days and units of a day, for every period with correlations."""
        for period, units in zip(self._periods, self._patterns, strict=True):
            if period.pair_windows:
                yield period.n_days, units
