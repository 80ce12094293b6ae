"""Child processes that render images, started early for a small job.

To load matplotlib takes longer than to render an image. While a small job is correlated, a child
process loads it and waits for render tasks. A large job would have to send too much data through
the pipe, so its processes are forked when the data are complete, and inherit them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from ...errors import DiskError, XcorError
from ..executors import ProcessPool, run_units
from ..worker_process import freeze_imports

RenderTask = Callable[[], list[Path]]  # renders an image, gives its files; can be pickled

_MAX_EARLY = 2  # processes that render the images of a small job


class RenderPool:
    """Processes that render images; use it in a ``with`` block.

    Parameters
    ----------
    processes : int
        Number of processes, unless ``early``.
    early : bool
        Start a child process now that loads matplotlib; it renders with at most one other process.
    """

    def __init__(self, processes: int, early: bool) -> None:
        self._processes = processes
        self._child: ProcessPool[Sequence[RenderTask], list[Path]] | None = None
        if early:
            self._processes = min(len(os.sched_getaffinity(0)), _MAX_EARLY)
            self._child = ProcessPool(self._render, 1, have_children=True)
            self._child.submit(())

    def __enter__(self) -> RenderPool:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._child is not None:
            self._child.cancel() if kind else self._child.close()

    def render(self, tasks: Sequence[RenderTask]) -> list[Path]:
        """Render images; gives their files in the order of the tasks.

        Raises
        ------
        DiskError
            If an image could not be written.
        XcorError
            If an image could not be rendered.
        """
        if self._child is None:
            return self._render(tasks)
        self._child.submit(tasks)
        left = [(), tasks]
        while left:
            for outcome in self._child.results(60.0):
                left.remove(outcome.unit)
                paths = outcome.get()
        return paths

    def _render(self, tasks: Sequence[RenderTask]) -> list[Path]:
        _load()
        paths: dict[int, list[Path]] = {}
        units = range(len(tasks))
        for outcome in run_units(lambda k: tasks[k](), units, self._processes):
            if isinstance(outcome.error, DiskError):
                raise outcome.error
            if outcome.result is None:
                reason = f"an image could not be rendered: {outcome.error!r}"
                raise XcorError(reason) from outcome.error
            paths[outcome.unit] = outcome.result
        return [path for k in units for path in paths[k]]


@cache
def _load() -> None:
    """Load matplotlib, which needs a writable folder for its cache."""
    try:
        from .. import plots  # noqa: F401
    except OSError as error:
        raise DiskError(f"matplotlib cannot be loaded: {error}") from error
    freeze_imports()
