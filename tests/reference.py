"""The plain way, in float64 and at full length: slow, short, and what the engine must equal."""

from __future__ import annotations

import numpy as np
from scipy.signal import correlate as scipy_correlate


def correlate_windows(first: np.ndarray, second: np.ndarray, n_lags: int) -> np.ndarray:
    """Linear correlation of two windows: positive lag where ``second`` is later."""
    full = scipy_correlate(second.astype(np.float64), first.astype(np.float64), method="fft")
    middle = first.size - 1
    return full[middle - n_lags : middle + n_lags + 1]


def correlate_circular(first: np.ndarray, second: np.ndarray, n_lags: int) -> np.ndarray:
    """Circular correlation of two windows, as SeisNoise.jl has it."""
    n = first.size
    spectrum = np.conj(np.fft.rfft(first.astype(np.float64))) * np.fft.rfft(second.astype(float))
    return np.fft.irfft(spectrum, n)[np.arange(-n_lags, n_lags + 1) % n]


def whiten(window: np.ndarray, modulus: np.ndarray) -> np.ndarray:
    """A window whose spectrum has the given modulus and its own phase."""
    spectrum = np.fft.rfft(window.astype(np.float64))
    return np.fft.irfft(modulus * np.exp(1j * np.angle(spectrum)), window.size)
