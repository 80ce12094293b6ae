"""Spectral normalisation of windows: whitening, coherence, deconvolution, phase correlation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...request.params import XcorParams
from ..numerics.fft import irfft, rfft
from ..numerics.jit import jit
from .band import SPECTRAL_DIVISION, Band
from .time_normalisation import running_mean

_SMOOTH_BINS = 10  # on each side, of the spectra that coherence and deconvolution divide by
_TOGETHER = 4  # windows transformed at a time: as many as the engine asks for


def n_components(params: XcorParams) -> int:
    """Real series that a window becomes: two (of a complex one) for phase correlation."""
    return 1 + (params.method == "phase")


def normalise(windows: np.ndarray, params: XcorParams) -> tuple[np.ndarray, np.ndarray]:
    """Windows as first and as second of a pair, normalised over frequency as ``params`` say.

    Parameters
    ----------
    windows : float32 array, shape (n, n_samples)
        Used as room for the result.

    Returns
    -------
    first, second : float32 arrays, shape (n, n_components, n_samples)
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
    if params.whiten or params.method in SPECTRAL_DIVISION:
        modulus = _modulus(Band.of(params), n, params.fs)
        if params.whiten:
            for k in range(0, len(windows), _TOGETHER):
                some = windows[k : k + _TOGETHER]
                spectra = rfft(some, _TOGETHER)
                _whiten(spectra, modulus)
                irfft(spectra, n, some, _TOGETHER)
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


@lru_cache(maxsize=8)
def _modulus(band: Band, n: int, fs: float) -> np.ndarray:
    """Of a whitened window of ``n`` samples; kept, since every channel asks for it again."""
    return band.whitened(np.arange(n // 2 + 1) * (fs / n))


@jit()
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
    """Unit phasors for phase correlation, else the windows: (n, n_components, n_samples)."""
    if params.method == "phase":
        spectra = rfft(windows)
        spectra *= np.complex64(-1j)  # a quarter of a period later
        analytic = np.empty(windows.shape, dtype=np.complex64)
        analytic.real, analytic.imag = windows, irfft(spectra, params.n_samples)
        size = np.abs(analytic)
        phasor = np.divide(analytic, size, out=np.zeros_like(analytic), where=size > 0)
        parts = np.stack([phasor.real, phasor.imag], axis=1) / np.sqrt(params.n_samples)
        return np.ascontiguousarray(parts, dtype=np.float32)
    if params.normalisation == "coefficient":
        norm = np.linalg.norm(windows.astype(np.float64), axis=-1, keepdims=True)
        windows = np.divide(windows, norm, out=np.zeros_like(windows), where=norm > 0)
    return windows.astype(np.float32, copy=False)[:, None, :]
