"""Open the results of a job, in a folder or in S3, and select pairs of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError, NoDataError
from ..request.job_files import SUMMARY_FILE
from .concat import concatenate
from .remote import HttpStore, S3Store, read_manifest
from .tables import dvv_table, has_dvv, read_table

if TYPE_CHECKING:
    import pandas
    import xarray


@dataclass(frozen=True)
class Selection:
    """A selection of pairs and days; an empty field selects all."""

    pairs: tuple[str, ...] = ()  # FIRST|SECOND, or channels or stations that occur in either
    components: tuple[str, ...] = ()  # last letters of both channels, such as ZZ
    min_distance: float = 0.0  # km
    max_distance: float = math.inf  # km; pairs of unknown distance only where neither limit is set
    days: tuple[str, ...] = ()  # such as 2019-01-01

    def pair_indices(self, data: xarray.Dataset) -> np.ndarray:
        """Indices (n_pairs,) of the selected pairs of a file."""
        first, second = (data[name].values.astype(str) for name in ("first", "second"))
        distance = data["distance"].values
        far = np.isfinite(distance) | (self.min_distance <= 0 and math.isinf(self.max_distance))
        with np.errstate(invalid="ignore"):
            far &= ~((distance < self.min_distance) | (distance > self.max_distance))
        wanted = [
            k
            for k in np.flatnonzero(far)
            if (not self.components or first[k][-1] + second[k][-1] in self.components)
            and (not self.pairs or any(_is(word, first[k], second[k]) for word in self.pairs))
        ]
        return np.array(wanted, dtype=int)


def _is(word: str, first: str, second: str) -> bool:
    """Whether a word selects a pair: the pair itself, one of its channels, or a station NET.STA."""
    stations = {".".join(channel.split(".")[:2]) for channel in (first, second)}
    return word in {f"{first}|{second}", f"{second}|{first}", first, second} | stations


class Results:
    """The results of a job: correlations by day and stacks as lazy xarray objects, and tables.

    Data are read when they are used, and of a pair only its own bytes. Use it in a ``with`` block,
    or `close` it.
    """

    def __init__(self, name: str, openers: Mapping[str, Callable[[], Any]]) -> None:
        self.name = name
        self._openers = openers
        self._opened: dict[str, xarray.Dataset] = {}
        self._concatenated: dict[str, xarray.Dataset] = {}  # days in several files

    @cached_property
    def days(self) -> list[str]:
        """The days that have correlations."""
        names = [name.split("/")[1] for name in self._arrays if name.startswith("CORR/")]
        return sorted({name.removesuffix(".h5") for name in names})

    @cached_property
    def stacks(self) -> list[str]:
        """The methods that have a stack file."""
        return sorted(n.removeprefix("STACK/")[:-3] for n in self._arrays if n[:6] == "STACK/")

    @cached_property
    def _arrays(self) -> list[str]:
        return [name for name in self._openers if name.endswith(".h5")]

    def day(self, day: str) -> xarray.Dataset:
        """The correlations of a day: ``corr`` (pair, window, lag) and its coordinates.

        A large day is stored in several files, which are opened as one dataset.
        """
        blocks = sorted(name for name in self._arrays if name.startswith(f"CORR/{day}/"))
        if not blocks:
            return self._open(f"CORR/{day}.h5", "day", self.days)
        if day not in self._concatenated:
            self._concatenated[day] = concatenate(
                [self._open(name, "day", self.days) for name in blocks]
            )
        return self._concatenated[day]

    def stack(self, method: str = "linear") -> xarray.Dataset:
        """A file of stacks: ``stack`` (pair, lag) or (pair, day, lag)."""
        return self._open(f"STACK/{method}.h5", "stack", self.stacks)

    def pair(self, first: str, second: str) -> xarray.DataArray:
        """All windows of a pair over all days, (window, lag), loaded into memory.

        Raises
        ------
        NoDataError
            If no day has the pair.
        """
        import xarray

        wanted = Selection(pairs=(f"{first}|{second}",))
        parts = []
        for day in self.days:
            data = self.day(day)
            for row in wanted.pair_indices(data):
                parts.append(data["corr"][row].load())
        if not parts:
            raise NoDataError(f"{self.name} has no pair {first}|{second}.")
        return xarray.concat(parts, "window")

    def pairs(self, method: str = "linear") -> pandas.DataFrame:
        """The pairs of a stack file, in its order, one per row.

        Returns
        -------
        table : DataFrame
            ``first``, ``second`` (channel ids), ``distance`` (km), ``azimuth``, ``back_azimuth``
            (degrees), ``n_windows``, ``snr``, ``lag`` (s, of the largest value) and ``speed``
            (km/s); of the stack, or of the mean of the intervals. NaN: unknown.

        Raises
        ------
        NoDataError
            If the job has no such stack.
        """
        return self._table(f"STACK/{method}.csv")

    def summary(self) -> pandas.DataFrame:
        """The status of every channel on every day: `summary.csv`.

        Returns
        -------
        table : DataFrame
            ``day``, ``channel``, ``status`` (kept, empty, nodata, refused or failed), ``source``,
            ``n_bytes``, ``fs_raw`` (Hz), ``samples``, ``gaps``, ``coverage`` (fraction of the day),
            ``windows`` (in the requested time), ``windows_kept``, ``dropped`` and ``reason``.

        Raises
        ------
        NoDataError
            If the job has no summary; a stacking job has none.
        """
        return self._table(SUMMARY_FILE)

    def dvv(self, method: str = "linear") -> pandas.DataFrame:
        """Relative change of velocity of every pair and interval of a stack file.

        Returns
        -------
        table : DataFrame
            ``first``, ``second``, ``day``, ``day_end``, ``dvv``, ``dvv_error``,
            ``dvv_correlation``; times are UTC. NaN where an interval has no stack.

        Raises
        ------
        NoDataError
            If there is no such stack, or it was made without dv/v.
        """
        data = self.stack(method)
        if not has_dvv(data):
            need = "request it in stacking_params.csv: dvv = stretching or cross-spectrum"
            raise NoDataError(f"{self.name}: STACK/{method}.h5 has no dv/v; {need}.")
        return dvv_table(data)

    def _table(self, name: str) -> pandas.DataFrame:
        if name not in self._openers:
            tables = sorted(name for name in self._openers if name.endswith(".csv"))
            raise NoDataError(f"{self.name} has no {name}; its tables: {', '.join(tables)}.")
        opened = self._openers[name]()
        return read_table(Path(opened).read_bytes() if isinstance(opened, str) else opened.read())

    def _open(self, name: str, noun: str, names: list[str]) -> xarray.Dataset:
        if name not in self._openers:
            raise NoDataError(f"{self.name} has no {name}; its {noun}s: {', '.join(names)}.")
        if name not in self._opened:
            try:
                import xarray
            except ImportError as error:
                need = "xarray and h5netcdf are not installed; pip install 'xcor-daemon[results]'."
                raise ConfigError(need) from error
            self._opened[name] = xarray.open_dataset(self._openers[name](), engine="h5netcdf")
        return self._opened[name]

    def close(self) -> None:
        """Close the files."""
        for data in self._opened.values():
            data.close()
        self._opened.clear()
        self._concatenated.clear()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_results(where: str | Path) -> Results:
    """Open the results of a finished job.

    Parameters
    ----------
    where : str or Path
        A job's folder (with ``CORR`` or ``STACK`` in it), ``s3://BUCKET/processed/ID``, or the
        public address of that, ``https://.../processed/ID``.

    Raises
    ------
    NoDataError
        If there are no results.
    UnreachableError
        If the server does not respond.

    Notes
    -----
    ::

        with open_results("my-job") as results:
            stacks = results.stack("linear")
            near = stacks["stack"][stacks["distance"].values < 20].load()

    See docs/results.md for more examples.
    """
    text = str(where)
    if text.startswith(("http://", "https://", "s3://")):
        store = S3Store(text) if text.startswith("s3://") else HttpStore(text)
        manifest = read_manifest(store)
        prefix = f"{store.prefix}/runs/{manifest['attempt']}/"
        openers: dict[str, Callable[[], Any]] = {
            file["key"].removeprefix(prefix): partial(store.open, file["key"], file["size"])
            for file in manifest["files"]
            if _is_result(file["key"].removeprefix(prefix))
        }
    else:
        folder = Path(where)
        openers = {
            name: partial(str, path)
            for path in (folder / SUMMARY_FILE, *_below(folder, "CORR"), *_below(folder, "STACK"))
            if _is_result(name := path.relative_to(folder).as_posix()) and path.is_file()
        }
    if not any(name.endswith(".h5") for name in openers):
        raise NoDataError(f"{text} contains no results (neither CORR nor STACK).")
    return Results(text, openers)


def _below(folder: Path, part: str) -> list[Path]:
    return sorted((folder / part).glob("**/*"))


def _is_result(name: str) -> bool:
    """Whether a file is part of the results: HDF5, the table of a stack, or the summary."""
    folder, _, file = name.partition("/")
    is_array = folder in ("CORR", "STACK") and file.endswith(".h5")
    return is_array or (folder == "STACK" and file.endswith(".csv")) or name == SUMMARY_FILE
