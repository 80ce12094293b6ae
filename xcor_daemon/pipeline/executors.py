"""Run units of work here or in processes of one machine, and survive a worker that dies.

An executor has four things to do: submit a unit, give results, cancel, close. `Cluster` (in
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

# A forked worker has the imports of its parent at once, and its work without pickling it.
_FORK = multiprocessing.get_context("fork")
TRIES = 3  # of a unit whose worker dies


@dataclass(frozen=True)
class Outcome(Generic[Unit, Result]):
    """What became of a unit: its result, or the error that ended it."""

    unit: Unit
    result: Result | None = None
    error: BaseException | None = None

    def get(self) -> Result:
        """The result; raises the error that ended the unit."""
        if self.error is not None:
            raise self.error
        return cast(Result, self.result)


class WorkerKilledError(Exception):
    """The process that worked on a unit died again and again, most often for lack of memory."""


class Executor(Protocol[Unit]):
    """Who does units."""

    @property
    def slots(self) -> int:
        """How many units are worth having submitted at a time."""
        ...

    def submit(self, unit: Unit) -> None:
        """Take a unit."""
        ...

    def results(self, seconds: float) -> list[Outcome[Unit, Any]]:
        """What came to its end, in any order; none where nothing did for some seconds."""
        ...

    def cancel(self) -> None:
        """Stop the units under way and forget those that wait."""
        ...

    def close(self) -> None:
        """Let go of the workers."""
        ...


class Here(Generic[Unit, Result]):
    """Does units in this process, one at a time, when results are asked for."""

    slots = 1

    def __init__(self, work: Callable[[Unit], Result]) -> None:
        self._work = work
        self._waiting: deque[Unit] = deque()

    def submit(self, unit: Unit) -> None:
        """Take a unit."""
        self._waiting.append(unit)

    def results(self, seconds: float) -> list[Outcome[Unit, Result]]:
        """Do the next unit."""
        unit = self._waiting.popleft()
        try:
            return [Outcome(unit, self._work(unit))]
        except Exception as error:  # noqa: BLE001  as in a worker: the corridor decides what it means
            return [Outcome(unit, error=error)]

    def cancel(self) -> None:
        """Forget the units that wait."""
        self._waiting.clear()

    close = cancel


@dataclass
class _Worker(Generic[Unit]):
    process: BaseProcess
    pipe: Connection
    unit: Unit | None = None


class Processes(Generic[Unit, Result]):
    """Does units in processes that are forked from this one.

    Each process has one unit at a time over a pipe of its own, so where one dies it is known which
    unit it had; the others notice nothing. (A `ProcessPoolExecutor` loses every unit that is
    submitted, and does not say which of them was to blame.) That unit is done again, the last time
    alone, when no neighbour can be what takes the memory.

    Parameters
    ----------
    work : callable
        Of a unit; need not be pickled, but units and results are.
    processes : int
    have_children : bool
        Whether a process starts processes itself; then this must be closed or cancelled.
    """

    def __init__(
        self, work: Callable[[Unit], Result], processes: int, have_children: bool = False
    ) -> None:
        self._work = work
        self._most = processes
        self._is_daemon = not have_children
        self._workers: list[_Worker[Unit]] = []
        self._waiting: deque[Unit] = deque()
        self._deaths: list[tuple[Unit, int]] = []  # of units whose worker died, how often
        self._alone: deque[Unit] = deque()  # to be done with nothing beside them
        self.redone = 0  # units that were begun again

    @property
    def slots(self) -> int:
        """A unit for every process, and one that waits for it."""
        return 2 * self._most

    def submit(self, unit: Unit) -> None:
        """Take a unit."""
        self._waiting.append(unit)
        self._feed()

    def results(self, seconds: float) -> list[Outcome[Unit, Result]]:
        """What came to its end; none where nothing did for some seconds."""
        self._feed()
        busy = [worker for worker in self._workers if worker.unit is not None]
        if not busy:
            return []
        by_handle: dict[Any, _Worker[Unit]] = {worker.pipe: worker for worker in busy}
        by_handle |= {worker.process.sentinel: worker for worker in busy}
        ready = {id(by_handle[h]): by_handle[h] for h in wait(list(by_handle), seconds)}
        outcomes = [outcome for w in ready.values() if (outcome := self._outcome(w)) is not None]
        self._feed()
        return outcomes

    def _outcome(self, worker: _Worker[Unit]) -> Outcome[Unit, Result] | None:
        """What a worker says; None where it died and its unit is done again."""
        unit = worker.unit
        assert unit is not None
        try:
            if worker.pipe.poll():
                result, error = worker.pipe.recv()
                worker.unit = None
                return Outcome(unit, result, error)
        except (EOFError, OSError):
            pass  # it died, perhaps while it spoke
        self._workers.remove(worker)
        worker.process.join()
        worker.pipe.close()
        return self._after_death(unit)

    def _after_death(self, unit: Unit) -> Outcome[Unit, Result] | None:
        deaths = 1 + sum(n for other, n in self._deaths if other == unit)
        self._deaths = [(other, n) for other, n in self._deaths if other != unit]
        if deaths >= TRIES:
            reason = (
                f"the process that worked on it was killed {deaths} times, the last time with "
                "nothing beside it; most likely for lack of memory"
            )
            return Outcome(unit, error=WorkerKilledError(reason))
        self._deaths.append((unit, deaths))
        self.redone += 1
        if deaths == TRIES - 1:
            self._alone.append(unit)
        else:
            self._waiting.appendleft(unit)
        return None

    def _feed(self) -> None:
        """Give units to workers that have none."""
        busy = sum(worker.unit is not None for worker in self._workers)
        if self._alone:
            if not busy:
                self._give(self._alone.popleft())
            return
        is_alone = any(
            worker.unit == unit and n == TRIES - 1
            for worker in self._workers
            for unit, n in self._deaths
        )
        while self._waiting and busy < self._most and not is_alone:
            self._give(self._waiting.popleft())
            busy += 1

    def _give(self, unit: Unit) -> None:
        for worker in self._workers:
            if worker.unit is None and worker.process.is_alive():
                break
        else:
            self._workers = [w for w in self._workers if w.unit is not None]
            worker = self._start()
        worker.unit = unit
        with contextlib.suppress(OSError):  # it died while it was idle: `results` sees that
            worker.pipe.send(unit)

    def _start(self) -> _Worker[Unit]:
        ours, its = _FORK.Pipe()
        others = [worker.pipe for worker in self._workers]
        process = _FORK.Process(
            target=_serve, args=(self._work, its, [ours, *others]), daemon=self._is_daemon
        )
        process.start()
        its.close()
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def cancel(self) -> None:
        """Kill the workers: what they write is whole or absent."""
        self._waiting.clear()
        self._alone.clear()
        for worker in self._workers:
            worker.process.kill()
        self.close()

    def close(self) -> None:
        """End the workers; each does what it does to its end."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join()
        self._workers.clear()


def _serve(work: Callable[[Any], Any], pipe: Connection, inherited: Sequence[Connection]) -> None:
    """A worker: does units until its pipe is closed, by its parent or by its parent's death."""
    for other in inherited:  # otherwise a pipe would stay open in the workers that came later
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    set_up_worker_process()
    answer: tuple[Any, Exception | None]
    while True:
        try:
            unit = pipe.recv()
        except EOFError:
            return
        try:
            answer = (work(unit), None)
        except Exception as error:  # noqa: BLE001  the parent decides what it means
            answer = (None, _portable(error))
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return


def _portable(error: Exception) -> Exception:
    """An error as another process can read it, with the traceback as a note."""
    note = traceback.format_exc()
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # noqa: BLE001  whatever its class does when it is made again
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(note)
    return error


def run_units(
    work: Callable[[Unit], Result], units: Sequence[Unit], processes: int
) -> Iterator[Outcome[Unit, Result]]:
    """Call ``work`` for every unit and give the outcomes as they come.

    One process, or one unit, runs here.
    """
    n = min(processes, len(units))
    executor: Executor[Unit] = Processes(work, n) if n > 1 else Here(work)
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
