"""pairs.csv: the explicit pairs of a job. The rule for jobs without it is in pair_counts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import Problem, RequestError
from .csv_table import parse_rows
from .pair_counts import PairChoice, PairCounter
from .params import XcorParams
from .stations import Channel

PAIRS = "pairs.csv"
_COLUMNS = ("First", "Second")
_NAME = re.compile(r"[A-Z0-9]{1,8}\.[A-Z0-9-]{1,8}(\.[A-Z0-9]{0,8}\.[A-Z0-9]{3})?")

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PairRows:
    """pairs.csv as far as it can be parsed."""

    rows: tuple[tuple[int, str, str], ...]  # line and both names, where both are valid
    problems: tuple[Problem, ...]

    @property
    def pairs(self) -> Pairs:
        """The names without the lines."""
        return tuple((first, second) for _, first, second in self.rows)


def parse_pairs(content: bytes) -> Pairs:
    """pairs.csv -> the names in its two columns, in the order of its rows.

    A name is a channel (``CI.WBM..LHZ``) or a station (``CI.WBM``), which means all its channels.
    The order within a pair does not matter: the correlation file orders each pair by id.

    Raises
    ------
    RequestError
        With every problem of the file.
    """
    read = read_pairs(content)
    if read.problems:
        raise RequestError(read.problems)
    return read.pairs


def read_pairs(content: bytes) -> PairRows:
    """pairs.csv -> the rows that can be parsed, and every problem."""
    table = parse_rows(PAIRS, content, _COLUMNS, ())
    problems, rows = list(table.problems), []
    for line, row in table.rows:
        wrong = [name for name in row if not _NAME.fullmatch(row[name])]
        need = "is not a channel or station; write NET.STA.LOC.CHA or NET.STA"
        problems += [Problem(PAIRS, line, column, row[column], need) for column in wrong]
        if not wrong and row.keys() >= {*_COLUMNS}:
            rows.append((line, row["First"], row["Second"]))
    if not problems and not rows:
        problems.append(Problem(PAIRS, 0, "", "", "contains no pair"))
    return PairRows(tuple(rows), tuple(problems))


def check_pairs(
    rows: Sequence[tuple[int, str, str]], channels: Sequence[Channel], choice: PairChoice | None
) -> list[Problem]:
    """Problems of rows with unknown names or, given ``choice``, without a pair that it selects."""
    members = _members(channels)
    problems = []
    for line, *row in rows:
        need = ""
        if unknown := [name for name in row if name not in members]:
            need = f"names {unknown[0]}, which is not in stations.csv"
        elif choice is not None and not any(_combined(row, members, channels, choice)):
            need = "yields no pair with components, same_station and autocorrelations of params.csv"
        if need:
            problems.append(Problem(PAIRS, line, "", " ".join(row), need))
    return problems


def indices(
    pairs: Pairs, channels: Sequence[Channel], choice: XcorParams | PairChoice
) -> set[tuple[int, int]]:
    """The pairs of these channels that are explicit and selected, as ordered indices."""
    members = _members(channels)
    return {pair for row in pairs for pair in _combined(row, members, channels, choice)}


def pair_counter(channels: Sequence[Channel], choice: PairChoice, pairs: Pairs = ()) -> PairCounter:
    """A counter of the pairs that params.csv and pairs.csv (if any) select."""
    return PairCounter(channels, choice, indices(pairs, channels, choice) if pairs else None)


def count_pairs(channels: Sequence[Channel], params: XcorParams, pairs: Pairs = ()) -> int:
    """The number of pairs of these channels that ``params`` and pairs.csv (if any) select.

    Distance is not considered. Pairs are counted without enumerating them: there may be thousands
    of channels.
    """
    ordered = sorted(channels, key=lambda channel: channel.id)
    counter = pair_counter(ordered, params.choice, pairs)
    for index in range(len(ordered)):
        counter.add(index)
    return counter.total


def _members(channels: Sequence[Channel]) -> dict[str, list[int]]:
    """Indices of channels by id, and by network and station."""
    members: dict[str, list[int]] = {}
    for k, channel in enumerate(channels):
        for name in (channel.id, f"{channel.network}.{channel.station}"):
            members.setdefault(name, []).append(k)
    return members


def _combined(
    row: Sequence[str],
    members: dict[str, list[int]],
    channels: Sequence[Channel],
    choice: XcorParams | PairChoice,
) -> Iterator[tuple[int, int]]:
    for i in members.get(row[0], ()):
        for j in members.get(row[1], ()):
            first, second = min(i, j), max(i, j)
            if choice.selects(channels[first], channels[second]):
                yield first, second
