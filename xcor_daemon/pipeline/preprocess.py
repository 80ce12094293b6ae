"""Raw samples -> windows: decimate, response, band, shift to the grid, cut, normalise, whiten.

The whole chain between two gaps is linear and without phase: every channel, whatever its rate or
the fraction of a second at which its clock ticks, ends on one grid that begins at midnight UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor, isclose

import numba
import numpy as np
import scipy  # its parts load when they are first used

from ..errors import NoDataError
from ..params import SECONDS_PER_DAY, XcorParams
from .datatypes import NS, Epoch, ResponseCurve, Samples, Segment, day_start
from .fft import irfft, next_fast_len, rfft
from .response import transfer

_STOP_BAND = 96.0  # dB of the decimation filter by Kaiser's formula, which is 3 dB too hopeful
_TAPER_SHARE, _TAPER_MOST = 0.05, 20.0  # of a window; s. As SeisNoise.jl.
_SMOOTH_BINS = 10  # on each side, of the spectra that coherence and deconvolution divide by
_SIDE_BY_SIDE = 4  # windows transformed at a time: libraries put them in one vector register
_FLATTENING = ("coherence", "deconvolution")  # methods that divide by a spectrum


def margin(params: XcorParams) -> float:
    """Seconds of data to fetch on both sides of a day, so that no filter's edge lies in a window.

    The impulse response of the pre-filter, whose skirt is freqmin/4 wide, has died away (1e-4)
    after about ten periods of freqmin; the taper comes on top.
    """
    return float(ceil(min(10 / params.lowest, 1800) + _taper_seconds(params)))


def _taper_seconds(params: XcorParams) -> float:
    """Length of the taper at each end of a contiguous segment (s)."""
    return max(_TAPER_MOST, 1 / params.lowest)


@dataclass(frozen=True)
class Band:
    """The frequencies that a channel keeps (Hz)."""

    freqmin: float
    freqmax: float
    nyquist: float  # of the grid
    reach: float = 2.0  # the pre-filter is flat to so many times freqmax
    skirt_low: float | None = None  # of the whitened band; None is 20 % of the corner
    skirt_high: float | None = None

    @classmethod
    def of(cls, params: XcorParams) -> Band:
        """The band that the parameters ask for."""
        reach = 2.0
        if params.whiten or params.method in _FLATTENING:
            # What whitening keeps ends at its skirt; without it the band-pass has a longer tail.
            reach = max(1.25, 1.05 * (1 + (params.skirt_high or 0) / params.freqmax))
        skirts = params.skirt_low, params.skirt_high
        return cls(params.freqmin, params.freqmax, params.fs / 2, reach, *skirts)

    @property
    def flat_top(self) -> float:
        """Upper end of the pre-filter's flat part; the whitening's skirt lies below it."""
        return max(self.freqmax, min(self.reach * self.freqmax, 0.9 * self.nyquist))

    @property
    def top(self) -> float:
        """Above this nothing is kept."""
        return min(1.25 * self.reach * self.freqmax, self.nyquist)

    def gain(self, frequency: np.ndarray) -> np.ndarray:
        """Pre-filter and band-pass together, real: no phase, hence no delay.

        The pre-filter is a cosine taper, flat from freqmin/2 to ``flat_top`` and zero below
        freqmin/4 and above ``top``. The band-pass is the square of a 4th-order analog
        Butterworth, gain 1/2 at freqmin and freqmax, which is what a filter run forward and
        backward (the original's) amounts to.
        """
        f = np.asarray(frequency, dtype=np.float64)
        low, high = self.freqmin, self.freqmax
        with np.errstate(divide="ignore"):
            offset = np.abs((f**2 - low * high) / (f * (high - low)))
        gain = 1 / (1 + offset**8)
        gain *= _ramp(f, low / 4, low / 2)
        if self.top > self.flat_top:
            gain *= _ramp(-f, -self.top, -self.flat_top)
        return gain

    def whitened(self, frequency: np.ndarray) -> np.ndarray:
        """Modulus of a whitened spectrum: 1 in the band, cos-squared skirts outside."""
        f = np.asarray(frequency, dtype=np.float64)
        modulus = _ramp(f, self.freqmin - (self.skirt_low or 0.2 * self.freqmin), self.freqmin)
        above = min(self.freqmax + (self.skirt_high or 0.2 * self.freqmax), self.nyquist)
        if above > self.freqmax:
            modulus *= _ramp(-f, -above, -self.freqmax)
        return modulus.astype(np.float32)


def _ramp(x: np.ndarray, zero: float, one: float) -> np.ndarray:
    """0 up to ``zero``, 1 from ``one`` on, a squared sine between."""
    return np.sin(np.pi / 2 * np.clip((x - zero) / (one - zero), 0, 1)) ** 2


@dataclass(frozen=True)
class Grid:
    """The samples of a day at fs, with a margin on both sides: sample ``n_margin`` is midnight."""

    midnight: int  # ns
    fs: float  # Hz
    n_margin: int
    n_day: int

    @classmethod
    def of(cls, day: date, params: XcorParams) -> Grid:
        """The grid of a UTC day."""
        n_margin = ceil(margin(params) * params.fs)
        return cls(day_start(day), params.fs, n_margin, ceil(SECONDS_PER_DAY * params.fs - 1e-6))

    @property
    def start(self) -> int:
        """Time of the first sample, in the margin (ns)."""
        return self.midnight - round(self.n_margin * NS / self.fs)

    @property
    def n(self) -> int:
        """Samples with both margins."""
        return self.n_day + 2 * self.n_margin


@dataclass(frozen=True)
class Rates:
    """How one recorded rate becomes fs: a decimating filter, then a cut of the spectrum.

    ``factor`` recorded samples become one of the middle rate; ``n_middle`` samples of the middle
    rate last exactly as long as ``n_grid`` samples of fs.
    """

    fs_raw: float
    factor: int
    n_middle: int
    n_grid: int

    @property
    def fs_middle(self) -> float:
        """Rate after the decimating filter (Hz)."""
        return self.fs_raw / self.factor


@lru_cache(maxsize=32)
def plan_rates(fs_raw: float, fs: float, n: int, top: float) -> Rates:
    """Choose the decimation for a channel.

    The filter keeps what lies below ``top`` (Hz) and must stop what would fold onto it, that is
    all above fs_middle - top. A middle rate of 3 top keeps it short; the transform that follows
    then reaches any fs, whether their ratio is whole or not, and larger or smaller.

    Parameters
    ----------
    fs_raw, fs : float
        Recorded rate and rate of the grid (Hz).
    n : int
        Samples of the grid that are needed.
    top : float
        Highest frequency that is kept (Hz).
    """
    factor = max(1, floor(fs_raw / (3 * top) + 1e-9))
    # A drift of 2e-9 is 0.2 ms in a day.
    exact = fs * factor / fs_raw
    for denominator in (16, 256, 4096, 65536, 10**7):
        ratio = Fraction(exact).limit_denominator(denominator)
        if ratio and isclose(ratio, exact, rel_tol=2e-9):
            break
    p, q = ratio.numerator, ratio.denominator
    m = next_fast_len(ceil(n / p))
    return Rates(fs_raw, factor, n_middle=q * m, n_grid=p * m)


@lru_cache(maxsize=32)
def decimation_filter(fs_raw: float, factor: int, top: float) -> np.ndarray:
    """A symmetric FIR, odd length, that passes [0, top] and stops what folds onto it (>= 90 dB)."""
    if factor == 1:
        return np.ones(1, dtype=np.float32)
    fs_middle = fs_raw / factor
    width = 2 * np.pi * (fs_middle - 2 * top) / fs_raw  # from pass to stop band (rad/sample)
    half = ceil((_STOP_BAND - 7.95) / (2 * 2.285 * width))  # Kaiser's estimate of the length
    beta = 0.1102 * (_STOP_BAND - 8.7)
    taps = np.kaiser(2 * half + 1, beta) * np.sinc(np.arange(-half, half + 1) / factor)
    return (taps / taps.sum()).astype(np.float32)


def filter_gain(taps: np.ndarray, frequency: np.ndarray, fs: float) -> np.ndarray:
    """The real gain of a symmetric FIR centred on its middle tap."""
    half = taps.size // 2
    if not half:
        return np.ones_like(frequency)
    # A polynomial in cos(w): sum of h_k cos(k w), by Clenshaw's recurrence.
    cosine = 2 * np.cos(2 * np.pi * frequency / fs)
    b1 = np.zeros_like(cosine)
    b2 = np.zeros_like(cosine)
    for tap in taps[:half].astype(np.float64):
        b1, b2 = 2 * tap + cosine * b1 - b2, b1
    return float(taps[half]) + b1 * cosine / 2 - b2


@numba.njit(nogil=True, cache=True, fastmath=True)
def _detrend_taper(data: np.ndarray, n_taper: int, out: np.ndarray) -> None:
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


_STRETCH = 2048  # outputs at a time, so that their inputs stay in the first-level cache


@numba.njit(nogil=True, cache=True, fastmath=True)
def _decimate(
    data: np.ndarray, reference: float, first: int, factor: int, phases: np.ndarray, half: int,
    out: np.ndarray,
) -> None:
    """Every ``factor``-th sample of ``data - reference``, filtered; straight from int32.

    ``out[m]`` is centred on ``data[first + m factor]`` and written where that is a sample of
    ``data``; data is zero outside its ends. One phase of the filter after the other is applied
    to the samples that it meets, which lie side by side once they are sorted by phase.

    ``phases`` (factor, taps of a phase, a multiple of 4) holds tap ``p + k factor`` at [p, k].
    """
    n = data.size
    low = max(0, -(first // factor))
    high = min(out.size, (n - 1 - first) // factor + 1)
    n_taps = phases.shape[1]
    row = np.empty(_STRETCH + n_taps, dtype=np.float32)
    shift = np.float32(reference)
    for m0 in range(low, high, _STRETCH):
        m1 = min(m0 + _STRETCH, high)
        n_out = m1 - m0
        result = out[m0:m1]
        for p in range(factor):
            begin = first + m0 * factor - half + p
            n_row = n_out + n_taps - 1
            k0 = min(n_row, max(0, -(begin // factor)))
            k1 = max(k0, min(n_row, (n - 1 - begin) // factor + 1))
            row[:k0] = 0
            row[k1 : n_row + 1] = 0
            for k in range(k0, k1):
                row[k] = np.float32(data[begin + k * factor]) - shift
            for t in range(0, n_taps, 4):
                h0, h1, h2, h3 = phases[p, t], phases[p, t + 1], phases[p, t + 2], phases[p, t + 3]
                x0, x1, x2, x3 = row[t:], row[t + 1 :], row[t + 2 :], row[t + 3 :]
                for k in range(n_out):
                    result[k] += h0 * x0[k] + h1 * x1[k] + h2 * x2[k] + h3 * x3[k]


def _by_phase(taps: np.ndarray, factor: int) -> np.ndarray:
    """Taps (factor, n) as `_decimate` wants them, filled up with zeros."""
    n = -(-taps.size // factor)
    padded = np.zeros((n + -n % 4) * factor, dtype=np.float32)
    padded[: taps.size] = taps
    return np.ascontiguousarray(padded.reshape(-1, factor).T)


@dataclass(frozen=True)
class Filtered:
    """One channel-day as the spectrum of ground motion, before it becomes a time series."""

    bins: np.ndarray  # complex64: the frequencies k * fs / n_grid that are kept
    n_grid: int  # samples of the series


def to_spectrum(
    samples: Samples,
    epochs: Sequence[Epoch],
    grid: Grid,
    params: XcorParams,
    band: Band | None = None,
) -> Filtered:
    """One channel as the spectrum of ground motion in the band, on the grid of a day.

    Every contiguous segment is detrended and tapered by itself; gaps are zero. Segments whose
    clocks tick at another fraction of a sample, or that fall into another response epoch, are
    filtered apart and added: all of it is linear.

    Parameters
    ----------
    samples : Samples
        Day and margins, in counts.
    epochs : sequence of Epoch
        Response epochs that touch the day; needed unless ``params.response`` is none.
    grid : Grid
        The samples wanted.
    params : XcorParams
        Rate, band, kind of ground motion.
    band : Band, optional
        Instead of that of ``params``.

    Raises
    ------
    NoDataError
        If a segment has no response, or was sampled too slowly for the band.
    """
    band = band or Band.of(params)
    if band.freqmax > samples.fs / 2 * (1 + 1e-9):
        raise NoDataError(
            f"sampled at {samples.fs:g} Hz, too slow for freqmax={band.freqmax:g} Hz", "refused"
        )
    top = min(band.top, samples.fs / 2)
    rates = plan_rates(samples.fs, grid.fs, grid.n, top)
    n_bins = 1 + min(floor(top * rates.n_grid / grid.fs), rates.n_middle // 2, rates.n_grid // 2)
    total = None
    for group in _groups(samples, epochs, grid, params):
        bins = rfft(_decimated(group, rates, top, params))[:n_bins]
        bins *= _gain(group.response, rates, grid.fs, n_bins, band)
        if group.offset:
            bins *= _phase_ramp(n_bins, group.offset * grid.fs / NS / rates.n_grid)
        total = bins if total is None else total + bins
    if total is None:
        raise NoDataError("no response in the metadata covers the samples", "refused")
    return Filtered(total, rates.n_grid)


def to_grid(filtered: Filtered, grid: Grid) -> np.ndarray:
    """The time series of a spectrum: float32 (grid.n_day,), from midnight on.

    In m/s, m or m/s^2, or counts where no response was removed.
    """
    spectrum = np.zeros(filtered.n_grid // 2 + 1, dtype=np.complex64)
    spectrum[: filtered.bins.size] = filtered.bins
    series = irfft(spectrum, filtered.n_grid)
    return series[grid.n_margin : grid.n_margin + grid.n_day].copy()


@dataclass(frozen=True)
class _Group:
    """Segments that can be filtered together."""

    segments: tuple[Segment, ...]
    response: ResponseCurve | None
    first: int  # index of the sample of segments[0] that is the origin; may lie before it
    offset: int  # from the origin to the first sample of the grid, 0 <= offset < 1/fs_raw (ns)


def _groups(
    samples: Samples, epochs: Sequence[Epoch], grid: Grid, params: XcorParams
) -> list[_Group]:
    """Sort segments by response epoch and by the fraction of a sample at which they tick."""
    parts: dict[tuple[int, int], list[Segment]] = {}
    step = NS / samples.fs
    for segment in samples.segments:
        for k, piece in _by_epoch(segment, epochs, params):
            offset = (grid.start - piece.start) % step
            # Ticks closer than 2 us are the same clock; round-off must not split a day.
            parts.setdefault((k, round(offset / 2000) % round(step / 2000 + 0.5)), []).append(piece)
    groups = []
    for (k, _), pieces in parts.items():
        first = floor((grid.start - pieces[0].start) / step + 1e-6)
        offset = max(0, grid.start - pieces[0].start - round(first * step))
        response = epochs[k].response if params.response != "none" else None
        groups.append(_Group(tuple(pieces), response, first, offset))
    return groups


def _by_epoch(
    segment: Segment, epochs: Sequence[Epoch], params: XcorParams
) -> list[tuple[int, Segment]]:
    """The parts of a segment by the epoch they fall in."""
    if params.response == "none":
        return [(0, segment)]
    pieces = []
    for k, epoch in enumerate(epochs):
        a = max(0, ceil((epoch.start - segment.start) * segment.fs / NS - 1e-6))
        b = min(segment.data.size, ceil((epoch.end - segment.start) * segment.fs / NS - 1e-6))
        if b > a and epoch.response is None:
            raise NoDataError(epoch.problem or "no response in the metadata", "refused")
        if b > a:
            start = segment.start + round(a * NS / segment.fs)
            pieces.append((k, Segment(start, segment.fs, segment.data[a:b])))
    return pieces


def _decimated(group: _Group, rates: Rates, top: float, params: XcorParams) -> np.ndarray:
    """The segments of a group at the middle rate, detrended and tapered, zero in the gaps."""
    taps = decimation_filter(rates.fs_raw, rates.factor, top)
    phases = _by_phase(taps, rates.factor)
    middle = np.zeros(rates.n_middle, dtype=np.float32)
    origin = group.segments[0].start
    for segment in group.segments:
        first = group.first - round((segment.start - origin) * rates.fs_raw / NS)
        low = max(0, -(first // rates.factor))
        high = min(middle.size, (segment.data.size - 1 - first) // rates.factor + 1)
        if high <= low:
            continue
        # Any constant will do, the line is taken out below; it spares float32 the offset.
        reference = float(np.median(segment.data[:: max(1, segment.data.size // 1000)]))
        _decimate(segment.data, reference, first, rates.factor, phases, taps.size // 2, middle)
        part = middle[low:high]
        n_taper = min(part.size // 10, round(_taper_seconds(params) * rates.fs_middle))
        _detrend_taper(part, n_taper, part)
    return middle


@lru_cache(maxsize=64)
def _gain_without_response(
    fs_raw: float, factor: int, n_grid: int, fs: float, n_bins: int, band: Band, top: float
) -> np.ndarray:
    frequency = np.arange(n_bins) * (fs / n_grid)
    taps = decimation_filter(fs_raw, factor, top)
    return band.gain(frequency) / filter_gain(taps, frequency, fs_raw)


_gains: dict[tuple[int, Rates, float, int, Band], tuple[ResponseCurve | None, np.ndarray]] = {}


def _gain(
    response: ResponseCurve | None, rates: Rates, fs: float, n_bins: int, band: Band
) -> np.ndarray:
    """Band, less the droop of the decimation filter, over the response; kept per epoch."""
    key = (id(response), rates, fs, n_bins, band)
    if key in _gains:
        return _gains[key][1]
    top = min(band.top, rates.fs_raw / 2)
    gain = _gain_without_response(rates.fs_raw, rates.factor, rates.n_grid, fs, n_bins, band, top)
    gain = gain * (rates.n_grid / rates.n_middle)  # transforms are scaled by their length
    result = gain.astype(np.complex64)
    if response is not None:
        frequency = np.arange(n_bins) * (fs / rates.n_grid)
        inside = gain > 0
        result[inside] = gain[inside] / transfer(response, frequency[inside])
    if len(_gains) > 256:
        _gains.clear()
    _gains[key] = (response, result)  # holding the response keeps its id from being used again
    return result


@numba.njit(nogil=True, cache=True)
def _phase_ramp(n: int, turns_per_bin: float) -> np.ndarray:
    """exp(2 pi i k turns_per_bin) for k < n: an advance in time."""
    ramp = np.empty(n, dtype=np.complex64)
    for block in range(0, n, 256):
        z = np.exp(2j * np.pi * ((block * turns_per_bin) % 1.0))
        step = np.exp(2j * np.pi * turns_per_bin)
        for k in range(block, min(n, block + 256)):
            ramp[k] = z
            z *= step
    return ramp


def real_samples(
    samples: Samples, spans: Sequence[tuple[int, int]], grid: Grid
) -> np.ndarray:
    """Which samples of the day are real: recorded, and in a span that was asked for.

    A segment reaches one recorded sample beyond its ends, for what lies nearer is not missing.

    Returns
    -------
    real : bool array, shape (grid.n_day,)
    """
    real = np.zeros(grid.n_day, dtype=bool)
    step = NS / samples.fs
    for segment in samples.segments:
        for start, end in spans:
            low = max(segment.start - step, start - 1)
            high = min(segment.start + segment.data.size * step, end)
            a = max(0, floor((low - grid.midnight) * grid.fs / NS) + 1)
            b = min(grid.n_day, ceil((high - grid.midnight) * grid.fs / NS - 1e-6))
            real[a : max(a, b)] = True
    return real


def coverage(real: np.ndarray, params: XcorParams) -> np.ndarray:
    """Share of real samples in every window, float32 (n_windows,)."""
    count = np.concatenate([[0], np.cumsum(real)])
    start = np.arange(params.n_windows) * params.n_step
    return ((count[start + params.n_samples] - count[start]) / params.n_samples).astype(np.float32)


@numba.njit(nogil=True, cache=True)
def _taper(windows: np.ndarray, n_taper: int) -> None:
    """Cosine taper at both ends of every row, in place."""
    n = windows.shape[1]
    for i in range(n_taper):
        w = np.float32(0.5 - 0.5 * np.cos(np.pi * (i + 0.5) / n_taper))
        for k in range(windows.shape[0]):
            windows[k, i] *= w
            windows[k, n - 1 - i] *= w


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
        _detrend_taper(motion[start : start + n], 0, windows[k])
    _normalise_in_time(windows, params)
    _taper(windows, min(floor(_TAPER_SHARE * n), floor(_TAPER_MOST * params.fs)))
    return windows


def _normalise_in_time(windows: np.ndarray, params: XcorParams) -> None:
    """One-bit, clipping or running absolute mean (Bensen et al., 2007), in place.

    What looks at the whole day (`loudness`) is done before.
    """
    if params.time_norm == "onebit":
        np.sign(windows, out=windows)
    elif params.time_norm == "clip":
        most = params.clip_factor * windows.std(axis=-1, keepdims=True)
        np.clip(windows, -most, most, out=windows)
    elif params.clamp is not None:
        np.clip(windows, -params.clamp, params.clamp, out=windows)
    elif params.time_norm == "ram" and not params.ram_of_day:
        mean = running_mean(np.abs(windows), params.ram_half)
        np.divide(windows, mean, out=windows, where=mean > 0)


def running_mean(x: np.ndarray, half: int) -> np.ndarray:
    """Mean over 2 half + 1 samples of the last axis, fewer at the ends."""
    n = x.shape[-1]
    total = np.concatenate([np.zeros((*x.shape[:-1], 1)), np.cumsum(x, axis=-1, dtype=float)], -1)
    a = np.maximum(np.arange(n) - half, 0)
    b = np.minimum(np.arange(n) + half + 1, n)
    return ((total[..., b] - total[..., a]) / (b - a)).astype(np.float32)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _whiten(spectra: np.ndarray, modulus: np.ndarray) -> None:
    """Give spectra (n, n_bins) this modulus and leave their phase, in place; 0 stays 0."""
    for spectrum in spectra:
        for q in range(spectrum.size):
            z = spectrum[q]
            power = z.real * z.real + z.imag * z.imag
            if modulus[q] == 0 or power == 0:
                spectrum[q] = 0
            else:
                spectrum[q] = z * (modulus[q] / np.sqrt(power))


def normalise(windows: np.ndarray, params: XcorParams) -> tuple[np.ndarray, np.ndarray]:
    """Windows as first and as second of a pair, normalised over frequency as ``params`` say.

    Parameters
    ----------
    windows : float32 array, shape (n, n_samples)
        Used as room for the result.

    Returns
    -------
    first, second : float32 arrays, shape (n, n_parts, n_samples)
        The linear correlation of ``first`` of one channel with ``second`` of the other, summed
        over parts, is what the method asks for. One array twice, but for deconvolution.

    References
    ----------
    Bensen et al. (2007), Geophys. J. Int. 169, 1239-1260 (whitening, coherence); Mehta et al.
    (2007), Geophys. J. Int. 168, 475-486 (deconvolution); Ventosa et al. (2019), Seismol. Res.
    Lett. 90, 1663-1669 (phase cross-correlation of power 2).
    """
    n = params.n_samples
    second = None
    if params.whiten or params.method in _FLATTENING:
        modulus = Band.of(params).whitened(np.arange(n // 2 + 1) * (params.fs / n))
        if params.whiten:
            for k in range(0, len(windows), _SIDE_BY_SIDE):
                some = windows[k : k + _SIDE_BY_SIDE]
                spectra = rfft(some)
                _whiten(spectra, modulus)
                some[:] = irfft(spectra, n)
        else:
            # Powers of amplitudes in m/s (1e-9) and their ratios leave float32: work at unit size.
            peak = np.abs(windows).max(axis=-1, keepdims=True, initial=0)
            spectra = rfft(np.divide(windows, peak, out=np.zeros_like(windows), where=peak > 0))
            first, other = _divided(spectra, modulus, params)
            windows = irfft(first, n)
            if other is not None:  # the ratio of both amplitudes is what deconvolution is after
                second = irfft(other, n) * peak
                np.divide(windows, peak, out=windows, where=peak > 0)
    first = _parts(windows, params)
    return first, first if second is None else _parts(second, params)


def _divided(
    spectra: np.ndarray, modulus: np.ndarray, params: XcorParams
) -> tuple[np.ndarray, np.ndarray | None]:
    """Spectra over their smoothed modulus (coherence) or power (deconvolution), band-limited."""
    amplitude = np.abs(spectra)
    divisor = amplitude if params.method == "coherence" else amplitude**2
    smooth = running_mean(divisor, _SMOOTH_BINS)
    smooth += params.water_level * divisor.mean(axis=-1, keepdims=True)
    first = np.divide(spectra * modulus, smooth, out=np.zeros_like(spectra), where=smooth > 0)
    return first, (spectra * modulus if params.method == "deconvolution" else None)


def _parts(windows: np.ndarray, params: XcorParams) -> np.ndarray:
    """(n, n_parts, n_samples): unit phasors for phase correlation, else the windows themselves."""
    if params.method == "phase":
        analytic = scipy.signal.hilbert(windows, axis=-1)
        size = np.abs(analytic)
        phasor = np.divide(analytic, size, out=np.zeros_like(analytic), where=size > 0)
        parts = np.stack([phasor.real, phasor.imag], axis=1) / np.sqrt(params.n_samples)
        return np.ascontiguousarray(parts, dtype=np.float32)
    if params.normalisation == "coefficient":
        norm = np.linalg.norm(windows.astype(np.float64), axis=-1, keepdims=True)
        windows = np.divide(windows, norm, out=np.zeros_like(windows), where=norm > 0)
    return windows.astype(np.float32, copy=False)[:, None, :]


@dataclass(frozen=True)
class Covered:
    """A channel-day before its series is computed: transforms of one length go together."""

    channel_id: str
    grid: Grid
    filtered: Filtered | None  # None where no window is kept
    coverage: np.ndarray  # float32 (n_windows,)
    kept: np.ndarray  # bool (n_windows,)

    def motion(self) -> np.ndarray:
        """The time series of the day, float32 (grid.n_day,); zero where no window is kept."""
        if self.filtered is None:
            return np.zeros(self.grid.n_day, dtype=np.float32)
        return to_grid(self.filtered, self.grid)


def prepare(
    channel_id: str,
    samples: Samples,
    epochs: Sequence[Epoch],
    spans: Sequence[tuple[int, int]],
    day: date,
    params: XcorParams,
) -> Covered:
    """Samples of a channel-day -> its spectrum as ground motion, and which windows are covered.

    Parameters
    ----------
    samples : Samples
        The day and `margin` seconds on both sides, in counts.
    epochs : sequence of Epoch
        Metadata that touch that time.
    spans : sequence of (int, int)
        The times asked for (ns); samples outside count as missing.

    Raises
    ------
    NoDataError
        If the samples cannot be used; the message says why.
    """
    grid = Grid.of(day, params)
    covered = coverage(real_samples(samples, spans, grid), params)
    kept = covered >= params.min_coverage - 1e-6
    filtered = to_spectrum(samples, epochs, grid, params) if kept.any() else None
    return Covered(channel_id, grid, filtered, covered, kept)


def windows(
    motion: np.ndarray, indices: np.ndarray, params: XcorParams
) -> tuple[np.ndarray, np.ndarray]:
    """Some windows of a channel-day, as first and as second of a pair: `cut`, then `normalise`."""
    return normalise(cut(motion, indices * params.n_step, params), params)


def n_parts(params: XcorParams) -> int:
    """Real series that a window becomes: two (of a complex one) for phase correlation."""
    return 1 + (params.method == "phase")
