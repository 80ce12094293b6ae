"""HDF5 that is valid netCDF-4: dimensions, coordinates, room taken before it is filled."""

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
    """A new HDF5 file; when the block ends, all of its room on the disk is taken.

    HDF5 may crash the interpreter where a write fails, so it writes through a `SteadyFile`.

    Raises
    ------
    OSError
        If the disk is full or refuses; from inside `atomic_files.create_partial`, a `DiskError`.
    """
    with closing(SteadyFile(path)) as raw, h5py.File(raw, "w", libver="earliest") as file:
        yield file


def _add(file: h5py.File, name: str, values: np.ndarray) -> h5py.Dataset:
    if values.dtype == object:
        return file.create_dataset(name, data=values, dtype=_TEXT)
    return file.create_dataset(name, data=values)


def scale(file: h5py.File, name: str, values: np.ndarray, **attrs: str) -> None:
    """A dimension with its coordinates."""
    dataset = _add(file, name, values)
    dataset.attrs.update(attrs)
    dataset.make_scale(name)


def bare_dimension(file: h5py.File, name: str, size: int) -> None:
    """A dimension without coordinates, as netCDF-4 marks it."""
    dataset = file.create_dataset(name, shape=(size,), dtype=">f4")
    dataset.make_scale(f"This is a netCDF dimension but not a netCDF variable.{size:10d}")


def variable(
    file: h5py.File, name: str, values: np.ndarray, dims: tuple[str, ...], **attrs: str
) -> None:
    """Values along dimensions that are there."""
    describe(file, _add(file, name, values), dims, **attrs)


def describe(file: h5py.File, dataset: h5py.Dataset, dims: tuple[str, ...], **attrs: str) -> None:
    """Say of a data set along which dimensions it lies, and what it is."""
    dataset.attrs.update(attrs)
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(file[dim])


def preallocate(
    file: h5py.File, name: str, shape: tuple[int, ...], kind: h5py.h5t.TypeID = h5py.h5t.IEEE_F32LE
) -> h5py.Dataset:
    """A contiguous data set whose bytes have their place but are not written."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.CONTIGUOUS)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, space, plist))
