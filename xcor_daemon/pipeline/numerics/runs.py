"""Runs of consecutive integers: rows that are read or written in one operation."""

from __future__ import annotations

import numpy as np


def consecutive_runs(numbers: np.ndarray, most: int | None = None) -> list[tuple[int, int]]:
    """Find runs in which each number is one more than the previous.

    Parameters
    ----------
    numbers : int array, shape (n,)
        Such as rows of a file.
    most : int, optional
        Longest run; longer ones are split.

    Returns
    -------
    runs : list of (int, int)
        First index in ``numbers`` and index after the last, of each run.

    Examples
    --------
    >>> consecutive_runs(np.array([4, 5, 6, 9])), consecutive_runs(np.array([4, 5, 6, 9]), most=2)
    ([(0, 3), (3, 4)], [(0, 2), (2, 3), (3, 4)])
    """
    if not numbers.size:
        return []
    cuts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), numbers.size]
    return [
        (a, min(a + (most or numbers.size), end))
        for begin, end in zip(cuts[:-1], cuts[1:], strict=True)
        for a in range(begin, end, most or numbers.size)
    ]
