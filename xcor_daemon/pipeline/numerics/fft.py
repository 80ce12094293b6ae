"""Fourier transforms, by ducc0 if it is installed, else by SciPy.

Both compute float32 in float32 and agree to 1e-6 of the maximum. From version 1.18 on (Python
3.12) SciPy uses ducc too, and a day takes at most 10 % longer than with ducc0 (the extra
``fast``); older versions need 50 % more time for transforms.

**A row does not depend on the rows beside it.** Both libraries transform as many rows at once as
a vector register of the processor holds, then half as many, and the remainder one by one. Each of
these ways rounds differently: with 16 floats in a register (AVX-512) the last digits of a row
change with the number of rows. Therefore every call of the library has the same number of rows, a
power of two: whatever the width of a register, such a call is divided into equal parts, and all
its rows are computed in the same way. A batch is padded with rows of zeros. So the results are
the same bytes for any division of the work among threads, processes or machines of one processor
family; between families (AVX2, AVX-512, arm64) they agree to 1e-6 of the maximum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy  # loads its modules on first use

try:
    from ducc0.fft import c2r, r2c

    BACKEND = "ducc0"
except ModuleNotFoundError:  # the extra is not installed; another ImportError is not caught
    BACKEND = "scipy.fft"

_MINOR = tuple(int(part) for part in scipy.__version__.split(".")[:2])
# Rate of one core (flop/s) in a call, copies included, if the data are in its cache.
RATE = 20e9 if BACKEND == "ducc0" else 14e9 if _MINOR >= (1, 18) else 7e9

# (input, output) of one call of the library, both contiguous
_Transform = Callable[[np.ndarray, np.ndarray], None]


def default_rows_per_call(n: int) -> int:
    """Return how many rows of ``n`` samples one call transforms: 8, 4 or, beyond the caches, 1.

    Eight fill a register of AVX2. With AVX-512 eight rows of 4500 samples take 10 % less time
    than sixteen, and from some 20 000 samples on four take no longer than eight, in half the
    memory.
    """
    if n <= 1 << 14:
        return 8
    return 4 if n <= 1 << 19 else 1


def rfft(x: np.ndarray, rows_per_call: int | None = None) -> np.ndarray:
    """Compute the spectra of real signals, along the last axis.

    Parameters
    ----------
    x : float array, shape (n,) or (rows, n)
        float32 or float64.
    rows_per_call : int, optional
        Rows in a call of the library, a power of two; `default_rows_per_call` by default. A row
        of the result depends on its length and on this number only. A signal of shape (n,) may
        differ from a row in its last digits.

    Returns
    -------
    spectra : complex array, shape (..., n // 2 + 1)
        Not scaled; complex64 of float32.
    """
    n = x.shape[-1]
    out = np.empty((*x.shape[:-1], n // 2 + 1), dtype=np.result_type(x.dtype, np.complex64))
    return _in_groups(_forward, x, out, rows_per_call or default_rows_per_call(n))


def irfft(
    spectra: np.ndarray, n: int, out: np.ndarray | None = None, rows_per_call: int | None = None
) -> np.ndarray:
    """Compute real signals from their spectra, along the last axis.

    Parameters
    ----------
    spectra : complex array, shape (..., n // 2 + 1)
        As from `rfft`.
    n : int
        Samples of a signal.
    out : float array, shape (..., n), optional
        Where to put the result; a new array by default.
    rows_per_call : int, optional
        As for `rfft`.

    Returns
    -------
    x : float array, shape (..., n)
        Scaled by 1/n; float32 of complex64.
    """
    if out is None:
        out = np.empty((*spectra.shape[:-1], n), dtype=spectra.real.dtype)
    return _in_groups(_backward, spectra, out, rows_per_call or default_rows_per_call(n))


def _forward(x: np.ndarray, out: np.ndarray) -> None:
    if BACKEND == "ducc0":
        r2c(x, axes=(x.ndim - 1,), out=out)
    else:
        out[...] = scipy.fft.rfft(x)


def _backward(spectra: np.ndarray, out: np.ndarray) -> None:
    n = out.shape[-1]
    if BACKEND == "ducc0":
        c2r(spectra, axes=(spectra.ndim - 1,), lastsize=n, forward=False, inorm=2, out=out)
    else:
        out[...] = scipy.fft.irfft(spectra, n)


def _in_groups(
    transform: _Transform, x: np.ndarray, out: np.ndarray, rows_per_call: int
) -> np.ndarray:
    """``out``, filled by calls that all have ``rows_per_call`` rows, or one bare signal each."""
    if x.ndim == 1:
        transform(x, out)
        return out
    if rows_per_call == 1:
        for row, result in zip(x, out, strict=True):
            transform(row, result)
        return out
    whole = len(x) - len(x) % rows_per_call
    for k in range(0, whole, rows_per_call):
        transform(x[k : k + rows_per_call], out[k : k + rows_per_call])
    if rest := len(x) - whole:
        padded = np.zeros((rows_per_call, x.shape[1]), dtype=x.dtype)
        padded[:rest] = x[whole:]
        result = np.empty((rows_per_call, out.shape[1]), dtype=out.dtype)
        transform(padded, result)
        out[whole:] = result[:rest]
    return out


def next_fast_len(n: int, multiple: int = 2) -> int:
    """Return the smallest length of at least ``n`` samples without a prime factor above 5.

    Parameters
    ----------
    n : int
        Samples needed.
    multiple : int
        2 for even lengths only, 1 for all.

    Examples
    --------
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


def next_long_len(n: int) -> int:
    """Return a fast length of at least ``n`` samples for series that exceed the cache.

    Among the lengths without a prime factor above 5 and up to 3 % longer than necessary, it is
    the one with the most factors of 2. Each step of the transform passes through memory once, and
    fewer steps are needed with factors of 4: 1 474 560 samples take 10 % less time than 1 458 000.

    Examples
    --------
    >>> next_long_len(1_444_000), next_long_len(1)
    (1474560, 2)
    """
    odd = [3**b * 5**c for b in range(40) for c in range(28)]
    # Each times the smallest power of two that makes it long enough.
    lengths = [part << max(1, (-(-n // part) - 1).bit_length()) for part in odd if part <= n]
    shortest = min(lengths)
    near = (m for m in lengths if m <= max(1.03 * n, shortest))
    return int(max(near, key=lambda m: (m & -m, -m)))
