"""Tables of a job as pandas has them: channel-days, pairs of a stack, changes of velocity."""

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
    """The table in summary.csv, or that of the pairs of a stack file.

    Read by Python's csv: pandas' own reader takes the network code NA for a missing value.

    Parameters
    ----------
    content : bytes
        Of the file.

    Returns
    -------
    table : DataFrame
        A row for every row of the file. ``day`` is a time (datetime64, UTC); unknown numbers are
        NaN; text is as it was before a quote kept spreadsheets from taking it for a formula.
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
    """The cells of a column as what they are."""
    if name in _COUNTS:
        return np.array(cells, dtype=np.int64)
    if name in _NUMBERS:
        return np.array([cell or "nan" for cell in cells], dtype=np.float64)
    return [_FORMULA.sub("", cell) for cell in cells]


def dvv_table(data: xarray.Dataset) -> pandas.DataFrame:
    """Changes of velocity out of a stack file that has them.

    Returns
    -------
    table : DataFrame
        ``first``, ``second``, ``day``, ``day_end`` (start and end of the interval, datetime64,
        UTC), ``dvv``, ``dvv_error``, ``dvv_correlation``: a row for every pair and interval, in the
        order of the file; NaN where an interval has no stack.
    """
    names = ["first", "second", "day_end", *_DVV]
    table = data[names].to_dataframe(dim_order=["pair", "day"]).reset_index()
    return table[["first", "second", "day", "day_end", *_DVV]]


def has_dvv(data: xarray.Dataset) -> bool:
    """Whether a stack file has changes of velocity."""
    return all(name in data for name in _DVV)
