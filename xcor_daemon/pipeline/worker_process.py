"""Settings of a whole process: BLAS threads, memory of the C library, garbage collection.

They suit a process that only works for a job, which therefore sets them at its start: the commands
`correlate` and `stack`, a child of a pool, a Dask worker. No import changes them, so a notebook or
another program that imports the pipeline is not affected.

Call `set_up_worker_process` before numpy is imported if possible.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_info, threadpool_limits

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_is_set_up = False
P = ParamSpec("P")
R = TypeVar("R")


def set_up_worker_process() -> None:
    """Set up this process for the work of a job; later calls have no effect.

    Each worker computes on its own core: threads inside BLAS or MKL would only compete for the
    cores, and the way MKL divides its work among them changes the last digits of its results.
    """
    global _is_set_up
    if _is_set_up:
        return
    for name in _VARIABLES:  # read by libraries when loaded, and inherited by child processes
        os.environ[name] = "1"
    if "numpy" in sys.modules:
        threadpool_limits(1)  # for libraries that are already loaded
    _reuse_memory()
    _is_set_up = True


def with_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function to run with one BLAS thread, in any process; restored afterwards."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _is_set_up:
            return function(*args, **kwargs)
        import scipy.linalg  # noqa: F401  has its own BLAS, which must be loaded to be limited

        with threadpool_limits(1):
            return function(*args, **kwargs)

    return call


def max_threads() -> int:
    """The largest number of threads of a loaded BLAS or OpenMP library, in a new thread.

    OpenMP has this setting per thread, so `set_up_worker_process` in one thread does not affect
    another; then only an environment variable helps, set before the library is loaded.
    """
    with ThreadPoolExecutor(1) as pool:
        libraries = pool.submit(threadpool_info).result()
    return max((library["num_threads"] for library in libraries), default=1)


def freeze_imports() -> None:
    """Exclude all loaded modules from garbage collection, if this is a worker process."""
    if _is_set_up:
        gc.freeze()


def _reuse_memory() -> None:
    """Let the C library reuse the memory of large arrays.

    By default each array of some MB is mapped again, and its pages are zeroed by the kernel: a
    quarter of the time of a day. Only the GNU C library has this setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # numbers of malloc.h
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 64 << 20)
