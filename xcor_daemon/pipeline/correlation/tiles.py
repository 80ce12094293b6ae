"""Pairs grouped in tiles: the pairs of a tile share the spectra of its channels in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from ..numerics.runs import consecutive_runs


def part_size(n: int, most: int) -> int:
    """Divide ``n`` into parts of nearly equal size and return that size, at most ``most``.

    Examples
    --------
    >>> part_size(60, 42), part_size(200, 65), part_size(5, 42)
    (30, 54, 5)
    """
    share = ceil(n / ceil(n / most))
    return min(n, most, share + -share % 6)  # kernel.py multiplies three channels by two


@dataclass(frozen=True)
class Tile:
    """Pairs of some first and some second channels; i0 and j0 are relative to their blocks."""

    i0: int
    n_i: int
    j0: int
    n_j: int
    ahead: int  # i0 + i <= j0 + j + ahead for all of the pairs
    rows: np.ndarray  # int (n_pairs,): rows in the pair list
    local: np.ndarray  # int (n_pairs,): i * n_j + j of each
    row_of: np.ndarray  # int (n_i * n_j,): index in ``rows`` of each pair, -1 if it is not listed
    runs: list[tuple[int, int]]  # runs of consecutive rows


def tiles_by_block(
    pairs: tuple[np.ndarray, np.ndarray], width: int, side: int, n_channels: int
) -> dict[tuple[int, int], list[Tile]]:
    """Group pairs in tiles, by the blocks of their two channels; each pair is in one tile.

    Parameters
    ----------
    pairs : two int arrays, shape (n_pairs,)
        Channels of every pair.
    width, side : int
        Number of channels in a block, and in a tile within it.
    n_channels : int
        In all.

    Returns
    -------
    tiles : dict
        Numbers of the blocks of first and of second channels -> their tiles.

    Raises
    ------
    ValueError
        If a pair is listed twice.
    """
    i, j = pairs
    found: dict[tuple[int, int], list[Tile]] = {}
    code = np.stack([i // width, j // width, i % width // side, j % width // side])
    order = np.lexsort(code[::-1])
    changes = (np.diff(code[:, order], axis=1) != 0).any(axis=0)
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), order.size]
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        rows = np.sort(order[a:b])
        block_i, block_j, tile_i, tile_j = (int(part) for part in code[:, rows[0]])
        i0, j0 = tile_i * side, tile_j * side
        n_i = min(side, width - i0, n_channels - block_i * width - i0)
        n_j = min(side, width - j0, n_channels - block_j * width - j0)
        inside = (i[rows] % width - i0) * n_j + (j[rows] % width - j0)
        ahead = (block_j - block_i) * width - int((j[rows] - i[rows]).min())
        row_of = np.full(n_i * n_j, -1)
        row_of[inside] = np.arange(rows.size)
        if (row_of[inside] != np.arange(rows.size)).any():
            raise ValueError("a pair of channels is listed twice")
        found.setdefault((block_i, block_j), []).append(
            Tile(i0, n_i, j0, n_j, ahead, rows, inside, row_of, consecutive_runs(rows))
        )
    return found
