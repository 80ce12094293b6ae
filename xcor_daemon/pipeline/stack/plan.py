"""What is stacked: which days, pairs and intervals, how, and where their windows are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import Problem, RequestError
from ...request.params import XcorParams
from ...request.stacking_params import STACKING, StackParams
from ..datatypes import PairTable
from ..hdf5 import correlation_file
from ..hdf5.correlation_day import CorrDay, have_same_pairs
from ..measure.dvv import Coda, max_usable_lag
from . import METHODS, Method, NonAdditiveMethod

_DVV_MAX = 0.02  # dv/v that is looked for unless the request says otherwise
_DVV_PERIODS = 2  # of freqmin before the coda begins, unless it says otherwise


@dataclass(frozen=True)
class StackPlan:
    """What every block of pairs has in common."""

    files: tuple[CorrDay, ...]  # in order
    stacking: StackParams
    params: XcorParams  # of the correlations

    def __getstate__(self) -> dict[str, Any]:
        """What it was made with; the rest follows from that, wherever it is sent."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def days(self) -> list[str]:
        """The days that have a file."""
        return [file.day for file in self.files]

    @cached_property
    def union(self) -> tuple[PairTable, list[np.ndarray]]:
        """All pairs, and their rows in each file."""
        for file, before in zip(self.files[1:], self.files[:-1], strict=True):
            file.share_table(before)
        return union([file.pairs for file in self.files])

    @cached_property
    def lags(self) -> np.ndarray:
        """The lag axis (s)."""
        return correlation_file.lags(self.params)

    @cached_property
    def intervals(self) -> np.ndarray:
        """Start and end of every interval, seconds since 1970 UTC: float64 (n, 2)."""
        if self.stacking.stack_all:
            return np.array([[-np.inf, np.inf]])
        first, last = (date.fromisoformat(self.days[k]) for k in (0, -1))
        return np.array(
            [
                [time.replace(tzinfo=UTC).timestamp() for time in interval]
                for interval in self.stacking.starts(first, last)
            ]
        )

    @cached_property
    def method(self) -> Method:
        """How windows become a trace; only frequencies about the band are worth weighting."""
        band = (self.params.freqmin / 2, 2 * self.params.freqmax)
        return METHODS[self.stacking.type](self.stacking, self.params.fs, band)

    @property
    def keeps_windows(self) -> bool:
        """Whether windows, or sums as large, wait until their interval ends."""
        return bool(
            isinstance(self.method, NonAdditiveMethod)
            or self.stacking.bootstrap
            or self.stacking.moving
        )

    @cached_property
    def coda(self) -> Coda | None:
        """What dv/v is measured on; None where it is not asked for.

        Raises
        ------
        RequestError
            If the lags have no such coda.
        """
        s, p = self.stacking, self.params
        if s.dvv == "none":
            return None
        largest = s.dvv_max or _DVV_MAX
        begin = _DVV_PERIODS / p.freqmin if s.dvv_min_lag is None else s.dvv_min_lag
        end = max_usable_lag(self.lags, largest) if s.dvv_max_lag is None else s.dvv_max_lag
        coda = Coda(begin, end, p.freqmin, p.freqmax, largest)
        try:
            coda.lag_mask(self.lags)
        except ValueError as error:
            need = f"cannot be measured with maxlag={p.maxlag:g} s: {error}"
            raise RequestError([Problem(STACKING, 2, "dvv", s.dvv, need)]) from error
        return coda


def read_windows(file: CorrDay, place: np.ndarray, n_lags: int) -> np.ndarray:
    """The windows of some pairs on one day (n_pairs, n_windows, n_lags); NaN where not there."""
    there = np.flatnonzero(place >= 0)
    if not there.size:
        return np.full((place.size, file.starts.size, n_lags), np.nan, dtype=np.float32)
    low, high = int(place[there].min()), int(place[there].max()) + 1
    read = file.read(slice(low, high))
    if there.size == place.size and np.array_equal(place, np.arange(low, high)):
        return read
    windows = np.full((place.size, *read.shape[1:]), np.nan, dtype=np.float32)
    windows[there] = read[place[there] - low]
    return windows


def read_pair_windows(plan: StackPlan, pair: int) -> np.ndarray:
    """All windows of one pair, day after day: float32 (n_windows, n_lags)."""
    _, places = plan.union
    return np.concatenate(
        [
            read_windows(file, place[pair : pair + 1], plan.lags.size)[0]
            for file, place in zip(plan.files, places, strict=True)
        ]
    )


def union(tables: Sequence[PairTable]) -> tuple[PairTable, list[np.ndarray]]:
    """All pairs of several days, and for each day the row of every pair in it (-1: not there)."""
    if all(have_same_pairs(table, tables[0]) for table in tables):
        return tables[0], [np.arange(tables[0].first.size)] * len(tables)
    channels = tuple(sorted({c for table in tables for c in table.channels}))
    number = {c: k for k, c in enumerate(channels)}
    codes = []
    for table in tables:
        index = np.array([number[c] for c in table.channels], dtype=int)
        codes.append(index[table.first] * len(channels) + index[table.second])
    everything, first_seen = np.unique(np.concatenate(codes), return_index=True)
    joined = {
        name: np.concatenate([getattr(table, name) for table in tables])[first_seen]
        for name in ("distance", "azimuth", "back_azimuth")
    }
    sites = {}
    for name in ("latitude", "longitude", "elevation"):
        values = np.full(len(channels), np.nan)
        for table in reversed(tables):
            values[[number[c] for c in table.channels]] = getattr(table, name)
        sites[name] = values
    first, second = np.divmod(everything, len(channels))
    places = []
    for code in codes:
        place = np.full(everything.size, -1)
        place[np.searchsorted(everything, code)] = np.arange(code.size)
        places.append(place)
    return PairTable(channels, first, second, **joined, **sites), places
