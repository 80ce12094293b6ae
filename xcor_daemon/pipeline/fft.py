"""The one place where a Fourier transform is chosen: mkl_fft where it is installed, else scipy.

Both keep float32 as float32. mkl_fft (the extra ``mkl``) is about twice as fast on x86-64.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

try:
    import mkl_fft
except ImportError:  # the extra is not installed
    mkl_fft = None

BACKEND = "mkl_fft" if mkl_fft is not None else "scipy.fft"


def rfft(x: np.ndarray) -> np.ndarray:
    """Spectra of real signals along the last axis, unscaled."""
    return mkl_fft.rfft(x, axis=-1) if mkl_fft is not None else scipy.fft.rfft(x, axis=-1)


def irfft(spectrum: np.ndarray, n: int, out: np.ndarray | None = None) -> np.ndarray:
    """Real signals of ``n`` samples from their spectra, scaled by 1/n.

    The result may or may not be ``out``: use what is returned.
    """
    if mkl_fft is not None:
        return mkl_fft.irfft(spectrum, n, axis=-1, out=out)
    return scipy.fft.irfft(spectrum, n, axis=-1)


def next_fast_len(n: int) -> int:
    """The smallest even 5-smooth length that is at least ``n``."""
    n += n % 2
    while (m := scipy.fft.next_fast_len(n, real=True)) % 2:
        n = m + 1
    return m
