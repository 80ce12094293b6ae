"""Units in child processes, some of which are killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from xcor_daemon.pipeline.executors import ProcessPool, WorkerKilledError, run_units


def square(n):
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if n == 4:
        raise ValueError("four")
    return n * n


def test_a_unit_that_kills_its_child_is_reported_and_the_others_finish():
    outcomes = {outcome.unit: outcome for outcome in run_units(square, range(8), 2)}

    assert sorted(outcomes) == list(range(8))
    assert isinstance(outcomes[3].error, WorkerKilledError)
    assert {n: outcomes[n].result for n in (0, 1, 2, 5, 6, 7)} == {
        n: n * n for n in (0, 1, 2, 5, 6, 7)
    }


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_belongs_to_its_unit(processes):
    outcomes = {o.unit: o for o in run_units(square, [1, 4, 5], processes)}

    assert str(outcomes[4].error) == "four"
    assert outcomes[5].result == 25


def test_a_child_that_dies_affects_its_own_unit_only(tmp_path):
    """All other units, running and queued, are started once."""

    def work(n):
        with (tmp_path / "begun").open("a") as file:
            file.write(f"{n}\n")
        if n == 2 and (tmp_path / "begun").read_text().split().count("2") < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    outcomes = {o.unit: o.result for o in run_units(work, range(12), 3)}

    begun = (tmp_path / "begun").read_text().split()
    assert outcomes == {n: n for n in range(12)}
    assert sorted(begun) == sorted([*map(str, range(12)), "2", "2"])


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_children_killed_at_random_are_replaced(kills):
    rng = random.Random(kills)
    executor = ProcessPool(lambda n: time.sleep(0.05) or n, 3)
    todo, done, killed = iter(range(20 * kills)), [], 0
    under_way = 0
    while len(done) < 20 * kills:
        while under_way < executor.slots and (unit := next(todo, None)) is not None:
            executor.submit(unit)
            under_way += 1
        if killed < kills and len(done) >= 20 * killed + 5:
            child = rng.choice([c for c in executor._children if c.unit is not None])
            child.process.kill()
            killed += 1
        for outcome in executor.results(5.0):
            assert outcome.error is None
            done.append(outcome.result)
            under_way -= 1
    executor.close()

    assert sorted(done) == list(range(20 * kills))
    assert executor.redone <= kills


def test_cancel_kills_the_children_and_drops_the_queue():
    executor = ProcessPool(lambda n: time.sleep(60), 2)
    for n in range(6):
        executor.submit(n)
    pids = [child.process.pid for child in executor._children]

    executor.cancel()

    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert executor.results(0.1) == []


class LockedError(Exception):
    """Cannot be pickled, because of its lock."""

    def __init__(self, n):
        super().__init__(f"{n} and 7")
        self.lock = threading.Lock()


class OddError(Exception):
    """Can be pickled but not restored from its message alone.

    tblib, which Dask loads, adds support for that: then the error arrives unchanged.
    """

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize("error", [LockedError, partial(OddError, two=7)])
def test_an_error_that_cannot_be_sent_arrives_as_text(error):
    def work(n):
        raise error(n)

    outcomes = list(run_units(work, [1, 2], 2))

    texts = sorted(str(o.error).removeprefix("OddError: ") for o in outcomes)
    expected = ["1 and 7", "2 and 7"]
    assert texts == (
        [f"LockedError: {text}" for text in expected] if error is LockedError else expected
    )
    assert all("in work" in o.error.__notes__[0] for o in outcomes)
