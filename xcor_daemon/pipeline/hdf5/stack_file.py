"""Stacks -> HDF5 that is valid netCDF-4; a file is whole or absent."""

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
    """A stack file while it is written; processes may write different pairs."""

    path: Path
    partial: Path  # its name until it is complete
    places: Mapping[str, tuple[int, np.dtype, tuple[int, ...]]]  # offset, type and shape

    def write(self, name: str, row: int, values: np.ndarray) -> None:
        """Put the values of consecutive pairs, from row ``row`` on."""
        offset, dtype, shape = self.places[name]
        if values.shape[1:] != shape[1:]:
            raise ValueError(f"{name} has rows of {shape[1:]}, not of {values.shape[1:]}.")
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
    said: Mapping[str, Any],
    intervals: np.ndarray | None,
    variables: Mapping[str, tuple[str, str, str]],
) -> Iterator[StackWriter]:
    """Make a stack file with room for every pair; it appears when the block ends well.

    Parameters
    ----------
    path : Path
        Its name; until it is whole it is called ``.partial``.
    pairs : PairTable
    params : XcorParams
        Of the correlations.
    said : mapping
        Further attributes: ``method`` and how it was set.
    intervals : float64 array, shape (n_intervals, 2), optional
        Start and end of each, seconds since 1970 UTC; the dimension is called ``day``. Without
        them, a trace a pair.
    variables : mapping
        Name -> (dimensions, unit, meaning); dimensions such as ``pair day lag``. ``n_windows``
        is int32, the others are float32.

    Raises
    ------
    DiskError
        If there is no room, or the disk refuses.
    """
    make_folder(path.parent)
    n_days = 0 if intervals is None else len(intervals)
    sizes = {"pair": pairs.first.size, "day": n_days, "lag": 2 * params.n_lags + 1}
    shapes = {
        name: tuple(sizes[dim] for dim in dims.split()) for name, (dims, _, _) in variables.items()
    }
    needed = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    with create_partial(path, needed=needed) as partial:
        places = _lay_out(partial, pairs, params, said, intervals, variables, shapes)
        yield StackWriter(path, partial, places)
        check(partial)


def _lay_out(
    partial: Path,
    pairs: PairTable,
    params: XcorParams,
    said: Mapping[str, Any],
    intervals: np.ndarray | None,
    variables: Mapping[str, tuple[str, str, str]],
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, tuple[int, np.dtype, tuple[int, ...]]]:
    """Write all but the values; gives offset, type and shape of each variable."""
    places = {}
    with netcdf.create(partial) as file:
        file.attrs.update({**attributes(params), "corr_method": params.method, **said})
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
            places[name] = (offset, data.dtype, shapes[name])
    return places
