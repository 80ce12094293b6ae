"""The one place where a Fourier transform is chosen: ducc0 where it is installed, else scipy.

Both keep float32 as float32, and agree to 1e-6 of the largest. From version 1.18 on (Python 3.12)
SciPy computes with ducc as well, and a whole day takes at most a tenth longer than with ducc0 (the
extra ``fast``). Before, its transforms take half as long again.

**A row does not depend on the rows beside it.** Both libraries take as many rows at once as a
vector register of the processor holds, then half as many, and what is left one by one, and each
of these ways rounds differently: with 16 floats in a register (AVX-512) the last digits of a row
change with the number of rows. So every call of theirs has the same number of rows, a power of two:
whatever the width of a register, such a call is cut into equal parts, and all of its rows are
computed in one way. What is left over of a batch is filled up with zeros. So results are the same
bytes for any cut and any number of threads, processes or machines of one processor family; between
families (AVX2, AVX-512, arm64) they agree to 1e-6 of the maximum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy  # its parts load when they are first used

try:
    from ducc0.fft import c2r, r2c

    BACKEND = "ducc0"
except ModuleNotFoundError:  # the extra is not installed; where it is broken, that is told
    BACKEND = "scipy.fft"

_MINOR = tuple(int(part) for part in scipy.__version__.split(".")[:2])
# What one core computes in a call, copies included (flop/s), where each works from the cache.
RATE = 20e9 if BACKEND == "ducc0" else 14e9 if _MINOR >= (1, 18) else 7e9

# (input, output) of one call of the library, both contiguous
_Transform = Callable[[np.ndarray, np.ndarray], None]


def default_rows_per_call(n: int) -> int:
    """Rows of ``n`` samples that are transformed by one call: 8, 4 or, beyond the caches, 1.

    Eight fill a register of AVX2. With AVX-512 eight rows of 4500 samples take a tenth less time
    than sixteen, and from some 20 000 samples on four take no more than eight, in half the memory.
    """
    if n <= 1 << 14:
        return 8
    return 4 if n <= 1 << 19 else 1


def rfft(x: np.ndarray, rows_per_call: int | None = None) -> np.ndarray:
    """Spectra of real signals (n,) or (rows, n) along the last axis, unscaled.

    A row depends on its length and on ``rows_per_call``, the rows of one call of the library
    (`default_rows_per_call` unless given; a power of two), and on nothing else. A bare signal may
    differ from a row in its last digits.
    """
    n = x.shape[-1]
    out = np.empty((*x.shape[:-1], n // 2 + 1), dtype=np.result_type(x.dtype, np.complex64))
    return _in_groups(_forward, x, out, rows_per_call or default_rows_per_call(n))


def irfft(
    spectra: np.ndarray, n: int, out: np.ndarray | None = None, rows_per_call: int | None = None
) -> np.ndarray:
    """Real signals of ``n`` samples from their n // 2 + 1 frequencies, scaled by 1/n.

    ``out`` is room (rows, n) for the result. For the rest as `rfft`.
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


def next_long_len(n: int) -> int:
    """Of the lengths that `next_fast_len` may give, up to 3 % longer, the one with the most twos.

    A series of a day leaves the cache, and every factor is another way through memory: four in
    one step are cheaper than three. 1 474 560 samples take a tenth less time than 1 458 000.

    >>> next_long_len(1_444_000), next_long_len(1)
    (1474560, 2)
    """
    odd = [3**b * 5**c for b in range(40) for c in range(28)]
    # The smallest power of two that makes each of them long enough.
    lengths = [part << max(1, (-(-n // part) - 1).bit_length()) for part in odd if part <= n]
    shortest = min(lengths)
    near = (m for m in lengths if m <= max(1.03 * n, shortest))
    return int(max(near, key=lambda m: (m & -m, -m)))
