"""pairs.csv: the pairs that a job names one by one, where it does not want all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .csvtable import rows_of
from .errors import Problem, RequestError
from .params import XcorParams
from .stations import Channel

PAIRS = "pairs.csv"
_COLUMNS = ("First", "Second")
_NAME = re.compile(r"[A-Z0-9]{1,8}\.[A-Z0-9-]{1,8}(\.[A-Z0-9]{0,8}\.[A-Z0-9]{3})?")

Pairs = tuple[tuple[str, str], ...]


def parse_pairs(content: bytes) -> Pairs:
    """pairs.csv -> names of its two columns, a row each, in their order.

    A name is a channel (``CI.WBM..LHZ``) or a station (``CI.WBM``), which means all its channels.
    Which stands first does not matter: the file of correlations has pairs in id order.

    Raises
    ------
    RequestError
        With every problem of the file.
    """
    rows, problems = rows_of(PAIRS, content, _COLUMNS, ())
    for line, row in rows:
        for column, name in row.items():
            if not _NAME.fullmatch(name):
                need = "is no channel or station; write NET.STA.LOC.CHA or NET.STA"
                problems.append(Problem(PAIRS, line, column, name, need))
    if not problems and not rows:
        problems.append(Problem(PAIRS, 0, "", "", "holds no pair"))
    if problems:
        raise RequestError(problems)
    return tuple((row["First"], row["Second"]) for _, row in rows)


def check_pairs(pairs: Pairs, channels: Sequence[Channel], params: XcorParams) -> list[Problem]:
    """What is wrong with rows that name nothing of stations.csv, or what params.csv leaves out."""
    members = _members(channels)
    problems = []
    for row in pairs:
        problem = Problem(PAIRS, 0, "", " ".join(row), "")
        if unknown := [name for name in row if name not in members]:
            need = f"names {unknown[0]}, which stations.csv does not"
            problems.append(replace(problem, need=need))
        elif next(_combined(row, members, channels, params), None) is None:
            need = "makes no pair with components, same_station and autocorrelations of params.csv"
            problems.append(replace(problem, need=need))
    return problems


def indices(pairs: Pairs, channels: Sequence[Channel], params: XcorParams) -> set[tuple[int, int]]:
    """The pairs of these channels that are named and that ``params`` want, as places in order."""
    members = _members(channels)
    return {pair for row in pairs for pair in _combined(row, members, channels, params)}


def _members(channels: Sequence[Channel]) -> dict[str, list[int]]:
    """Places of channels by id, and by network and station."""
    members: dict[str, list[int]] = {}
    for k, channel in enumerate(channels):
        for name in (channel.id, f"{channel.network}.{channel.station}"):
            members.setdefault(name, []).append(k)
    return members


def _combined(
    row: tuple[str, str],
    members: dict[str, list[int]],
    channels: Sequence[Channel],
    params: XcorParams,
) -> Iterator[tuple[int, int]]:
    for i in members.get(row[0], ()):
        for j in members.get(row[1], ()):
            first, second = min(i, j), max(i, j)
            if params.wants(channels[first], channels[second]):
                yield first, second
