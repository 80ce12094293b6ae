"""Arrays of windows, as all stacking methods use them: without missing windows, pair by pair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..numerics.fft import irfft, next_fast_len, rfft

ROWS = 256  # windows, or traces, in a chunk that stays in the cache


def pair_by_pair(stack: Callable[[np.ndarray], np.ndarray], windows: np.ndarray) -> np.ndarray:
    """Stack the complete windows of one pair after the other.

    Parameters
    ----------
    stack : callable
        (n_windows, n_lags) -> (n_lags,).
    windows : float array, shape (..., n_windows, n_lags)
        Correlations; NaN where a window is missing.

    Returns
    -------
    stacks : float array, shape (..., n_lags)
        In the input's unit; NaN without a complete window.
    """
    windows = np.asarray(windows)
    if windows.ndim < 2:
        raise ValueError(f"windows has shape {windows.shape}; it must be (..., n_windows, n_lags)")
    *pairs, _, n_lags = windows.shape
    stacks = np.full((*pairs, n_lags), np.nan, dtype=precision(windows))
    for pair in np.ndindex(*pairs):
        rows = valid_rows(windows[pair])
        if len(rows):
            stacks[pair] = stack(rows)
    return stacks


def valid_rows(rows: np.ndarray) -> np.ndarray:
    """Return the windows (n_windows, n_lags) without NaN and infinity; no copy if all are."""
    valid = np.isfinite(rows).all(axis=-1)
    return rows if valid.all() else rows[valid]


def precision(windows: np.ndarray) -> np.dtype:
    """Return float32, or the precision of windows of any shape if that is higher."""
    return np.result_type(windows.dtype, np.float32)


def mean(rows: np.ndarray) -> np.ndarray:
    """Average windows (n_windows, n_lags) in float64: (n_lags,)."""
    return rows.mean(axis=0, dtype=np.float64)


def chunks(n: int) -> list[slice]:
    """Slices of `ROWS` windows that cover ``n``."""
    return [slice(start, start + ROWS) for start in range(0, n, ROWS)]


def scaled(rows: np.ndarray) -> np.ndarray:
    """Divide each row (..., n_lags) by its largest absolute value, in float32; zeros stay zero.

    float32 suffices for phases and ratios of scaled rows.
    """
    largest = np.abs(rows).max(axis=-1, keepdims=True)
    largest[largest == 0] = 1
    return (rows / largest).astype(np.float32)


def analytic(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the analytic signal of rows (..., n_lags), each scaled to a maximum of 1.

    The transform is padded with zeros to a fast length, as in ObsPy: 1201, for example, is a
    prime number.

    Returns
    -------
    real, imaginary : float32 arrays, shape (..., n_lags)
        Without unit.
    """
    n_lags = rows.shape[-1]
    n_fft = next_fast_len(n_lags, multiple=1)
    padded = np.zeros((*rows.shape[:-1], n_fft), dtype=np.float32)
    real = padded[..., :n_lags] = scaled(rows)
    spectrum = rfft(padded)
    spectrum *= np.complex64(-1j)
    return real, irfft(spectrum, n_fft)[..., :n_lags]
