"""Relative changes of seismic velocity, dv/v, between stacks of a pair; on arrays.

If the velocity has increased by ``dvv`` everywhere, all waves arrive earlier, in proportion to
their lag: ``current(t) = reference(t (1 + dvv))``. The coda of the correlations is compared, on
both sides of zero lag.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy  # loads its modules on first use

_COARSE = 25  # steps of the coarse search for a phase change of one period at the last lag
_FINE = 10  # steps of the fine search in a step of the coarse one
_PERIODS = 5  # of the lowest frequency in a window of the cross-spectrum
_MAX_ITERATIONS = 8  # of the cross-spectrum, each from the stretched reference
_TOLERANCE = 2e-6  # dv/v of the last iteration


@dataclass(frozen=True)
class Coda:
    """The part of a correlation that is compared, and the search range of dv/v."""

    min_lag: float  # s, on both sides
    max_lag: float  # s
    freqmin: float  # Hz
    freqmax: float  # Hz
    max_dvv: float  # largest absolute dv/v, without unit

    def lag_mask(self, lags: np.ndarray) -> np.ndarray:
        """Select the lags of the coda.

        Parameters
        ----------
        lags : array, shape (n_lags,)
            In s, 0 in the middle.

        Returns
        -------
        mask : bool array, shape (n_lags,)

        Raises
        ------
        ValueError
            If the coda is shorter than a period of ``freqmin``, or the stretched reference would
            need lags beyond the last.
        """
        distance = np.abs(lags)
        length = self.max_lag - self.min_lag
        inside = (distance >= self.min_lag - 1e-9) & (distance <= self.max_lag + 1e-9)
        last = max_usable_lag(lags, self.max_dvv)
        if length * self.freqmin < 1 or self.max_lag > last + 1e-9:
            raise ValueError(
                f"the coda from {self.min_lag:g} to {self.max_lag:g} s is shorter than one period "
                f"of {self.freqmin:g} Hz, or exceeds the largest usable lag ({last:g} s)"
            )
        return inside


@dataclass(frozen=True)
class Change:
    """dv/v of stacks against a reference; arrays of shape (n_stacks,), NaN if not measured."""

    dvv: np.ndarray  # without unit; positive if waves arrive earlier
    error: np.ndarray  # standard error of dvv
    correlation: np.ndarray  # coefficient of the stack and the stretched reference


def max_usable_lag(lags: np.ndarray, max_dvv: float) -> float:
    """Return the last of lags (n_lags,) that a reference stretched by ``max_dvv`` has (s)."""
    return float(min(-lags[0], lags[-1])) / (1 + max_dvv)


def stretching(reference: np.ndarray, stacks: np.ndarray, lags: np.ndarray, coda: Coda) -> Change:
    """Measure dv/v by stretching the reference until it correlates best with each stack.

    The correlation coefficient X is computed on a grid of dv/v, then on a finer grid around its
    maximum, and the maximum is interpolated by a parabola. The error is the effect of noise that
    lowers the coefficient to X, ``sqrt(1 - X^2) / (2 X) sqrt(6 sqrt(pi / 2) T / (w^2 (t2^3 -
    t1^3)))`` with the inverse bandwidth T and the angular frequency w of the middle of the band.

    Parameters
    ----------
    reference : float array, shape (n_lags,)
        In any unit.
    stacks : float array, shape (n_stacks, n_lags)
        In any unit; NaN where a stack is missing.
    lags : array, shape (n_lags,)
        In s, evenly spaced, 0 in the middle.
    coda : Coda
        Lags, band and search range.

    Returns
    -------
    change : Change
        NaN if the stack or the reference is missing or zero. A maximum at the end of the search
        range is NaN too, since the true one may lie beyond.

    Raises
    ------
    ValueError
        If the lags have no such coda.

    References
    ----------
    Lobkis & Weaver (2003), Phys. Rev. Lett. 90, 254302; Weaver, Hadziioannou, Larose &
    Campillo (2011), Geophys. J. Int. 185, 1384-1392.
    """
    mask = coda.lag_mask(lags)
    t = np.asarray(lags, dtype=np.float64)[mask]
    good, current = _usable(reference, stacks, mask)
    dvv, correlation = np.full(len(stacks), np.nan), np.full(len(stacks), np.nan)
    if not good.any():
        return Change(dvv, dvv.copy(), correlation)
    stretched = _stretched(reference, lags, t)
    step = 1 / (_COARSE * coda.freqmax * coda.max_lag)
    n_side = int(np.ceil(coda.max_dvv / step))
    grid = np.linspace(-coda.max_dvv, coda.max_dvv, 2 * n_side + 1)
    coefficients = current @ np.array([_normed(stretched(change)) for change in grid]).T
    best = coefficients.argmax(axis=-1)
    inside = (best > 0) & (best < grid.size - 1)
    fine = np.linspace(-1, 1, 2 * _FINE + 1) * (grid[1] - grid[0])
    for k, index in enumerate(np.flatnonzero(good)):
        if not inside[k]:
            continue
        around = grid[best[k]] + fine
        values = np.array([_normed(stretched(change)) for change in around]) @ current[k]
        change, correlation[index] = _parabola(around, values)
        dvv[index] = change
    return Change(dvv, weaver_error(correlation, coda), correlation)


def weaver_error(correlation: np.ndarray, coda: Coda) -> np.ndarray:
    """Compute the standard error of dv/v by stretching (Weaver et al. 2011, equation 22).

    Parameters
    ----------
    correlation : float array, shape (n_stacks,)
        Coefficient of each stack and the stretched reference.
    coda : Coda
        Lags and band.

    Returns
    -------
    error : float64 array, shape (n_stacks,)
        Without unit; NaN if the coefficient is not above 0.
    """
    x = np.clip(np.where(correlation > 0, correlation, np.nan), None, 1)
    width = 1 / (coda.freqmax - coda.freqmin)
    middle = np.pi * (coda.freqmin + coda.freqmax)
    span = coda.max_lag**3 - coda.min_lag**3
    scale = np.sqrt(6 * np.sqrt(np.pi / 2) * width / (middle**2 * span))
    return np.sqrt(1 - x**2) / (2 * x) * scale


def cross_spectrum(
    reference: np.ndarray, stacks: np.ndarray, lags: np.ndarray, coda: Coda
) -> Change:
    """Measure dv/v by the moving-window cross-spectrum: the slope of delays with lag.

    In windows of five periods of the lowest frequency, with an overlap of one half and a Hann
    taper, the delay is the slope of the phase of the cross-spectrum with frequency, through 0,
    weighted by its modulus and ``C^2 / (1 - C^2)``, with the coherence C of spectra smoothed over
    neighbouring frequencies. dv/v is minus the slope of the delays with lag, through 0, weighted
    by ``X^2 / (1 - X^2)`` with the correlation coefficient X in each window. The reference is then
    stretched by it and the residual measured again, until it vanishes: in a short window the
    phase at one frequency affects its neighbours, so that one measurement is too small.

    A delay of half a period is ambiguous: changes of more than ``1 / (2 freqmax max_lag)`` are
    NaN; `stretching` finds them.

    Parameters
    ----------
    reference : float array, shape (n_lags,)
        In any unit.
    stacks : float array, shape (n_stacks, n_lags)
        In any unit; NaN where a stack is missing.
    lags : array, shape (n_lags,)
        In s, evenly spaced, 0 in the middle.
    coda : Coda
        Lags, band and search range.

    Returns
    -------
    change : Change
        As in `stretching`. The error is that of the last slope, from the scatter of the delays,
        and not smaller than the effect of noise on each of them.

    Raises
    ------
    ValueError
        If the lags have no such coda.

    References
    ----------
    Poupinet, Ellsworth & Frechet (1984), J. Geophys. Res. 89, 5719-5731; Clarke, Zaccarelli,
    Shapiro & Brenguier (2011), Geophys. J. Int. 186, 867-882.
    """
    mask = coda.lag_mask(lags)
    t = np.asarray(lags, dtype=np.float64)
    good, current = _usable(reference, stacks, mask)
    dvv, error = np.full(len(stacks), np.nan), np.full(len(stacks), np.nan)
    correlation = np.full(len(stacks), np.nan)
    if not good.any():
        return Change(dvv, error, correlation)
    stretched = _stretched(reference, lags, t[mask])
    whole = _stretched(reference, lags, t)
    windows = _Windows(t, coda)
    largest = min(coda.max_dvv, 0.5 / (coda.freqmax * coda.max_lag))
    for k, index in enumerate(np.flatnonzero(good)):
        change = 0.0
        for _ in range(_MAX_ITERATIONS):
            # Beyond its ends the reference is zero; no window reaches there.
            residual, error[index] = windows.slope(whole(change), stacks[index])
            change += residual
            if not _TOLERANCE < abs(residual) < largest:
                break
        if not abs(change) < largest:
            error[index] = np.nan
            continue
        dvv[index] = change
        correlation[index] = _normed(stretched(change)) @ current[k]
    return Change(dvv, error, correlation)


# The column `dvv` of stacking_params.csv -> function.
METHODS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, Coda], Change]] = {
    "stretching": stretching,
    "cross-spectrum": cross_spectrum,
}


class _Windows:
    """Short windows of the coda, and the delay between two traces in each."""

    def __init__(self, lags: np.ndarray, coda: Coda) -> None:
        spacing = (lags[-1] - lags[0]) / (lags.size - 1)
        length = min(_PERIODS / coda.freqmin, coda.max_lag - coda.min_lag)
        n = max(int(round(length / spacing)), 8)
        first = coda.min_lag + length / 2
        n_windows = max(1, int(np.floor((coda.max_lag - length / 2 - first) / (length / 2))) + 1)
        centres = first + np.arange(n_windows) * length / 2
        centres = np.concatenate([-centres[::-1], centres])
        begin = np.round((centres - lags[0]) / spacing - (n - 1) / 2).astype(int)
        begin = np.clip(begin, 0, lags.size - n)
        self.index = begin[:, None] + np.arange(n)
        self.centres = lags[self.index].mean(axis=1)
        self.taper = np.hanning(n + 2)[1:-1]
        # Independent values of a window, in the band and with the taper.
        self.n_free = max(1.0, (coda.freqmax - coda.freqmin) * length)
        self.n_fft = 4 * n  # frequencies close enough for a phase that changes slowly
        frequency = np.fft.rfftfreq(self.n_fft, spacing)
        self.band = (frequency >= coda.freqmin) & (frequency <= coda.freqmax)
        self.omega = 2 * np.pi * frequency[self.band]
        # Taper and padding correlate as many neighbours: the resolution of a window.
        self.smooth = np.hanning(8 + 2)[1:-1]
        self.smooth /= self.smooth.sum()

    def slope(self, reference: np.ndarray, stack: np.ndarray) -> tuple[float, float]:
        """Minus the slope of delay with lag, and its standard error."""
        delay, variance = self.delays(reference, stack)
        usable = np.isfinite(delay) & np.isfinite(variance) & (variance > 0)
        if usable.sum() < 2:
            return np.nan, np.nan
        t, d, w = self.centres[usable], delay[usable], 1 / variance[usable]
        below = np.sum(w * t * t)
        slope = np.sum(w * t * d) / below
        scatter = np.sum(w * (d - slope * t) ** 2) / (t.size - 1)
        # The scatter of few delays may be small by chance, the effect of noise on each is not.
        return -float(slope), float(np.sqrt(max(scatter, 1 / self.n_free) / below))

    def delays(self, reference: np.ndarray, stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Delay of the stack in every window (s) and its variance (s2): (n_windows,) each."""
        rows = [self._cut(trace) for trace in (reference, stack)]
        a, b = (np.fft.rfft(cut, self.n_fft, axis=-1) for cut in rows)
        cross, power_a, power_b = (
            self._smoothed(values)[:, self.band]
            for values in (a * np.conj(b), np.abs(a) ** 2, np.abs(b) ** 2)
        )
        both = np.sqrt(power_a * power_b)
        coherence = np.divide(np.abs(cross), both, out=np.zeros(both.shape), where=both > 0)
        coherence = np.minimum(coherence, 1 - 1e-6)
        weight = coherence**2 / (1 - coherence**2) * np.abs(cross)
        # Delays are shorter than half a period, so phases need no unwrapping.
        phase = np.angle(cross)
        below = (weight * self.omega**2).sum(axis=-1)
        above = (weight * self.omega * phase).sum(axis=-1)
        delay = np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
        norms = np.linalg.norm(rows[0], axis=-1) * np.linalg.norm(rows[1], axis=-1)
        product = (rows[0] * rows[1]).sum(axis=-1)
        coefficient = np.divide(product, norms, out=np.zeros(norms.shape), where=norms > 0)
        # Noise that lowers the coefficient to X changes the phase by sqrt(1 - X^2) / X, at least
        # 0.001 rad; without a positive coefficient the delay is meaningless.
        coefficient = np.where(coefficient > 0, coefficient, np.nan)
        phase_variance = (1 - coefficient**2) / coefficient**2 + 1e-6
        return delay, phase_variance / self.omega.mean() ** 2

    def _cut(self, trace: np.ndarray) -> np.ndarray:
        rows = np.asarray(trace, dtype=np.float64)[self.index]
        return (rows - rows.mean(axis=-1, keepdims=True)) * self.taper

    def _smoothed(self, values: np.ndarray) -> np.ndarray:
        return scipy.ndimage.convolve1d(values, self.smooth, mode="constant")


def _usable(
    reference: np.ndarray, stacks: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Stacks that can be compared, bool (n_stacks,), and their coda scaled to a norm of 1."""
    stacks = np.asarray(stacks)
    if not np.isfinite(reference).all() or not np.any(reference[mask]):
        return np.zeros(len(stacks), dtype=bool), np.empty((0, int(mask.sum())))
    good = np.isfinite(stacks).all(axis=-1) & stacks[:, mask].any(axis=-1)
    rows = stacks[good][:, mask].astype(np.float64)
    rows /= np.abs(rows).max(axis=-1, keepdims=True, initial=1e-300)
    return good, rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _stretched(
    reference: np.ndarray, lags: np.ndarray, t: np.ndarray
) -> Callable[[float], np.ndarray]:
    """A function of dv/v that returns the stretched reference at lags ``t``; 0 beyond its ends."""
    scale = np.abs(reference).max()
    shape = np.asarray(reference, dtype=np.float64) / scale
    spline = scipy.interpolate.make_interp_spline(lags, shape, k=5)
    ends = lags[0] - 1e-9, lags[-1] + 1e-9

    def at(change: float) -> np.ndarray:
        time = t * (1 + change)
        return np.where((time >= ends[0]) & (time <= ends[1]), spline(time), 0.0)

    return at


def _normed(trace: np.ndarray) -> np.ndarray:
    return trace / (np.linalg.norm(trace) or 1)


def _parabola(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Position and value of the maximum of evenly spaced values, by a parabola."""
    k = int(np.clip(y.argmax(), 1, y.size - 2))
    left, top, right = y[k - 1 : k + 2]
    bend = left - 2 * top + right
    shift = (left - right) / (2 * bend) if bend else 0.0
    return float(x[k] + shift * (x[1] - x[0])), float(top - (left - right) * shift / 4)
