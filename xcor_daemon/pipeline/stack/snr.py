"""Measures on traces: signal-to-noise ratio, peak, apparent speed."""

from __future__ import annotations

import numpy as np

from ..datatypes import SAME_PLACE
from .window_arrays import analytic, chunks


def snr(
    traces: np.ndarray,
    lags: np.ndarray,
    distances: np.ndarray | float = np.nan,
    speeds: tuple[float, float] = (1.5, 5.0),
    margin: float = 0.0,
) -> np.ndarray:
    """Compute the signal-to-noise ratio: peak of the envelope over root mean square of the noise.

    The envelope is the modulus of the analytic signal. The signal window, on both sides of zero,
    is from ``distance / vmax - margin`` to ``distance / vmin + margin``, and one sample more on
    either side. The noise window is beyond it, but at least the outer quarter of the lags (it
    then contains signal, and the ratio is a lower bound). If the distance is unknown the signal
    window is the whole trace and the noise window that quarter.

    Parameters
    ----------
    traces : float array, shape (..., n_lags)
        Stacks.
    lags : array, shape (n_lags,)
        In s, 0 in the middle.
    distances : float or array, shape (...)
        In km; NaN if unknown.
    speeds : (vmin, vmax)
        Slowest and fastest signal (km/s).
    margin : float
        Half the length of a pulse (s); one period of the lowest frequency is a good value.

    Returns
    -------
    ratios : float64 array, shape (...)
        Without unit. NaN if the trace has a NaN or is zero, or the signal window begins after
        the last lag; infinite if only the noise is zero.
    """
    traces = np.asarray(traces)
    ratios = np.empty(traces.shape[:-1])
    flat = traces.reshape(-1, traces.shape[-1])
    far = np.broadcast_to(distances, ratios.shape).reshape(-1)
    parts = [
        _snr_rows(flat[rows], np.abs(lags), far[rows, None], speeds, margin)
        for rows in chunks(len(flat))
    ]
    ratios.reshape(-1)[:] = np.concatenate(parts) if parts else []
    return ratios


def peak(traces: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find lag and amplitude of the largest absolute value, by a parabola between samples.

    The first of equal values is taken; there is no interpolation at the ends.

    Parameters
    ----------
    traces : float array, shape (..., n_lags)
        Stacks.
    lags : array, shape (n_lags,)
        In s, evenly spaced.

    Returns
    -------
    lag, amplitude : float64 arrays, shape (...)
        In s, and with its sign in the unit of the traces; NaN if a trace has a NaN. The lag is
        also NaN if the trace is zero.
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
    real, imaginary = analytic(np.where(valid[:, None], traces, 0))
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


def apparent_speed(distance: np.ndarray, lag: np.ndarray) -> np.ndarray:
    """Divide distance by lag.

    Parameters
    ----------
    distance : array, shape (...)
        km; NaN if unknown.
    lag : array, shape (...)
        s, of either sign.

    Returns
    -------
    speed : float64 array, shape (...)
        km/s; NaN for channels at the same location, or a lag of 0.
    """
    distance, lag = np.asarray(distance, np.float64), np.asarray(lag, np.float64)
    far = np.isfinite(lag) & (lag != 0) & (distance > SAME_PLACE)
    return np.divide(distance, np.abs(lag), out=np.full(lag.shape, np.nan), where=far)
