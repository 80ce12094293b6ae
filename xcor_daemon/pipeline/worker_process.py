"""Settings of a whole process: BLAS threads, memory of the C library, garbage collection.

They suit a process that does nothing but work for a job, so such a process asks for them where it
begins: the commands `correlate` and `stack`, a child of a pool, a Dask worker. No import makes
them: a notebook or another program that imports the pipeline stays as it is.

Call `set_up_worker_process` before numpy is imported where that can be done.
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
    """Set up this process for the work of a job; once is enough.

    Each worker computes on its own core: threads inside BLAS or MKL would only compete for the
    cores, and how MKL splits its work among them changes the last digits of its results.
    """
    global _is_set_up
    if _is_set_up:
        return
    for name in _VARIABLES:  # read by libraries when they are loaded, and by child processes
        os.environ[name] = "1"
    if "numpy" in sys.modules:
        threadpool_limits(1)  # of the libraries that are loaded already
    _keep_memory()
    _is_set_up = True


def with_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Keep BLAS to one thread during a call, in whatever process; afterwards all is as before."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _is_set_up:
            return function(*args, **kwargs)
        import scipy.linalg  # noqa: F401  its BLAS is another one than numpy's; now it is loaded

        with threadpool_limits(1):
            return function(*args, **kwargs)

    return call


def most_threads() -> int:
    """The most threads that a loaded BLAS or OpenMP library uses, as a new thread sees it.

    OpenMP keeps its number for each thread, so what `set_up_worker_process` sets in one thread
    does not hold in another; then only the environment helps, before the library is loaded.
    """
    with ThreadPoolExecutor(1) as pool:
        libraries = pool.submit(threadpool_info).result()
    return max((library["num_threads"] for library in libraries), default=1)


def freeze_imports() -> None:
    """Take all that is loaded out of later garbage collections, in a process of our own only."""
    if _is_set_up:
        gc.freeze()


def _keep_memory() -> None:
    """Let the C library keep the memory of large arrays for the next one.

    By default each array of some MB is mapped anew and cleared page by page by the kernel: a
    quarter of the time of a day. Another C library than GNU's is left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # as malloc.h numbers them
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 64 << 20)
