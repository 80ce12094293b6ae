"""Spectral normalisation of windows: whitening, coherence, deconvolution, phase correlation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...request.params import XcorParams
from ..numerics.arrays import copy_to
from ..numerics.fft import irfft, rfft
from ..numerics.jit import jit
from .band import SPECTRAL_DIVISION, Band
from .time_normalisation import running_mean

_SMOOTH_BINS = 10  # on each side, of the spectra that coherence and deconvolution divide by
# Windows in a call of the transform: as many as are cut at a time while pairs are correlated.
_ROWS_PER_CALL = 4


def whiten(
    windows: np.ndarray,
    band: tuple[float, float],
    fs: float,
    tapers: tuple[float | None, float | None] = (None, None),
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Give the spectrum of each window a modulus of 1 within a band and keep its phase.

    Parameters
    ----------
    windows : array, shape (..., n_samples)
        In any unit, detrended and tapered.
    band : (freqmin, freqmax)
        Corner frequencies (Hz), up to the Nyquist frequency.
    fs : float
        Sampling rate (Hz).
    tapers : (low, high)
        Widths (Hz) of the squared-cosine tapers below ``freqmin`` and above ``freqmax``; None is
        20 % of the corner frequency.
    out : float32 array, shape (..., n_samples), optional
        Where to put the result; may be ``windows`` itself. A new array by default.

    Returns
    -------
    whitened : float32 array, shape (..., n_samples)
        Without unit. Windows of zeros stay zero.

    Raises
    ------
    ValueError
        If the band is empty or exceeds the Nyquist frequency, or ``out`` does not fit.

    References
    ----------
    Bensen et al. (2007), Geophys. J. Int. 169, 1239-1260.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((2, 600))
    >>> white = whiten(noise, band=(0.1, 1.0), fs=10.0)
    >>> spectrum, frequency = np.fft.rfft(white), np.fft.rfftfreq(600, 1 / 10)
    >>> inside, outside = (frequency > 0.1) & (frequency < 1), frequency > 1.2
    >>> print(np.abs(spectrum[:, inside]).min().round(3), np.abs(spectrum[:, outside]).max() < 1e-3)
    1.0 True
    """
    freqmin, freqmax = band
    if not 0 < freqmin < freqmax <= fs / 2:
        raise ValueError(
            f"band = {freqmin:g} to {freqmax:g} Hz does not lie between 0 and the Nyquist frequency"
            f" ({fs / 2:g} Hz at fs = {fs:g} Hz)"
        )
    whitened = copy_to(windows, out)
    n_samples = whitened.shape[-1]
    low, high = tapers
    modulus = _modulus(Band(*band, fs / 2, taper_low=low, taper_high=high), n_samples, fs)
    rows = whitened.reshape(-1, n_samples)
    for k in range(0, len(rows), _ROWS_PER_CALL):
        some = rows[k : k + _ROWS_PER_CALL]
        spectra = rfft(some, _ROWS_PER_CALL)
        _set_modulus(spectra, modulus)
        irfft(spectra, n_samples, some, _ROWS_PER_CALL)
    return whitened


def n_components(params: XcorParams) -> int:
    """Number of real series that a window becomes: 2 for phase correlation, whose are complex."""
    return 1 + (params.method == "phase")


def normalise(windows: np.ndarray, params: XcorParams) -> tuple[np.ndarray, np.ndarray]:
    """Apply the spectral normalisation of a job to windows, as first and as second of a pair.

    Parameters
    ----------
    windows : float32 array, shape (n_windows, n_samples)
        From `preprocess_windows`; overwritten.
    params : XcorParams
        Parameters of the job.

    Returns
    -------
    first, second : float32 arrays, shape (n_windows, n_components, n_samples)
        The linear correlation of ``first`` of one channel with ``second`` of the other, summed
        over components, is the method's result. The same array twice, except for deconvolution.

    References
    ----------
    Bensen et al. (2007), Geophys. J. Int. 169, 1239-1260 (whitening, coherence); Mehta et al.
    (2007), Geophys. J. Int. 168, 475-486 (deconvolution); Ventosa et al. (2019), Seismol. Res.
    Lett. 90, 1663-1669 (phase cross-correlation of power 2).
    """
    second = None
    if params.whiten:
        tapers = params.skirt_low, params.skirt_high
        whiten(windows, (params.freqmin, params.freqmax), params.fs, tapers, out=windows)
    elif params.method in SPECTRAL_DIVISION:
        windows, second = _divide_spectra(windows, params)
    first = _components(windows, params)
    return first, first if second is None else _components(second, params)


@lru_cache(maxsize=8)
def _modulus(band: Band, n_samples: int, fs: float) -> np.ndarray:
    """Modulus of a whitened spectrum, (n_samples // 2 + 1,); cached, for all channels use it."""
    return band.whitened(np.arange(n_samples // 2 + 1) * (fs / n_samples))


@jit()
def _set_modulus(spectra: np.ndarray, modulus: np.ndarray) -> None:
    """Give spectra (n, n_bins) this modulus (n_bins,) and keep their phase, in place; 0 stays 0."""
    for spectrum in spectra:
        for q in range(spectrum.size):
            z = spectrum[q]
            power = z.real * z.real + z.imag * z.imag
            if modulus[q] == 0 or power == 0:
                spectrum[q] = 0
            else:
                spectrum[q] = z * (modulus[q] / np.sqrt(power))


def _divide_spectra(
    windows: np.ndarray, params: XcorParams
) -> tuple[np.ndarray, np.ndarray | None]:
    """Divide spectra by their smoothed modulus (coherence) or power (deconvolution).

    Returns the windows as first of a pair, and as second where those differ, band-limited:
    float32 (n_windows, n_samples).
    """
    n = params.n_samples
    modulus = _modulus(Band.of(params), n, params.fs)
    # Powers of amplitudes in m/s (1e-9) and their ratios exceed the range of float32, so spectra
    # are computed at unit size.
    peak = np.abs(windows).max(axis=-1, keepdims=True, initial=0)
    spectra = rfft(np.divide(windows, peak, out=np.zeros_like(windows), where=peak > 0))
    amplitude = np.abs(spectra)
    divisor = amplitude if params.method == "coherence" else amplitude**2
    smooth = running_mean(divisor, _SMOOTH_BINS)
    smooth += params.water_level * divisor.mean(axis=-1, keepdims=True)
    spectra = spectra * modulus
    first = irfft(np.divide(spectra, smooth, out=np.zeros_like(spectra), where=smooth > 0), n)
    if params.method == "coherence":
        return first, None
    # Deconvolution keeps the ratio of both amplitudes.
    second = irfft(spectra, n) * peak
    return np.divide(first, peak, out=first, where=peak > 0), second


def _components(windows: np.ndarray, params: XcorParams) -> np.ndarray:
    """Unit phasors for phase correlation, else the windows: (n, n_components, n_samples)."""
    if params.method == "phase":
        spectra = rfft(windows)
        spectra *= np.complex64(-1j)  # a quarter of a period later
        analytic = np.empty(windows.shape, dtype=np.complex64)
        analytic.real, analytic.imag = windows, irfft(spectra, params.n_samples)
        size = np.abs(analytic)
        phasor = np.divide(analytic, size, out=np.zeros_like(analytic), where=size > 0)
        components = np.stack([phasor.real, phasor.imag], axis=1) / np.sqrt(params.n_samples)
        return np.ascontiguousarray(components, dtype=np.float32)
    if params.normalisation == "coefficient":
        norm = np.linalg.norm(windows.astype(np.float64), axis=-1, keepdims=True)
        windows = np.divide(windows, norm, out=np.zeros_like(windows), where=norm > 0)
    return windows.astype(np.float32, copy=False)[:, None, :]
