"""Plan of a stacking job: days, pairs, intervals and method."""

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

_DVV_MAX = 0.02  # default of dvv_max
_DVV_PERIODS = 2  # default of dvv_min_lag, in periods of freqmin


@dataclass(frozen=True)
class StackPlan:
    """The input of a stacking job, shared by all blocks of pairs."""

    files: tuple[CorrDay, ...]  # in order
    stacking: StackParams
    params: XcorParams  # of the correlations

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the fields only; cached properties are computed again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def days(self) -> list[str]:
        """Days with correlations."""
        return [file.day for file in self.files]

    @cached_property
    def union(self) -> tuple[PairTable, list[np.ndarray]]:
        """All pairs, and their rows in each file: int (n_pairs,), -1 if not there."""
        for file, before in zip(self.files[1:], self.files[:-1], strict=True):
            file.share_table(before)
        return union([file.pairs for file in self.files])

    @cached_property
    def lags(self) -> np.ndarray:
        """Lags (s): float64 (n_lags,), 0 in the middle."""
        return correlation_file.lags(self.params)

    @cached_property
    def intervals(self) -> np.ndarray:
        """Start and end of every interval (s since 1970 UTC): float64 (n_intervals, 2)."""
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
        """Stacking method; time-frequency weights from freqmin/2 to 2 freqmax."""
        band = (self.params.freqmin / 2, 2 * self.params.freqmax)
        return METHODS[self.stacking.type](self.stacking, self.params.fs, band)

    @property
    def keeps_windows(self) -> bool:
        """Whether windows, or sums of their size, are kept until their interval ends."""
        return bool(
            isinstance(self.method, NonAdditiveMethod)
            or self.stacking.bootstrap
            or self.stacking.moving
        )

    @cached_property
    def coda(self) -> Coda | None:
        """Coda that dv/v is measured on; None without dv/v.

        Raises
        ------
        RequestError
            If the lags have no such coda.
        """
        s, p = self.stacking, self.params
        if s.dvv == "none":
            return None
        max_dvv = s.dvv_max or _DVV_MAX
        begin = _DVV_PERIODS / p.freqmin if s.dvv_min_lag is None else s.dvv_min_lag
        end = max_usable_lag(self.lags, max_dvv) if s.dvv_max_lag is None else s.dvv_max_lag
        coda = Coda(begin, end, p.freqmin, p.freqmax, max_dvv)
        try:
            coda.lag_mask(self.lags)
        except ValueError as error:
            need = f"cannot be measured with maxlag={p.maxlag:g} s: {error}"
            raise RequestError([Problem(STACKING, 2, "dvv", s.dvv, need)]) from error
        return coda


def read_windows(file: CorrDay, file_rows: np.ndarray, n_lags: int) -> np.ndarray:
    """Read the windows of some pairs on one day.

    Parameters
    ----------
    file : CorrDay
        The day.
    file_rows : int array, shape (n_pairs,)
        Rows of the pairs; -1 for pairs that the day does not have.
    n_lags : int
        Of a correlation, both sides and 0.

    Returns
    -------
    windows : float32 array, shape (n_pairs, n_windows, n_lags)
        NaN for pairs that the day does not have.
    """
    present = np.flatnonzero(file_rows >= 0)
    if not present.size:
        return np.full((file_rows.size, file.starts.size, n_lags), np.nan, dtype=np.float32)
    low, high = int(file_rows[present].min()), int(file_rows[present].max()) + 1
    read = file.read(slice(low, high))
    if present.size == file_rows.size and np.array_equal(file_rows, np.arange(low, high)):
        return read
    windows = np.full((file_rows.size, *read.shape[1:]), np.nan, dtype=np.float32)
    windows[present] = read[file_rows[present] - low]
    return windows


def read_pair_windows(plan: StackPlan, pair: int) -> np.ndarray:
    """Read all windows of one pair, day after day: float32 (n_windows, n_lags)."""
    _, places = plan.union
    return np.concatenate(
        [
            read_windows(file, place[pair : pair + 1], plan.lags.size)[0]
            for file, place in zip(plan.files, places, strict=True)
        ]
    )


def union(tables: Sequence[PairTable]) -> tuple[PairTable, list[np.ndarray]]:
    """Combine the pairs of several days.

    Returns the table of all pairs, and for each day the row of every pair: int (n_pairs,), -1 if
    the day does not have it.
    """
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
    coordinates = {}
    for name in ("latitude", "longitude", "elevation"):
        values = np.full(len(channels), np.nan)
        for table in reversed(tables):
            values[[number[c] for c in table.channels]] = getattr(table, name)
        coordinates[name] = values
    first, second = np.divmod(everything, len(channels))
    places = []
    for code in codes:
        place = np.full(everything.size, -1)
        place[np.searchsorted(everything, code)] = np.arange(code.size)
        places.append(place)
    return PairTable(channels, first, second, **joined, **coordinates), places
