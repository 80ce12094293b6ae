"""Tables of a job as pandas has them: channel-days, pairs of a stack, changes of velocity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    import pandas
    import xarray

_TEXTS = ("channel", "status", "source", "dropped", "reason", "first", "second")
_COUNTS = ("n_bytes", "samples", "gaps", "windows", "windows_kept", "n_windows")
# Of these an empty cell or "nan" is an unknown number; in a column of text, "NA" is a network.
_NUMBERS = ("fs_raw", "coverage", "distance", "azimuth", "back_azimuth", "snr", "lag", "speed")
_DVV = ("dvv", "dvv_error", "dvv_correlation")


def read_table(file: Any) -> pandas.DataFrame:
    """Read summary.csv, or the pairs of a stack file.

    Parameters
    ----------
    file : str or file
        A path, or a file open for reading bytes.

    Returns
    -------
    table : DataFrame
        A row for every row of the file. ``day`` is a time (datetime64, UTC); text is as it was
        before a quote kept spreadsheets from taking it for a formula.
    """
    try:
        import pandas
    except ImportError as error:
        need = "pandas is not installed; pip install 'xcor-daemon[results]'."
        raise ConfigError(need) from error
    table = pandas.read_csv(
        file,
        dtype={**dict.fromkeys(_TEXTS, "str"), **dict.fromkeys(_COUNTS, "int64")},
        keep_default_na=False,
        na_values={name: ["", "nan"] for name in _NUMBERS},
    )
    for name in table.columns.intersection(list(_TEXTS)):
        table[name] = table[name].str.replace(r"^'(?=[=+\-@\t\r])", "", regex=True)
    if "day" in table:
        table["day"] = pandas.to_datetime(table["day"])
    return table


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
