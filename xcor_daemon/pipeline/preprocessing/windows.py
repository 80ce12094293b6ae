"""Ground motion of a day -> windows: cut, taper, normalise in time, whiten."""

from __future__ import annotations

from math import floor

import numpy as np

from ...request.params import XcorParams
from .band import TAPER_MOST
from .spectral_normalisation import normalise
from .taper import detrend_taper, taper
from .time_normalisation import normalise_in_time

_TAPER_SHARE = 0.05  # of a window, at each end


def windows(
    motion: np.ndarray, indices: np.ndarray, params: XcorParams
) -> tuple[np.ndarray, np.ndarray]:
    """Some windows of a channel-day, as first and as second of a pair: `cut`, then `normalise`."""
    return normalise(cut(motion, indices * params.n_step, params), params)


def cut(motion: np.ndarray, starts: np.ndarray, params: XcorParams) -> np.ndarray:
    """Windows of a day: cut, detrended, normalised in time, tapered.

    Parameters
    ----------
    motion : float32 array, shape (n_day,)
    starts : int array, shape (n,)
        First samples.

    Returns
    -------
    windows : float32 array, shape (n, n_samples)
    """
    n = params.n_samples
    windows = np.empty((starts.size, n), dtype=np.float32)
    for k, start in enumerate(starts):
        detrend_taper(motion[start : start + n], 0, windows[k])
    normalise_in_time(windows, params)
    taper(windows, min(floor(_TAPER_SHARE * n), floor(TAPER_MOST * params.fs)))
    return windows
