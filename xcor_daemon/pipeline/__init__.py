"""From waveforms to correlations, stacks and images; knows no S3, no Docker and no command line."""

import ctypes
import os
import sys

# Each worker computes on its own core: threads inside BLAS or MKL would only fight over the
# cores, and how MKL splits its work among them changes the last digits of its results. Libraries
# read these when they are loaded, so they are set before anything here imports numpy.
_NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# A program that loaded numpy before, such as a Dask worker, must have set them itself.
THREADS_ARE_PINNED = "numpy" not in sys.modules or all(os.environ.get(n) == "1" for n in _NAMES)
for _name in _NAMES:
    os.environ[_name] = "1"


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


_keep_memory()
