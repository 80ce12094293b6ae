"""Interpolation of an instrument response, which `ground_motion.to_spectrum` removes."""

from __future__ import annotations

import numpy as np

from ..datatypes import ResponseCurve


def transfer(curve: ResponseCurve, frequencies: np.ndarray) -> np.ndarray:
    """Interpolate an instrument response.

    Parameters
    ----------
    curve : ResponseCurve
        The response at fixed frequencies.
    frequencies : array, shape (n,)
        Hz. Outside the curve its first or last value is used, at 0 Hz too: finite, but only
        meaningful with a filter that is zero there.

    Returns
    -------
    response : complex128 array, shape (n,)
        Counts per m, m/s or m/s^2: divide a spectrum of counts by it. Differs from evalresp's
        value by about 1e-8 of it in the pass band.
    """
    grid = np.log(curve.frequency)
    inside = np.log(np.clip(frequencies, curve.frequency[0], curve.frequency[-1]))
    start = np.clip(np.searchsorted(grid, inside) - 2, 0, grid.size - 4)
    log_amplitude = _cubic(grid, curve.log_amplitude, inside, start)
    return np.exp(log_amplitude + 1j * _cubic(grid, curve.phase, inside, start))


def _cubic(x: np.ndarray, y: np.ndarray, at: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Values at ``at`` of the cubics through four neighbouring points from ``start`` on.

    By Newton's divided differences; ``at`` and ``start`` have shape (n,).
    """
    first = np.diff(y) / np.diff(x)
    second = np.diff(first) / (x[2:] - x[:-2])
    third = np.diff(second) / (x[3:] - x[:-3])
    value = second[start] + third[start] * (at - x[start + 2])
    value = first[start] + value * (at - x[start + 1])
    return y[start] + value * (at - x[start])
