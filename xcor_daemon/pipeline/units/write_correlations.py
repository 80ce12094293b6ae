"""Prepared channels -> a file with the correlations of their pairs."""

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
from .plan import ProgressCallback


@dataclass(frozen=True)
class OutputWindows:
    """The windows of a day that a pair can have, and the output windows that they are summed to.

    Without substacks every window is an output window of its own.
    """

    used: np.ndarray  # int (n_used,): windows of the day
    output_of: np.ndarray  # int (n_used,): output window of each, from 0, not decreasing
    starts: np.ndarray  # float64 (n_output,): start of each output window (s since 1970 UTC)

    @classmethod
    def of(cls, day: date, n_channels: np.ndarray, params: XcorParams) -> OutputWindows:
        """Leave out the windows that no pair can have.

        Parameters
        ----------
        day : date
            The UTC day.
        n_channels : int array, shape (n_windows,)
            Number of channels that have each window of the day.
        params : XcorParams
            Parameters of the job.
        """
        used = np.flatnonzero(n_channels > (not params.autocorrelations))
        # A substack holds the windows whose starts fall into its interval.
        length = params.substack or params.cc_step
        interval = np.floor(used * params.cc_step / length + 1e-9).astype(int)
        filled, output_of = np.unique(interval, return_inverse=True)
        return cls(used, output_of, day_start(day) / NS + filled * length)

    def mean_coverage(self, coverage: np.ndarray) -> np.ndarray:
        """Mean coverage of the windows of each output window.

        Parameters
        ----------
        coverage : float array, shape (n_channels, n_windows)
            0 to 1.

        Returns
        -------
        mean : float32 array, shape (n_channels, n_output)
        """
        count = np.bincount(self.output_of)
        means = [np.bincount(self.output_of, row[self.used]) / count for row in coverage]
        return np.array(means, dtype=np.float32)


def write_correlations(
    path: Path,
    pairs: PairTable,
    output: OutputWindows,
    windows: Cutter,
    accepted: np.ndarray,
    coverage: np.ndarray,
    params: XcorParams,
    threads: int,
    report: ProgressCallback,
) -> None:
    """Correlate pairs of channels and write the correlations to a file.

    Parameters
    ----------
    path : Path
        The file to write.
    pairs : PairTable
        Its channels are those of the arrays below, in this order.
    output : OutputWindows
        Output windows of the day.
    windows : callable
        (channel, windows of the day) -> the windows as first and as second channel of a pair.
    accepted : bool array, shape (n_channels, n_windows)
        Windows that passed the quality rules.
    coverage : float32 array, shape (n_channels, n_windows)
        Share of real samples, 0 to 1.
    params : XcorParams
        Parameters of the job.
    threads : int
        The file does not depend on it.
    report : callable
        `ProgressCallback` for pair-windows.

    Raises
    ------
    DiskError
        If the file cannot be written.
    """
    done, components = 0, n_components(params)
    total = pairs.first.size * output.starts.size
    n_summed = components * params.n_windows / params.n_kept
    coverage = output.mean_coverage(coverage)
    with correlation_file.create(path, pairs, output.starts, coverage, params) as file:

        def write(pair_rows: np.ndarray, output_window: int, corr: np.ndarray) -> None:
            nonlocal done
            file.write(pair_rows, output_window, corr)
            done += corr.shape[0] * corr.shape[1]
            report(done, total, "pair-windows")

        correlate(
            lambda channel, indices: windows(channel, output.used[indices]),
            accepted[:, output.used],
            (pairs.first, pairs.second),
            plan_segments(params.n_samples, params.n_lags, params.circular, n_summed),
            write,
            n_components=components,
            groups=output.output_of,
            threads=threads,
        )
