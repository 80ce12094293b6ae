"""HDF5 files that are valid netCDF-4: dimensions, coordinates, preallocated variables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import h5py
import numpy as np

from ...atomic_files import SteadyFile

EPOCH = "seconds since 1970-01-01T00:00:00Z"
_TEXT = h5py.string_dtype("utf-8")


@contextmanager
def create(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file; when the block ends, all its bytes are allocated on the disk.

    HDF5 may crash the interpreter if a write fails, so it writes through a `SteadyFile`.

    Raises
    ------
    OSError
        If the disk is full or a write fails; inside `atomic_files.create_partial`, a `DiskError`.
    """
    with closing(SteadyFile(path)) as raw, h5py.File(raw, "w", libver="earliest") as file:
        yield file


def _add(file: h5py.File, name: str, values: np.ndarray) -> h5py.Dataset:
    if values.dtype == object:
        return file.create_dataset(name, data=values, dtype=_TEXT)
    return file.create_dataset(name, data=values)


def scale(file: h5py.File, name: str, values: np.ndarray, **attrs: str) -> None:
    """Write a dimension and its coordinates, ``values`` of shape (n,)."""
    dataset = _add(file, name, values)
    dataset.attrs.update(attrs)
    dataset.make_scale(name)


def bare_dimension(file: h5py.File, name: str, size: int) -> None:
    """Write a dimension without coordinates, in the form of netCDF-4."""
    dataset = file.create_dataset(name, shape=(size,), dtype=">f4")
    dataset.make_scale(f"This is a netCDF dimension but not a netCDF variable.{size:10d}")


def variable(
    file: h5py.File, name: str, values: np.ndarray, dims: tuple[str, ...], **attrs: str
) -> None:
    """Write a variable along existing dimensions, one for each axis of ``values`` (n, ...)."""
    describe(file, _add(file, name, values), dims, **attrs)


def describe(file: h5py.File, dataset: h5py.Dataset, dims: tuple[str, ...], **attrs: str) -> None:
    """Attach the dimensions of a data set, one an axis, and its attributes."""
    dataset.attrs.update(attrs)
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(file[dim])


def preallocate(
    file: h5py.File, name: str, shape: tuple[int, ...], kind: h5py.h5t.TypeID = h5py.h5t.IEEE_F32LE
) -> h5py.Dataset:
    """Create a contiguous data set whose bytes are allocated but not written."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.CONTIGUOUS)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, space, plist))
