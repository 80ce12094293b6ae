"""Arrays for results: given by the caller, or new."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def plain_array(values: ArrayLike) -> np.ndarray:
    """Return an array (...) without a mask: masked values, such as gaps of ObsPy, become NaN.

    Examples
    --------
    >>> plain_array(np.ma.masked_equal([1, 0, 3], 0))
    array([ 1., nan,  3.])
    """
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(np.ma.asarray(values, np.float64), np.nan))
    return np.asarray(values)


def float32_array(shape: tuple[int, ...], out: np.ndarray | None = None) -> np.ndarray:
    """Return ``out`` if it can hold a float32 result of this shape; without it, a new array.

    Raises
    ------
    ValueError
        If ``out`` is not a contiguous float32 array of that shape.

    Examples
    --------
    >>> float32_array((2, 3)).dtype
    dtype('float32')
    """
    if out is None:
        return np.empty(shape, dtype=np.float32)
    if out.dtype != np.float32 or out.shape != shape or not out.flags.c_contiguous:
        raise ValueError(
            f"out is {out.dtype} of shape {out.shape}; use contiguous float32 of shape {shape}"
        )
    return out


def copy_to(values: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """Copy values to ``out``, or to a new array, as float32.

    Parameters
    ----------
    values : array, shape (..., n)
        Integers or floats.
    out : float32 array, shape (..., n), optional
        Contiguous. Where it is ``values`` itself nothing is copied, and the caller changes it in
        place.

    Returns
    -------
    copy : float32 array, shape (..., n)
        Contiguous.

    Raises
    ------
    ValueError
        If ``out`` is not a contiguous float32 array of the shape of ``values``.

    Examples
    --------
    >>> copy_to(np.array([1, 2]), None)
    array([1., 2.], dtype=float32)
    """
    source = plain_array(values)
    copy = float32_array(source.shape, out)
    if copy is not source:
        copy[...] = source
    return copy
