"""The files of a day in channel blocks as one dataset, read lazily."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray


def concatenate(parts: Sequence[xarray.Dataset]) -> xarray.Dataset:
    """Concatenate files that have the same windows and different pairs, ordered by id.

    Parameters
    ----------
    parts : sequence of Dataset
        The files, as opened by xarray.

    Returns
    -------
    data : Dataset
        As of a day in one file; of ``corr`` (pair, window, lag) only the selected pairs are read.
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
        corr[0].dims, _lazy_pairs(corr, part_of, row_of), parts[0]["corr"].attrs
    )
    coordinates: dict[str, Any] = {name: parts[0][name] for name in ("window", "lag")}
    coordinates["channel"] = ("channel", channels.astype(object), parts[0]["channel"].attrs)
    return xarray.Dataset(variables, coordinates, parts[0].attrs)


def _of_channels(
    parts: Sequence[xarray.Dataset], channels: np.ndarray, name: str
) -> tuple[tuple[str, ...], np.ndarray, dict[str, Any]]:
    """A variable over channels, each from the files that have the channel."""
    one = parts[0][name]
    values = np.full((channels.size, *one.shape[1:]), np.nan, dtype=one.dtype)
    for part in parts:
        values[np.searchsorted(channels, part["channel"].values.astype(str))] = part[name].values
    return tuple(map(str, one.dims)), values, one.attrs


def _lazy_pairs(corr: Sequence[xarray.Variable], part_of: np.ndarray, row_of: np.ndarray) -> Any:
    """Pairs of several variables as those of one, read lazily by xarray."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Pairs(BackendArray):
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

    return indexing.LazilyIndexedArray(Pairs())
