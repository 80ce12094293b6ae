"""The correlation of two arrays of windows, by the algorithm that correlates the pairs of a job."""

from __future__ import annotations

import numpy as np

from ..numerics.arrays import plain_array
from .correlate import correlate, plan_segments


def cross_correlate(
    first: np.ndarray,
    second: np.ndarray,
    n_lags: int,
    *,
    circular: bool = False,
    threads: int = 1,
) -> np.ndarray:
    """Correlate windows of one channel with those of another.

    ``c[k] = sum over t of first[t] * second[t + k]``: a wave that reaches the first channel before
    the second peaks at positive lag. The sum is not divided by anything.

    Parameters
    ----------
    first, second : float arrays, shape (n_windows, n_samples) or (n_samples,)
        Windows of the same times, such as those of `whiten`; computed in float32.
    n_lags : int
        Lags to compute on each side of 0, in samples; less than ``n_samples``.
    circular : bool
        Whether samples beyond the end of a window are those at its beginning, or zeros.
    threads : int
        The result does not depend on their number.

    Returns
    -------
    corr : float32 array, shape (n_windows, 2 * n_lags + 1) or (2 * n_lags + 1,)
        Lags from ``-n_lags`` to ``n_lags`` samples, 0 in the middle; in the product of both
        units. NaN where a window of either channel holds a NaN or an infinity.

    Raises
    ------
    ValueError
        If the shapes differ or ``n_lags`` does not fit the windows.

    References
    ----------
    Bensen et al. (2007), Geophys. J. Int. 169, 1239-1260.

    Examples
    --------
    >>> first = np.random.default_rng(0).standard_normal((5, 1000))
    >>> second = np.roll(first, 3, axis=-1)  # the wave arrives 3 samples later
    >>> corr = cross_correlate(first, second, n_lags=10)
    >>> corr.shape, (corr.argmax(axis=-1) - 10).tolist()
    ((5, 21), [3, 3, 3, 3, 3])
    """
    first, second = (plain_array(windows).astype(np.float32) for windows in (first, second))
    if first.shape != second.shape or first.ndim not in (1, 2):
        raise ValueError(
            f"first has shape {first.shape} and second {second.shape}; "
            "both must have the same, (n_windows, n_samples) or (n_samples,)"
        )
    channels = np.stack([np.atleast_2d(first), np.atleast_2d(second)])
    is_complete = np.asarray(np.isfinite(channels).all(axis=-1))
    corr = np.empty((channels.shape[1], 2 * n_lags + 1), dtype=np.float32)

    def windows_of(channel: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        windows = channels[channel, indices, None]
        return windows, windows

    def store(pairs: np.ndarray, row: int, part: np.ndarray) -> None:
        corr[row : row + part.shape[1]] = part[0]

    plan = plan_segments(channels.shape[-1], n_lags, circular)
    pair = np.array([0]), np.array([1])
    correlate(windows_of, is_complete, pair, plan, store, threads=threads)
    return corr if first.ndim == 2 else corr[0]
