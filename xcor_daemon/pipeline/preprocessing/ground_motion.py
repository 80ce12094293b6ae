"""Recorded samples -> ground motion: decimate, remove the response, filter, align to the grid.

Between two gaps all steps are linear and without phase: each channel, whatever its sampling rate
and whatever fraction of a second its samples start at, is aligned to one grid that starts at
midnight UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor

import numpy as np

from ...errors import NoDataError
from ...request.params import XcorParams
from ..datatypes import NS, Epoch, ResponseCurve, Samples, Segment
from ..numerics.fft import irfft, rfft
from ..numerics.jit import jit
from .band import Band, Grid, taper_seconds
from .decimation import Rates, decimate, decimation_filter, filter_gain, pad_taps, plan_rates
from .response import transfer
from .taper import detrend_taper


@dataclass(frozen=True)
class MotionSpectrum:
    """Spectrum of the ground motion of a channel-day."""

    spectrum: np.ndarray  # complex64, at the frequencies k * fs / n_grid of the band
    n_grid: int  # samples of the series


def to_spectrum(
    samples: Samples,
    epochs: Sequence[Epoch],
    grid: Grid,
    params: XcorParams,
    band: Band | None = None,
) -> MotionSpectrum:
    """Compute the spectrum of a channel's ground motion in the band, aligned to the grid of a day.

    Each segment without gaps is detrended and tapered separately; gaps are zero. Segments whose
    samples have another fraction of a sampling interval, or another response epoch, are filtered
    separately and added, since all steps are linear.

    Parameters
    ----------
    samples : Samples
        The day and its margins, in counts.
    epochs : sequence of Epoch
        Response epochs that overlap with the day; not used if ``params.response`` is none.
    grid : Grid
        Sample times of the result.
    params : XcorParams
        Sampling rate, band and kind of ground motion.
    band : Band, optional
        Replaces the band of ``params``.

    Returns
    -------
    motion : MotionSpectrum
        In m, m/s or m/s^2; in counts without a response.

    Raises
    ------
    NoDataError
        If a segment has no response, or ``freqmax`` exceeds its Nyquist frequency.
    """
    band = band or Band.of(params)
    if band.freqmax > samples.fs / 2 * (1 + 1e-9):
        raise NoDataError(
            f"freqmax = {band.freqmax:g} Hz exceeds the Nyquist frequency ({samples.fs / 2:g} Hz, "
            f"recorded at {samples.fs:g} Hz); lower freqmax",
            "refused",
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
        raise NoDataError("the metadata have no response for the time of the samples", "refused")
    return MotionSpectrum(total, rates.n_grid)


def to_grid(motion: MotionSpectrum, grid: Grid) -> np.ndarray:
    """Transform a spectrum back to the time series of the day.

    Parameters
    ----------
    motion : MotionSpectrum
        From `to_spectrum`.
    grid : Grid
        The grid that it was computed for.

    Returns
    -------
    series : float32 array, shape (grid.n_day,)
        From midnight on; in m, m/s or m/s^2, in counts if no response was removed.
    """
    spectrum = np.zeros(motion.n_grid // 2 + 1, dtype=np.complex64)
    spectrum[: motion.spectrum.size] = motion.spectrum
    series = irfft(spectrum, motion.n_grid)
    return series[grid.n_margin : grid.n_margin + grid.n_day].copy()


@dataclass(frozen=True)
class _Group:
    """Segments with the same response and the same fraction of a sampling interval."""

    segments: tuple[Segment, ...]
    response: ResponseCurve | None
    first: int  # index in segments[0] of the sample that is the origin; may be negative
    offset: int  # from the origin to the first sample of the grid, 0 <= offset < 1/fs_raw (ns)


def _groups(
    samples: Samples, epochs: Sequence[Epoch], grid: Grid, params: XcorParams
) -> list[_Group]:
    """Group segments by response epoch and by the fraction of a sampling interval they start at."""
    parts: dict[tuple[int, int], list[Segment]] = {}
    step = NS / samples.fs
    for segment in samples.segments:
        for k, piece in _by_epoch(segment, epochs, params):
            offset = (grid.start - piece.start) % step
            # Fractions closer than 2 us are the same: round-off must not split a day.
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
    """Split a segment at the limits of epochs; index of the epoch and its part."""
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
    """Segments of a group at the intermediate rate, detrended and tapered, zero in the gaps.

    float32 (rates.n_middle,), in counts.
    """
    taps = decimation_filter(rates.fs_raw, rates.factor, top)
    filled = pad_taps(taps)
    middle = np.zeros(rates.n_middle, dtype=np.float32)
    origin = group.segments[0].start
    for segment in group.segments:
        first = group.first - round((segment.start - origin) * rates.fs_raw / NS)
        low = max(0, -(first // rates.factor))
        high = min(middle.size, (segment.data.size - 1 - first) // rates.factor + 1)
        if high <= low:
            continue
        # Any constant serves, for the line is subtracted below; float32 cannot hold the offset.
        reference = float(np.median(segment.data[:: max(1, segment.data.size // 1000)]))
        decimate(segment.data, reference, first, rates.factor, filled, taps.size // 2, middle)
        part = middle[low:high]
        n_taper = min(part.size // 10, round(taper_seconds(params) * rates.fs_middle))
        detrend_taper(part, n_taper, part)
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
    """Gain of the band, corrected for the decimation filter, divided by the response; cached.

    complex64 (n_bins,), in units of ground motion per count.
    """
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
    _gains[key] = (response, result)  # while the response is referenced its id is not reused
    return result


@jit()
def _phase_ramp(n: int, turns_per_bin: float) -> np.ndarray:
    """exp(2 pi i k turns_per_bin) for k < n, complex64 (n,): an advance in time."""
    ramp = np.empty(n, dtype=np.complex64)
    for block in range(0, n, 256):
        z = np.exp(2j * np.pi * ((block * turns_per_bin) % 1.0))
        step = np.exp(2j * np.pi * turns_per_bin)
        for k in range(block, min(n, block + 256)):
            ramp[k] = z
            z *= step
    return ramp
