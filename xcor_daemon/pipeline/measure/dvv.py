"""Relative changes of velocity, dv/v, between stacks of a pair: arrays in, arrays out.

Where the velocity has grown by ``dvv`` everywhere, every wave arrives earlier and the later the
more so: ``current(t) = reference(t (1 + dvv))``. The later part of a correlation, its coda, is
compared on both sides of zero lag.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are first used

_COARSE = 25  # steps of the first search for a period's change of phase at the last lag
_FINE = 10  # steps of the second search in one of the first
_PERIODS = 5  # of the lowest frequency in a window of the cross-spectrum
_ROUNDS = 8  # times at most that it starts again from the stretched reference
_STILL = 2e-6  # dv/v that is left when it stops


@dataclass(frozen=True)
class Coda:
    """Which part of a correlation is compared."""

    min_lag: float  # s, on both sides
    max_lag: float  # s
    freqmin: float  # Hz
    freqmax: float  # Hz
    max_dvv: float  # dv/v that is looked for, on both sides of 0

    def lag_mask(self, lags: np.ndarray) -> np.ndarray:
        """Which lags are compared.

        Raises
        ------
        ValueError
            If the coda is shorter than a period of ``freqmin``, or reaches beyond the lags once
            it is stretched.
        """
        away = np.abs(lags)
        length = self.max_lag - self.min_lag
        inside = (away >= self.min_lag - 1e-9) & (away <= self.max_lag + 1e-9)
        furthest = max_usable_lag(lags, self.max_dvv)
        if length * self.freqmin < 1 or self.max_lag > furthest + 1e-9:
            raise ValueError(
                f"a coda from {self.min_lag:g} to {self.max_lag:g} s holds no period of "
                f"{self.freqmin:g} Hz, or does not lie within lags that end, stretched, at "
                f"{furthest:g} s."
            )
        return inside


@dataclass(frozen=True)
class Change:
    """dv/v of many stacks against a reference; arrays of shape (n_stacks,), NaN where unknown."""

    dvv: np.ndarray  # 1; positive where waves arrive earlier
    error: np.ndarray  # 1
    correlation: np.ndarray  # of the stack with the reference, once that is stretched


def max_usable_lag(lags: np.ndarray, max_dvv: float) -> float:
    """The last lag that a reference has after a change of velocity of up to ``largest`` (s)."""
    return float(min(-lags[0], lags[-1])) / (1 + max_dvv)


def stretching(reference: np.ndarray, stacks: np.ndarray, lags: np.ndarray, coda: Coda) -> Change:
    """Stretch the reference until it correlates best with each stack.

    Correlations are computed for changes on a grid, again on a finer one about the best, and the
    largest is found between its points by a parabola. The error is what noise that lowers the
    correlation to its value causes, ``sqrt(1 - X^2) / (2 X) sqrt(6 sqrt(pi / 2) T / (w^2 (t2^3 -
    t1^3)))`` with the inverse bandwidth T and the angular frequency w of the middle of the band.

    Parameters
    ----------
    reference : float array, shape (n_lags,)
    stacks : float array, shape (n_stacks, n_lags)
        NaN where a stack is missing.
    lags : array, shape (n_lags,)
        In seconds, even, 0 in the middle.
    coda : Coda

    Returns
    -------
    Change
        NaN where stack or reference are missing or zero; a change at the end of the search is
        NaN as well, since the true one may lie beyond.

    References
    ----------
    Lobkis & Weaver (2003), Phys. Rev. Lett. 90, 254302; Weaver, Hadziioannou, Larose &
    Campillo (2011), Geophys. J. Int. 185, 1384-1392.
    """
    chosen = coda.lag_mask(lags)
    t = np.asarray(lags, dtype=np.float64)[chosen]
    good, current = _usable(reference, stacks, chosen)
    dvv, correlation = np.full(len(stacks), np.nan), np.full(len(stacks), np.nan)
    if not good.any():
        return Change(dvv, dvv.copy(), correlation)
    stretched = _stretched(reference, lags, t)
    step = 1 / (_COARSE * coda.freqmax * coda.max_lag)
    n_side = int(np.ceil(coda.max_dvv / step))
    grid = np.linspace(-coda.max_dvv, coda.max_dvv, 2 * n_side + 1)
    alike = current @ np.array([_normed(stretched(change)) for change in grid]).T
    best = alike.argmax(axis=-1)
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
    """Standard deviation of dv/v by stretching, from the correlation that it reaches.

    Weaver et al. (2011), equation 22; NaN where the correlation is not above 0.
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
    """Measure the delay of each stack in short windows along the coda, and how it grows with lag.

    In windows of five periods of the lowest frequency, half overlapping, with a Hann taper, the
    delay is the slope of the phase of the cross-spectrum with frequency, through 0, weighted by
    its modulus and ``C^2 / (1 - C^2)``, C being the coherence of spectra smoothed over
    neighbouring frequencies. dv/v is minus the slope of the delays with lag, through 0, weighted
    by how alike the two are in each window, ``X^2 / (1 - X^2)``. The reference is then stretched
    by it and the rest is measured again until nothing is left: short windows see the phase of
    their strongest frequency at the others too, and what one measurement is short of does not
    matter.

    A delay of half a period cannot be told from its opposite: changes of more than
    ``1 / (2 freqmax max_lag)`` are NaN; `stretching` finds them.

    Parameters and result as in `stretching`. The error is that of the last slope, from how the
    delays scatter about it and at least from what noise does to each of them.

    References
    ----------
    Poupinet, Ellsworth & Frechet (1984), J. Geophys. Res. 89, 5719-5731; Clarke, Zaccarelli,
    Shapiro & Brenguier (2011), Geophys. J. Int. 186, 867-882.
    """
    chosen = coda.lag_mask(lags)
    t = np.asarray(lags, dtype=np.float64)
    good, current = _usable(reference, stacks, chosen)
    dvv, error = np.full(len(stacks), np.nan), np.full(len(stacks), np.nan)
    correlation = np.full(len(stacks), np.nan)
    if not good.any():
        return Change(dvv, error, correlation)
    stretched = _stretched(reference, lags, t[chosen])
    whole = _stretched(reference, lags, t)
    windows = _Windows(t, coda)
    largest = min(coda.max_dvv, 0.5 / (coda.freqmax * coda.max_lag))
    for k, index in enumerate(np.flatnonzero(good)):
        change = 0.0
        for _ in range(_ROUNDS):
            # Ends beyond the reference are zero there; the windows keep away from them.
            rest, error[index] = windows.slope(whole(change), stacks[index])
            change += rest
            if not _STILL < abs(rest) < largest:
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
    """Short windows along the coda, and the delay between two traces in each."""

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
        # Values of a window that are free of each other, in the band and under the taper.
        self.n_free = max(1.0, (coda.freqmax - coda.freqmin) * length)
        self.n_fft = 4 * n  # frequencies close enough for a phase that turns slowly
        frequency = np.fft.rfftfreq(self.n_fft, spacing)
        self.band = (frequency >= coda.freqmin) & (frequency <= coda.freqmax)
        self.omega = 2 * np.pi * frequency[self.band]
        # The taper and the padding tie so many neighbours together: the resolution of a window.
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
        # The scatter of few delays may be small by chance, but not what noise does to each.
        return -float(slope), float(np.sqrt(max(scatter, 1 / self.n_free) / below))

    def delays(self, reference: np.ndarray, stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How much later the stack is in every window (s), and the variance of that (s2)."""
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
        alike = np.divide(product, norms, out=np.zeros(norms.shape), where=norms > 0)
        # Noise that lowers the correlation to X turns the phase by sqrt(1 - X^2) / X, at least
        # a thousandth of a radian; where the two are not alike the delay means nothing.
        alike = np.where(alike > 0, alike, np.nan)
        turn = (1 - alike**2) / alike**2 + 1e-6
        return delay, turn / self.omega.mean() ** 2

    def _cut(self, trace: np.ndarray) -> np.ndarray:
        rows = np.asarray(trace, dtype=np.float64)[self.index]
        return (rows - rows.mean(axis=-1, keepdims=True)) * self.taper

    def _smoothed(self, values: np.ndarray) -> np.ndarray:
        return scipy.ndimage.convolve1d(values, self.smooth, mode="constant")


def _usable(
    reference: np.ndarray, stacks: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which stacks can be compared, and their chosen lags with a norm of 1."""
    stacks = np.asarray(stacks)
    if not np.isfinite(reference).all() or not np.any(reference[chosen]):
        return np.zeros(len(stacks), dtype=bool), np.empty((0, int(chosen.sum())))
    good = np.isfinite(stacks).all(axis=-1) & stacks[:, chosen].any(axis=-1)
    rows = stacks[good][:, chosen].astype(np.float64)
    rows /= np.abs(rows).max(axis=-1, keepdims=True, initial=1e-300)
    return good, rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _stretched(
    reference: np.ndarray, lags: np.ndarray, t: np.ndarray
) -> Callable[[float], np.ndarray]:
    """The reference as it would be at lags ``t`` after a change of velocity; 0 beyond its ends."""
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
    """Where the largest of evenly spaced values is, between them, and how large."""
    k = int(np.clip(y.argmax(), 1, y.size - 2))
    left, top, right = y[k - 1 : k + 2]
    bend = left - 2 * top + right
    shift = (left - right) / (2 * bend) if bend else 0.0
    return float(x[k] + shift * (x[1] - x[0])), float(top - (left - right) * shift / 4)
