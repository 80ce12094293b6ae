"""How a kernel is compiled, and found again without waking the compiler."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numba.extending
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys

_INSTRUCTIONS = ("ordered_sums.py",)  # files of intrinsics that kernels of other files use
log = logging.getLogger(__name__)


class _Cache(FunctionCache):
    """numba's cache on disk, out of which machine code comes at once.

    numba's own way first makes the compiler know all of numpy, as if there were something to
    compile: half a second at every start. Where there is, numba does that by itself.
    Its own classes have no types, hence the ``type: ignore``.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        # Beside a kernel's own file it holds the instructions of these, and is made again when
        # they change.
        about = [Path(__file__).with_name(name).stat() for name in _INSTRUCTIONS]
        stamps = tuple((one.st_mtime, one.st_size) for one in about)
        self._cache_file._source_stamp = (self._cache_file._source_stamp, stamps)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for a signature; None where it was never compiled."""
        rtsys.initialize(target_context)  # what arrays of a kernel's own are counted by
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code; where the disk refuses, the next process compiles again."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            log.info("compiled kernels are not kept: %s", error)


def jit() -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with its first call and keep that on disk; it lets go of the GIL.

    Sums are taken in the order in which they are written: with numba's ``fastmath`` it would
    depend on the processor (`ordered_sums`).
    """

    def decorate(function: Callable[..., Any]) -> Any:
        kernel: Any = numba.njit(nogil=True)(function)
        try:
            kernel._cache = _Cache(function)
        except RuntimeError as error:  # no folder for it can be written
            log.info("compiled kernels are not kept: %s", error)
        return kernel

    return decorate


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's decorator of that name; kernels call the result without the typing context."""
    made: Callable[..., Any] = numba.extending.intrinsic(function)
    return made
