"""Samples of a channel-day -> its ground motion, and which windows have enough real samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil, floor

import numpy as np

from ...request.params import XcorParams
from ..datatypes import NS, Epoch, Samples
from .band import Grid
from .ground_motion import Filtered, to_grid, to_spectrum


@dataclass(frozen=True)
class Covered:
    """A channel-day whose series is not computed before it is known to be wanted."""

    grid: Grid
    filtered: Filtered | None  # None where no window is kept
    coverage: np.ndarray  # float32 (n_windows,)
    kept: np.ndarray  # bool (n_windows,)

    def motion(self) -> np.ndarray:
        """The time series of the day, float32 (grid.n_day,); zero where no window is kept."""
        if self.filtered is None:
            return np.zeros(self.grid.n_day, dtype=np.float32)
        return to_grid(self.filtered, self.grid)


def prepare(
    samples: Samples,
    epochs: Sequence[Epoch],
    asked: Sequence[tuple[int, int]],
    day: date,
    params: XcorParams,
) -> Covered:
    """Samples of a channel-day -> its spectrum as ground motion, and which windows are covered.

    Parameters
    ----------
    samples : Samples
        The day and `margin` seconds on both sides, in counts.
    epochs : sequence of Epoch
        Metadata that touch that time.
    asked : sequence of (int, int)
        The samples of the day that are asked for (`WindowGrid.samples`): first and end of each
        run. Others count as missing.

    Raises
    ------
    NoDataError
        If the samples cannot be used; the message says why.
    """
    grid = Grid.of(day, params)
    n_real = count_real(real_samples(samples, asked, grid), params)
    kept = n_real >= params.windows.least
    filtered = to_spectrum(samples, epochs, grid, params) if kept.any() else None
    return Covered(grid, filtered, (n_real / params.n_samples).astype(np.float32), kept)


def real_samples(samples: Samples, asked: Sequence[tuple[int, int]], grid: Grid) -> np.ndarray:
    """Which samples of the day are real: recorded and asked for.

    A segment reaches one recorded sample beyond its ends, for what lies nearer is not missing.

    Returns
    -------
    real : bool array, shape (grid.n_day,)
    """
    real = np.zeros(grid.n_day, dtype=bool)
    step = NS / samples.fs
    for segment in samples.segments:
        low = segment.start - step
        high = segment.start + segment.data.size * step
        a = floor((low - grid.midnight) * grid.fs / NS) + 1
        b = ceil((high - grid.midnight) * grid.fs / NS - 1e-6)
        for first, end in asked:
            real[max(a, first) : max(a, first, min(b, end))] = True
    return real


def count_real(real: np.ndarray, params: XcorParams) -> np.ndarray:
    """Real samples in every window, float64 (n_windows,)."""
    # Real samples stand in a few long runs, so their count up to a sample is a line between edges.
    inner = np.flatnonzero(real[1:] != real[:-1]) + 1
    edges = np.concatenate([[0], inner, [real.size]])
    count = np.concatenate([[0], np.cumsum(np.diff(edges) * real[edges[:-1]])])
    start = np.arange(params.n_windows) * params.n_step
    return np.interp(start + params.n_samples, edges, count) - np.interp(start, edges, count)
