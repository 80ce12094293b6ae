"""Correlations <-> HDF5 that is valid netCDF-4; a file is whole or absent.

``corr`` is one contiguous data set whose room is taken at the start, so that threads write their
parts with `os.pwrite` at the speed of a plain file, and so that a reader without HDF5 finds one
pair at ``offset``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...atomic_files import create_partial, disk_errors, make_folder, remove, write_at
from ...errors import DiskError
from ...request.params import XcorParams
from ..datatypes import PairTable
from . import netcdf
from .provenance import LAG_CONVENTION, attributes, units


class CorrWriter:
    """A correlation file while it is written: made by `create`, then filled."""

    def __init__(self, path: Path, partial: Path, shape: tuple[int, int, int], offset: int) -> None:
        self.path, self.shape, self.offset = path, shape, offset
        self._file = os.open(partial, os.O_RDWR)

    def write(self, rows: np.ndarray, window: int, corr: np.ndarray) -> None:
        """Put the correlations of consecutive pair rows from a window on; any thread may."""
        _, n_windows, n_lags = self.shape
        row_bytes = n_windows * n_lags * 4
        if corr.shape[1] == n_windows:
            self._put(np.ascontiguousarray(corr), self.offset + int(rows[0]) * row_bytes)
            return
        for row, part in zip(rows, corr, strict=True):
            self._put(part, self.offset + int(row) * row_bytes + window * n_lags * 4)

    def _put(self, array: np.ndarray, offset: int) -> None:
        with disk_errors(self.path, array.nbytes):
            write_at(self._file, array, offset)

    def close(self) -> None:
        """Close it, which a network folder may refuse where it could not take all."""
        os.close(self._file)


@contextmanager
def create(
    path: Path,
    pairs: PairTable,
    windows: np.ndarray,
    coverage: np.ndarray,
    params: XcorParams,
) -> Iterator[CorrWriter]:
    """Make a correlation file with room for every pair; it appears when the block ends well.

    Parameters
    ----------
    path : Path
        Its name; until it is whole it is called ``.partial``.
    pairs : PairTable
    windows : float64 array, shape (n_windows,)
        Start of each window or substack, seconds since 1970 UTC.
    coverage : float32 array, shape (n_channels, n_windows)
    params : XcorParams

    Raises
    ------
    DiskError
        If there is no room, or the disk refuses.
    """
    shape = (pairs.first.size, windows.size, 2 * params.n_lags + 1)
    make_folder(path.parent)
    for left in path.parent.glob(f"{path.name}.*.partial"):  # by a writer that was killed
        remove(left)
    with create_partial(path, needed=4 * int(np.prod(shape)), shared=True) as partial:
        offset = _lay_out(partial, pairs, windows, coverage, params)
        with closing(CorrWriter(path, partial, shape, offset)) as writer:
            yield writer
        check(partial)


def _lay_out(
    partial: Path,
    pairs: PairTable,
    windows: np.ndarray,
    coverage: np.ndarray,
    params: XcorParams,
) -> int:
    """Write all but the correlations; gives the offset of these."""
    shape = (pairs.first.size, windows.size, 2 * params.n_lags + 1)
    with netcdf.create(partial) as file:
        file.attrs.update(attributes(params))
        write_pairs(file, pairs)
        netcdf.scale(file, "window", windows, units=netcdf.EPOCH, calendar="standard",
               long_name="start of the window, UTC")  # fmt: skip
        netcdf.scale(file, "lag", lags(params), units="s", long_name=LAG_CONVENTION)
        netcdf.variable(file, "coverage", coverage, ("channel", "window"), units="1",
                  long_name="share of real samples")  # fmt: skip
        corr = netcdf.preallocate(file, "corr", shape)
        netcdf.describe(file, corr, ("pair", "window", "lag"), units=units(params),
                  long_name="correlation; NaN where a window is missing")  # fmt: skip
        offset = corr.id.get_offset()
        assert offset is not None
        return int(offset)


def lags(params: XcorParams) -> np.ndarray:
    """The lag axis (s), zero in the middle."""
    return np.arange(-params.n_lags, params.n_lags + 1) / params.fs


def write_pairs(file: h5py.File, pairs: PairTable) -> None:
    """The pairs, their channels and where these are."""
    netcdf.bare_dimension(file, "pair", pairs.first.size)
    ids = np.array(pairs.channels, dtype=object)
    netcdf.scale(file, "channel", ids, long_name="network.station.location.channel")
    for name, index in (("first", pairs.first), ("second", pairs.second)):
        netcdf.variable(file, name, ids[index], ("pair",), long_name=f"{name} channel of the pair")
    for name, unit, dim, values in (
        ("distance", "km", "pair", pairs.distance),
        ("azimuth", "degrees", "pair", pairs.azimuth),
        ("back_azimuth", "degrees", "pair", pairs.back_azimuth),
        ("latitude", "degrees_north", "channel", pairs.latitude),
        ("longitude", "degrees_east", "channel", pairs.longitude),
        ("elevation", "m", "channel", pairs.elevation),
    ):
        netcdf.variable(file, name, values.astype(np.float64), (dim,), units=unit)


def check(path: Path) -> None:
    """Open a file and look whether all of it is there.

    Raises
    ------
    DiskError
        If it is not a whole file of ours.
    """
    try:
        with h5py.File(path) as file:
            name = "corr" if "corr" in file else "stack"
            data = file[name]
            last = (data.id.get_offset() or 0) + data.id.get_storage_size()
            whole = data.shape[-1] == file["lag"].size and path.stat().st_size >= last
    except (OSError, KeyError) as error:
        raise DiskError(f"{path} is no whole file of correlations: {error}.") from error
    if not whole:
        raise DiskError(f"{path} is cut off.")


@dataclass(frozen=True)
class CorrFile:
    """A finished file of correlations, read piece by piece."""

    path: Path

    @property
    def day(self) -> str:
        """Of a file that holds a whole day."""
        return self.path.stem

    @cached_property
    def pairs(self) -> PairTable:
        """Its pairs, with coordinates."""
        with h5py.File(self.path) as file:
            channels = tuple(file["channel"].asstr()[:])
            place = {channel: k for k, channel in enumerate(channels)}
            index = {
                name: np.array([place[c] for c in file[name].asstr()[:]], dtype=int)
                for name in ("first", "second")
            }
            names = ("distance", "azimuth", "back_azimuth", "latitude", "longitude", "elevation")
            return PairTable(channels, **index, **{name: file[name][:] for name in names})

    @cached_property
    def starts(self) -> np.ndarray:
        """Start of every window, seconds since 1970 UTC."""
        with h5py.File(self.path) as file:
            starts: np.ndarray = file["window"][:]
            return starts

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Parameters and provenance."""
        with h5py.File(self.path) as file:
            return dict(file.attrs)

    @cached_property
    def params(self) -> XcorParams:
        """The parameters that it was made with."""
        values: dict[str, Any] = {}
        for setting in fields(XcorParams):
            if setting.name not in self.attributes:
                continue
            value = self.attributes[setting.name]
            if setting.name == "components":
                value = () if value == "all" else tuple(value.split(";"))
            elif isinstance(setting.default, bool):
                value = bool(value)
            values[setting.name] = value.item() if isinstance(value, np.generic) else value
        return XcorParams(**values)

    @cached_property
    def _place(self) -> tuple[int, tuple[int, ...], np.dtype]:
        with h5py.File(self.path) as file:
            corr = file["corr"]
            return corr.id.get_offset() or 0, corr.shape, corr.dtype

    def read(self, rows: slice | np.ndarray) -> np.ndarray:
        """Correlations of some pairs: float32 (n, n_windows, n_lags)."""
        if isinstance(rows, slice) and rows.step in (None, 1):
            offset, shape, kind = self._place  # a plain file is opened in a fraction of the time
            a, b, _ = rows.indices(shape[0])
            size = int(np.prod(shape[1:]))
            begin, n = offset + a * size * kind.itemsize, max(0, b - a) * size
            return np.fromfile(self.path, kind, n, offset=begin).reshape(-1, *shape[1:])
        with h5py.File(self.path) as file:
            corr: np.ndarray = file["corr"][rows]
            return corr


def read_variable(path: Path, name: str, rows: slice = slice(None)) -> np.ndarray:
    """A variable of a file, or some rows of it."""
    with h5py.File(path) as file:
        values: np.ndarray = file[name][rows]
        return values


def describe(path: Path) -> dict[str, Any]:
    """The file's entry in the manifest: size, sha256 and where its contiguous arrays lie."""
    digest = hashlib.sha256()
    with path.open("rb") as raw:
        while part := raw.read(1 << 22):
            digest.update(part)
    arrays = list(_arrays(path)) if path.suffix == ".h5" else []
    return {"size": path.stat().st_size, "sha256": digest.hexdigest(), "arrays": arrays}


def _arrays(path: Path) -> Iterator[dict[str, Any]]:
    with h5py.File(path) as file:
        for name, data in sorted(file.items()):
            offset = data.id.get_offset()
            if offset is not None and data.dtype.kind in "fi":
                kind = data.dtype.newbyteorder("<").str
                shape = list(data.shape)
                yield {"name": name, "dtype": kind, "shape": shape, "offset": int(offset)}
