"""Plain reference implementations, in float64 and at full length: slow and short."""

from __future__ import annotations

import numpy as np
from scipy.signal import correlate as scipy_correlate
from scipy.signal import detrend


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


def motion(counts: np.ndarray, fs_raw: float, gain: np.ndarray, step: int) -> np.ndarray:
    """Every ``step``-th sample of counts at ``fs_raw`` Hz, times ``gain`` at their frequencies.

    ``gain`` (n // 2 + 1,) holds band and inverse response, and ends below the new rate's half.
    """
    n = counts.size
    series = detrend(counts.astype(np.float64))
    taper = np.ones(n)
    n_taper = round(20 * fs_raw)
    taper[:n_taper] = np.sin(np.pi / 2 * (np.arange(n_taper) + 0.5) / n_taper) ** 2
    taper[n - n_taper :] = taper[:n_taper][::-1]
    return np.fft.irfft(np.fft.rfft(series * taper) * gain, n)[::step]


def window(motion: np.ndarray, start: int, n: int, n_taper: int, modulus: np.ndarray) -> np.ndarray:
    """One window: detrended, tapered over ``n_taper`` samples at both ends, whitened."""
    cut = detrend(motion[start : start + n])
    taper = np.ones(n)
    taper[:n_taper] = np.sin(np.pi / 2 * (np.arange(n_taper) + 0.5) / n_taper) ** 2
    taper[n - n_taper :] = taper[:n_taper][::-1]
    return whiten(cut * taper, modulus)
