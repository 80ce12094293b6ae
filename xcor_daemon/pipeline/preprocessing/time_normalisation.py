"""Temporal normalisation: earthquakes and other large amplitudes must not dominate correlations.

One-bit, clipping and the running absolute mean follow Bensen et al. (2007), Geophys. J. Int. 169,
1239-1260. The functions on arrays come first; then those that choose among them by the parameters
of a job.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from ...request.params import XcorParams
from ..datatypes import Epoch, Samples
from ..numerics.arrays import copy_to
from .band import Band, Grid
from .ground_motion import to_grid, to_spectrum

_MIN_WEIGHT = 1e-3  # share of the median weight: the amplification of a quiet hour is limited


def one_bit(windows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Replace every sample by its sign.

    Parameters
    ----------
    windows : array, shape (..., n_samples)
        In any unit, without an offset (see `detrend`).
    out : float32 array, shape (..., n_samples), optional
        Where to put the result; may be ``windows`` itself. A new array by default.

    Returns
    -------
    signs : float32 array, shape (..., n_samples)
        -1, 0 or 1, without unit; NaN stays NaN.

    Raises
    ------
    ValueError
        If ``out`` does not fit.

    References
    ----------
    Bensen et al. (2007), Geophys. J. Int. 169, 1239-1260.

    Examples
    --------
    >>> one_bit(np.array([-3e-9, 0, 2e-6])).tolist()
    [-1.0, 0.0, 1.0]
    """
    signs = copy_to(windows, out)
    return np.sign(signs, out=signs)


def clip(windows: np.ndarray, factor: float, out: np.ndarray | None = None) -> np.ndarray:
    """Limit each window to a multiple of its own standard deviation.

    Parameters
    ----------
    windows : array, shape (..., n_samples)
        In any unit, without an offset (see `detrend`).
    factor : float
        Largest absolute value that is left, in standard deviations of the window.
    out : float32 array, shape (..., n_samples), optional
        Where to put the result; may be ``windows`` itself. A new array by default.

    Returns
    -------
    clipped : float32 array, shape (..., n_samples)
        In the unit of ``windows``.

    Raises
    ------
    ValueError
        If ``out`` does not fit.

    References
    ----------
    Bensen et al. (2007), Geophys. J. Int. 169, 1239-1260.

    Examples
    --------
    >>> print(clip(np.array([1, -1, 1, -1, 5, -5]), factor=1))
    [ 1. -1.  1. -1.  3. -3.]
    """
    clipped = copy_to(windows, out)
    limits = factor * clipped.std(axis=-1, keepdims=True)
    return np.clip(clipped, -limits, limits, out=clipped)


def clamp(windows: np.ndarray, limit: float, out: np.ndarray | None = None) -> np.ndarray:
    """Limit all windows to one amplitude.

    Parameters
    ----------
    windows : array, shape (..., n_samples)
        In any unit, without an offset (see `detrend`).
    limit : float
        Largest absolute value that is left, in the unit of ``windows``.
    out : float32 array, shape (..., n_samples), optional
        Where to put the result; may be ``windows`` itself. A new array by default.

    Returns
    -------
    clamped : float32 array, shape (..., n_samples)
        In the unit of ``windows``.

    Raises
    ------
    ValueError
        If ``out`` does not fit.

    Examples
    --------
    >>> clamp(np.array([1.0, -1, 5, -5]), limit=2).tolist()
    [1.0, -1.0, 2.0, -2.0]
    """
    clamped = copy_to(windows, out)
    return np.clip(clamped, -limit, limit, out=clamped)


def running_absolute_mean(
    windows: np.ndarray, half: int, out: np.ndarray | None = None
) -> np.ndarray:
    """Divide every sample by the mean absolute value of the samples around it.

    Parameters
    ----------
    windows : array, shape (..., n_samples)
        In any unit, without an offset (see `detrend`).
    half : int
        Half-width of the running mean, in samples: it holds ``2 half + 1`` of them, fewer at the
        ends. Half of the longest period of the band is a good width; 0 gives `one_bit`.
    out : float32 array, shape (..., n_samples), optional
        Where to put the result; may be ``windows`` itself. A new array by default.

    Returns
    -------
    normalised : float32 array, shape (..., n_samples)
        Without unit; 0 where all samples around are 0.

    Raises
    ------
    ValueError
        If ``out`` does not fit.

    References
    ----------
    Bensen et al. (2007), Geophys. J. Int. 169, 1239-1260.

    Examples
    --------
    >>> print(running_absolute_mean(np.array([1, -1, 1, 10, -10, 10]), half=1).round(2))
    [ 1.   -1.    0.25  1.43 -1.    1.  ]
    """
    normalised = copy_to(windows, out)
    mean = running_mean(np.abs(normalised), half)
    return np.divide(normalised, mean, out=normalised, where=mean > 0)


def mute(series: np.ndarray, factor: float, starts: np.ndarray, n_samples: int) -> np.ndarray:
    """Set samples of large amplitude to zero.

    A sample is muted where the envelope, the modulus of the analytic signal, exceeds ``factor``
    times the median over windows of its mean in a window.

    Parameters
    ----------
    series : float32 array, shape (n_day,)
        In any unit.
    factor : float
        Largest envelope that is left, in medians.
    starts : int array, shape (n_windows,)
        First samples of the windows that the median is taken over; at least one.
    n_samples : int
        Samples of a window.

    Returns
    -------
    muted : float32 array, shape (n_day,)
        In the unit of ``series``.

    Examples
    --------
    >>> t = np.arange(400)
    >>> series = np.sin(0.3 * t) * np.where((t > 200) & (t < 230), 50, 1)
    >>> muted = mute(series.astype(np.float32), 10, np.array([0, 100, 300]), 100)
    >>> bool(np.abs(muted).max() < 10), bool((muted[:150] == series[:150].astype("f4")).all())
    (True, True)
    """
    from scipy.signal import hilbert  # a second to import, and rarely needed

    envelope = np.abs(hilbert(series)).astype(np.float32)
    total = np.concatenate([[0.0], np.cumsum(envelope, dtype=np.float64)])
    means = (total[starts + n_samples] - total[starts]) / n_samples
    level = factor * np.median(means)
    return np.where(envelope > level, np.float32(0), series)


def running_mean(values: np.ndarray, half: int) -> np.ndarray:
    """Mean over a running interval along the last axis.

    Parameters
    ----------
    values : float array, shape (..., n)
        In any unit.
    half : int
        Half-width: an interval holds ``2 half + 1`` values, fewer at the ends.

    Returns
    -------
    means : float32 array, shape (..., n)
        In the unit of ``values``.

    Examples
    --------
    >>> print(running_mean(np.array([1, 2, 3, 4, 10]), half=1).round(2))
    [1.5  2.   3.   5.67 7.  ]
    """
    n = values.shape[-1]
    zero = np.zeros((*values.shape[:-1], 1))
    total = np.concatenate([zero, np.cumsum(values, axis=-1, dtype=float)], -1)
    a = np.maximum(np.arange(n) - half, 0)
    b = np.minimum(np.arange(n) + half + 1, n)
    return ((total[..., b] - total[..., a]) / (b - a)).astype(np.float32)


def divide_by_weights(series: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Divide a series by positive weights.

    Parameters
    ----------
    series : float32 array, shape (n_day,)
        In any unit.
    weights : float32 array, shape (n_day,)
        Such as a running absolute mean. Weights below a thousandth of the median of those above
        0 count as that much.

    Returns
    -------
    normalised : float32 array, shape (n_day,)
    """
    positive = weights[weights > 0]
    floor = np.float32(_MIN_WEIGHT * np.median(positive)) if positive.size else np.float32(1)
    return series / np.maximum(weights, floor)


def normalise_windows(windows: np.ndarray, params: XcorParams) -> None:
    """Apply the temporal normalisation of a job to windows, in place.

    Normalisations of a whole day (`normalise_day`) are done before windows are cut.

    Parameters
    ----------
    windows : float32 array, shape (n_windows, n_samples)
        Detrended.
    params : XcorParams
        Parameters of the job.
    """
    if params.time_norm == "onebit":
        one_bit(windows, out=windows)
    elif params.time_norm == "clip":
        clip(windows, params.clip_factor, out=windows)
    elif params.clamp is not None:
        clamp(windows, params.clamp, out=windows)
    elif params.time_norm == "ram" and not params.ram_of_day:
        running_absolute_mean(windows, params.ram_half, out=windows)


def band_weights(
    samples: Samples, epochs: Sequence[Epoch], day: date, params: XcorParams
) -> np.ndarray | None:
    """Compute the running absolute mean of a channel-day in the band of earthquakes.

    Parameters
    ----------
    samples : Samples
        The day and `band.margin` seconds on both sides, in counts.
    epochs : sequence of Epoch
        Metadata that touch that time.
    day : date
        The UTC day.
    params : XcorParams
        ``ram_freqmin`` and ``ram_freqmax`` (Hz) are the band.

    Returns
    -------
    weights : float32 array, shape (n_day,), or None
        In the unit of the ground motion; None where the parameters name no such band.

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
    motion: np.ndarray, weights: np.ndarray | None, params: XcorParams
) -> np.ndarray | None:
    """Choose the divisor of a day: weights of another band, or its own running absolute mean.

    Parameters
    ----------
    motion : float32 array, shape (n_day,)
        Ground motion.
    weights : float32 array, shape (n_day,), or None
        From `band_weights`.
    params : XcorParams
        Parameters of the job.

    Returns
    -------
    weights : float32 array, shape (n_day,), or None
        In the unit of the ground motion; None where the parameters do not normalise whole days.
    """
    if not params.ram_of_day:
        return None
    return running_mean(np.abs(motion), params.ram_half) if weights is None else weights


def normalise_day(
    motion: np.ndarray, accepted: np.ndarray, weights: np.ndarray | None, params: XcorParams
) -> np.ndarray:
    """Apply those temporal normalisations of a job that need the whole day.

    Parameters
    ----------
    motion : float32 array, shape (n_day,)
        Ground motion.
    accepted : bool array, shape (n_windows,)
        Windows that passed the quality rules; at least one.
    weights : float32 array, shape (n_day,), or None
        From `day_weights`.
    params : XcorParams
        Parameters of the job.

    Returns
    -------
    normalised : float32 array, shape (n_day,)
        ``motion`` itself where the parameters ask for none of them.
    """
    if params.time_norm == "mute":
        starts = np.flatnonzero(accepted) * params.n_step
        return mute(motion, params.mute_factor, starts, params.n_samples)
    return motion if weights is None else divide_by_weights(motion, weights)
