"""Correlations and stacks -> SAC, miniSEED, npz, CSV or HDF5 files.

File names are unique and sort by pair and time: ``FIRST_SECOND.TIME.SUFFIX``, where TIME is the day
of a stack, the start of a window, or ``all``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ..atomic_files import Batch, SteadyFile, disk_errors, make_folder
from ..errors import NoDataError
from .reader import Results, Selection

if TYPE_CHECKING:
    import xarray

_CHANNEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]*){3}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Trace:
    """One trace of a pair, and the metadata for its header."""

    first: str
    second: str
    time: datetime | None  # start of window or interval; None over all days
    first_day: datetime
    values: np.ndarray  # float32 (n_lags,)
    lags: np.ndarray  # s
    distance: float  # km
    azimuth: float  # degrees
    back_azimuth: float  # degrees
    sites: Mapping[str, tuple[float, float, float]]  # latitude, longitude, elevation (m)
    n_windows: int
    snr: float
    method: str

    def __post_init__(self) -> None:
        for name in (self.first, self.second):
            # They become file names, and the results may be untrusted.
            if not _CHANNEL_ID.fullmatch(name):
                raise NoDataError(
                    f"{ascii(name)[:60]} is not a channel id; its traces are not exported."
                )

    @property
    def fs(self) -> float:
        """Samples per second of lag."""
        return round((self.lags.size - 1) / float(self.lags[-1] - self.lags[0]), 9)

    @property
    def start(self) -> datetime:
        """Start of the window, of the interval, or of all days."""
        return self.time or self.first_day

    @property
    def stem(self) -> str:
        """The file name without its suffix."""
        when = "all" if self.time is None else f"{self.time:%Y%m%dT%H%M%S}"
        return f"{self.first}_{self.second}.{when}"


def export(
    results: Results,
    folder: Path,
    kind: str,
    what: str = "linear",
    selection: Selection | None = None,
) -> list[Path]:
    """Write traces in the formats of other tools.

    Parameters
    ----------
    results : Results
        From `open_results`.
    folder : Path
        The output folder, created if missing.
    kind : str
        ``sac``, ``mseed``, ``npz`` or ``csv``: a file per trace; ``hdf5``: a file per pair.
    what : str
        The method of a stack, or ``corr`` for the windows.
    selection : Selection, optional
        Pairs and days.

    Returns
    -------
    paths : list of Path
        The files written, in order.

    Raises
    ------
    NoDataError
        If nothing is selected.
    DiskError
        If a file cannot be written; files with their final names are complete.
    """
    make_folder(folder)
    written: dict[Path, None] = {}
    with Batch() as batch:
        for trace in _traces(results, what, selection or Selection()):
            if kind == "hdf5":
                path = _hdf5(folder, trace, batch)
            else:
                path = folder / f"{trace.stem}.{kind}"
                batch.write_bytes(path, _CONTENTS[kind](trace))
            written[path] = None
    if not written:
        raise NoDataError(f"no trace of {what} in {results.name} matches the selection.")
    return list(written)


def _traces(results: Results, what: str, selection: Selection) -> Iterator[_Trace]:
    """The selected traces that have data, in order of file, pair and time."""
    if what == "corr":
        for day in results.days:
            if not selection.days or day in selection.days:
                yield from _of_file(results.day(day), "corr", "window", selection)
        return
    data = results.stack(what)
    time = "day" if "day" in data["stack"].dims else None
    yield from _of_file(data, "stack", time, selection)


def _of_file(
    data: xarray.Dataset, name: str, time: str | None, selection: Selection
) -> Iterator[_Trace]:
    lags = data["lag"].values
    text = str(data.attrs.get("days", "")).split()
    times = [_moment(value) for value in data[time].values] if time else [None]
    first_day = datetime.fromisoformat(text[0]).replace(tzinfo=UTC) if text else times[0] or _EPOCH
    wanted = [k for k, t in enumerate(times) if _on(t, selection.days)]
    sites = {
        str(channel): (float(latitude), float(longitude), float(elevation))
        for channel, latitude, longitude, elevation in zip(
            data["channel"].values.astype(str),
            *(data[key].values for key in ("latitude", "longitude", "elevation")),
            strict=True,
        )
    }
    for row in selection.pair_indices(data):
        rows = data[name][int(row)].values.reshape(len(times), lags.size)
        counts, ratios = (
            data[key][int(row)].values.reshape(-1) if name == "stack" else [default] * len(times)
            for key, default in (("n_windows", 1), ("snr", np.nan))
        )
        for k in wanted:
            if not np.isfinite(rows[k]).all():
                continue
            yield _Trace(
                first=str(data["first"].values[row]),
                second=str(data["second"].values[row]),
                time=times[k],
                first_day=first_day,
                values=rows[k].astype(np.float32),
                lags=lags,
                distance=float(data["distance"].values[row]),
                azimuth=float(data["azimuth"].values[row]),
                back_azimuth=float(data["back_azimuth"].values[row]),
                sites=sites,
                n_windows=int(counts[k]),
                snr=float(ratios[k]),
                method=str(data.attrs["method"]) if name == "stack" else "window",
            )


def _moment(value: np.datetime64) -> datetime:
    return _EPOCH + timedelta(microseconds=int(value.astype("datetime64[us]").astype(np.int64)))


def _on(time: datetime | None, days: tuple[str, ...]) -> bool:
    return time is None or not days or f"{time:%Y-%m-%d}" in days


def _sac(trace: _Trace) -> bytes:
    """SAC: station = second channel, event = first; b is the first lag, so zero lag is at 0."""
    from obspy.io.sac import SACTrace

    network, station, location, channel = trace.second.split(".")
    there = trace.sites.get(trace.second, (np.nan,) * 3)
    here = trace.sites.get(trace.first, (np.nan,) * 3)
    header = {
        "b": float(trace.lags[0]), "delta": 1 / trace.fs, "knetwk": network, "kstnm": station[:8],
        "kcmpnm": channel, "khole": location, "kevnm": trace.first[:16], "evla": here[0],
        "evlo": here[1], "evel": here[2], "stla": there[0], "stlo": there[1], "stel": there[2],
        "dist": trace.distance, "az": trace.azimuth, "baz": trace.back_azimuth,
        "user0": float(trace.n_windows), "user1": trace.snr, "kuser0": trace.method[:8],
        "kuser1": trace.first.split(".")[3], "lcalda": False, "o": 0.0,
        "nzyear": trace.start.year, "nzjday": trace.start.timetuple().tm_yday,
        "nzhour": trace.start.hour, "nzmin": trace.start.minute, "nzsec": trace.start.second,
        "nzmsec": trace.start.microsecond // 1000,
    }  # fmt: skip
    known = {key: value for key, value in header.items() if value == value and value != ""}
    out = io.BytesIO()
    SACTrace(data=trace.values, **known).write(out)
    return out.getvalue()


def _mseed(trace: _Trace) -> bytes:
    """miniSEED: the second channel's codes; zero lag falls on the start of window or interval."""
    from obspy import Trace, UTCDateTime

    network, station, location, channel = trace.second.split(".")
    header = {"network": network, "station": station[:5], "location": location,
              "channel": channel, "sampling_rate": trace.fs,
              "starttime": UTCDateTime(trace.start) + float(trace.lags[0])}  # fmt: skip
    out = io.BytesIO()
    Trace(trace.values, header).write(out, format="MSEED", encoding="FLOAT32")
    return out.getvalue()


def _metadata(trace: _Trace) -> dict[str, Any]:
    """The metadata of a trace, with the names of our files."""
    return {
        "first": trace.first, "second": trace.second, "method": trace.method,
        "start": trace.start.isoformat(), "distance": trace.distance, "azimuth": trace.azimuth,
        "back_azimuth": trace.back_azimuth, "n_windows": trace.n_windows, "snr": trace.snr,
    }  # fmt: skip


def _npz(trace: _Trace) -> bytes:
    out = io.BytesIO()
    np.savez(out, lag=trace.lags, values=trace.values, **_metadata(trace))
    return out.getvalue()


def _csv(trace: _Trace) -> bytes:
    """Lines of ``# name: value``, a header, and lag and value."""
    out = io.StringIO(newline="")
    out.writelines(f"# {key}: {value}\n" for key, value in _metadata(trace).items())
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["lag", "value"])
    # Nine digits restore every float32 exactly.
    writer.writerows(
        (f"{lag:.9g}", f"{value:.9g}") for lag, value in zip(trace.lags, trace.values, strict=True)
    )
    return out.getvalue().encode()


def _hdf5(folder: Path, trace: _Trace, batch: Batch) -> Path:
    """One file per pair, with a data set for each time and its metadata as attributes."""
    path = folder / f"{trace.first}_{trace.second}.h5"
    name = trace.stem.rpartition(".")[2]
    partial = batch.partial(path)
    mode = "r+" if partial.exists() else "w"
    with (
        disk_errors(path),
        closing(SteadyFile(partial, mode)) as raw,
        h5py.File(raw, mode) as file,
    ):
        for key, values in (("lag", trace.lags), (name, trace.values)):
            if key in file:  # of an earlier export
                del file[key]
            file[key] = values
        file[name].attrs.update(_metadata(trace))
    return path


# Formats with one trace per file -> the function that encodes it.
_CONTENTS: dict[str, Callable[[_Trace], bytes]] = {
    "sac": _sac, "mseed": _mseed, "npz": _npz, "csv": _csv,
}  # fmt: skip
FORMATS = (*_CONTENTS, "hdf5")  # values of --format
