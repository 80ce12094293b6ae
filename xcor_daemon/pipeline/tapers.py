"""Lines taken out and ends tapered, in place, without a copy of the samples."""

from __future__ import annotations

import numpy as np

from .compiled import compiled


@compiled(fastmath=True)
def detrend_taper(data: np.ndarray, n_taper: int, out: np.ndarray) -> None:
    """data less its least-squares line, cosine tapered at both ends, to float32 ``out``."""
    n = data.size
    middle = 0.5 * (n - 1)
    reference = float(data[0])
    total, moment = 0.0, 0.0
    for i in range(n):
        x = float(data[i]) - reference
        total += x
        moment += x * (i - middle)
    mean = total / n
    slope = moment / (n * (float(n) * n - 1) / 12) if n > 1 else 0.0
    for i in range(n):
        out[i] = float(data[i]) - reference - mean - slope * (i - middle)
    for i in range(n_taper):
        w = 0.5 - 0.5 * np.cos(np.pi * (i + 0.5) / n_taper)
        out[i] *= w
        out[n - 1 - i] *= w


@compiled()
def taper(windows: np.ndarray, n_taper: int) -> None:
    """Cosine taper at both ends of every row, in place."""
    n = windows.shape[1]
    for i in range(n_taper):
        w = np.float32(0.5 - 0.5 * np.cos(np.pi * (i + 0.5) / n_taper))
        for k in range(windows.shape[0]):
            windows[k, i] *= w
            windows[k, n - 1 - i] *= w
