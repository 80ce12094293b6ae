"""Normalisation in time that looks at a whole day or at several components.

The running absolute mean in a band of its own follows Bensen et al. (2007, Geophys. J. Int. 169,
1239-1260): where earthquakes are loud in that band, the data are divided by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from ...request.params import XcorParams
from ..datatypes import Epoch, Samples
from .band import Band, Grid
from .ground_motion import to_grid, to_spectrum

_LEAST = 1e-3  # of the median of a running mean: where there is no motion, nothing is blown up


def band_weights(
    samples: Samples, epochs: Sequence[Epoch], day: date, params: XcorParams
) -> np.ndarray | None:
    """Running absolute mean of a channel-day in the band of earthquakes; None where none is asked.

    Returns
    -------
    weights : float32 array, shape (n_day,)

    Raises
    ------
    NoDataError
        If the samples cannot be used in that band.
    """
    if not params.ram_of_day or params.ram_freqmin is None:
        return None
    grid = Grid.of(day, params)
    band = Band(*params.ram_band, params.fs / 2)
    motion = to_grid(to_spectrum(samples, epochs, grid, params, band), grid)
    return running_mean(np.abs(motion), params.ram_half)


def day_weights(
    series: np.ndarray, weights: np.ndarray | None, params: XcorParams
) -> np.ndarray | None:
    """Divisor of a day: the result of `band_weights`, else its own running absolute mean."""
    if not params.ram_of_day:
        return None
    return running_mean(np.abs(series), params.ram_half) if weights is None else weights


def normalise_day(
    series: np.ndarray, kept: np.ndarray, weights: np.ndarray | None, params: XcorParams
) -> np.ndarray:
    """A day muted, or divided by its running absolute mean, or as it is: as ``params`` say.

    Parameters
    ----------
    series : float32 array, shape (n_day,)
    kept : bool array, shape (n_windows,)
        Windows whose loudness counts.
    weights : float32 array, shape (n_day,), or None
        What `day_weights` gave.
    """
    if params.time_norm == "mute":
        return _muted(series, kept, params)
    return series if weights is None else divide_by_weights(series, weights)


def divide_by_weights(data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Data divided by a running mean, which counts as no less than a share of its median."""
    positive = weights[weights > 0]
    floor = np.float32(_LEAST * np.median(positive)) if positive.size else np.float32(1)
    return data / np.maximum(weights, floor)


def _muted(series: np.ndarray, kept: np.ndarray, params: XcorParams) -> np.ndarray:
    """Zero where the envelope is above a multiple of the median of the windows' mean envelopes."""
    from scipy.signal import hilbert  # a second to import, and rarely needed

    envelope = np.abs(hilbert(series)).astype(np.float32)
    total = np.concatenate([[0.0], np.cumsum(envelope, dtype=np.float64)])
    starts = np.flatnonzero(kept) * params.n_step
    means = (total[starts + params.n_samples] - total[starts]) / params.n_samples
    level = params.mute_factor * np.median(means)
    return np.where(envelope > level, np.float32(0), series)


def normalise_in_time(windows: np.ndarray, params: XcorParams) -> None:
    """One-bit, clipping or running absolute mean (Bensen et al., 2007), in place.

    What looks at the whole day (`loudness`) is done before.
    """
    if params.time_norm == "onebit":
        np.sign(windows, out=windows)
    elif params.time_norm == "clip":
        most = params.clip_factor * windows.std(axis=-1, keepdims=True)
        np.clip(windows, -most, most, out=windows)
    elif params.clamp is not None:
        np.clip(windows, -params.clamp, params.clamp, out=windows)
    elif params.time_norm == "ram" and not params.ram_of_day:
        mean = running_mean(np.abs(windows), params.ram_half)
        np.divide(windows, mean, out=windows, where=mean > 0)


def running_mean(x: np.ndarray, half: int) -> np.ndarray:
    """Mean over 2 half + 1 samples of the last axis, fewer at the ends."""
    n = x.shape[-1]
    total = np.concatenate([np.zeros((*x.shape[:-1], 1)), np.cumsum(x, axis=-1, dtype=float)], -1)
    a = np.maximum(np.arange(n) - half, 0)
    b = np.minimum(np.arange(n) + half + 1, n)
    return ((total[..., b] - total[..., a]) / (b - a)).astype(np.float32)
