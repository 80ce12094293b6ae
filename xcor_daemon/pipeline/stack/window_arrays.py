"""What every stack does with windows: leave out the missing ones, go pair by pair, take means."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..numerics.fft import irfft, next_fast_len, rfft

ROWS = 256  # windows, or traces, that are worked on at a time, to stay within the cache


def pair_by_pair(stack: Callable[[np.ndarray], np.ndarray], windows: np.ndarray) -> np.ndarray:
    """Apply ``stack`` to the valid windows of one pair after the other: memory for one."""
    windows = np.asarray(windows)
    if windows.ndim < 2:
        raise ValueError(f"windows of shape {windows.shape}; need (..., n_windows, n_lags).")
    *pairs, _, n_lags = windows.shape
    stacks = np.full((*pairs, n_lags), np.nan, dtype=precision(windows))
    for pair in np.ndindex(*pairs):
        rows = valid_rows(windows[pair])
        if len(rows):
            stacks[pair] = stack(rows)
    return stacks


def valid_rows(rows: np.ndarray) -> np.ndarray:
    """The windows (n_windows, n_lags) that hold neither NaN nor infinity; no copy if all are."""
    valid = np.isfinite(rows).all(axis=-1)
    return rows if valid.all() else rows[valid]


def precision(windows: np.ndarray) -> np.dtype:
    """float32, or what the input has if that is more."""
    return np.result_type(windows.dtype, np.float32)


def mean(rows: np.ndarray) -> np.ndarray:
    """Mean over windows in float64."""
    return rows.mean(axis=0, dtype=np.float64)


def chunks(n: int) -> list[slice]:
    """Slices of `ROWS` windows."""
    return [slice(start, start + ROWS) for start in range(0, n, ROWS)]


def scaled(rows: np.ndarray) -> np.ndarray:
    """Each row divided by its largest value, as float32; zeros stay zeros.

    float32 is enough once scaled, where only phases and ratios are asked for.
    """
    largest = np.abs(rows).max(axis=-1, keepdims=True)
    largest[largest == 0] = 1
    return (rows / largest).astype(np.float32)


def analytic(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of the analytic signal, each row scaled to a maximum of 1.

    The transform is padded with zeros to a fast length, as ObsPy pads it: 1201 lags are a
    prime number.
    """
    n_lags = rows.shape[-1]
    n_fft = next_fast_len(n_lags, multiple=1)
    padded = np.zeros((*rows.shape[:-1], n_fft), dtype=np.float32)
    real = padded[..., :n_lags] = scaled(rows)
    spectrum = rfft(padded)
    spectrum *= np.complex64(-1j)
    return real, irfft(spectrum, n_fft)[..., :n_lags]
