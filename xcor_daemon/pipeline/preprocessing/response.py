"""An instrument response at any frequency, from the curve that was made of it."""

from __future__ import annotations

import numpy as np

from ..datatypes import ResponseCurve


def transfer(curve: ResponseCurve, frequencies: np.ndarray) -> np.ndarray:
    """The response at any frequencies, counts per unit of ground motion.

    Parameters
    ----------
    frequencies : array
        Hz. Outside the curve its end value is held, at 0 Hz too: finite, and never to be used
        without a filter that is zero there.

    Returns
    -------
    response : complex128 array
        Divide a spectrum of counts by it; error about 1e-8 of evalresp's value in the passband.
    """
    grid = np.log(curve.frequency)
    inside = np.log(np.clip(frequencies, curve.frequency[0], curve.frequency[-1]))
    start = np.clip(np.searchsorted(grid, inside) - 2, 0, grid.size - 4)
    log_amplitude = _cubic(grid, curve.log_amplitude, inside, start)
    return np.exp(log_amplitude + 1j * _cubic(grid, curve.phase, inside, start))


def _cubic(x: np.ndarray, y: np.ndarray, at: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The cubics through four neighbouring points from ``start`` on, by Newton's differences."""
    first = np.diff(y) / np.diff(x)
    second = np.diff(first) / (x[2:] - x[:-2])
    third = np.diff(second) / (x[3:] - x[:-3])
    value = second[start] + third[start] * (at - x[start + 2])
    value = first[start] + value * (at - x[start + 1])
    return y[start] + value * (at - x[start])
