"""One recorded rate becomes another: a filter without phase that drops samples, from int32."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor, isclose

import numpy as np

from ..numerics.fft import next_long_len
from ..numerics.jit import jit
from ..numerics.ordered_sums import LANES, four_dots

_STOP_BAND = 96.0  # dB of the decimation filter by Kaiser's formula, which is 3 dB too hopeful
_STRETCH = 6144  # samples at a time, so that they stay in the first-level cache


@dataclass(frozen=True)
class Rates:
    """How one recorded rate becomes fs: a decimating filter, then a cut of the spectrum.

    ``factor`` recorded samples become one of the middle rate; ``n_middle`` samples of the middle
    rate last exactly as long as ``n_grid`` samples of fs.
    """

    fs_raw: float
    factor: int
    n_middle: int
    n_grid: int

    @property
    def fs_middle(self) -> float:
        """Rate after the decimating filter (Hz)."""
        return self.fs_raw / self.factor


@lru_cache(maxsize=32)
def plan_rates(fs_raw: float, fs: float, n: int, top: float) -> Rates:
    """Choose the decimation for a channel.

    The filter keeps what lies below ``top`` (Hz) and must stop what would fold onto it, that is
    all above fs_middle - top. A middle rate of 3 top keeps it short; the transform that follows
    then reaches any fs, whether their ratio is whole or not, and larger or smaller.

    Parameters
    ----------
    fs_raw, fs : float
        Recorded rate and rate of the grid (Hz).
    n : int
        Samples of the grid that are needed.
    top : float
        Highest frequency that is kept (Hz).
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
    """A symmetric FIR, odd length, that passes [0, top] and stops what folds onto it (>= 90 dB)."""
    if factor == 1:
        return np.ones(1, dtype=np.float32)
    fs_middle = fs_raw / factor
    width = 2 * np.pi * (fs_middle - 2 * top) / fs_raw  # from pass to stop band (rad/sample)
    half = ceil((_STOP_BAND - 7.95) / (2 * 2.285 * width))  # Kaiser's estimate of the length
    beta = 0.1102 * (_STOP_BAND - 8.7)
    taps = np.kaiser(2 * half + 1, beta) * np.sinc(np.arange(-half, half + 1) / factor)
    return (taps / taps.sum()).astype(np.float32)


def filter_gain(taps: np.ndarray, frequency: np.ndarray, fs: float) -> np.ndarray:
    """The real gain of a symmetric FIR centred on its middle tap."""
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
    """Taps with zeros behind them, up to whole groups of `LANES`."""
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
    """Every ``factor``-th sample of ``data - reference``, filtered; straight from int32.

    ``out[m]`` is centred on ``data[first + m factor]`` and written where that is a sample of
    ``data``; data is zero outside its ends. Four outputs at a time are sums along the taps.

    ``taps`` are float32, filled up by `pad_taps`, and tap ``half`` is the centre.

    Raises
    ------
    ValueError
        If ``taps`` were not filled up.
    """
    if taps.size % LANES:
        raise ValueError("taps must be filled up to whole groups, as pad_taps does it")
    n, n_taps = data.size, taps.size
    low = max(0, -(first // factor))
    high = min(out.size, (n - 1 - first) // factor + 1)
    stretch = max(4, _STRETCH // factor)
    row = np.empty((stretch + 2) * factor + n_taps, dtype=np.float32)
    shift = np.float32(reference)
    for m0 in range(low, high, stretch):
        result = out[m0 : min(m0 + stretch, high)]
        begin = first + m0 * factor - half
        n_row = (result.size - 1) * factor + n_taps
        k0 = min(n_row, max(0, -begin))
        k1 = max(k0, min(n_row, n - begin))
        row[:k0] = 0
        row[k1:] = 0
        # Slices, since with an offset that may be negative nothing is done side by side.
        here, real = data[begin + k0 : begin + k1], row[k0:k1]
        for k in range(here.size):
            real[k] = np.float32(here[k]) - shift
        for m in range(0, result.size, 4):
            place = row.ctypes.data + m * factor * 4
            sums = four_dots(taps.ctypes.data, place, factor * 4, n_taps)
            for k, y in enumerate(sums):
                if m + k < result.size:
                    result[m + k] = y
