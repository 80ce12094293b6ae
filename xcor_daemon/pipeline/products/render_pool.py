"""Who draws images: processes, which a small job has ready when it is.

To load matplotlib takes longer than to draw an image. While a small job is correlated, a process
beside it loads it and then waits, to draw what it is sent; where there is more to draw than one
would like to send, processes are made when everything is there, and have it from the start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from ...errors import DiskError, XcorError
from ..executors import Processes, run_units
from ..worker_process import freeze_imports

Drawing = Callable[[], list[Path]]  # draws an image, gives its files; can be pickled

_MOST = 2  # processes that draw a small job's images


class Painters:
    """Processes that draw; use it in a ``with`` block.

    Parameters
    ----------
    processes : int
        That draw once everything is there.
    early : bool
        Have one load matplotlib now, before there is anything to draw; then it and another draw.
    """

    def __init__(self, processes: int, early: bool) -> None:
        self._processes = processes
        self._studio: Processes[Sequence[Drawing], list[Path]] | None = None
        if early:
            self._processes = min(len(os.sched_getaffinity(0)), _MOST)
            self._studio = Processes(self._draw, 1, have_children=True)
            self._studio.submit(())

    def __enter__(self) -> Painters:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._studio is not None:
            self._studio.cancel() if kind else self._studio.close()

    def draw(self, drawings: Sequence[Drawing]) -> list[Path]:
        """Draw images; gives their files in the order of the images.

        Raises
        ------
        DiskError
            If an image could not be written.
        XcorError
            If one could not be drawn.
        """
        if self._studio is None:
            return self._draw(drawings)
        self._studio.submit(drawings)
        left = [(), drawings]
        while left:
            for outcome in self._studio.results(60.0):
                left.remove(outcome.unit)
                drawn = outcome.get()
        return drawn

    def _draw(self, drawings: Sequence[Drawing]) -> list[Path]:
        _load()
        drawn: dict[int, list[Path]] = {}
        units = range(len(drawings))
        for outcome in run_units(lambda k: drawings[k](), units, self._processes):
            if isinstance(outcome.error, DiskError):
                raise outcome.error
            if outcome.result is None:
                reason = f"an image could not be drawn: {outcome.error!r}"
                raise XcorError(reason) from outcome.error
            drawn[outcome.unit] = outcome.result
        return [path for k in units for path in drawn[k]]


@cache
def _load() -> None:
    """Load matplotlib, which needs a folder that it may write."""
    try:
        from .. import plots  # noqa: F401
    except OSError as error:
        raise DiskError(f"matplotlib cannot be loaded: {error}") from error
    freeze_imports()
