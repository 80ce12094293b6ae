"""The sample times of a day and the pass band."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import ceil

import numpy as np

from ...request.params import XcorParams
from ..datatypes import NS, day_start

MAX_TAPER = 20.0  # s, at each end of a window; as in SeisNoise.jl
SPECTRAL_DIVISION = ("coherence", "deconvolution")  # methods that divide by a spectrum


def margin(params: XcorParams) -> float:
    """Data to fetch on both sides of a day (s), so that no edge effect of a filter is in a window.

    The impulse response of the pre-filter, whose lower taper is freqmin/4 wide, has decayed to
    1e-4 after about ten periods of freqmin; the taper of the segment is added.
    """
    return float(ceil(min(10 / params.lowest, 1800) + taper_seconds(params)))


def taper_seconds(params: XcorParams) -> float:
    """Length of the taper at each end of a segment without gaps (s)."""
    return max(MAX_TAPER, 1 / params.lowest)


@dataclass(frozen=True)
class Band:
    """Pass band of a channel, all frequencies in Hz."""

    freqmin: float
    freqmax: float
    nyquist: float  # half the sampling rate after preprocessing
    flat_factor: float = 2.0  # the pre-filter is flat up to flat_factor * freqmax
    # Widths of the tapers of the whitening band; None is 20 % of the corner frequency.
    taper_low: float | None = None
    taper_high: float | None = None

    @classmethod
    def of(cls, params: XcorParams) -> Band:
        """Return the band of a job."""
        flat_factor = 2.0
        if params.whiten or params.method in SPECTRAL_DIVISION:
            # A whitened band ends with its upper taper; the band-pass alone rolls off more slowly.
            flat_factor = max(1.25, 1.05 * (1 + (params.skirt_high or 0) / params.freqmax))
        tapers = params.skirt_low, params.skirt_high
        return cls(params.freqmin, params.freqmax, params.fs / 2, flat_factor, *tapers)

    @property
    def flat_top(self) -> float:
        """Upper end of the pre-filter's flat part (Hz), above the taper of the whitening band."""
        return max(self.freqmax, min(self.flat_factor * self.freqmax, 0.9 * self.nyquist))

    @property
    def top(self) -> float:
        """Upper end of the pre-filter (Hz); higher frequencies are removed."""
        return min(1.25 * self.flat_factor * self.freqmax, self.nyquist)

    def gain(self, frequency: np.ndarray) -> np.ndarray:
        """Gain of pre-filter and band-pass: real, so without phase and without delay.

        The pre-filter is a cosine taper, flat from freqmin/2 to ``flat_top`` and zero below
        freqmin/4 and above ``top``. The band-pass is the squared gain of a 4th-order analog
        Butterworth filter, 1/2 at freqmin and freqmax: the gain of that filter run forward and
        backward, as in SeisNoise.jl.

        Parameters
        ----------
        frequency : array, shape (n,)
            Hz.

        Returns
        -------
        gain : float64 array, shape (n,)
            0 to 1, without unit.
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
        """Modulus of a whitened spectrum: 1 in the band, squared-cosine tapers outside.

        Parameters
        ----------
        frequency : array, shape (n,)
            Hz.

        Returns
        -------
        modulus : float32 array, shape (n,)
            0 to 1, without unit.
        """
        f = np.asarray(frequency, dtype=np.float64)
        modulus = _ramp(f, self.freqmin - (self.taper_low or 0.2 * self.freqmin), self.freqmin)
        above = min(self.freqmax + (self.taper_high or 0.2 * self.freqmax), self.nyquist)
        if above > self.freqmax:
            modulus *= _ramp(-f, -above, -self.freqmax)
        return modulus.astype(np.float32)


def _ramp(x: np.ndarray, zero: float, one: float) -> np.ndarray:
    """0 up to ``zero``, 1 from ``one`` on and a squared sine in between; float64, shape of x."""
    return np.sin(np.pi / 2 * np.clip((x - zero) / (one - zero), 0, 1)) ** 2


@dataclass(frozen=True)
class Grid:
    """Sample times of a day at ``fs`` and of a margin on both sides.

    Sample ``n_margin`` is midnight UTC.
    """

    midnight: int  # ns since 1970 UTC
    fs: float  # Hz
    n_margin: int  # samples, on each side
    n_day: int  # samples

    @classmethod
    def of(cls, day: date, params: XcorParams) -> Grid:
        """Return the grid of a UTC day."""
        n_margin = ceil(margin(params) * params.fs)
        return cls(day_start(day), params.fs, n_margin, params.windows.n_day)

    @property
    def start(self) -> int:
        """Time of the first sample of the margin (ns since 1970 UTC)."""
        return self.midnight - round(self.n_margin * NS / self.fs)

    @property
    def n(self) -> int:
        """Number of samples, both margins included."""
        return self.n_day + 2 * self.n_margin
