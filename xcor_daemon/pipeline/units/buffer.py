"""Where the channels of a day wait: in memory, or on disk where they would not fit."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np

from ...atomic_files import disk_errors, write_at

MEMORY = 500_000_000  # bytes that a day's channels may take in memory


class Shelf:
    """Holds one float32 series of equal length per place; any thread may put and take.

    Parameters
    ----------
    folder : Path
        Of a file without a name, which is used where memory does not do and goes when the shelf
        is closed, or the process ends, however it ends.
    n_places, size : int
        Series, and samples of each.
    """

    def __init__(self, folder: Path, n_places: int, size: int) -> None:
        self.size = size
        self._folder = folder
        self._rows: dict[int, np.ndarray] = {}
        self._file = None
        if 4 * n_places * size > MEMORY:
            with disk_errors(folder, 4 * n_places * size):
                self._file = tempfile.TemporaryFile(  # noqa: SIM115  closed by __exit__
                    dir=folder, buffering=0
                )

    def put(self, place: int, series: np.ndarray) -> None:
        """Lay a series down, float32 (size,).

        Raises
        ------
        DiskError
            If the disk is full.
        """
        if series.shape != (self.size,) or series.dtype != np.float32:
            raise ValueError(f"the shelf holds float32 ({self.size},), not {series.shape}.")
        if self._file is None:
            self._rows[place] = series
            return
        with disk_errors(self._folder, series.nbytes):
            write_at(self._file.fileno(), series, 4 * place * self.size)

    def take(self, place: int) -> np.ndarray:
        """The series of a place; not to be changed."""
        if self._file is None:
            return self._rows[place]
        size = 4 * self.size
        with disk_errors(self._folder, action="read"):
            data = os.pread(self._file.fileno(), size, place * size)
        return np.frombuffer(data, dtype=np.float32)

    def __enter__(self) -> Shelf:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rows.clear()
        if self._file is not None:
            self._file.close()
