"""Stacking: correlations of a pair's windows -> one trace, and measures on traces; on arrays.

A window with a NaN or an infinity is missing and left out, by every method; without any window
the stack is NaN. No method depends on the unit of the windows, and the stack of equal windows is
that window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...request.stacking_params import StackParams
from .additive import (
    AdditiveMethod,
    adaptive_covariance_method,
    linear_method,
    nth_root_method,
    phase_weighted_method,
    time_frequency_method,
)
from .non_additive import (
    NonAdditiveMethod,
    bootstrap,
    median_method,
    robust_method,
    selective_method,
)
from .snr import apparent_speed, peak, snr
from .window_arrays import valid_rows

__all__ = [
    "METHODS",
    "Method",
    "AdditiveMethod",
    "NonAdditiveMethod",
    "adaptive_covariance",
    "apparent_speed",
    "bootstrap",
    "linear",
    "median",
    "nth_root",
    "peak",
    "phase_weighted",
    "robust",
    "selective",
    "snr",
    "time_frequency_phase_weighted",
    "valid_rows",
]

Method = AdditiveMethod | NonAdditiveMethod


def linear(windows: np.ndarray) -> np.ndarray:
    """Average the windows: ``mean(d)``.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.

    Returns
    -------
    stacks : array, shape (..., n_lags)
        Computed in float64, returned in the input's precision and unit.
    """
    return linear_method()(windows)


def phase_weighted(
    windows: np.ndarray, fs: float, phase_smooth: float | None = None, power: float = 2
) -> np.ndarray:
    """Weight the mean of the windows by their phase coherence.

    ``mean(d) * abs(mean(exp(i phase))) ** power``, where ``phase`` is that of the analytic
    signal of each window.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    fs : float
        Samples per second of lag (Hz).
    phase_smooth : float, optional
        Length (s) of a centred running mean of the modulus, before it is raised to ``power``;
        shorter at the ends.
    power : float
        Sharpness of the weight; 0 gives the linear stack.

    Returns
    -------
    stacks : array, shape (..., n_lags)
        In the input's unit.

    References
    ----------
    Schimmel & Paulssen (1997), Geophys. J. Int. 130, 497-505.
    """
    return phase_weighted_method(fs, phase_smooth, power)(windows)


def time_frequency_phase_weighted(
    windows: np.ndarray, fs: float, power: float = 2, band: tuple[float, float] | None = None
) -> np.ndarray:
    """Weight the mean of the windows by their phase coherence at each time and frequency.

    ``S^-1(S(mean(d)) * abs(mean(S(d) exp(2 pi i f t) / abs(S(d)))) ** power)``, where S is the
    S-transform, with a Gaussian of standard deviation 1/f, and S^-1 sums over time. The factor
    exp(2 pi i f t) is the same for all windows and does not change the modulus.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    fs : float
        Samples per second of lag (Hz).
    power : float
        Sharpness of the weight; 0 gives the linear stack.
    band : (lowest, highest), optional
        Frequencies (Hz) that are weighted; others are those of the linear stack. Computing time
        is proportional to the width.

    Returns
    -------
    stacks : array, shape (..., n_lags)
        In the input's unit.

    References
    ----------
    Schimmel, Stutzmann & Gallart (2011), Geophys. J. Int. 184, 494-506.
    Stockwell, Mansinha & Lowe (1996), IEEE Trans. Signal Process. 44, 998-1001.
    """
    return time_frequency_method(fs, power, band)(windows)


def nth_root(windows: np.ndarray, order: float = 2) -> np.ndarray:
    """Average the n-th roots of the windows, with their signs, and raise the mean to power n.

    ``r = mean(sign(d) abs(d) ** (1 / order))``; the stack is ``sign(r) abs(r) ** order``.
    Suppresses signals of few windows and distorts the waveform.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    order : float
        1 gives the linear stack.

    Returns
    -------
    stacks : array, shape (..., n_lags)
        In the input's unit.

    References
    ----------
    McFadden, Drummond & Kravis (1986), Geophysics 51, 1879-1892.
    """
    return nth_root_method(order)(windows)


def adaptive_covariance(windows: np.ndarray, sharpness: float = 1) -> np.ndarray:
    """Filter the linear stack by the coherence of the windows at each frequency.

    With spectra u_i of N windows, the gain is ``(sum_i sum_j!=i u_i conj(u_j) /
    ((N - 1) sum_i abs(u_i)^2)) ** sharpness``: 1 if all are equal, about 0 if they are
    independent; negative values are set to 0. One filter for the whole trace, without phase.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    sharpness : float
        The exponent; 0 gives the linear stack.

    Returns
    -------
    stacks : array, shape (..., n_lags)
        In the input's unit.

    References
    ----------
    Nakata, Chang, Lawrence & Boue (2015), J. Geophys. Res. 120, 1159-1173.
    """
    return adaptive_covariance_method(sharpness)(windows)


def robust(windows: np.ndarray, tolerance: float = 1e-5, max_iterations: int = 50) -> np.ndarray:
    """Average the windows with weights that are small for outliers.

    Iteration from the median: scale the stack to ``norm(s) = 1``; weight every window by
    ``w = abs(s.d) / (norm(d) norm(d - (d.s) s))``; take the weighted mean as the next stack.
    The result is that weighted mean, in the unit and amplitude of the input. A window of zeros
    has no weight. Since ``w`` decreases with ``norm(d)``, windows of large amplitude do not
    dominate, and the amplitude of the stack is closer to that of windows of small amplitude.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    tolerance : float
        Stop when the stack of norm 1 changes by less than this.
    max_iterations : int
        Largest number of weighted means.

    Returns
    -------
    stacks : array, shape (..., n_lags)
        In the input's unit.

    References
    ----------
    Pavlis & Vernon (2010), Computers & Geosciences 36, 910-915.
    """
    return robust_method(tolerance, max_iterations)(windows)


def median(windows: np.ndarray) -> np.ndarray:
    """Take the median of the windows at every lag; of an even number, the mean of the middle two.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.

    Returns
    -------
    stacks : array, shape (..., n_lags)
        In the input's unit.
    """
    return median_method()(windows)


def selective(
    windows: np.ndarray, fs: float, by: str = "correlation", threshold: float = 0.0
) -> np.ndarray:
    """Average the windows that reach a threshold; NaN if none does.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    fs : float
        Samples per second of lag (Hz).
    by : str
        ``correlation``: with the mean of the selected windows, first of all windows, then
        repeated until the selection does not change; or ``snr``: of the window, by `snr` with an
        unknown distance.
    threshold : float
        Smallest value of a selected window, without unit.

    Returns
    -------
    stacks : array, shape (..., n_lags)
        In the input's unit.

    References
    ----------
    Yang, Bryan, Okubo, Jiang, Clements & Denolle (2023), Geophys. J. Int. 232, 1600-1618.
    """
    return selective_method(fs, by, threshold)(windows)


# The column `type` of stacking_params.csv -> method, from the other columns, the sampling rate
# of the lags (Hz) and the band of the correlations (Hz).
METHODS: dict[str, Callable[[StackParams, float, tuple[float, float] | None], Method]] = {
    "linear": lambda params, fs, band: linear_method(),
    "phase-weighted": lambda params, fs, band: phase_weighted_method(
        fs, params.phase_smooth, params.exponent
    ),
    "robust": lambda params, fs, band: robust_method(1e-5, 50),
    "tf-phase-weighted": lambda params, fs, band: time_frequency_method(fs, params.exponent, band),
    "nth-root": lambda params, fs, band: nth_root_method(params.exponent),
    "adaptive-covariance": lambda params, fs, band: adaptive_covariance_method(params.exponent),
    "selective": lambda params, fs, band: selective_method(
        fs, params.selected_by, params.least_selected
    ),
    "median": lambda params, fs, band: median_method(),
}
