"""Detrend and taper windows, or the segments between gaps."""

from __future__ import annotations

import numpy as np

from ..numerics.arrays import copy_to, float32_array, plain_array
from ..numerics.jit import jit
from ..numerics.ordered_sums import LANES, sum_and_moment

# Samples at a time. Counted in 32 bits, an index becomes a float in a vector register.
_CHUNK = 1024


def detrend(windows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Subtract the least-squares line from each window.

    Parameters
    ----------
    windows : array, shape (..., n_samples)
        Integers or floats in any unit.
    out : float32 array, shape (..., n_samples), optional
        Where to put the result; may be ``windows`` itself. A new array by default.

    Returns
    -------
    detrended : float32 array, shape (..., n_samples)
        In the unit of ``windows``; its mean and its slope are 0.

    Raises
    ------
    ValueError
        If ``out`` does not fit.

    Examples
    --------
    >>> print(detrend(np.array([[1, 3, 5], [1, 0, 1]])).round(3))
    [[ 0.     0.     0.   ]
     [ 0.333 -0.667  0.333]]
    """
    windows = plain_array(windows)
    result = float32_array(windows.shape, out)
    # Integers are not rounded to float32 before their offset is subtracted.
    is_read = windows.dtype in (np.int32, np.float32, np.float64)
    source = np.ascontiguousarray(windows if is_read else windows.astype(np.float64))
    if result.size:
        shape = -1, windows.shape[-1]
        for window, detrended in zip(source.reshape(shape), result.reshape(shape), strict=True):
            detrend_taper(window, 0, detrended)
    return result


def taper(windows: np.ndarray, n_taper: int, out: np.ndarray | None = None) -> np.ndarray:
    """Multiply both ends of each window by half a period of a cosine, from 0 to 1.

    Parameters
    ----------
    windows : array, shape (..., n_samples)
        Integers or floats in any unit.
    n_taper : int
        Length of the taper at each end, in samples.
    out : float32 array, shape (..., n_samples), optional
        Where to put the result; may be ``windows`` itself. A new array by default.

    Returns
    -------
    tapered : float32 array, shape (..., n_samples)
        In the unit of ``windows``. The weight of sample k is ``(1 - cos(pi (k + 1/2) / n_taper)) /
        2``.

    Raises
    ------
    ValueError
        If the two tapers overlap, or ``out`` does not fit.

    Examples
    --------
    >>> print(taper(np.ones(6), n_taper=2).round(3))
    [0.146 0.854 1.    1.    0.854 0.146]
    """
    windows = plain_array(windows)
    n_samples = windows.shape[-1]
    if not 0 <= 2 * n_taper <= n_samples:
        raise ValueError(
            f"n_taper = {n_taper} samples is not between 0 and half a window ({n_samples} samples)"
        )
    result = copy_to(windows, out)
    if result.size:
        _taper(result.reshape(-1, n_samples), n_taper)
    return result


@jit()
def detrend_taper(data: np.ndarray, n_taper: int, out: np.ndarray) -> None:
    """Subtract the least-squares line from a series and taper both its ends.

    Parameters
    ----------
    data : array, shape (n_samples,)
        At least one sample; contiguous, of 32-bit integers or floats, in any unit.
    n_taper : int
        Length of the cosine taper at each end, in samples; at most ``n_samples``.
    out : float32 array, shape (n_samples,)
        Receives the result; may be ``data`` itself.
    """
    n = data.size
    middle = 0.5 * (n - 1)
    reference = np.float64(data[0])
    whole = n - n % LANES
    total, moment = 0.0, 0.0
    if whole:
        total, moment = sum_and_moment(data, whole, reference, middle)
    for i in range(whole, n):
        x = np.float64(data[i]) - reference
        total += x
        moment += x * (i - middle)
    slope = moment / (n * (float(n) * n - 1) / 12) if n > 1 else 0.0
    mean = reference + total / n
    for a in range(0, n, _CHUNK):
        here, there = data[a : a + _CHUNK], out[a : a + _CHUNK]
        line = mean + slope * (a - middle)
        for i in range(np.int32(here.size)):
            there[i] = float(here[i]) - (line + slope * float(np.int32(i)))
    for i in range(n_taper):
        w = 0.5 - 0.5 * np.cos(np.pi * (i + 0.5) / n_taper)
        out[i] *= w
        out[n - 1 - i] *= w


@jit()
def _taper(windows: np.ndarray, n_taper: int) -> None:
    """`taper` of float32 windows (n_windows, n_samples), in place."""
    n = windows.shape[1]
    for i in range(n_taper):
        w = np.float32(0.5 - 0.5 * np.cos(np.pi * (i + 0.5) / n_taper))
        for k in range(windows.shape[0]):
            windows[k, i] *= w
            windows[k, n - 1 - i] *= w
