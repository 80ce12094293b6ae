"""Run units of work in this process or in child processes, and survive a child that dies.

An executor has four methods: submit, results, cancel and close. `DaskExecutor` (in
`scheduling/dask_cluster.py`) is a third one, for several machines.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, Protocol, TypeVar, cast

from .worker_process import set_up_worker_process

Unit = TypeVar("Unit")
Result = TypeVar("Result")

# A forked child inherits the imports of its parent, and the work without pickling it.
_FORK = multiprocessing.get_context("fork")
MAX_ATTEMPTS = 3  # to run a unit whose process dies


@dataclass(frozen=True)
class Outcome(Generic[Unit, Result]):
    """The outcome of a unit: its result, or the error that ended it."""

    unit: Unit
    result: Result | None = None
    error: BaseException | None = None

    def get(self) -> Result:
        """The result; raises the error that ended the unit."""
        if self.error is not None:
            raise self.error
        return cast(Result, self.result)


class WorkerKilledError(Exception):
    """The process that ran a unit was killed in every attempt, most often for lack of memory."""


class Executor(Protocol[Unit]):
    """Runs units."""

    @property
    def slots(self) -> int:
        """How many units should be submitted at a time."""
        ...

    def submit(self, unit: Unit) -> None:
        """Queue a unit."""
        ...

    def results(self, timeout: float) -> list[Outcome[Unit, Any]]:
        """The units that ended, in any order; empty if none does within ``timeout`` s."""
        ...

    def cancel(self) -> None:
        """Stop the running units and drop the queue."""
        ...

    def close(self) -> None:
        """Release the workers."""
        ...


class InProcessExecutor(Generic[Unit, Result]):
    """Runs units in this process, one at each call of `results`."""

    slots = 1

    def __init__(self, work: Callable[[Unit], Result]) -> None:
        self._work = work
        self._waiting: deque[Unit] = deque()

    def submit(self, unit: Unit) -> None:
        """Queue a unit."""
        self._waiting.append(unit)

    def results(self, timeout: float) -> list[Outcome[Unit, Result]]:
        """Run the next unit; ``timeout`` is ignored."""
        unit = self._waiting.popleft()
        try:
            return [Outcome(unit, self._work(unit))]
        except Exception as error:  # noqa: BLE001  as in a child: the caller handles it
            return [Outcome(unit, error=error)]

    def cancel(self) -> None:
        """Drop the queue."""
        self._waiting.clear()

    close = cancel


@dataclass
class _Child(Generic[Unit]):
    process: BaseProcess
    pipe: Connection
    unit: Unit | None = None


class ProcessPool(Generic[Unit, Result]):
    """Runs units in child processes that are forked from this one.

    Each child gets one unit at a time through its own pipe, so if it dies, its unit is known and
    the other children are not affected. (A `ProcessPoolExecutor` loses all submitted units and
    does not report which one failed.) The unit is run again, in the last attempt with no other
    unit beside it, so that its own memory is all that counts.

    Parameters
    ----------
    work : callable
        Runs a unit. It need not be picklable; units and results must be.
    processes : int
        Number of child processes.
    have_children : bool
        Whether the children start processes themselves; then the pool must be closed or cancelled.
    """

    def __init__(
        self, work: Callable[[Unit], Result], processes: int, have_children: bool = False
    ) -> None:
        self._work = work
        self._processes = processes
        self._is_daemon = not have_children
        self._children: list[_Child[Unit]] = []
        self._waiting: deque[Unit] = deque()
        self._deaths: list[tuple[Unit, int]] = []  # units whose child died, and how often
        self._alone: deque[Unit] = deque()  # to be run with no other unit beside them
        self.redone = 0  # units that were started again

    @property
    def slots(self) -> int:
        """One unit running and one waiting per process."""
        return 2 * self._processes

    def submit(self, unit: Unit) -> None:
        """Queue a unit, and start it if a process is free."""
        self._waiting.append(unit)
        self._dispatch()

    def results(self, timeout: float) -> list[Outcome[Unit, Result]]:
        """The units that ended; empty if none does within ``timeout`` s."""
        self._dispatch()
        busy = [child for child in self._children if child.unit is not None]
        if not busy:
            return []
        by_handle: dict[Any, _Child[Unit]] = {child.pipe: child for child in busy}
        by_handle |= {child.process.sentinel: child for child in busy}
        ready = {id(by_handle[h]): by_handle[h] for h in wait(list(by_handle), timeout)}
        outcomes = [found for child in ready.values() if (found := self._receive(child))]
        self._dispatch()
        return outcomes

    def _receive(self, child: _Child[Unit]) -> Outcome[Unit, Result] | None:
        """The outcome of a child's unit; None if the child died and its unit is run again."""
        unit = child.unit
        assert unit is not None
        try:
            if child.pipe.poll():
                result, error = child.pipe.recv()
                child.unit = None
                return Outcome(unit, result, error)
        except (EOFError, OSError):
            pass  # the child died, perhaps in the middle of its answer
        self._children.remove(child)
        child.process.join()
        child.pipe.close()
        return self._after_death(unit)

    def _after_death(self, unit: Unit) -> Outcome[Unit, Result] | None:
        deaths = 1 + sum(n for other, n in self._deaths if other == unit)
        self._deaths = [(other, n) for other, n in self._deaths if other != unit]
        if deaths >= MAX_ATTEMPTS:
            reason = (
                f"its process was killed {deaths} times, the last time with no other unit "
                "running; most likely for lack of memory"
            )
            return Outcome(unit, error=WorkerKilledError(reason))
        self._deaths.append((unit, deaths))
        self.redone += 1
        if deaths == MAX_ATTEMPTS - 1:
            self._alone.append(unit)
        else:
            self._waiting.appendleft(unit)
        return None

    def _dispatch(self) -> None:
        """Send units to idle children."""
        busy = sum(child.unit is not None for child in self._children)
        if self._alone:
            if not busy:
                self._send(self._alone.popleft())
            return
        is_alone = any(
            child.unit == unit and n == MAX_ATTEMPTS - 1
            for child in self._children
            for unit, n in self._deaths
        )
        while self._waiting and busy < self._processes and not is_alone:
            self._send(self._waiting.popleft())
            busy += 1

    def _send(self, unit: Unit) -> None:
        for child in self._children:
            if child.unit is None and child.process.is_alive():
                break
        else:
            self._children = [c for c in self._children if c.unit is not None]
            child = self._start()
        child.unit = unit
        with contextlib.suppress(OSError):  # it died while it was idle: `results` finds that
            child.pipe.send(unit)

    def _start(self) -> _Child[Unit]:
        ours, its = _FORK.Pipe()
        others = [child.pipe for child in self._children]
        process = _FORK.Process(
            target=_run_child, args=(self._work, its, [ours, *others]), daemon=self._is_daemon
        )
        process.start()
        its.close()
        self._children.append(_Child(process, ours))
        return self._children[-1]

    def cancel(self) -> None:
        """Kill the children; their files are written atomically."""
        self._waiting.clear()
        self._alone.clear()
        for child in self._children:
            child.process.kill()
        self.close()

    def close(self) -> None:
        """End the children, each after the unit that it runs."""
        for child in self._children:
            child.pipe.close()
        for child in self._children:
            child.process.join()
        self._children.clear()


def _run_child(
    work: Callable[[Any], Any], pipe: Connection, inherited: Sequence[Connection]
) -> None:
    """Run units until the parent closes the pipe or dies."""
    for other in inherited:  # otherwise a pipe would stay open in the children started later
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    set_up_worker_process()
    answer: tuple[Any, Exception | None]
    while True:
        try:
            unit = pipe.recv()
        except EOFError:
            return
        try:
            answer = (work(unit), None)
        except Exception as error:  # noqa: BLE001  the parent handles it
            answer = (None, _picklable(error))
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return


def _picklable(error: Exception) -> Exception:
    """An error that can be pickled and restored, with the traceback as a note."""
    note = traceback.format_exc()
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # noqa: BLE001  its class may raise anything when restored
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(note)
    return error


def run_units(
    work: Callable[[Unit], Result], units: Sequence[Unit], processes: int
) -> Iterator[Outcome[Unit, Result]]:
    """Call ``work`` for every unit and yield the outcomes as they come.

    A single process or a single unit runs in this process.
    """
    n = min(processes, len(units))
    executor: Executor[Unit] = ProcessPool(work, n) if n > 1 else InProcessExecutor(work)
    with contextlib.closing(executor):
        try:
            for unit in units:
                executor.submit(unit)
            left = len(units)
            while left:
                for outcome in executor.results(60.0):
                    left -= 1
                    yield outcome
        except BaseException:
            executor.cancel()
            raise
