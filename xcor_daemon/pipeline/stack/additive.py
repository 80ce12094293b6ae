"""Stacking methods that need only sums over windows: linear, phase-weighted, and others.

Each is a pair of functions: sums over some windows, and the trace from the sums over all. Sums
over parts are added, so a year needs no more memory than a day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads its modules on first use

from .window_arrays import analytic, chunks, pair_by_pair, scaled

# Count of windows and sums over them.
Sums = tuple[int, tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class AdditiveMethod:
    """A stacking method of sums: `gather` windows, `merge`, then `finish`."""

    sums: Callable[[np.ndarray], tuple[np.ndarray, ...]]
    trace: Callable[[int, tuple[np.ndarray, ...]], np.ndarray]

    def gather(self, rows: np.ndarray) -> Sums:
        """Sums over complete windows (n_windows, n_lags), at least one."""
        return len(rows), self.sums(rows)

    def merge(self, parts: Sequence[Sums]) -> Sums:
        """Add the sums over several parts, at least one."""
        total = tuple(sum(arrays) for arrays in zip(*(sums for _, sums in parts), strict=True))
        return sum(n for n, _ in parts), total

    def finish(self, gathered: Sums) -> tuple[np.ndarray, int]:
        """Return the stack (n_lags,) and its number of windows."""
        n, sums = gathered
        return self.trace(n, sums), n

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Stack windows (..., n_windows, n_lags)."""
        return pair_by_pair(lambda rows: self.trace(*self.gather(rows)), windows)


def linear_method() -> AdditiveMethod:
    """``mean(d)``."""
    return AdditiveMethod(lambda rows: (_total(rows),), lambda n, sums: sums[0] / n)


def phase_weighted_method(fs: float, phase_smooth: float | None, power: float) -> AdditiveMethod:
    """``mean(d) * abs(mean(exp(i phase))) ** power``."""
    n_smooth = 2 * round((phase_smooth or 0.0) * fs / 2) + 1

    def trace(n: int, sums: tuple[np.ndarray, ...]) -> np.ndarray:
        total, cosine, sine = sums
        return total / n * _smooth(_phase_coherence(n, cosine, sine), n_smooth) ** power

    return AdditiveMethod(lambda rows: (_total(rows), *_phasors(rows)), trace)


def nth_root_method(order: float) -> AdditiveMethod:
    """``r = mean(sign(d) abs(d) ** (1 / order))``, then ``sign(r) abs(r) ** order``."""

    def sums(rows: np.ndarray) -> tuple[np.ndarray]:
        total = np.zeros(rows.shape[-1])
        for chunk in chunks(len(rows)):
            part = rows[chunk].astype(np.float64)
            total += (np.sign(part) * np.abs(part) ** (1 / order)).sum(axis=0)
        return (total,)

    return AdditiveMethod(sums, lambda n, sums: np.sign(sums[0]) * np.abs(sums[0] / n) ** order)


def adaptive_covariance_method(sharpness: float) -> AdditiveMethod:
    """The linear stack, filtered by the coherence between windows."""

    def sums(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n_fft = _n_filter(rows.shape[-1])
        total = np.zeros(n_fft // 2 + 1, dtype=np.complex128)
        power = np.zeros(n_fft // 2 + 1)
        for chunk in chunks(len(rows)):
            spectra = scipy.fft.rfft(rows[chunk].astype(np.float64), n_fft)
            total += spectra.sum(axis=0)
            power += (spectra.real**2 + spectra.imag**2).sum(axis=0)
        return total, power, _total(rows)

    def trace(n: int, sums: tuple[np.ndarray, ...]) -> np.ndarray:
        total, power, plain = sums
        if n == 1:
            return plain
        cross = np.abs(total) ** 2 - power
        gain = np.divide(cross, (n - 1) * power, out=np.ones_like(power), where=power > 0)
        # Equal windows must give 1 exactly; if negative, windows cancel more than by chance.
        filtered = total / n * np.clip(gain, 0, 1) ** sharpness
        return scipy.fft.irfft(filtered, _n_filter(plain.size))[: plain.size]

    return AdditiveMethod(sums, trace)


def time_frequency_method(
    fs: float, power: float, band: tuple[float, float] | None = None
) -> AdditiveMethod:
    """The linear stack with its S-transform weighted by the phase coherence.

    Only frequencies within ``band`` (Hz) are weighted, all by default: each needs a transform.
    """

    def weighted_bins(n_fft: int) -> np.ndarray:
        frequency = np.arange(n_fft // 2 + 1)
        if band is None:
            return frequency
        hertz = frequency * fs / n_fft
        return frequency[(hertz >= band[0]) & (hertz <= band[1])]

    def sums(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n_fft = scipy.fft.next_fast_len(rows.shape[-1])
        frequencies = weighted_bins(n_fft)
        phasors = np.zeros((frequencies.size, n_fft), dtype=np.complex128)
        gauss = _gauss(frequencies, n_fft)
        for row in scaled(rows):
            transform = _s_transform(scipy.fft.fft(row, n_fft), frequencies, gauss)
            modulus = np.abs(transform)
            modulus[modulus == 0] = 1  # zeros have no phase and add nothing
            phasors += transform / modulus
        return _total(rows), phasors

    def trace(n: int, sums: tuple[np.ndarray, ...]) -> np.ndarray:
        total, phasors = sums
        n_fft = phasors.shape[-1]
        frequencies = weighted_bins(n_fft)
        spectrum = scipy.fft.fft(total / n, n_fft)
        transform = _s_transform(spectrum, frequencies, _gauss(frequencies, n_fft))
        weight = np.minimum(np.abs(phasors) / n, 1) ** power
        # The sum of an S-transform over time is the spectrum (Stockwell et al. 1996). The part that
        # the weights remove is subtracted, so that weights of 1 do not change the last bit.
        half = spectrum[: n_fft // 2 + 1].copy()
        half[frequencies] -= ((1 - weight) * transform).sum(axis=-1)
        return scipy.fft.irfft(half, n_fft)[: total.size]

    return AdditiveMethod(sums, trace)


def _gauss(frequencies: np.ndarray, n_fft: int) -> np.ndarray:
    """Windows of the S-transform in the frequency domain, float32 (n_frequencies, n_fft)."""
    offset = np.fft.fftfreq(n_fft, 1 / n_fft)
    width = np.maximum(frequencies, 1)[:, None]
    gauss = np.exp(-2 * np.pi**2 * offset**2 / width**2)
    gauss[frequencies == 0] = offset == 0
    return gauss.astype(np.float32)


def _s_transform(spectrum: np.ndarray, frequencies: np.ndarray, gauss: np.ndarray) -> np.ndarray:
    """S-transform (n_frequencies, n_fft) from the spectrum of a trace (Stockwell et al. 1996)."""
    shifted = spectrum[(np.arange(spectrum.size) + frequencies[:, None]) % spectrum.size]
    return scipy.fft.ifft(shifted * gauss)


def _total(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=0, dtype=np.float64)


def _n_filter(n_lags: int) -> int:
    return scipy.fft.next_fast_len(2 * n_lags - 1, real=True)


def _phasors(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the windows' unit phasors, real and imaginary: float64 (n_lags,) each."""
    cosine, sine = np.zeros(rows.shape[-1]), np.zeros(rows.shape[-1])
    for chunk in chunks(len(rows)):
        real, imaginary = analytic(rows[chunk])
        # Scaled to 1, so squares and their sum do not overflow; tiny values may become zero, which
        # has no phase and adds nothing.
        modulus = real * real
        modulus += imaginary * imaginary
        np.sqrt(modulus, out=modulus)
        modulus[modulus == 0] = 1
        real /= modulus
        imaginary /= modulus
        cosine += real.sum(axis=0, dtype=np.float64)
        sine += imaginary.sum(axis=0, dtype=np.float64)
    return cosine, sine


def _phase_coherence(n: int, cosine: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """Phase coherence, the modulus of the mean of the unit phasors: 1 if all phases are equal."""
    # The phasors are rounded to float32; equal windows must give 1 exactly.
    return np.minimum(np.hypot(cosine, sine) / n, 1)


def _smooth(values: np.ndarray, n: int) -> np.ndarray:
    """Running mean over ``n`` values, an odd number; over fewer at the ends."""
    if n <= 1:
        return values
    n = min(n, 2 * values.size - 1)
    present = scipy.ndimage.uniform_filter1d(np.ones(values.size), n, mode="constant")
    return scipy.ndimage.uniform_filter1d(values, n, mode="constant") / present
