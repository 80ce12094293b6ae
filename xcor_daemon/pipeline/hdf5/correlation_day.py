"""The correlations of a day, from one file or from one file for each pair of channel blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...request.params import XcorParams
from ..datatypes import PairTable
from ..numerics.runs import consecutive_runs
from .correlation_file import CorrFile


@dataclass(frozen=True)
class CorrDay:
    """Correlations of a day: all files have the same windows, and each pair is in one of them."""

    day: str
    parts: tuple[CorrFile, ...]

    @cached_property
    def _table(self) -> tuple[PairTable, np.ndarray, np.ndarray]:
        """All pairs in the order of their ids, and the file and the row of each."""
        tables = [part.pairs for part in self.parts]
        if len(tables) == 1:
            n = tables[0].first.size
            return tables[0], np.zeros(n, dtype=np.int32), np.arange(n)
        for part in self.parts:
            del part.__dict__["pairs"]  # cached; a large job has thousands of files
        return _joined(tables)

    @property
    def pairs(self) -> PairTable:
        """Pairs of the day, with coordinates, in the order of their ids."""
        return self._table[0]

    @property
    def starts(self) -> np.ndarray:
        """Start of every window, s since 1970 UTC: float64 (n_windows,)."""
        return self.parts[0].starts

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Parameters and provenance."""
        return self.parts[0].attributes

    @property
    def params(self) -> XcorParams:
        """Parameters of the job."""
        return self.parts[0].params

    def rows_by_file(self) -> Iterator[tuple[str, np.ndarray]]:
        """Name of each file, below the folder of all days, and the pairs of its rows: int (n,)."""
        _, parts, file_rows = self._table
        for number, part in enumerate(self.parts):
            here = np.flatnonzero(parts == number)
            name = part.path.name if part.path.stem == self.day else f"{self.day}/{part.path.name}"
            yield name, here[np.argsort(file_rows[here])]

    def share_table(self, other: CorrDay) -> None:
        """Use the table of another day if it is the same: a job may have thousands of days."""
        mine, its = self._table, other._table
        if have_same_pairs(mine[0], its[0]) and np.array_equal(mine[1], its[1]):
            self.__dict__["_table"] = its

    def read(self, rows: slice) -> np.ndarray:
        """Read correlations of consecutive pairs: float32 (n, n_windows, n_lags)."""
        if len(self.parts) == 1:
            return self.parts[0].read(rows)
        _, parts, file_rows = self._table
        parts, file_rows = parts[rows], file_rows[rows]
        shape = (parts.size, self.starts.size, 2 * self.params.n_lags + 1)
        corr = np.empty(shape, dtype=np.float32)
        for number in np.unique(parts):
            here = np.flatnonzero(parts == number)
            for a, b in consecutive_runs(file_rows[here]):
                first, last = int(file_rows[here[a]]), int(file_rows[here[b - 1]])
                corr[here[a:b]] = self.parts[number].read(slice(first, last + 1))
        return corr


def from_files(folder: Path, names: Iterable[str]) -> list[CorrDay]:
    """Group files below a folder, ``DAY.h5`` or ``DAY/I000-J001.h5``, by day, in order."""
    found: dict[str, list[CorrFile]] = {}
    for name in sorted(names):
        day = name.removesuffix(".h5").partition("/")[0]
        found.setdefault(day, []).append(CorrFile(folder / name))
    return [CorrDay(day, tuple(parts)) for day, parts in sorted(found.items())]


def from_folder(folder: Path) -> list[CorrDay]:
    """Find the correlations in a folder, by day, in order."""
    paths = [*folder.glob("*.h5"), *folder.glob("*/*.h5")]
    return from_files(folder, (path.relative_to(folder).as_posix() for path in paths))


def _joined(tables: Sequence[PairTable]) -> tuple[PairTable, np.ndarray, np.ndarray]:
    """Combine tables without common pairs; file and row of each pair, int (n_pairs,) each."""
    channels = tuple(sorted({channel for table in tables for channel in table.channels}))
    number = {channel: k for k, channel in enumerate(channels)}
    coordinates = {name: np.full(len(channels), np.nan) for name in _COORDINATES}
    first, second = [], []
    for table in tables:
        index = np.array([number[channel] for channel in table.channels], dtype=int)
        first.append(index[table.first])
        second.append(index[table.second])
        for name in _COORDINATES:
            coordinates[name][index] = getattr(table, name)
    one, other = np.concatenate(first), np.concatenate(second)
    order = np.lexsort((other, one))
    sizes = [table.first.size for table in tables]
    parts = np.repeat(np.arange(len(tables), dtype=np.int32), sizes)
    rows = np.concatenate([np.arange(size) for size in sizes])
    of_pairs = {
        name: np.concatenate([getattr(table, name) for table in tables])[order]
        for name in ("distance", "azimuth", "back_azimuth")
    }
    table = PairTable(channels, one[order], other[order], **of_pairs, **coordinates)
    return table, parts[order], rows[order]


_COORDINATES = ("latitude", "longitude", "elevation")


def have_same_pairs(one: PairTable, other: PairTable) -> bool:
    """Whether two tables have the same pairs of the same channels."""
    return one is other or (
        one.channels == other.channels
        and np.array_equal(one.first, other.first)
        and np.array_equal(one.second, other.second)
    )
