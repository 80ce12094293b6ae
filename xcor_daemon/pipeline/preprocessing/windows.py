"""Ground motion of a day -> windows: cut, detrended, normalised in time, tapered."""

from __future__ import annotations

from math import floor

import numpy as np

from ...request.params import XcorParams
from ..numerics.arrays import float32_array, plain_array
from .band import MAX_TAPER
from .spectral_normalisation import normalise
from .taper import detrend, taper
from .time_normalisation import normalise_windows

_TAPER_SHARE = 0.05  # of a window, at each end


def cut_windows(series: np.ndarray, starts: np.ndarray, n_samples: int) -> np.ndarray:
    """Cut windows from a series; they may overlap.

    Parameters
    ----------
    series : array, shape (n,)
        In any unit.
    starts : int array, shape (n_windows,)
        First sample of each window.
    n_samples : int
        Samples of a window.

    Returns
    -------
    windows : float32 array, shape (n_windows, n_samples)
        A copy, in the unit of ``series``.

    Raises
    ------
    ValueError
        If a window does not lie within the series.

    Examples
    --------
    >>> cut_windows(np.arange(6), starts=np.array([0, 2]), n_samples=4).tolist()
    [[0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0]]
    """
    series, starts = plain_array(series), np.asarray(starts)
    if starts.size and not 0 <= starts.min() <= starts.max() <= len(series) - n_samples:
        raise ValueError(
            f"windows of {n_samples} samples that start between {starts.min()} and {starts.max()} "
            f"exceed the series (0 to {len(series)})"
        )
    windows = float32_array((starts.size, n_samples))
    for window, start in zip(windows, starts, strict=True):
        window[:] = series[start : start + n_samples]
    return windows


def preprocess_windows(motion: np.ndarray, starts: np.ndarray, params: XcorParams) -> np.ndarray:
    """Cut windows from a day, detrend them, normalise them in time and taper them.

    Parameters
    ----------
    motion : float32 array, shape (n_day,)
        Ground motion, or counts.
    starts : int array, shape (n_windows,)
        First sample of each window.
    params : XcorParams
        Parameters of the job.

    Returns
    -------
    windows : float32 array, shape (n_windows, n_samples)
        In the unit of ``motion``, or without unit after one-bit or running-absolute-mean
        normalisation.
    """
    n_samples = params.n_samples
    windows = float32_array((starts.size, n_samples))
    for window, start in zip(windows, starts, strict=True):
        detrend(motion[start : start + n_samples], out=window)  # without a copy
    normalise_windows(windows, params)
    n_taper = min(floor(_TAPER_SHARE * n_samples), floor(MAX_TAPER * params.fs))
    return taper(windows, n_taper, out=windows)


def paired_windows(
    motion: np.ndarray, indices: np.ndarray, params: XcorParams
) -> tuple[np.ndarray, np.ndarray]:
    """Prepare windows of a channel-day as first and as second channel of a pair.

    Parameters
    ----------
    motion : float32 array, shape (n_day,)
        Ground motion, or counts.
    indices : int array, shape (n,)
        Windows of the day, from 0.
    params : XcorParams
        Parameters of the job.

    Returns
    -------
    first, second : float32 arrays, shape (n, n_components, n_samples)
        From `spectral_normalisation.normalise`.
    """
    return normalise(preprocess_windows(motion, indices * params.n_step, params), params)
