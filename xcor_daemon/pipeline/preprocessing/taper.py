"""Lines taken out and ends tapered, in place, without a copy of the samples."""

from __future__ import annotations

import numpy as np

from ..numerics.jit import jit
from ..numerics.ordered_sums import LANES, sum_and_moment

_STRETCH = 1024  # samples; what counts them fits the 32-bit integers that registers can convert


@jit()
def detrend_taper(data: np.ndarray, n_taper: int, out: np.ndarray) -> None:
    """data less its least-squares line, cosine tapered at both ends, to float32 ``out``.

    ``data`` is contiguous, of 32-bit integers or floats.
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
    for a in range(0, n, _STRETCH):
        here, there = data[a : a + _STRETCH], out[a : a + _STRETCH]
        line = mean + slope * (a - middle)
        for i in range(np.int32(here.size)):
            there[i] = float(here[i]) - (line + slope * float(np.int32(i)))
    for i in range(n_taper):
        w = 0.5 - 0.5 * np.cos(np.pi * (i + 0.5) / n_taper)
        out[i] *= w
        out[n - 1 - i] *= w


@jit()
def taper(windows: np.ndarray, n_taper: int) -> None:
    """Cosine taper at both ends of every row, in place."""
    n = windows.shape[1]
    for i in range(n_taper):
        w = np.float32(0.5 - 0.5 * np.cos(np.pi * (i + 0.5) / n_taper))
        for k in range(windows.shape[0]):
            windows[k, i] *= w
            windows[k, n - 1 - i] *= w
