"""Correlation files: HDF5 that is valid netCDF-4, written atomically.

``corr`` is one contiguous data set that is allocated first, so that threads write their parts
with `os.pwrite` as fast as to a plain file, and a reader without HDF5 can read one pair at
``offset``.
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
    """A correlation file that is being written; from `create`."""

    def __init__(self, path: Path, partial: Path, shape: tuple[int, int, int], offset: int) -> None:
        self.path, self.shape, self.offset = path, shape, offset
        self._file = os.open(partial, os.O_RDWR)

    def write(self, rows: np.ndarray, window: int, corr: np.ndarray) -> None:
        """Write correlations of consecutive pairs; threads may write at the same time.

        Parameters
        ----------
        rows : int array, shape (n,)
            Consecutive rows of the pair list.
        window : int
            First window (row of the second dimension) of ``corr``.
        corr : float32 array, shape (n, n_windows, n_lags)
            In the unit of the file.

        Raises
        ------
        DiskError
            If the disk is full or a write fails.
        """
        _, n_windows, n_lags = self.shape
        row_bytes = n_windows * n_lags * 4
        if corr.shape[1] == n_windows:
            self._write_at(np.ascontiguousarray(corr), self.offset + int(rows[0]) * row_bytes)
            return
        for row, part in zip(rows, corr, strict=True):
            self._write_at(part, self.offset + int(row) * row_bytes + window * n_lags * 4)

    def _write_at(self, array: np.ndarray, offset: int) -> None:
        with disk_errors(self.path, array.nbytes):
            write_at(self._file, array, offset)

    def close(self) -> None:
        """Close the file; a network file system may report a failed write only here."""
        os.close(self._file)


@contextmanager
def create(
    path: Path,
    pairs: PairTable,
    windows: np.ndarray,
    coverage: np.ndarray,
    params: XcorParams,
) -> Iterator[CorrWriter]:
    """Create a correlation file; it gets its name when the block ends without an exception.

    Parameters
    ----------
    path : Path
        Its name; before it is complete it ends on ``.partial``.
    pairs : PairTable
        All pairs of the file.
    windows : float64 array, shape (n_windows,)
        Start of each window or substack (s since 1970 UTC).
    coverage : float32 array, shape (n_channels, n_windows)
        Share of recorded samples, 0 to 1.
    params : XcorParams
        Of the job; become attributes.

    Yields
    ------
    writer : CorrWriter

    Raises
    ------
    DiskError
        If the disk is full or a write fails.
    """
    shape = (pairs.first.size, windows.size, 2 * params.n_lags + 1)
    make_folder(path.parent)
    for left in path.parent.glob(f"{path.name}.*.partial"):  # of a process that was killed
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
    """Write everything except the correlations; return their offset (bytes)."""
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
    """Return the lags of a job (s): float64 (2 * n_lags + 1,), 0 in the middle."""
    return np.arange(-params.n_lags, params.n_lags + 1) / params.fs


def write_pairs(file: h5py.File, pairs: PairTable) -> None:
    """Write pairs, channels and coordinates."""
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
    """Check that a correlation or stack file is complete.

    Raises
    ------
    DiskError
        If it is not.
    """
    try:
        with h5py.File(path) as file:
            name = "corr" if "corr" in file else "stack"
            data = file[name]
            last = (data.id.get_offset() or 0) + data.id.get_storage_size()
            is_complete = data.shape[-1] == file["lag"].size and path.stat().st_size >= last
    except (OSError, KeyError) as error:
        raise DiskError(f"{path} is not a complete correlation file: {error}.") from error
    if not is_complete:
        raise DiskError(f"{path} is truncated.")


@dataclass(frozen=True)
class CorrFile:
    """A complete correlation file, read in parts."""

    path: Path

    @property
    def day(self) -> str:
        """The day in the file's name, if it holds a whole day."""
        return self.path.stem

    @cached_property
    def pairs(self) -> PairTable:
        """Pairs of the file, with coordinates."""
        with h5py.File(self.path) as file:
            channels = tuple(file["channel"].asstr()[:])
            index_of = {channel: k for k, channel in enumerate(channels)}
            index = {
                name: np.array([index_of[c] for c in file[name].asstr()[:]], dtype=int)
                for name in ("first", "second")
            }
            names = ("distance", "azimuth", "back_azimuth", "latitude", "longitude", "elevation")
            return PairTable(channels, **index, **{name: file[name][:] for name in names})

    @cached_property
    def starts(self) -> np.ndarray:
        """Start of every window, s since 1970 UTC: float64 (n_windows,)."""
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
        """Parameters of the job."""
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
    def _layout(self) -> tuple[int, tuple[int, ...], np.dtype]:
        with h5py.File(self.path) as file:
            corr = file["corr"]
            return corr.id.get_offset() or 0, corr.shape, corr.dtype

    def read(self, rows: slice | np.ndarray) -> np.ndarray:
        """Read correlations of some pairs: float32 (n, n_windows, n_lags)."""
        if isinstance(rows, slice) and rows.step in (None, 1):
            offset, shape, kind = self._layout  # opening as HDF5 takes much longer
            a, b, _ = rows.indices(shape[0])
            size = int(np.prod(shape[1:]))
            begin, n = offset + a * size * kind.itemsize, max(0, b - a) * size
            return np.fromfile(self.path, kind, n, offset=begin).reshape(-1, *shape[1:])
        with h5py.File(self.path) as file:
            corr: np.ndarray = file["corr"][rows]
            return corr


def read_variable(path: Path, name: str, rows: slice = slice(None)) -> np.ndarray:
    """Read a variable of a file, or rows of it: array (n_rows, ...)."""
    with h5py.File(path) as file:
        values: np.ndarray = file[name][rows]
        return values


def describe(path: Path) -> dict[str, Any]:
    """Return a file's entry in the manifest: size, SHA-256, and its contiguous arrays."""
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
