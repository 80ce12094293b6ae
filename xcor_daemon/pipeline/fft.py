"""The one place where a Fourier transform is chosen: ducc0 where it is installed, else scipy.

Both keep float32 as float32. ducc0 (the extra ``fast``) takes about two thirds of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import scipy  # its parts load when they are first used

try:
    from ducc0.fft import c2r, r2c

    BACKEND = "ducc0"
except ModuleNotFoundError:  # the extra is not installed; where it is broken, that is told
    BACKEND = "scipy.fft"


def rfft(x: np.ndarray) -> np.ndarray:
    """Spectra of real signals (n,) or (rows, n) along the last axis, unscaled.

    A row does not depend on the others; a bare signal may differ from a row in its last digits.
    """
    if BACKEND == "scipy.fft":
        return scipy.fft.rfft(x)
    return _by_twos(partial(r2c, axes=(x.ndim - 1,)), x)


def irfft(spectra: np.ndarray, n: int, out: np.ndarray | None = None) -> np.ndarray:
    """Real signals of ``n`` samples from their n // 2 + 1 frequencies, scaled by 1/n.

    ``out`` is room that may be used, where the library takes it; use what is returned. For the
    rest as `rfft`.
    """
    if BACKEND == "scipy.fft":
        return scipy.fft.irfft(spectra, n)
    axes = (spectra.ndim - 1,)
    transform = partial(c2r, axes=axes, lastsize=n, forward=False, inorm=2)
    return _by_twos(transform, spectra, out)


def _by_twos(
    transform: Callable[..., np.ndarray], x: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """Transform rows so that each is the same however many there are.

    ducc0 takes as many at once as a register holds, then half as many, and an odd one at the end
    in another way, whose last digits differ: that one goes as two.
    """
    if x.ndim == 1 or len(x) % 2 == 0:
        return transform(x, out=out)
    last = transform(np.repeat(x[-1:], 2, axis=0))[:1]
    if len(x) == 1:
        return last
    if out is None:
        out = np.empty((len(x), last.shape[1]), dtype=last.dtype)
    transform(x[:-1], out=out[:-1])
    out[-1] = last[0]
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
    return max((m for m in lengths if m <= max(1.03 * n, shortest)), key=lambda m: (m & -m, -m))
