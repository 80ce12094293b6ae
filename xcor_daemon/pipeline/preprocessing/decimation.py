"""Decimation: a zero-phase anti-alias filter and a lower sampling rate."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor, isclose

import numpy as np

from ..numerics.fft import next_long_len
from ..numerics.jit import jit
from ..numerics.ordered_sums import LANES, four_dots

_STOP_BAND = 96.0  # dB for Kaiser's formula, which overestimates the attenuation by 3 dB
_CHUNK = 6144  # samples at a time, so that they stay in the first-level cache


@dataclass(frozen=True)
class Rates:
    """Steps from the recorded rate to fs: decimation, then truncation of the spectrum.

    ``factor`` recorded samples become one at the intermediate rate; ``n_middle`` samples at that
    rate last exactly as long as ``n_grid`` samples at fs.
    """

    fs_raw: float  # Hz, as recorded
    factor: int
    n_middle: int
    n_grid: int

    @property
    def fs_middle(self) -> float:
        """Intermediate rate, after decimation (Hz)."""
        return self.fs_raw / self.factor


@lru_cache(maxsize=32)
def plan_rates(fs_raw: float, fs: float, n: int, top: float) -> Rates:
    """Choose the decimation of a channel.

    The filter passes frequencies below ``top`` and must stop those that would be aliased onto
    them, above fs_middle - top. With an intermediate rate of 3 top the filter stays short; the
    Fourier transform that follows reaches any fs, higher or lower, by a whole ratio or not.

    Parameters
    ----------
    fs_raw, fs : float
        Recorded rate and rate of the grid (Hz).
    n : int
        Samples of the grid that are needed.
    top : float
        Upper end of the band (Hz).

    Returns
    -------
    rates : Rates
    """
    factor = max(1, floor(fs_raw / (3 * top) + 1e-9))
    # A drift of 2e-9 is 0.2 ms in a day.
    exact = fs * factor / fs_raw
    for denominator in (16, 256, 4096, 65536, 10**7):
        ratio = Fraction(exact).limit_denominator(denominator)
        if ratio and isclose(ratio, exact, rel_tol=2e-9):
            break
    p, q = ratio.numerator, ratio.denominator
    m = next_long_len(ceil(n / p))
    return Rates(fs_raw, factor, n_middle=q * m, n_grid=p * m)


@lru_cache(maxsize=32)
def decimation_filter(fs_raw: float, factor: int, top: float) -> np.ndarray:
    """Design the anti-alias filter, a symmetric FIR filter after Kaiser.

    Parameters
    ----------
    fs_raw : float
        Recorded rate (Hz).
    factor : int
        One sample is left of ``factor``.
    top : float
        Upper end of the pass band (Hz); frequencies that are aliased onto the pass band are
        attenuated by at least 90 dB.

    Returns
    -------
    taps : float32 array, shape (n_taps,)
        An odd number; their sum is 1.
    """
    if factor == 1:
        return np.ones(1, dtype=np.float32)
    fs_middle = fs_raw / factor
    width = 2 * np.pi * (fs_middle - 2 * top) / fs_raw  # from pass to stop band (rad/sample)
    half = ceil((_STOP_BAND - 7.95) / (2 * 2.285 * width))  # Kaiser's estimate of the length
    beta = 0.1102 * (_STOP_BAND - 8.7)
    taps = np.kaiser(2 * half + 1, beta) * np.sinc(np.arange(-half, half + 1) / factor)
    return (taps / taps.sum()).astype(np.float32)


def filter_gain(taps: np.ndarray, frequency: np.ndarray, fs: float) -> np.ndarray:
    """Gain of a symmetric FIR filter centred on its middle tap: real.

    Parameters
    ----------
    taps : float32 array, shape (n_taps,)
        An odd number.
    frequency : float64 array, shape (n,)
        Hz.
    fs : float
        Sampling rate of the filter (Hz).

    Returns
    -------
    gain : float64 array, shape (n,)
        Without unit.
    """
    half = taps.size // 2
    if not half:
        return np.ones_like(frequency)
    # A polynomial in cos(w): sum of h_k cos(k w), by Clenshaw's recurrence.
    cosine = 2 * np.cos(2 * np.pi * frequency / fs)
    b1 = np.zeros_like(cosine)
    b2 = np.zeros_like(cosine)
    for tap in taps[:half].astype(np.float64):
        b1, b2 = 2 * tap + cosine * b1 - b2, b1
    return float(taps[half]) + b1 * cosine / 2 - b2


def pad_taps(taps: np.ndarray) -> np.ndarray:
    """Append zeros to taps (n_taps,), up to a multiple of `LANES`."""
    return np.pad(taps, (0, -taps.size % LANES))


@jit()
def decimate(
    data: np.ndarray,
    reference: float,
    first: int,
    factor: int,
    taps: np.ndarray,
    half: int,
    out: np.ndarray,
) -> None:
    """Filter ``data - reference`` and keep every ``factor``-th sample.

    ``out[m]`` is centred on ``data[first + m factor]`` and written where that is a sample of
    ``data``; beyond its ends ``data`` counts as zero.

    Parameters
    ----------
    data : array, shape (n,)
        int32, float32 or float64, contiguous, in counts.
    reference : float
        Subtracted from ``data`` before it becomes float32 (counts).
    first : int
        Index in ``data`` of the centre of ``out[0]``; may be negative.
    factor : int
        One sample is left of ``factor``.
    taps : float32 array, shape (n_taps,)
        From `pad_taps`.
    half : int
        Index of the central tap.
    out : float32 array, shape (n_out,)
        Receives the result, in counts.

    Raises
    ------
    ValueError
        If ``taps`` were not padded.
    """
    if taps.size % LANES:
        raise ValueError("the number of taps is not a multiple of LANES; use pad_taps")
    n, n_taps = data.size, taps.size
    low = max(0, -(first // factor))
    high = min(out.size, (n - 1 - first) // factor + 1)
    chunk = max(4, _CHUNK // factor)
    row = np.empty((chunk + 2) * factor + n_taps, dtype=np.float32)
    shift = np.float32(reference)
    for m0 in range(low, high, chunk):
        result = out[m0 : min(m0 + chunk, high)]
        begin = first + m0 * factor - half
        n_row = (result.size - 1) * factor + n_taps
        k0 = min(n_row, max(0, -begin))
        k1 = max(k0, min(n_row, n - begin))
        row[:k0] = 0
        row[k1:] = 0
        # Slices: with an index that may be negative the loop would not be vectorised.
        here, real = data[begin + k0 : begin + k1], row[k0:k1]
        for k in range(here.size):
            real[k] = np.float32(here[k]) - shift
        for m in range(0, result.size, 4):
            address = row.ctypes.data + m * factor * 4
            sums = four_dots(taps.ctypes.data, address, factor * 4, n_taps)
            for k, y in enumerate(sums):
                if m + k < result.size:
                    result[m + k] = y
