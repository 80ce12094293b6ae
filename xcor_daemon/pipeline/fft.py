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


# From this length on MKL computes one signal in another way than several at once, and the last
# digits differ. Rows of a batch must not depend on how many they are, so one goes as two.
_NEVER_ALONE = 8192


def rfft(x: np.ndarray) -> np.ndarray:
    """Spectra of real signals (n,) or (rows, n) along the last axis, unscaled.

    A row does not depend on the others; a bare signal may differ from a row in its last digits.
    """
    if x.ndim == 2 and len(x) == 1 and x.shape[-1] >= _NEVER_ALONE:
        return _backend.rfft(np.repeat(x, 2, axis=0), axis=-1)[:1]
    return _backend.rfft(x, axis=-1)


def irfft(spectra: np.ndarray, n: int, out: np.ndarray | None = None) -> np.ndarray:
    """Real signals of ``n`` samples from their spectra, scaled by 1/n; as `rfft` for the rest.

    ``out`` is room that may be used, where the library takes it; use what is returned.
    """
    if spectra.ndim == 2 and len(spectra) == 1 and n >= _NEVER_ALONE:
        return _backend.irfft(np.repeat(spectra, 2, axis=0), n, axis=-1)[:1]
    if out is not None and BACKEND == "mkl_fft":
        return _backend.irfft(spectra, n, axis=-1, out=out)
    return _backend.irfft(spectra, n, axis=-1)


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
