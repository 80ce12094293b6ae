"""Prepared channels -> a file of the correlations of their pairs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from ...request.params import XcorParams
from ..correlation.correlate import Cutter, correlate, plan_segments
from ..datatypes import NS, PairTable, day_start
from ..hdf5 import correlation_file
from ..preprocessing.spectral_normalisation import n_components
from .channels import Report


@dataclass(frozen=True)
class Rows:
    """The windows of a day that some pair has, and the rows of a file that they become."""

    used: np.ndarray  # int: windows of the day
    row_of: np.ndarray  # int (used.size,): row of each, from 0, not decreasing
    starts: np.ndarray  # float64 (n_rows,): s since 1970 UTC

    @classmethod
    def of(cls, day: date, count: np.ndarray, params: XcorParams) -> Rows:
        """Without the windows that no pair has; ``count`` is how many channels kept each."""
        used = np.flatnonzero(count > (not params.autocorrelations))
        # Every window is its own row, or those whose starts fall in one interval.
        length = params.substack or params.cc_step
        interval = np.floor(used * params.cc_step / length + 1e-9).astype(int)
        filled, row_of = np.unique(interval, return_inverse=True)
        return cls(used, row_of, day_start(day) / NS + filled * length)

    def mean(self, coverage: np.ndarray) -> np.ndarray:
        """Coverage of windows (n_channels, n_windows) -> of rows, float32 (n_channels, n_rows)."""
        count = np.bincount(self.row_of)
        means = [np.bincount(self.row_of, row[self.used]) / count for row in coverage]
        return np.array(means, dtype=np.float32)


def fill(
    path: Path,
    pairs: PairTable,
    rows: Rows,
    windows: Cutter,
    kept: np.ndarray,
    coverage: np.ndarray,
    params: XcorParams,
    threads: int,
    report: Report,
) -> None:
    """Correlate pairs into a file.

    Parameters
    ----------
    path : Path
    pairs : PairTable
        Its channels are those of the other arrays, in this order.
    rows : Rows
    windows : callable
        (channel, windows of the day) -> the windows as first and as second of a pair.
    kept : bool array, shape (n_channels, n_windows)
    coverage : float32 array, shape (n_channels, n_windows)
    params : XcorParams
    threads : int
        The file does not depend on it.
    report : callable

    Raises
    ------
    DiskError
        If the file cannot be written.
    """
    done, parts = 0, n_components(params)
    n_summed = parts * params.n_windows / params.n_kept
    with correlation_file.create(path, pairs, rows.starts, rows.mean(coverage), params) as file:

        def sink(pair_rows: np.ndarray, row: int, corr: np.ndarray) -> None:
            nonlocal done
            file.write(pair_rows, row, corr)
            done += corr.shape[0] * corr.shape[1]
            report(done, pairs.first.size * rows.starts.size, "pair-windows")

        correlate(
            lambda channel, indices: windows(channel, rows.used[indices]),
            kept[:, rows.used],
            (pairs.first, pairs.second),
            plan_segments(params.n_samples, params.n_lags, params.circular, n_summed),
            sink,
            n_components=parts,
            groups=rows.row_of,
            threads=threads,
        )
