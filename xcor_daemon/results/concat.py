"""The files of a day in blocks as one dataset, of which nothing is read before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray


def join(parts: Sequence[xarray.Dataset]) -> xarray.Dataset:
    """One dataset of files that have the same windows and each its own pairs, in id order.

    Parameters
    ----------
    parts : sequence of Dataset
        As xarray opens the files.

    Returns
    -------
    data : Dataset
        Like that of a day in one file; of ``corr`` only the rows are read that are asked for.
    """
    import xarray

    channels = np.unique(np.concatenate([part["channel"].values.astype(str) for part in parts]))
    first, second = (
        np.concatenate([part[name].values.astype(str) for part in parts])
        for name in ("first", "second")
    )
    order = np.lexsort((second, first))
    sizes = [part.sizes["pair"] for part in parts]
    part_of = np.repeat(np.arange(len(parts)), sizes)[order]
    row_of = np.concatenate([np.arange(size) for size in sizes])[order]
    by_pair = {"first": first[order], "second": second[order]}
    for name in ("distance", "azimuth", "back_azimuth"):
        by_pair[name] = np.concatenate([part[name].values for part in parts])[order]
    variables: dict[str, Any] = {
        name: ("pair", values, parts[0][name].attrs) for name, values in by_pair.items()
    }
    for name in ("latitude", "longitude", "elevation", "coverage"):
        variables[name] = _of_channels(parts, channels, name)
    corr = [part.variables["corr"] for part in parts]
    variables["corr"] = xarray.Variable(
        corr[0].dims, _rows(corr, part_of, row_of), parts[0]["corr"].attrs
    )
    coordinates: dict[str, Any] = {name: parts[0][name] for name in ("window", "lag")}
    coordinates["channel"] = ("channel", channels.astype(object), parts[0]["channel"].attrs)
    return xarray.Dataset(variables, coordinates, parts[0].attrs)


def _of_channels(
    parts: Sequence[xarray.Dataset], channels: np.ndarray, name: str
) -> tuple[tuple[str, ...], np.ndarray, dict[str, Any]]:
    """A variable by channel, from the files that have each."""
    one = parts[0][name]
    values = np.full((channels.size, *one.shape[1:]), np.nan, dtype=one.dtype)
    for part in parts:
        values[np.searchsorted(channels, part["channel"].values.astype(str))] = part[name].values
    return tuple(map(str, one.dims)), values, one.attrs


def _rows(corr: Sequence[xarray.Variable], part_of: np.ndarray, row_of: np.ndarray) -> Any:
    """What xarray reads lazily: rows of several variables as rows of one."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Rows(BackendArray):
        shape = (part_of.size, *corr[0].shape[1:])
        dtype = corr[0].dtype

        def __getitem__(self, key: Any) -> Any:
            outer = indexing.IndexingSupport.OUTER
            return indexing.explicit_indexing_adapter(key, self.shape, outer, self._read)

        def _read(self, key: tuple[Any, ...]) -> np.ndarray:
            rows, *rest = key
            chosen = np.atleast_1d(np.arange(part_of.size)[rows])
            out = None
            for number in np.unique(part_of[chosen]):
                here = np.flatnonzero(part_of[chosen] == number)
                values = corr[number][(row_of[chosen[here]], *rest)].values
                if out is None:
                    out = np.empty((chosen.size, *values.shape[1:]), dtype=self.dtype)
                out[here] = values
            if out is None:
                out = np.empty((0, *self.shape[1:]), dtype=self.dtype)[(slice(None), *rest)]
            return out[0] if isinstance(rows, int | np.integer) else out

    return indexing.LazilyIndexedArray(Rows())
