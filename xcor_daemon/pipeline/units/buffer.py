"""The prepared channels of a day, in memory or spilled to disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np

from ...atomic_files import disk_errors, write_at

MAX_BYTES_IN_MEMORY = 500_000_000  # of all channels of a day


class ChannelBuffer:
    """One float32 time series of equal length per channel; any thread may write and read.

    Parameters
    ----------
    folder : Path
        Where a temporary file is made if the series exceed `MAX_BYTES_IN_MEMORY`. It has no name
        and disappears when the buffer is closed, or when the process ends for whatever reason.
    n_channels : int
    size : int
        Samples of each series.
    """

    def __init__(self, folder: Path, n_channels: int, size: int) -> None:
        self.size = size
        self._folder = folder
        self._series: dict[int, np.ndarray] = {}
        self._file = None
        if 4 * n_channels * size > MAX_BYTES_IN_MEMORY:
            with disk_errors(folder, 4 * n_channels * size):
                self._file = tempfile.TemporaryFile(  # noqa: SIM115  closed by __exit__
                    dir=folder, buffering=0
                )

    def write(self, index: int, series: np.ndarray) -> None:
        """Write the series of a channel, float32 (size,).

        Raises
        ------
        DiskError
            If the disk is full.
        """
        if series.shape != (self.size,) or series.dtype != np.float32:
            raise ValueError(
                f"series is {series.dtype} {series.shape}; it must be float32 ({self.size},)."
            )
        if self._file is None:
            self._series[index] = series
            return
        with disk_errors(self._folder, series.nbytes):
            write_at(self._file.fileno(), series, 4 * index * self.size)

    def read(self, index: int) -> np.ndarray:
        """The series of a channel, float32 (size,); read-only."""
        if self._file is None:
            return self._series[index]
        size = 4 * self.size
        with disk_errors(self._folder, action="read"):
            data = os.pread(self._file.fileno(), size, index * size)
        return np.frombuffer(data, dtype=np.float32)

    def __enter__(self) -> ChannelBuffer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._series.clear()
        if self._file is not None:
            self._file.close()
