"""Finished correlations of E, N, Z -> radial, transverse, vertical: nine components a station pair.

R points along the great circle from the first station to the second, at both of them; T is 90
degrees clockwise from R, seen from above. Correlation is bilinear, so rotating the correlations is
rotating the data, as long as every window was treated linearly (no whitening, no ``time_norm``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..datatypes import PairTable

_ENZ, _RTZ = "ENZ", "RTZ"


def rotate(
    pairs: PairTable, corr: np.ndarray, counts: np.ndarray
) -> tuple[PairTable, np.ndarray, np.ndarray]:
    """Rotate station pairs from E, N, Z to R, T, Z, if all nine components and the azimuth exist.

    Parameters
    ----------
    pairs : PairTable
        Pairs of the rows of ``corr``.
    corr : float32 array, shape (n_pairs, ..., n_lags)
        Correlations or stacks.
    counts : int array, shape (n_pairs, ...)
        Number of windows in each.

    Returns
    -------
    pairs : PairTable
        Channel codes end on R, T or Z; RR, RT, RZ, TR ... of a station pair are consecutive. R
        points from the first station to the second, T 90 degrees clockwise from it.
    corr : float32 array, shape (n_rotated, ..., n_lags)
        In the unit of the input.
    counts : int array, shape (n_rotated, ...)
        The smallest of the nine.
    """
    rows, rotated, least = [], [], []
    for nine, azimuth, back_azimuth in _complete(pairs):
        first, second = _matrix(azimuth), _matrix(back_azimuth + 180)
        # c_ab = sum_ij first[a, i] second[b, j] c_ij
        square = corr[nine].reshape(3, 3, *corr.shape[1:]).astype(np.float64)
        turned = np.einsum("ai,bj,ij...->ab...", first, second, square)
        rotated.append(turned.reshape(9, *corr.shape[1:]))
        least.append(np.broadcast_to(counts[nine].min(axis=0), (9, *counts.shape[1:])))
        rows.append(nine)
    order = np.array(rows, dtype=int).reshape(-1)
    shape = (0, *corr.shape[1:])
    series = np.concatenate([np.empty(shape), *rotated]).astype(np.float32)
    fewest = np.concatenate([np.empty((0, *counts.shape[1:]), int), *least]).astype(counts.dtype)
    return _renamed(pairs, order), series, fewest


def _matrix(azimuth: float) -> np.ndarray:
    """Matrix from E, N, Z to R, T, Z, with R at an azimuth (degrees clockwise from north)."""
    sine, cosine = np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))
    return np.array([[sine, cosine, 0], [cosine, -sine, 0], [0, 0, 1]])


def _complete(pairs: PairTable) -> Iterator[tuple[np.ndarray, float, float]]:
    """Rows EE, EN, EZ, NE ... of each complete station pair, azimuth and back azimuth (degrees)."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row, (i, j) in enumerate(zip(pairs.first, pairs.second, strict=True)):
        one, other = pairs.channels[i], pairs.channels[j]
        if one[:-1] != other[:-1]:
            found.setdefault((one[:-1], other[:-1]), {})[one[-1] + other[-1]] = row
    wanted = [a + b for a in _ENZ for b in _ENZ]
    for rows in found.values():
        if all(name in rows for name in wanted):
            nine = np.array([rows[name] for name in wanted])
            azimuth, back_azimuth = pairs.azimuth[nine[0]], pairs.back_azimuth[nine[0]]
            # Two stations at the same location have no azimuth.
            if np.isfinite([azimuth, back_azimuth]).all() and pairs.distance[nine[0]] > 0:
                yield nine, float(azimuth), float(back_azimuth)


def _renamed(pairs: PairTable, order: np.ndarray) -> PairTable:
    """The table of the pairs in ``order``, with R, T instead of E, N."""
    names = str.maketrans(_ENZ, _RTZ)
    used = np.unique(np.concatenate([pairs.first[order], pairs.second[order]]))
    index_of = {int(k): n for n, k in enumerate(used)}
    ids = [pairs.channels[k] for k in used]
    return replace(
        pairs,
        channels=tuple(name[:-1] + name[-1].translate(names) for name in ids),
        first=np.array([index_of[int(k)] for k in pairs.first[order]], dtype=int),
        second=np.array([index_of[int(k)] for k in pairs.second[order]], dtype=int),
        distance=pairs.distance[order],
        azimuth=pairs.azimuth[order],
        back_azimuth=pairs.back_azimuth[order],
        latitude=pairs.latitude[used],
        longitude=pairs.longitude[used],
        elevation=pairs.elevation[used],
    )
