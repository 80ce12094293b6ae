"""Who draws images: processes, of which a small job has some that are ready when it is.

To load matplotlib takes longer than to draw an image. While a small job is correlated, processes
beside it load it; where there is more to draw than one would like to send them, they are made
when everything is there, and have it from the start.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..errors import XcorError
from .executors import Outcome, Processes, run_units

Drawing = Callable[[], list[Path]]  # draws an image, gives its files; can be pickled

_MOST = 2  # processes that load matplotlib; with more of them the images are there no sooner


class Painters:
    """Processes that draw; use it in a ``with`` block.

    Parameters
    ----------
    processes : int
        That draw once everything is there.
    early : bool
        Start now, before there is anything to draw: one process for each core, two at most.
    """

    def __init__(self, processes: int, early: bool) -> None:
        self._processes = processes
        self._pool: Processes[Drawing, list[Path]] | None = None
        if early:
            n = min(len(os.sched_getaffinity(0)), _MOST)
            self._pool = Processes(_draw, n)
            for _ in range(n):
                self._pool.submit(_load)

    def __enter__(self) -> Painters:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._pool is not None:
            self._pool.cancel() if kind else self._pool.close()

    def draw(self, drawings: Sequence[Drawing]) -> list[Path]:
        """Draw images; gives their files in the order of the images.

        Raises
        ------
        XcorError
            If an image could not be drawn.
        """
        if self._pool is None:
            units = range(len(drawings))
            return _in_order(units, run_units(lambda k: drawings[k](), units, self._processes))
        for drawing in drawings:
            self._pool.submit(drawing)
        return _in_order(drawings, self._sent(len(drawings)))

    def _sent(self, left: int) -> Iterable[Outcome[Drawing, list[Path]]]:
        assert self._pool is not None
        while left:
            for outcome in self._pool.results(60.0):
                if outcome.unit is not _load:
                    left -= 1
                    yield outcome


def _in_order(units: Sequence, outcomes: Iterable[Outcome]) -> list[Path]:
    drawn = {}
    for outcome in outcomes:
        if outcome.result is None:
            raise XcorError(f"an image could not be drawn: {outcome.error!r}") from outcome.error
        drawn[outcome.unit] = outcome.result
    return [path for unit in units for path in drawn[unit]]


def _load() -> list[Path]:
    """Load matplotlib, and what it makes with its first image: fonts, colours, scales."""
    from . import plots

    one = np.ones(1)
    with TemporaryDirectory() as name:
        about = {"names": ["A|B"], "title": "", "path": Path(name, "image"), "most": 1}
        plots.overview(np.ones((1, 1)), ["2000-01-01"], one, one, **about)
    gc.freeze()  # what is loaded stays; it need not be looked through again and again
    return []


def _draw(drawing: Drawing) -> list[Path]:
    return drawing()
