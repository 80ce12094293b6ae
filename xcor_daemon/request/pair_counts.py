"""Which pairs of channels are wanted, and how many of a set of channels that changes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from .stations import Channel

_Places = dict[str, list[int]]  # last letter of channels -> their places, in order


@dataclass(frozen=True)
class PairChoice:
    """The pairs that params.csv wants, distance apart."""

    autocorrelations: bool = False
    same_station: bool = True
    components: tuple[str, ...] = ()  # such as ("ZZ", "N?"); empty keeps all

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> PairChoice:
        """From values of params.csv; a KeyError where one of them is not there."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def wants(self, first: Channel, second: Channel) -> bool:
        """Whether a pair is wanted; ``first`` comes before ``second`` in id order, or is it."""
        ends = first.channel[-1], second.channel[-1]
        if first.id == second.id:
            return self.autocorrelations and self.wants_ends(*ends)
        same = (first.network, first.station) == (second.network, second.station)
        return (self.same_station or not same) and self.wants_ends(*ends)

    def wants_ends(self, *ends: str) -> bool:
        """Whether the last letters of two channels are among the components."""
        return not self.components or any(
            all(wanted in ("?", end) for wanted, end in zip(pattern, ends, strict=True))
            for pattern in self.components
        )


class PairCounter:
    """How many pairs are wanted of a set of channels to which one is added, or taken, at a time.

    A change costs about as much as a bisection: there may be thousands of channels, so pairs are
    counted without being made.

    Parameters
    ----------
    channels : sequence of Channel
        Those that may come into the set, in id order; the methods take places in it.
    choice : PairChoice
    named : iterable of (int, int), optional
        The only pairs that count, as places, the smaller first; all that ``choice`` wants.
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
        self._all: _Places = {}
        self._at: dict[tuple[str, str], _Places] = {}
        self._apart = not choice.same_station
        letters = sorted(set(self._ends))
        # For an end: others that are wanted before it and behind it.
        self._fits = {
            end: [
                (other, choice.wants_ends(other, end), choice.wants_ends(end, other))
                for other in letters
            ]
            for end in letters
        }
        self._own = {end: choice.autocorrelations and choice.wants_ends(end, end)
                     for end in letters}  # fmt: skip
        self._inside = bytearray(len(channels))
        self._partners: list[list[int]] | None = None
        if named is not None:
            self._partners = [[] for _ in channels]
            for first, second in named:
                self._partners[first].append(second)
                if first != second:
                    self._partners[second].append(first)

    def add(self, place: int) -> int:
        """Put a channel into the set; gives the number of pairs that it makes there."""
        self._inside[place] = 1
        new = self._pairs_of(place)
        self.total += new
        if self._partners is None:
            for places in self._places(place):
                insort(places.setdefault(self._ends[place], []), place)
        return new

    def remove(self, place: int) -> None:
        """Take a channel out of the set."""
        if self._partners is None:
            for places in self._places(place):
                same = places[self._ends[place]]
                del same[bisect_left(same, place)]
        self.total -= self._pairs_of(place)
        self._inside[place] = 0

    def _places(self, place: int) -> list[_Places]:
        if not self._apart:
            return [self._all]
        return [self._all, self._at.setdefault(self._stations[place], {})]

    def _pairs_of(self, place: int) -> int:
        """Pairs of a channel with those of the set, and with itself."""
        if self._partners is not None:
            return sum(map(self._inside.__getitem__, self._partners[place]))
        everywhere, *at_station = [self._fitting(place, places) for places in self._places(place)]
        return self._own[self._ends[place]] + everywhere - sum(at_station)

    def _fitting(self, place: int, places: _Places) -> int:
        n = 0
        for other, is_before, is_behind in self._fits[self._ends[place]]:
            some = places.get(other)
            if not some or not (is_before or is_behind):
                continue
            if is_before and is_behind:
                n += len(some)
            else:
                before = bisect_left(some, place)
                n += before if is_before else len(some) - before
        return n
