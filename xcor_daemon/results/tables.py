"""Tables of a job as pandas DataFrames: channel-days, pairs of a stack, dv/v."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigError

if TYPE_CHECKING:
    import pandas
    import xarray

_COUNTS = ("n_bytes", "samples", "gaps", "windows", "windows_kept", "n_windows")
_NUMBERS = ("fs_raw", "coverage", "distance", "azimuth", "back_azimuth", "snr", "lag", "speed")
_FORMULA = re.compile(r"^'(?=[=+\-@\t\r])")  # see `pipeline.reports.cell`
_DVV = ("dvv", "dvv_error", "dvv_correlation")


def read_table(content: bytes) -> pandas.DataFrame:
    """The table of summary.csv, or of the pairs of a stack file.

    Parsed by Python's csv module: that of pandas reads the network code NA as a missing value.

    Parameters
    ----------
    content : bytes
        The content of the file.

    Returns
    -------
    table : DataFrame
        A row for each row of the file. ``day`` is a time (datetime64, UTC); unknown numbers are
        NaN; the quote that protects spreadsheets from formulas is removed from text.
    """
    try:
        import pandas
    except ImportError as error:
        need = "pandas is not installed; pip install 'xcor-daemon[results]'."
        raise ConfigError(need) from error
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    columns = zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True)
    table = pandas.DataFrame({name: _values(name, cells) for name, cells in columns})
    if "day" in table:
        table["day"] = pandas.to_datetime(table["day"])
    return table


def _values(name: str, cells: Sequence[str]) -> np.ndarray | list[str]:
    """The cells of a column in its type."""
    if name in _COUNTS:
        return np.array(cells, dtype=np.int64)
    if name in _NUMBERS:
        return np.array([cell or "nan" for cell in cells], dtype=np.float64)
    return [_FORMULA.sub("", cell) for cell in cells]


def dvv_table(data: xarray.Dataset) -> pandas.DataFrame:
    """Relative velocity changes (dv/v) of a stack file.

    Returns
    -------
    table : DataFrame
        ``first``, ``second``, ``day``, ``day_end`` (start and end of the interval, datetime64,
        UTC), ``dvv``, ``dvv_error``, ``dvv_correlation``: a row for each pair and interval, in the
        order of the file; NaN where an interval has no stack.
    """
    names = ["first", "second", "day_end", *_DVV]
    table = data[names].to_dataframe(dim_order=["pair", "day"]).reset_index()
    return table[["first", "second", "day", "day_end", *_DVV]]


def has_dvv(data: xarray.Dataset) -> bool:
    """Whether a stack file has dv/v."""
    return all(name in data for name in _DVV)
