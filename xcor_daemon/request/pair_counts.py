"""Which pairs of channels are selected, and their number in a changing set of channels."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from .stations import Channel

_Indices = dict[str, list[int]]  # last letter of channels -> their indices, in order


@dataclass(frozen=True)
class PairChoice:
    """The pairs that params.csv selects, regardless of distance."""

    autocorrelations: bool = False
    same_station: bool = True
    components: tuple[str, ...] = ()  # such as ("ZZ", "N?"); empty: all

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> PairChoice:
        """From values of params.csv; a KeyError where one of them is missing."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def selects(self, first: Channel, second: Channel) -> bool:
        """Whether a pair is selected; ``first`` precedes or equals ``second`` by id."""
        ends = first.channel[-1], second.channel[-1]
        if first.id == second.id:
            return self.autocorrelations and self.selects_components(*ends)
        same = (first.network, first.station) == (second.network, second.station)
        return (self.same_station or not same) and self.selects_components(*ends)

    def selects_components(self, *ends: str) -> bool:
        """Whether the last letters of two channels match one of the components."""
        return not self.components or any(
            all(wanted in ("?", end) for wanted, end in zip(pattern, ends, strict=True))
            for pattern in self.components
        )


class PairCounter:
    """The number of selected pairs in a set of channels that grows and shrinks by one at a time.

    A change costs about as much as a bisection. Pairs are not enumerated, since there may be
    thousands of channels.

    Parameters
    ----------
    channels : sequence of Channel
        All channels that may be added, ordered by id; the methods take indices into it.
    choice : PairChoice
    named : iterable of (int, int), optional
        The only pairs that count, as indices, the smaller first; ``choice`` selects all of them.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        choice: PairChoice,
        named: Iterable[tuple[int, int]] | None = None,
    ) -> None:
        self.total = 0
        self._ends = [channel.channel[-1] for channel in channels]
        self._stations = [(channel.network, channel.station) for channel in channels]
        self._all: _Indices = {}
        self._at: dict[tuple[str, str], _Indices] = {}
        self._apart = not choice.same_station
        letters = sorted(set(self._ends))
        # For a last letter: the others with which it is selected, before and after it.
        self._fits = {
            end: [
                (
                    other,
                    choice.selects_components(other, end),
                    choice.selects_components(end, other),
                )
                for other in letters
            ]
            for end in letters
        }
        self._own = {end: choice.autocorrelations and choice.selects_components(end, end)
                     for end in letters}  # fmt: skip
        self._inside = bytearray(len(channels))
        self._partners: list[list[int]] | None = None
        if named is not None:
            self._partners = [[] for _ in channels]
            for first, second in named:
                self._partners[first].append(second)
                if first != second:
                    self._partners[second].append(first)

    def add(self, index: int) -> int:
        """Add a channel to the set; returns the number of its pairs there."""
        self._inside[index] = 1
        new = self._pairs_of(index)
        self.total += new
        if self._partners is None:
            for indices in self._indices(index):
                insort(indices.setdefault(self._ends[index], []), index)
        return new

    def remove(self, index: int) -> None:
        """Remove a channel from the set."""
        if self._partners is None:
            for indices in self._indices(index):
                same = indices[self._ends[index]]
                del same[bisect_left(same, index)]
        self.total -= self._pairs_of(index)
        self._inside[index] = 0

    def _indices(self, index: int) -> list[_Indices]:
        if not self._apart:
            return [self._all]
        return [self._all, self._at.setdefault(self._stations[index], {})]

    def _pairs_of(self, index: int) -> int:
        """The number of pairs of a channel with those of the set and with itself."""
        if self._partners is not None:
            return sum(map(self._inside.__getitem__, self._partners[index]))
        everywhere, *at_station = [
            self._fitting(index, indices) for indices in self._indices(index)
        ]
        return self._own[self._ends[index]] + everywhere - sum(at_station)

    def _fitting(self, index: int, indices: _Indices) -> int:
        n = 0
        for other, is_before, is_behind in self._fits[self._ends[index]]:
            some = indices.get(other)
            if not some or not (is_before or is_behind):
                continue
            if is_before and is_behind:
                n += len(some)
            else:
                before = bisect_left(some, index)
                n += before if is_before else len(some) - before
        return n
