"""Numbers that follow each other: what is written, read or transformed in one go."""

from __future__ import annotations

import numpy as np


def consecutive_runs(numbers: np.ndarray, most: int | None = None) -> list[tuple[int, int]]:
    """Where in ``numbers`` (n,) each is one more than the last: [a, b), none longer than ``most``.

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
