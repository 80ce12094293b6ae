"""The grid of a day and the frequencies that are kept on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import ceil

import numpy as np

from ...request.params import XcorParams
from ..datatypes import NS, day_start

MAX_TAPER = 20.0  # s; of a window. As SeisNoise.jl.
SPECTRAL_DIVISION = ("coherence", "deconvolution")  # methods that divide by a spectrum


def margin(params: XcorParams) -> float:
    """Seconds of data to fetch on both sides of a day, so that no filter's edge lies in a window.

    The impulse response of the pre-filter, whose skirt is freqmin/4 wide, has died away (1e-4)
    after about ten periods of freqmin; the taper comes on top.
    """
    return float(ceil(min(10 / params.lowest, 1800) + taper_seconds(params)))


def taper_seconds(params: XcorParams) -> float:
    """Length of the taper at each end of a contiguous segment (s)."""
    return max(MAX_TAPER, 1 / params.lowest)


@dataclass(frozen=True)
class Band:
    """The frequencies that a channel keeps (Hz)."""

    freqmin: float
    freqmax: float
    nyquist: float  # of the grid
    flat_factor: float = 2.0  # the pre-filter is flat to so many times freqmax
    taper_low: float | None = None  # of the whitened band; None is 20 % of the corner
    taper_high: float | None = None

    @classmethod
    def of(cls, params: XcorParams) -> Band:
        """The band that the parameters ask for."""
        flat_factor = 2.0
        if params.whiten or params.method in SPECTRAL_DIVISION:
            # What whitening keeps ends at its skirt; without it the band-pass has a longer tail.
            flat_factor = max(1.25, 1.05 * (1 + (params.skirt_high or 0) / params.freqmax))
        tapers = params.skirt_low, params.skirt_high
        return cls(params.freqmin, params.freqmax, params.fs / 2, flat_factor, *tapers)

    @property
    def flat_top(self) -> float:
        """Upper end of the pre-filter's flat part; the whitening's skirt lies below it."""
        return max(self.freqmax, min(self.flat_factor * self.freqmax, 0.9 * self.nyquist))

    @property
    def top(self) -> float:
        """Above this nothing is kept."""
        return min(1.25 * self.flat_factor * self.freqmax, self.nyquist)

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
        modulus = _ramp(f, self.freqmin - (self.taper_low or 0.2 * self.freqmin), self.freqmin)
        above = min(self.freqmax + (self.taper_high or 0.2 * self.freqmax), self.nyquist)
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
        return cls(day_start(day), params.fs, n_margin, params.windows.n_day)

    @property
    def start(self) -> int:
        """Time of the first sample, in the margin (ns)."""
        return self.midnight - round(self.n_margin * NS / self.fs)

    @property
    def n(self) -> int:
        """Samples with both margins."""
        return self.n_day + 2 * self.n_margin
