"""Stack files: HDF5 that is valid netCDF-4, written atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...atomic_files import create_partial, disk_errors, make_folder, write_at
from ...request.params import XcorParams
from ..datatypes import PairTable
from . import netcdf
from .correlation_file import check, lags, write_pairs
from .provenance import LAG_CONVENTION, attributes


@dataclass(frozen=True)
class StackWriter:
    """A stack file that is being written; processes may write different pairs."""

    path: Path
    partial: Path  # its name before it is complete
    layout: Mapping[str, tuple[int, np.dtype, tuple[int, ...]]]  # offset, type and shape

    def write(self, name: str, row: int, values: np.ndarray) -> None:
        """Write a variable of consecutive pairs.

        Parameters
        ----------
        name : str
            Of the variable.
        row : int
            Row of the first pair.
        values : array, shape (n_pairs, ...)
            In the unit of the variable.

        Raises
        ------
        DiskError
            If the disk is full or a write fails.
        ValueError
            If the shape does not fit.
        """
        offset, dtype, shape = self.layout[name]
        if values.shape[1:] != shape[1:]:
            raise ValueError(f"{name} has rows of shape {shape[1:]}, not {values.shape[1:]}")
        offset += row * dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        with disk_errors(self.path, values.nbytes):
            file = os.open(self.partial, os.O_WRONLY)
            try:
                write_at(file, np.ascontiguousarray(values, dtype=dtype), offset)
            finally:
                os.close(file)


@contextmanager
def create_stack(
    path: Path,
    pairs: PairTable,
    params: XcorParams,
    extra: Mapping[str, Any],
    intervals: np.ndarray | None,
    variables: Mapping[str, tuple[str, str, str]],
) -> Iterator[StackWriter]:
    """Create a stack file; it gets its name when the block ends without an exception.

    Parameters
    ----------
    path : Path
        Its name; before it is complete it ends on ``.partial``.
    pairs : PairTable
        All pairs of the file.
    params : XcorParams
        Of the correlations; become attributes.
    extra : mapping
        Further attributes: ``method`` and its settings.
    intervals : float64 array, shape (n_intervals, 2), optional
        Start and end of each interval (s since 1970 UTC); the dimension is called ``day``. By
        default each pair has one trace.
    variables : mapping
        Name -> (dimensions, unit, meaning); dimensions such as ``pair day lag``. ``n_windows``
        is int32, the others are float32.

    Yields
    ------
    writer : StackWriter

    Raises
    ------
    DiskError
        If the disk is full or a write fails.
    """
    make_folder(path.parent)
    n_days = 0 if intervals is None else len(intervals)
    sizes = {"pair": pairs.first.size, "day": n_days, "lag": 2 * params.n_lags + 1}
    shapes = {
        name: tuple(sizes[dim] for dim in dims.split()) for name, (dims, _, _) in variables.items()
    }
    needed = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    with create_partial(path, needed=needed) as partial:
        layout = _lay_out(partial, pairs, params, extra, intervals, variables, shapes)
        yield StackWriter(path, partial, layout)
        check(partial)


def _lay_out(
    partial: Path,
    pairs: PairTable,
    params: XcorParams,
    extra: Mapping[str, Any],
    intervals: np.ndarray | None,
    variables: Mapping[str, tuple[str, str, str]],
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, tuple[int, np.dtype, tuple[int, ...]]]:
    """Write everything except the values; return offset (bytes), type and shape of variables."""
    layout = {}
    with netcdf.create(partial) as file:
        file.attrs.update({**attributes(params), "corr_method": params.method, **extra})
        write_pairs(file, pairs)
        if intervals is not None:
            netcdf.scale(file, "day", intervals[:, 0], units=netcdf.EPOCH, calendar="standard",
                   long_name="start of the interval, UTC")  # fmt: skip
            netcdf.variable(file, "day_end", intervals[:, 1], ("day",), units=netcdf.EPOCH,
                      calendar="standard", long_name="end of the interval, UTC")  # fmt: skip
        netcdf.scale(file, "lag", lags(params), units="s", long_name=LAG_CONVENTION)
        for name, (dims, unit, meaning) in variables.items():
            kind = h5py.h5t.STD_I32LE if name == "n_windows" else h5py.h5t.IEEE_F32LE
            data = netcdf.preallocate(file, name, shapes[name], kind)
            netcdf.describe(file, data, tuple(dims.split()), units=unit, long_name=meaning)
            offset = data.id.get_offset()
            assert offset is not None
            layout[name] = (offset, data.dtype, shapes[name])
    return layout
