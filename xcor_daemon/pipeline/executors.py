"""Run units of work in processes of one machine, and survive a worker that dies."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Unit = TypeVar("Unit")
Result = TypeVar("Result")

# A forked worker has the imports of its parent at once, and ``_work`` without pickling it.
_FORK = multiprocessing.get_context("fork")
_work: Callable[[Any], Any]


def _call(unit: Any) -> Any:
    return _work(unit)


@dataclass(frozen=True)
class Outcome(Generic[Unit, Result]):
    """What became of a unit: its result, or the error that ended it."""

    unit: Unit
    result: Result | None = None
    error: BaseException | None = None


class WorkerKilledError(Exception):
    """The process that worked on a unit died, most often for lack of memory."""


def run_units(
    work: Callable[[Unit], Result], units: Sequence[Unit], processes: int
) -> Iterator[Outcome[Unit, Result]]:
    """Call ``work`` for every unit and give the outcomes as they come.

    One process, or one unit, runs here. When a worker dies the units that were under way are run
    again, each in a process of its own, so that the one that kills its worker is found and the
    others finish.
    """
    if processes <= 1 or len(units) <= 1:
        for unit in units:
            yield _here(work, unit)
        return
    global _work
    _work = work
    suspects: list[Unit] = []
    with ProcessPoolExecutor(min(processes, len(units)), mp_context=_FORK) as pool:
        futures = {pool.submit(_call, unit): unit for unit in units}
        for future in as_completed(futures):
            outcome = _outcome(futures[future], future)
            if isinstance(outcome.error, BrokenProcessPool):
                suspects.append(outcome.unit)
            else:
                yield outcome
    for unit in suspects:
        with ProcessPoolExecutor(1, mp_context=_FORK) as pool:
            outcome = _outcome(unit, pool.submit(_call, unit))
        if isinstance(outcome.error, BrokenProcessPool):
            reason = "the process that worked on it was killed, most likely for lack of memory"
            outcome = Outcome(unit, error=WorkerKilledError(reason))
        yield outcome


def _here(work: Callable[[Unit], Result], unit: Unit) -> Outcome[Unit, Result]:
    future: Future[Result] = Future()
    try:
        future.set_result(work(unit))
    except Exception as error:  # noqa: BLE001  as in a worker: the corridor decides what it means
        future.set_exception(error)
    return _outcome(unit, future)


def _outcome(unit: Unit, future: Future[Result]) -> Outcome[Unit, Result]:
    error = future.exception()
    return Outcome(unit, error=error) if error is not None else Outcome(unit, future.result())
