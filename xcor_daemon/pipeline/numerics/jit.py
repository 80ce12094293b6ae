"""Compilation of kernels with numba, and its cache on disk."""

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
    """numba's cache on disk, read without initialising the compiler.

    numba's own cache first registers all of numpy with the compiler, as if there were something
    to compile: half a second at every start. If there is, numba does so later by itself.
    Its classes have no types, hence the ``type: ignore``.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        # A cached kernel contains the intrinsics of these files too: it is stale if one changes.
        status = [Path(__file__).with_name(name).stat() for name in _INSTRUCTIONS]
        stamps = tuple((one.st_mtime, one.st_size) for one in status)
        self._cache_file._source_stamp = (self._cache_file._source_stamp, stamps)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load the machine code for a signature; None if it was never compiled."""
        rtsys.initialize(target_context)  # the reference counts of arrays made in a kernel
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save machine code; if the disk refuses, the next process compiles again."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            log.info("compiled kernels are not cached: %s", error)


def jit() -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function to be compiled at its first call and cached on disk; it frees the GIL.

    Sums keep their order in the source: with numba's ``fastmath`` it would depend on the
    processor (`ordered_sums`).
    """

    def decorate(function: Callable[..., Any]) -> Any:
        kernel: Any = numba.njit(nogil=True)(function)
        try:
            kernel._cache = _Cache(function)
        except RuntimeError as error:  # no folder of the cache is writable
            log.info("compiled kernels are not cached: %s", error)
        return kernel

    return decorate


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate an intrinsic as numba does; kernels call it without the typing context."""
    made: Callable[..., Any] = numba.extending.intrinsic(function)
    return made
