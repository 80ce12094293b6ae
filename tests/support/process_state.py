"""Settings of a whole process, which a single line anywhere can change."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import locale
import logging
import multiprocessing
import os
import resource
import signal
import sys
import threading
import warnings
from typing import Any

from threadpoolctl import threadpool_info

_MAPPED_BY_DEFAULT = 64 << 20  # bytes; above the 32 MiB to which glibc moves its threshold itself

_LIMITS = [name for name in dir(resource) if name.startswith("RLIMIT_")]


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def maps_large_arrays() -> bool:
    """Whether malloc maps a large block again, as glibc does where mallopt was not called."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.mallinfo2.restype = _Mallinfo2
    before = libc.mallinfo2().hblks
    block = libc.malloc(_MAPPED_BY_DEFAULT)
    is_mapped = libc.mallinfo2().hblks > before
    libc.free(block)
    return bool(is_mapped)


def threads_of_libraries() -> list[tuple[str, int]]:
    """Name of each loaded BLAS or OpenMP library, and how many threads it uses."""
    return sorted((one["internal_api"], one["num_threads"]) for one in threadpool_info())


def process_state() -> dict[str, Any]:
    """Settings of this process, by name; of numpy, matplotlib and Dask where they are loaded."""
    state: dict[str, Any] = {
        "environment": dict(os.environ),
        "threads of libraries": threads_of_libraries(),
        "malloc": maps_large_arrays(),
        "warnings": [str(one) for one in warnings.filters],
        "garbage collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "signals": {int(s): str(signal.getsignal(s)) for s in signal.valid_signals()},
        "limits": {n: resource.getrlimit(getattr(resource, n)) for n in _LIMITS},
        "locale": locale.setlocale(locale.LC_ALL),
        "faulthandler": faulthandler.is_enabled(),
        "threads": [thread.name for thread in threading.enumerate()],
        "log handlers": [str(one) for one in logging.root.handlers],
        "log level": logging.root.level,
        "hooks": [str(h) for h in (sys.excepthook, sys.unraisablehook, threading.excepthook)],
        "recursion": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "umask": _umask(),
        "folder": os.getcwd(),
        "module path": list(sys.path),
        "cores": sorted(os.sched_getaffinity(0)),
        "start method": multiprocessing.get_start_method(allow_none=True),
    }  # fmt: skip
    if "numpy" in sys.modules:
        import numpy as np

        state |= {"numpy errors": np.geterr(), "numpy printing": str(np.get_printoptions())}
    if "matplotlib" in sys.modules:
        import matplotlib as mpl

        state["matplotlib"] = {name: str(value) for name, value in dict.items(mpl.rcParams)}
    if "dask" in sys.modules:
        import dask

        state["dask"] = str(dask.config.config)
    return state


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Changed settings, with both values."""
    return {
        name: (before.get(name), after[name]) for name in after if after[name] != before.get(name)
    }
