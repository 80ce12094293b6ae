"""How a kernel is compiled, and found again without waking the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numba.extending
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys


class _Cache(FunctionCache):
    """numba's cache on disk, out of which machine code comes at once.

    numba's own way first makes the compiler know all of numpy, as if there were something to
    compile: half a second at every start. Where there is, numba does that by itself.
    Its own classes have no types, hence the two ``type: ignore``.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for a signature; None where it was never compiled."""
        rtsys.initialize(target_context)  # what arrays of a kernel's own are counted by
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]


def compiled(*, fastmath: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with its first call and keep that on disk; it lets go of the GIL.

    ``fastmath`` lets sums be taken in another order.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        kernel: Any = numba.njit(nogil=True, fastmath=fastmath)(function)
        kernel._cache = _Cache(function)  # type: ignore[no-untyped-call]
        return kernel

    return decorate


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's decorator of that name; kernels call the result without the typing context."""
    made: Callable[..., Any] = numba.extending.intrinsic(function)
    return made
