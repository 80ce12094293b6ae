"""Correlations and stacks <-> HDF5 that is valid netCDF-4; a file is whole or absent.

``corr`` is one contiguous data set whose room is taken at the start, so that threads write their
parts with `os.pwrite` at the speed of a plain file, and so that a reader without HDF5 finds one
pair at ``offset``.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .. import __version__
from ..errors import DiskError
from ..request import XcorParams
from .datatypes import PairTable

LAG_CONVENTION = "positive lag: the wave reaches the second channel after the first"
_MOTION = {"velocity": "m2 s-2", "displacement": "m2", "acceleration": "m2 s-4", "none": "counts2"}
_EPOCH = "seconds since 1970-01-01T00:00:00Z"


def units(params: XcorParams) -> str:
    """Unit of the correlations: the windows' unit squared, or 1 where they have none."""
    plain = params.time_norm in ("none", "clip", "clamp", "mute")
    compared = params.whiten or params.method != "cross-correlation"
    if compared or params.normalisation == "coefficient" or not plain:
        return "1"
    return _MOTION[params.response]


def attributes(params: XcorParams) -> dict[str, Any]:
    """What every file says of how it was made."""
    written = {
        name: "all" if value == () else ";".join(value) if isinstance(value, tuple) else value
        for name, value in asdict(params).items()
        if value is not None
    }
    return {
        "Conventions": "CF-1.8",
        **{name: int(v) if isinstance(v, bool) else v for name, v in written.items()},
        "lag_convention": LAG_CONVENTION,
        "units": units(params),
        "software": f"xcor-daemon {__version__}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "history": history(params),
    }


def history(params: XcorParams) -> str:
    """The processing steps in words, in their order."""
    steps = [
        "each contiguous segment detrended and tapered",
        f"decimated without phase and resampled to {params.fs:g} Hz on a grid from midnight UTC",
        "counts kept (no response removed)"
        if params.response == "none"
        else f"instrument response removed to ground {params.response}, "
        f"pre-filter flat from {params.freqmin / 2:g} Hz",
        f"zero-phase 4th-order Butterworth band-pass {params.freqmin:g} to {params.freqmax:g} Hz",
        f"windows of {params.cc_len:g} s every {params.cc_step:g} s, detrended and tapered; "
        f"those with less than {params.min_coverage:g} of their samples left out",
    ]
    rules = ("drop_dead", "max_flat", "drop_clipped", "max_std", "max_median", "max_steps")
    used = [f"{rule}={value}" for rule in rules if (value := getattr(params, rule))]
    if used:
        steps.append(f"windows left out by {', '.join(used)}")
    if params.time_norm != "none":
        steps.append(f"normalised in time: {params.time_norm}")
    if params.whiten:
        steps.append(f"whitened {params.freqmin:g} to {params.freqmax:g} Hz")
    if params.whiten and params.autocorrelations:
        steps.append("autocorrelations of whitened windows show the band, whatever the data")
    kind = "circular" if params.circular else "linear"
    steps.append(f"{kind} {params.method}, normalisation {params.normalisation}")
    if params.substack:
        steps.append(f"averaged over the windows that start within {params.substack:g} s")
    return "; ".join(steps)


class CorrWriter:
    """A correlation file while it is written: made by `create`, filled, then `finish`ed."""

    def __init__(self, path: Path, partial: Path, shape: tuple[int, int, int], offset: int) -> None:
        self.path, self.partial, self.shape, self.offset = path, partial, shape, offset
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
        with disk_errors(self.path):
            put(self._file, array, offset)

    def finish(self) -> None:
        """Flush, reopen and check, and give the file its name."""
        with disk_errors(self.path):
            os.fsync(self._file)
            os.close(self._file)
        check(self.partial)
        _rename(self.partial, self.path)

    def discard(self) -> None:
        """Close and remove what was written."""
        os.close(self._file)
        self.partial.unlink(missing_ok=True)


def put(file: int, array: np.ndarray, offset: int) -> None:
    """Write all bytes of a contiguous array at an offset of an open file."""
    view = memoryview(array).cast("B")
    while view:  # one call writes at most 2 GiB
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done


def partial_of(path: Path) -> Path:
    """What a file is called until it is whole.

    The name is the writer's own: where a worker was thought dead, two may write one file.
    """
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")


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
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{path.name}.*.partial"):  # by a writer that was killed
        left.unlink(missing_ok=True)
    partial = partial_of(path)
    _need_room(path.parent, 4 * int(np.prod(shape)))
    with h5py.File(partial, "w", libver="earliest", track_order=False) as file:
        file.attrs.update(attributes(params))
        _write_pairs(file, pairs)
        _scale(file, "window", windows, units=_EPOCH, calendar="standard",
               long_name="start of the window, UTC")  # fmt: skip
        _scale(file, "lag", lags(params), units="s", long_name=LAG_CONVENTION)
        _variable(file, "coverage", coverage, ("channel", "window"), units="1",
                  long_name="share of real samples")  # fmt: skip
        corr = _preallocate(file, "corr", shape)
        _describe(file, corr, ("pair", "window", "lag"), units=units(params),
                  long_name="correlation; NaN where a window is missing")  # fmt: skip
        offset = corr.id.get_offset()
        assert offset is not None
    writer = CorrWriter(path, partial, shape, offset)
    try:
        yield writer
    except BaseException:
        writer.discard()
        raise
    writer.finish()


@dataclass(frozen=True)
class StackWriter:
    """A stack file while it is written; processes may write different pairs."""

    partial: Path
    places: Mapping[str, tuple[int, np.dtype, tuple[int, ...]]]  # offset, type and shape

    def write(self, name: str, row: int, values: np.ndarray) -> None:
        """Put the values of consecutive pairs, from row ``row`` on."""
        offset, dtype, shape = self.places[name]
        if values.shape[1:] != shape[1:]:
            raise ValueError(f"{name} has rows of {shape[1:]}, not of {values.shape[1:]}.")
        offset += row * dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        with disk_errors(self.partial):
            file = os.open(self.partial, os.O_WRONLY)
            try:
                put(file, np.ascontiguousarray(values, dtype=dtype), offset)
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
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    n_days = 0 if intervals is None else len(intervals)
    sizes = {"pair": pairs.first.size, "day": n_days, "lag": 2 * params.n_lags + 1}
    shapes = {
        name: tuple(sizes[dim] for dim in dims.split()) for name, (dims, _, _) in variables.items()
    }
    _need_room(path.parent, 4 * sum(int(np.prod(shape)) for shape in shapes.values()))
    places = {}
    with h5py.File(partial, "w", libver="earliest") as file:
        file.attrs.update({**attributes(params), "corr_method": params.method, **said})
        _write_pairs(file, pairs)
        if intervals is not None:
            _scale(file, "day", intervals[:, 0], units=_EPOCH, calendar="standard",
                   long_name="start of the interval, UTC")  # fmt: skip
            _variable(file, "day_end", intervals[:, 1], ("day",), units=_EPOCH,
                      calendar="standard", long_name="end of the interval, UTC")  # fmt: skip
        _scale(file, "lag", lags(params), units="s", long_name=LAG_CONVENTION)
        for name, (dims, unit, meaning) in variables.items():
            kind = h5py.h5t.STD_I32LE if name == "n_windows" else h5py.h5t.IEEE_F32LE
            data = _preallocate(file, name, shapes[name], kind)
            _describe(file, data, tuple(dims.split()), units=unit, long_name=meaning)
            offset = data.id.get_offset()
            assert offset is not None
            places[name] = (offset, data.dtype, shapes[name])
    try:
        yield StackWriter(partial, places)
    except BaseException:
        partial.unlink()
        raise
    with disk_errors(path), partial.open("rb") as raw:
        os.fsync(raw.fileno())
    check(partial)
    _rename(partial, path)


def lags(params: XcorParams) -> np.ndarray:
    """The lag axis (s), zero in the middle."""
    return np.arange(-params.n_lags, params.n_lags + 1) / params.fs


def _write_pairs(file: h5py.File, pairs: PairTable) -> None:
    _bare_dimension(file, "pair", pairs.first.size)
    ids = np.array(pairs.channels, dtype=object)
    _scale(file, "channel", ids, long_name="network.station.location.channel")
    for name, index in (("first", pairs.first), ("second", pairs.second)):
        _variable(file, name, ids[index], ("pair",), long_name=f"{name} channel of the pair")
    for name, unit, dim, values in (
        ("distance", "km", "pair", pairs.distance),
        ("azimuth", "degrees", "pair", pairs.azimuth),
        ("back_azimuth", "degrees", "pair", pairs.back_azimuth),
        ("latitude", "degrees_north", "channel", pairs.latitude),
        ("longitude", "degrees_east", "channel", pairs.longitude),
        ("elevation", "m", "channel", pairs.elevation),
    ):
        _variable(file, name, values.astype(np.float64), (dim,), units=unit)


_TEXT = h5py.string_dtype("utf-8")


def _add(file: h5py.File, name: str, values: np.ndarray) -> h5py.Dataset:
    if values.dtype == object:
        return file.create_dataset(name, data=values, dtype=_TEXT)
    return file.create_dataset(name, data=values)


def _scale(file: h5py.File, name: str, values: np.ndarray, **attrs: str) -> None:
    """A dimension with its coordinates."""
    dataset = _add(file, name, values)
    dataset.attrs.update(attrs)
    dataset.make_scale(name)


def _bare_dimension(file: h5py.File, name: str, size: int) -> None:
    """A dimension without coordinates, as netCDF-4 marks it."""
    dataset = file.create_dataset(name, shape=(size,), dtype=">f4")
    dataset.make_scale(f"This is a netCDF dimension but not a netCDF variable.{size:10d}")


def _variable(
    file: h5py.File, name: str, values: np.ndarray, dims: tuple[str, ...], **attrs: str
) -> None:
    _describe(file, _add(file, name, values), dims, **attrs)


def _describe(file: h5py.File, dataset: h5py.Dataset, dims: tuple[str, ...], **attrs: str) -> None:
    dataset.attrs.update(attrs)
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(file[dim])


def _preallocate(
    file: h5py.File, name: str, shape: tuple[int, ...], kind: h5py.h5t.TypeID = h5py.h5t.IEEE_F32LE
) -> h5py.Dataset:
    """A contiguous data set whose bytes have their place but are not written."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.CONTIGUOUS)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(
        h5py.h5d.create(file.id, name.encode(), kind, space, plist)
    )


def _need_room(folder: Path, n_bytes: int) -> None:
    """HDF5 crashes the interpreter on a full disk, so ask before it is called."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes + 50_000_000:
        raise DiskError(
            f"{folder}: {n_bytes / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB free; make room."
        )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Say of what the system refuses which file it was."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path} cannot be written: {error.strerror}.") from error


def _rename(partial: Path, path: Path) -> None:
    with disk_errors(path):
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


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
            return file["window"][:]

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
            return file["corr"][rows]


def read_variable(path: Path, name: str, rows: slice = slice(None)) -> np.ndarray:
    """A variable of a file, or some rows of it."""
    with h5py.File(path) as file:
        return file[name][rows]


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

