"""Many windows of a pair -> one trace, and what such a trace shows: arrays in, array out.

A window that holds a NaN or an infinity is missing: it counts for nothing, here and everywhere.
Where no window is left the answer is NaN. No method depends on the unit of its input, and equal
windows come out of each unchanged.
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
    """Average the windows and keep what they agree on in phase.

    ``mean(d) * abs(mean(exp(i phase))) ** power``, where ``phase`` is that of the analytic
    signal of each window. Equal windows, and a single one, come out unchanged.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    fs : float
        Samples per second of lag (Hz).
    phase_smooth : float, optional
        Average the modulus over so many seconds, centred, before it is raised to ``power``;
        at the ends over the part that there is.
    power : float
        Sharpness of the weight; 0 gives the linear stack.

    References
    ----------
    Schimmel & Paulssen (1997), Geophys. J. Int. 130, 497-505.
    """
    return phase_weighted_method(fs, phase_smooth, power)(windows)


def time_frequency_phase_weighted(
    windows: np.ndarray, fs: float, power: float = 2, band: tuple[float, float] | None = None
) -> np.ndarray:
    """Average the windows and keep what they agree on in phase, at each time and frequency.

    ``S^-1(S(mean(d)) * abs(mean(S(d) exp(2 pi i f t) / abs(S(d)))) ** power)``, where S is the
    S-transform, with a Gaussian of standard deviation 1/f, and S^-1 sums over time. The factor
    exp(2 pi i f t) is the same for all windows, so the modulus does without it.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    fs : float
        Samples per second of lag (Hz).
    power : float
        Sharpness of the weight; 0 gives the linear stack.
    band : (lowest, highest), optional
        Frequencies (Hz) that are weighted; outside, the linear stack is left as it is. The time
        it takes grows with their number.

    References
    ----------
    Schimmel, Stutzmann & Gallart (2011), Geophys. J. Int. 184, 494-506.
    Stockwell, Mansinha & Lowe (1996), IEEE Trans. Signal Process. 44, 998-1001.
    """
    return time_frequency_method(fs, power, band)(windows)


def nth_root(windows: np.ndarray, order: float = 2) -> np.ndarray:
    """Average the roots of the windows, sign kept, and raise the mean to the same power.

    ``r = mean(sign(d) abs(d) ** (1 / order))``; the stack is ``sign(r) abs(r) ** order``.
    It suppresses what few windows have, and distorts the waveform.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    order : float
        1 gives the linear stack.

    References
    ----------
    McFadden, Drummond & Kravis (1986), Geophysics 51, 1879-1892.
    """
    return nth_root_method(order)(windows)


def adaptive_covariance(windows: np.ndarray, sharpness: float = 1) -> np.ndarray:
    """Filter the linear stack by how coherent the windows are at each frequency.

    With spectra u_i of N windows, the gain is ``(sum_i sum_j!=i u_i conj(u_j) /
    ((N - 1) sum_i abs(u_i)^2)) ** sharpness``: 1 where all are equal, about 0 where they are
    independent; what is below 0 is set to 0. One filter for the whole trace, without phase. A
    single window comes out unchanged.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    sharpness : float
        The exponent; 0 gives the linear stack.

    References
    ----------
    Nakata, Chang, Lawrence & Boue (2015), J. Geophys. Res. 120, 1159-1173.
    """
    return adaptive_covariance_method(sharpness)(windows)


def robust(windows: np.ndarray, tolerance: float = 1e-5, max_iterations: int = 50) -> np.ndarray:
    """Average the windows with weights that leave out those unlike the rest.

    From the median, repeat: scale the stack to ``norm(s) = 1``; weigh every window by
    ``w = abs(s.d) / (norm(d) norm(d - (d.s) s))``; take the weighted mean as the next stack.
    The answer is that weighted mean, so it has the unit and amplitude of the input, not a
    norm of 1. Equal windows come out unchanged; a window of zeros has no weight. Since ``w``
    falls with ``norm(d)``, loud windows do not rule, and the amplitude leans to quiet ones.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    tolerance : float
        Stop when the unit-norm stack moves by less than this.
    max_iterations : int
        Stop at the latest after so many weighted means.

    References
    ----------
    Pavlis & Vernon (2010), Computers & Geosciences 36, 910-915.
    """
    return robust_method(tolerance, max_iterations)(windows)


def median(windows: np.ndarray) -> np.ndarray:
    """The median of the windows at every lag; of an even number, the mean of the middle two.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    """
    return median_method()(windows)


def selective(
    windows: np.ndarray, fs: float, by: str = "correlation", threshold: float = 0.0
) -> np.ndarray:
    """Average the windows that are good enough; NaN where none is.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    fs : float
        Samples per second of lag (Hz).
    by : str
        ``correlation``: with the mean of the windows chosen so far, from that of all on, until
        the choice stands; or ``snr``: of the window alone, as `snr` has it of a trace whose
        distance is unknown.
    threshold : float
        The least that is chosen.

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
