"""Units in processes, one of which may kill its worker."""

from __future__ import annotations

import os
import signal

import pytest

from xcor_daemon.pipeline.executors import WorkerKilledError, run_units


def square(n):
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if n == 4:
        raise ValueError("four")
    return n * n


def test_a_unit_that_kills_its_worker_is_found_and_the_others_finish():
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
