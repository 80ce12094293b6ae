"""The one place where a Fourier transform is chosen: mkl_fft where it is installed, else scipy.

Both keep float32 as float32. mkl_fft (the extra ``mkl``) is about twice as fast on x86-64.
"""

from __future__ import annotations

import numpy as np

try:
    import mkl_fft as _backend

    BACKEND = "mkl_fft"
except ImportError:  # the extra is not installed
    import scipy.fft as _backend

    BACKEND = "scipy.fft"


# Libraries compute several transforms at once in another way than one (scipy side by side in
# vector registers, MKL the long ones), and the last digits differ; one at a time they do not
# depend on how many rows a batch has.
_ALONE = 8192 if BACKEND == "mkl_fft" else 0


def rfft(x: np.ndarray) -> np.ndarray:
    """Spectra of real signals (..., n) along the last axis, unscaled."""
    n = x.shape[-1]
    if n < _ALONE or x.ndim == 1:
        return _backend.rfft(x, axis=-1)
    spectra = np.empty((*x.shape[:-1], n // 2 + 1), dtype=np.result_type(x, np.complex64))
    for row, signal in zip(spectra.reshape(-1, n // 2 + 1), x.reshape(-1, n), strict=True):
        row[:] = _backend.rfft(signal)
    return spectra


def irfft(spectra: np.ndarray, n: int, out: np.ndarray | None = None) -> np.ndarray:
    """Real signals of ``n`` samples from their spectra, scaled by 1/n.

    ``out`` is room that may be used, where the library takes it; use what is returned.
    """
    if n < _ALONE or spectra.ndim == 1:
        if out is not None and BACKEND == "mkl_fft":
            return _backend.irfft(spectra, n, axis=-1, out=out)
        return _backend.irfft(spectra, n, axis=-1)
    signals = np.empty((*spectra.shape[:-1], n), dtype=spectra.real.dtype)
    for row, spectrum in zip(
        signals.reshape(-1, n), spectra.reshape(-1, spectra.shape[-1]), strict=True
    ):
        row[:] = _backend.irfft(spectrum, n)
    return signals


def next_fast_len(n: int, multiple: int = 2) -> int:
    """The smallest even length that is at least ``n`` and has no prime factor above 5.

    ``multiple`` is 1 where it may be odd.

    >>> next_fast_len(1001), next_fast_len(1201, multiple=1)
    (1024, 1215)
    """
    n += -n % multiple
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += multiple
