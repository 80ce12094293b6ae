"""Correlations written by SeisNoise.jl, for comparison; its JLD2 files are HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from ..errors import NoDataError

if TYPE_CHECKING:
    import xarray

_NUMBERS = ("fs", "freqmin", "freqmax", "cc_len", "cc_step", "maxlag", "dist", "azi", "baz")
_TEXTS = ("name", "comp", "corr_type", "time_norm")


def read_seisnoise(path: Path | str) -> dict[str, xarray.DataArray]:
    """Read the CorrData of a JLD2 file of SeisNoise.jl.

    Parameters
    ----------
    path : Path
        Groups (components, or periods) of entries (days, or bands), each a CorrData.

    Returns
    -------
    arrays : dict of DataArray
        ``GROUP/ENTRY`` -> (window, lag), with times and lags as coordinates and parameters as
        attributes: ``dist`` in km, ``azi`` and ``baz`` in degrees, as SeisNoise.jl has them. Its
        lags have our sign: positive where the wave reaches the second channel later.

    Raises
    ------
    NoDataError
        If the file is not a JLD2 file or has no CorrData.
    """
    import xarray

    found = {}
    try:
        with h5py.File(path) as file:
            for group_name, group in file.items():
                if group_name.startswith("_") or not isinstance(group, h5py.Group):
                    continue
                for name, entry in group.items():
                    if not {"corr", "t", "maxlag", "fs"} <= set(entry.dtype.names or ()):
                        continue
                    values = entry[()]
                    corr = file[values["corr"]][
                        ()
                    ]  # Julia is column-major: a column there is a row here
                    n_lags = corr.shape[-1]
                    lags = np.linspace(-values["maxlag"], values["maxlag"], n_lags)
                    times = (file[values["t"]][()] * 1e9).astype("datetime64[ns]")
                    attrs = {key: float(values[key]) for key in _NUMBERS}
                    attrs |= {key: values[key].decode() for key in _TEXTS}
                    found[f"{group_name}/{name}"] = xarray.DataArray(
                        corr,
                        dims=("window", "lag"),
                        coords={"window": times, "lag": ("lag", lags, {"units": "s"})},
                        attrs={**attrs, "whitened": int(values["whitened"])},
                        name="corr",
                    )
    except OSError as error:
        raise NoDataError(f"{path} is not a JLD2 file: {error}.") from error
    if not found:
        raise NoDataError(f"{path} contains no CorrData of SeisNoise.jl.")
    return found
