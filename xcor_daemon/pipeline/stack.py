"""Many windows of a pair -> one trace, and what such a trace shows: arrays in, array out.

A window that holds a NaN or an infinity is missing: it counts for nothing, here and everywhere.
Where no window is left the answer is NaN. No method depends on the unit of its input.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import uniform_filter1d

_ROWS = 256  # windows, or traces, that are worked on at a time, to stay within the cache


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
    return _pair_by_pair(_mean, windows)


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
    n_smooth = 2 * round((phase_smooth or 0.0) * fs / 2) + 1

    def stack(rows: np.ndarray) -> np.ndarray:
        return _mean(rows) * _smooth(_coherence(rows), n_smooth) ** power

    return _pair_by_pair(stack, windows)


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
    if max_iterations < 1:
        raise ValueError(f"max_iterations={max_iterations}; at least one is needed.")

    def stack(rows: np.ndarray) -> np.ndarray:
        return _reweight(rows, tolerance, max_iterations)

    return _pair_by_pair(stack, windows)


# The column `type` of stacking_params.csv -> function of windows, fs (Hz) and phase_smooth (s).
METHODS: dict[str, Callable[[np.ndarray, float, float | None], np.ndarray]] = {
    "linear": lambda windows, fs, phase_smooth: linear(windows),
    "phase-weighted": phase_weighted,
    "robust": lambda windows, fs, phase_smooth: robust(windows),
}


def substack(windows: np.ndarray, starts_s: np.ndarray, length_s: float) -> np.ndarray:
    """Average the windows that start within each interval of a day.

    Parameters
    ----------
    windows : float array, shape (..., n_windows, n_lags)
        Correlations of each pair, window by window; NaN where a window is missing.
    starts_s : array, shape (n_windows,)
        When the windows start, in seconds after midnight.
    length_s : float
        Interval k is ``[k * length_s, (k + 1) * length_s)``.

    Returns
    -------
    substacks : array, shape (..., n_intervals, n_lags)
        As far as the last window; NaN where an interval has none.
    """
    starts_s = np.asarray(starts_s, dtype=np.float64)
    if starts_s.shape != windows.shape[-2:-1] or not length_s > 0 or starts_s.min(initial=0) < 0:
        raise ValueError(
            f"{starts_s.shape} starts from 0 s on and a length of {length_s} s do not go with "
            f"windows of shape {windows.shape}."
        )
    # 1e-9: a start such as 3 * 0.1 s must not fall before 0.3 s, as in `XcorParams.n_kept`.
    interval = np.floor(starts_s / length_s + 1e-9).astype(np.int64)
    n_intervals = int(interval.max(initial=-1)) + 1
    shape = (*windows.shape[:-2], n_intervals, windows.shape[-1])
    substacks = np.full(shape, np.nan, dtype=_precision(windows))
    for k in np.unique(interval):
        substacks[..., k, :] = linear(windows[..., interval == k, :])
    return substacks


def snr(
    traces: np.ndarray,
    lags: np.ndarray,
    distances: np.ndarray | float = np.nan,
    speeds: tuple[float, float] = (1.5, 5.0),
    margin: float = 0.0,
) -> np.ndarray:
    """Signal-to-noise ratio: the peak of the envelope over the root mean square of the noise.

    The envelope is the modulus of the analytic signal. The signal lies, on both sides of zero,
    at lags from ``distance / vmax - margin`` to ``distance / vmin + margin`` and a sample more on
    either side; the noise is the trace further out, or in the outer quarter of the lags where
    less than that is left (the noise then holds some signal and the ratio is a lower bound).
    Where the distance is unknown the signal may lie at any lag and the noise is that quarter.

    Parameters
    ----------
    traces : float array, shape (..., n_lags)
        Stacks.
    lags : array, shape (n_lags,)
        In seconds, 0 in the middle.
    distances : float or array, shape (...)
        In km; NaN where unknown.
    speeds : (vmin, vmax)
        Slowest and fastest wave that counts as signal (km/s).
    margin : float
        Half the length of a pulse (s); one period of the lowest frequency is a good value.

    Returns
    -------
    ratios : float64 array, shape (...)
        NaN where the trace has a NaN or is zero, or the signal would come after the last lag;
        infinite where only the noise is zero.
    """
    traces = np.asarray(traces)
    ratios = np.empty(traces.shape[:-1])
    flat = traces.reshape(-1, traces.shape[-1])
    far = np.broadcast_to(distances, ratios.shape).reshape(-1)
    parts = [
        _snr_rows(flat[rows], np.abs(lags), far[rows, None], speeds, margin)
        for rows in _blocks(len(flat))
    ]
    ratios.reshape(-1)[:] = np.concatenate(parts) if parts else []
    return ratios


def peak(traces: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lag and amplitude of the largest absolute value, between samples by a parabola.

    Of equal values the first counts; at either end there is nothing to interpolate.

    Parameters
    ----------
    traces : float array, shape (..., n_lags)
        Stacks.
    lags : array, shape (n_lags,)
        In seconds, evenly spaced.

    Returns
    -------
    lag, amplitude : float64 arrays, shape (...)
        In seconds, and signed in the unit of the traces; NaN where a trace has a NaN, and a
        lag of NaN where it is zero throughout.
    """
    traces = np.asarray(traces)
    shape, n_lags = traces.shape[:-1], traces.shape[-1]
    flat = traces.reshape(-1, n_lags)
    lag, amplitude = np.full(len(flat), np.nan), np.full(len(flat), np.nan)
    lags = np.asarray(lags, dtype=np.float64)
    spacing = (lags[-1] - lags[0]) / max(n_lags - 1, 1)
    good = np.flatnonzero(np.isfinite(flat).all(axis=-1))
    at = np.abs(flat[good]).argmax(axis=-1)
    left, top, right = (
        flat[good, np.clip(at + step, 0, n_lags - 1)].astype(np.float64) for step in (-1, 0, 1)
    )
    bend = left - 2 * top + right
    inside = (at > 0) & (at < n_lags - 1) & (bend != 0)
    shift = np.divide(left - right, 2 * bend, out=np.zeros(len(good)), where=inside)
    lag[good] = np.where(top == 0, np.nan, lags[at] + shift * spacing)
    amplitude[good] = top - (left - right) * shift / 4
    return lag.reshape(shape), amplitude.reshape(shape)


def _pair_by_pair(stack: Callable[[np.ndarray], np.ndarray], windows: np.ndarray) -> np.ndarray:
    """Apply ``stack`` to the valid windows of one pair after the other: memory for one."""
    windows = np.asarray(windows)
    if windows.ndim < 2:
        raise ValueError(f"windows of shape {windows.shape}; need (..., n_windows, n_lags).")
    *pairs, n_windows, n_lags = windows.shape
    stacks = np.full((*pairs, n_lags), np.nan, dtype=_precision(windows))
    for pair in np.ndindex(*pairs):
        rows = windows[pair]
        valid = np.isfinite(rows).all(axis=-1)
        if valid.any():
            stacks[pair] = stack(rows if valid.all() else rows[valid])
    return stacks


def _precision(windows: np.ndarray) -> np.dtype:
    return np.result_type(windows.dtype, np.float32)


def _mean(rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=0, dtype=np.float64)


def _blocks(n: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, n, _ROWS)]


def _analytic(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of the analytic signal, each row scaled to a maximum of 1.

    float32 is enough once scaled: only the phase and ratios are asked of it. The transform is
    padded with zeros to a fast length, as ObsPy pads it: 1201 lags are a prime number.
    """
    n_lags = rows.shape[-1]
    n_fft = next_fast_len(n_lags, real=True)
    largest = np.abs(rows).max(axis=-1, keepdims=True)
    largest[largest == 0] = 1
    real = (rows / largest).astype(np.float32)
    imaginary = irfft(-1j * rfft(real, n_fft), n_fft)[..., :n_lags]
    return real, imaginary


def _coherence(rows: np.ndarray) -> np.ndarray:
    """Modulus of the mean of the windows' unit phasors: 1 where all phases agree."""
    cosine, sine = np.zeros(rows.shape[-1]), np.zeros(rows.shape[-1])
    for block in _blocks(len(rows)):
        real, imaginary = _analytic(rows[block])
        modulus = np.hypot(real, imaginary)
        modulus[modulus == 0] = 1  # zeros have no phase: they agree with nothing
        cosine += (real / modulus).sum(axis=0, dtype=np.float64)
        sine += (imaginary / modulus).sum(axis=0, dtype=np.float64)
    # The phasors are rounded to float32; equal windows must give 1 and no more.
    return np.minimum(np.hypot(cosine, sine) / len(rows), 1)


def _smooth(values: np.ndarray, n: int) -> np.ndarray:
    """Centred mean over ``n`` values, an odd number; at the ends over those there are."""
    if n <= 1:
        return values
    n = min(n, 2 * values.size - 1)
    there = uniform_filter1d(np.ones(values.size), n, mode="constant")
    return uniform_filter1d(values, n, mode="constant") / there


def _reweight(rows: np.ndarray, tolerance: float, max_iterations: int) -> np.ndarray:
    """The robust stack of one pair's valid windows."""
    scale = np.abs(rows).max().astype(np.float64)
    if scale == 0:
        return np.zeros(rows.shape[-1])
    stack = _unit(_median(rows) / scale)
    rows = rows / scale  # float64: squares of tiny and huge amplitudes stay finite
    norms = np.linalg.norm(rows, axis=-1)
    if not stack.any():  # spikes at different lags have a median of zero
        stack = _unit(_mean(rows))
    mean = _mean(rows)
    for _ in range(max_iterations):
        along = rows @ stack
        # A window equal to the stack would weigh infinitely much.
        across = np.sqrt(np.maximum(norms**2 - along**2, (1e-6 * norms) ** 2))
        below = norms * across
        weight = np.divide(np.abs(along), below, out=np.zeros_like(norms), where=below > 0)
        if not weight.any():
            break
        mean = weight @ rows / weight.sum()
        before, stack = stack, _unit(mean)
        if np.linalg.norm(stack - before) < tolerance:
            break
    return mean * scale


def _median(rows: np.ndarray) -> np.ndarray:
    """The median of the windows; a sort is four times faster here than `np.median`."""
    middle = [(len(rows) - 1) // 2, len(rows) // 2]
    return _mean(np.sort(rows, axis=0)[middle])


def _unit(trace: np.ndarray) -> np.ndarray:
    """The trace with a norm of 1; zeros stay zeros."""
    return trace / (np.linalg.norm(trace) or 1)


def _snr_rows(
    traces: np.ndarray,
    lags: np.ndarray,
    distances: np.ndarray,
    speeds: tuple[float, float],
    margin: float,
) -> np.ndarray:
    """`snr` of (n_traces, n_lags), with absolute lags and distances as a column."""
    slowest, fastest = speeds
    valid = np.isfinite(traces).all(axis=-1)
    real, imaginary = _analytic(np.where(valid[:, None], traces, 0))
    sample = 2 * lags.max() / max(lags.size - 1, 1)
    end = np.nan_to_num(distances / slowest + margin + sample, nan=np.inf)
    begin = np.nan_to_num(distances / fastest - margin - sample, nan=0.0)
    outer = lags > np.minimum(end, 0.75 * lags.max())
    envelope = np.hypot(real, imaginary)
    signal = np.where((lags >= begin) & (lags <= end), envelope, 0).max(axis=-1)
    valid &= signal > 0
    power = np.where(outer, real.astype(np.float64) ** 2, 0).sum(axis=-1)
    noise = np.sqrt(power / np.maximum(outer.sum(axis=-1), 1))
    ratio = np.where(valid, np.inf, np.nan)
    return np.divide(signal, noise, out=ratio, where=valid & (noise > 0))
