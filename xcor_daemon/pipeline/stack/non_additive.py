"""Stacking methods that need all windows of a pair at once (robust, median), and the bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .snr import snr
from .window_arrays import chunks, mean, pair_by_pair

_LAGS = 64  # lags that are sorted at a time


@dataclass(frozen=True)
class NonAdditiveMethod:
    """A stacking method that keeps all windows until `finish`."""

    stack: Callable[[np.ndarray], tuple[np.ndarray, int]]

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """Return complete windows (n_windows, n_lags), at least one."""
        return rows

    def merge(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Concatenate the windows (n_windows, n_lags) of several parts, at least one."""
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def finish(self, gathered: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the stack (n_lags,) and its number of windows."""
        return self.stack(gathered)

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Stack windows (..., n_windows, n_lags)."""
        return pair_by_pair(lambda rows: self.stack(rows)[0], windows)


def robust_method(tolerance: float, max_iterations: int) -> NonAdditiveMethod:
    """The mean with small weights for outliers (Pavlis & Vernon 2010)."""
    if max_iterations < 1:
        raise ValueError(f"max_iterations = {max_iterations} must be at least 1")
    return NonAdditiveMethod(lambda rows: (_reweight(rows, tolerance, max_iterations), len(rows)))


def median_method() -> NonAdditiveMethod:
    """The median at every lag."""
    return NonAdditiveMethod(lambda rows: (_median(rows), len(rows)))


def selective_method(
    fs: float, by: str, threshold: float, max_iterations: int = 20
) -> NonAdditiveMethod:
    """The mean of the windows whose correlation with the reference, or SNR, is high enough."""

    def stack(rows: np.ndarray) -> tuple[np.ndarray, int]:
        if by == "snr":
            n_side = rows.shape[-1] // 2
            good = snr(rows, np.arange(-n_side, rows.shape[-1] - n_side) / fs) >= threshold
        else:
            good = _select_by_correlation(rows, threshold, max_iterations)
        chosen = rows[good]
        trace = mean(chosen) if len(chosen) else np.full(rows.shape[-1], np.nan)
        return trace, len(chosen)

    return NonAdditiveMethod(stack)


def bootstrap(
    stack: Callable[[np.ndarray], np.ndarray], windows: np.ndarray, n_resamples: int, seed: int = 0
) -> np.ndarray:
    """Estimate the standard error of a stack by bootstrap: from resampled windows.

    Overlapping windows are not independent, and the error is then too small by a factor of about
    the square root of cc_len / cc_step. Not for `robust`, which gives windows that are drawn
    twice too much weight.

    Parameters
    ----------
    stack : callable
        A stacking method: (n_windows, n_lags) -> (n_lags,).
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair; NaN where a window is missing.
    n_resamples : int
        Number of resamples; with 100 the error is known to 7 %.
    seed : int
        Of the random numbers; the same seed gives the same error.

    Returns
    -------
    errors : array, shape (..., n_lags)
        In the input's unit; NaN with fewer than two windows.

    References
    ----------
    Efron (1979), Ann. Statist. 7, 1-26.
    """

    def error(rows: np.ndarray) -> np.ndarray:
        if len(rows) < 2:
            return np.full(rows.shape[-1], np.nan)
        random = np.random.default_rng(seed)
        total, squares = np.zeros(rows.shape[-1]), np.zeros(rows.shape[-1])
        centre = stack(rows).astype(np.float64)
        for _ in range(n_resamples):
            away = stack(rows[np.sort(random.integers(len(rows), size=len(rows)))]) - centre
            total += away
            squares += away * away
        variance = (squares - total * total / n_resamples) / (n_resamples - 1)
        return np.sqrt(np.maximum(variance, 0))

    if n_resamples < 2:
        raise ValueError(f"n_resamples = {n_resamples} must be at least 2")
    return pair_by_pair(error, windows)


def _select_by_correlation(rows: np.ndarray, threshold: float, max_iterations: int) -> np.ndarray:
    """Select windows by their correlation with the mean of the selected: bool (n_windows,)."""
    norms = np.concatenate(
        [np.linalg.norm(rows[chunk].astype(np.float64), axis=-1) for chunk in chunks(len(rows))]
    )
    good = np.ones(len(rows), dtype=bool)
    for _ in range(max_iterations):
        reference = _unit(mean(rows[good]))
        product = _dot(rows, reference)
        correlation = np.divide(product, norms, out=np.zeros_like(norms), where=norms > 0)
        before, good = good, correlation >= threshold
        if not good.any() or np.array_equal(good, before):
            break
    return good


def _dot(rows: np.ndarray, trace: np.ndarray) -> np.ndarray:
    """Dot products of all windows with a trace in float64, without a copy of all: (n_windows,)."""
    return np.concatenate([rows[chunk].astype(np.float64) @ trace for chunk in chunks(len(rows))])


def _reweight(rows: np.ndarray, tolerance: float, max_iterations: int) -> np.ndarray:
    """The robust stack of one pair's valid windows."""
    scale = np.abs(rows).max().astype(np.float64)
    if scale == 0:
        return np.zeros(rows.shape[-1])
    stack = _unit(_median(rows) / scale)

    def part(chunk: slice) -> np.ndarray:
        # float64 and scaled: squares of tiny and huge amplitudes stay finite.
        return rows[chunk].astype(np.float64) / scale

    some = chunks(len(rows))
    norms = np.concatenate([np.linalg.norm(part(chunk), axis=-1) for chunk in some])
    average = np.sum([part(chunk).sum(axis=0) for chunk in some], axis=0) / len(rows)
    if not stack.any():  # the median of spikes at different lags is zero
        stack = _unit(average)
    for _ in range(max_iterations):
        along = np.concatenate([part(chunk) @ stack for chunk in some])
        # The weight of a window that equals the stack would be infinite.
        across = np.sqrt(np.maximum(norms**2 - along**2, (1e-6 * norms) ** 2))
        below = norms * across
        weight = np.divide(np.abs(along), below, out=np.zeros_like(norms), where=below > 0)
        if not weight.any():
            break
        average = sum(weight[chunk] @ part(chunk) for chunk in some) / weight.sum()
        before, stack = stack, _unit(average)
        if np.linalg.norm(stack - before) < tolerance:
            break
    return average * scale


def _median(rows: np.ndarray) -> np.ndarray:
    """The median of the windows, (n_lags,); a sort is four times faster here than `np.median`."""
    middle = [(len(rows) - 1) // 2, len(rows) // 2]
    parts = [
        mean(np.sort(rows[:, lag : lag + _LAGS], axis=0)[middle])
        for lag in range(0, rows.shape[-1], _LAGS)
    ]
    return np.concatenate(parts)


def _unit(trace: np.ndarray) -> np.ndarray:
    """The trace scaled to a norm of 1; zeros stay zero."""
    return trace / (np.linalg.norm(trace) or 1)
