"""The decision on a job's next action: every state of a job with every observation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from xcor_daemon.config import Config
from xcor_daemon.request.job_files import DayCounts, FailedDay, JobOutputs, OutputFile
from xcor_daemon.service.reconcile import (
    Action,
    AdoptManifest,
    Observed,
    PublishResults,
    Retry,
    SetFinalState,
    StopWorker,
    Wait,
    next_action,
)
from xcor_daemon.storage.jobs import Job
from xcor_daemon.storage.worker_outputs import BrokenOutputs
from xcor_daemon.workers.launcher import ENDED, NOT_STARTED, RUNNING, WorkerState

NOW = 1.8e9  # s since 1970
CONFIG = Config(bucket="xcor", max_parallel=2, deadline=3600, max_attempts=3)
IMAGE = "sha256:0123"
MANIFEST = {"attempt": "20270115_080000-abcdef"}
FILE = OutputFile("CORR/2019-01-01.h5", 8, "0" * 64)
OUTPUTS = JobOutputs(DayCounts(done=1, empty=1), (FILE,))
WITH_A_FAILED_DAY = replace(OUTPUTS, days=DayCounts(1, 0, (FailedDay("2019-01-02", "killed"),)))

QUEUED = Job(Path("/work/41"), "41", "xcor", MANIFEST["attempt"], (), submitted_at=NOW - 900)
READY = replace(QUEUED, source="archive:/data", executor="processes")
STATES = {
    "unchecked": QUEUED,
    "ready": READY,
    "held": replace(READY, is_held=True),
    "backing off": replace(READY, not_before=NOW + 60, failures=1),
    "running": replace(READY, state="running", started=NOW - 600, launched=NOW - 600),
    "ending": replace(READY, state="running", launched=NOW - 600, final_state="cancelled"),
}


def ended(exit_code: int | None, *log: str, **observed) -> Observed:
    return Observed(WorkerState(ENDED, exit_code, image=IMAGE), log_tail=log, **observed)


def succeeded(outputs: JobOutputs | BrokenOutputs, **worker) -> Observed:
    state = WorkerState(ENDED, 0, image=IMAGE, **worker)
    return Observed(state, outputs=outputs, n_days=2)


WORKERS = {
    "not started": Observed(WorkerState(NOT_STARTED)),
    "running": Observed(WorkerState(RUNNING)),
    "succeeded": succeeded(OUTPUTS),
    "failed": ended(1, "error: no"),
}
OBSERVATIONS = {
    **{f"{name}; lease lost": replace(o, is_lease_held=False) for name, o in WORKERS.items()},
    **{f"{name}; published": replace(o, manifest=MANIFEST) for name, o in WORKERS.items()},
    **{
        f"{name}; lease lost, published": replace(o, is_lease_held=False, manifest=MANIFEST)
        for name, o in WORKERS.items()
    },
    **WORKERS,
    "not started; all slots taken": replace(WORKERS["not started"], n_running=2, n_ahead=3),
    "not started; one slot taken": replace(WORKERS["not started"], n_running=1, n_ahead=3),
    "running; too many bytes": replace(WORKERS["running"], disk_usage=1e12),
    "succeeded; stacking job": replace(WORKERS["succeeded"], n_days=None),
    "succeeded; no outputs": succeeded(BrokenOutputs("outputs.json is missing.")),
    "succeeded; a day is missing": succeeded(replace(OUTPUTS, days=DayCounts(1, 0))),
    "succeeded; too large": succeeded(replace(OUTPUTS, files=(replace(FILE, size=10**12),))),
    "succeeded; a failed day": succeeded(WITH_A_FAILED_DAY),
    "succeeded; a day out of memory": succeeded(WITH_A_FAILED_DAY, is_out_of_memory=True),
    "succeeded; out of memory, all days": succeeded(OUTPUTS, is_out_of_memory=True),
    "failed; killed": ended(None),
    "failed; out of memory": Observed(WorkerState(ENDED, 137, is_out_of_memory=True)),
    "failed; invalid request": ended(65, "error: params.csv: fs"),
    "failed; invalid setting": ended(78, "error: XCOR_CACHE"),
    "failed; data center": ended(75, "error: 503"),
}

BEFORE_START = "CheckRequest StartWorker Wait:held Wait:until StartWorker"
QUEUE = "CheckRequest Wait:3 Wait:held Wait:until Wait:3"
UNRECORDED = "RecordStart RecordStart RecordStart RecordStart"  # the daemon died at a start
# Observation -> next action of a job in each of STATES.
TABLE = {
    "not started; lease lost": "Relinquish " * 6,
    "running; lease lost": "StopWorker " * 6,
    "succeeded; lease lost": "Relinquish " * 6,
    "failed; lease lost": "Relinquish " * 6,
    "not started; lease lost, published": "AdoptManifest " * 6,
    "running; lease lost, published": "StopWorker " * 6,
    "succeeded; lease lost, published": "AdoptManifest " * 6,
    "failed; lease lost, published": "AdoptManifest " * 6,
    "not started; published": f"{BEFORE_START} AdoptManifest",
    "running; published": f"{UNRECORDED} PublishProgress StopWorker:status",
    "succeeded; published": f"{UNRECORDED} PublishResults AdoptManifest",
    "failed; published": f"{UNRECORDED} Retry:failures AdoptManifest",
    "not started": f"{BEFORE_START} PublishEnd",
    "running": f"{UNRECORDED} PublishProgress StopWorker:status",
    "succeeded": f"{UNRECORDED} PublishResults PublishEnd",
    "failed": f"{UNRECORDED} Retry:failures PublishEnd",
    "not started; all slots taken": f"{QUEUE} PublishEnd",
    "not started; one slot taken": f"{BEFORE_START} PublishEnd",
    "running; too many bytes": f"{UNRECORDED} SetFinalState:failed StopWorker:status",
    "succeeded; stacking job": f"{UNRECORDED} PublishResults PublishEnd",
    "succeeded; no outputs": f"{UNRECORDED} Retry:failures PublishEnd",
    "succeeded; a day is missing": f"{UNRECORDED} Retry:failures PublishEnd",
    "succeeded; too large": f"{UNRECORDED} Retry:failures PublishEnd",
    "succeeded; a failed day": f"{UNRECORDED} PublishResults PublishEnd",
    "succeeded; a day out of memory": f"{UNRECORDED} Retry:out_of_memory PublishEnd",
    "succeeded; out of memory, all days": f"{UNRECORDED} PublishResults PublishEnd",
    "failed; killed": f"{UNRECORDED} Retry:killed PublishEnd",
    "failed; out of memory": f"{UNRECORDED} Retry:out_of_memory PublishEnd",
    "failed; invalid request": f"{UNRECORDED} SetFinalState:rejected PublishEnd",
    "failed; invalid setting": f"{UNRECORDED} SetFinalState:failed PublishEnd",
    "failed; data center": f"{UNRECORDED} Retry:failures PublishEnd",
}
ROWS = [
    pytest.param(state, name, action, id=f"{state}: {name}")
    for name, row in TABLE.items()
    for state, action in zip(STATES, row.split(), strict=True)
]


def label(action: Action) -> str:
    """Class of an action, and the field that tells it from others of its class."""
    detail = ""
    match action:
        case StopWorker():
            detail = "status" * action.writes_status
        case Wait(stage, ahead):
            detail = next((word for word in ("held", "until") if word in stage), str(ahead))
        case Retry():
            detail = action.counter
        case SetFinalState():
            detail = action.state
    return f"{type(action).__name__}:{detail}".rstrip(":")


def test_the_table_has_a_row_for_every_observation():
    assert TABLE.keys() == OBSERVATIONS.keys()


@pytest.mark.parametrize(("state", "observation", "expected"), ROWS)
def test_next_action(state, observation, expected):
    action = next_action(STATES[state], OBSERVATIONS[observation], CONFIG, NOW)

    assert label(action) == expected


def test_the_decision_does_not_change_with_the_call():
    for state in STATES.values():
        for observed in OBSERVATIONS.values():
            first = next_action(state, observed, CONFIG, NOW)
            assert next_action(state, observed, CONFIG, NOW) == first


def decide(state: str, observed: Observed | str, **changes) -> Action:
    observed = OBSERVATIONS[observed] if isinstance(observed, str) else observed
    return next_action(replace(STATES[state], **changes), observed, CONFIG, NOW)


def test_an_action_carries_what_was_observed():
    assert decide("ending", "not started; published") == AdoptManifest(MANIFEST)
    assert decide("running", "succeeded") == PublishResults(OUTPUTS, IMAGE)


@pytest.mark.parametrize(("launched", "is_late"), [(NOW - 3600, False), (NOW - 3600.1, True)])
def test_a_worker_is_stopped_after_the_deadline_and_not_before(launched, is_late):
    action = decide("running", "running", launched=launched)

    assert label(action) == ("SetFinalState:failed" if is_late else "PublishProgress")


@pytest.mark.parametrize(("not_before", "is_due"), [(NOW, True), (NOW + 0.1, False)])
def test_a_worker_starts_when_the_back_off_is_over(not_before, is_due):
    action = decide("backing off", "not started", not_before=not_before)

    assert label(action) == ("StartWorker" if is_due else "Wait:until")


def test_a_hold_comes_before_a_back_off_and_a_back_off_before_the_queue():
    assert label(decide("backing off", "not started", is_held=True)) == "Wait:held"
    assert label(decide("backing off", "not started; all slots taken")) == "Wait:until"


def test_the_correlations_of_a_stacking_job_are_its_source():
    assert label(decide("unchecked", "not started", kind="stack", corr="/corr")) == "StartWorker"


@pytest.mark.parametrize(
    ("observation", "counter", "limit"),
    [
        ("failed", "failures", 3),
        ("failed; killed", "killed", 5),
        ("failed; out of memory", "out_of_memory", 3),
        ("failed; data center", "failures", 8),
        ("succeeded; no outputs", "failures", 3),
        ("succeeded; a day out of memory", "out_of_memory", 3),
    ],
)
def test_a_job_fails_when_a_counter_reaches_its_limit(observation, counter, limit):
    for count in range(1, limit):
        action = decide("running", observation, **{counter: count - 1})
        assert isinstance(action, Retry)
        assert (action.counter, action.count) == (counter, count)

    action = decide("running", observation, **{counter: limit - 1})

    assert isinstance(action, SetFinalState)
    assert (action.state, action.counts) == ("failed", {counter: limit})
    assert action.end is not None
    assert action.reason.endswith(f"{limit} attempts: {action.end.reason}")


@pytest.mark.parametrize(
    ("observation", "kind", "reason"),
    [
        ("failed", "bug", "no"),
        ("failed; killed", "killed", "killed"),
        ("failed; out of memory", "memory", "ran out of memory"),
        ("failed; data center", "remote", "503"),
        ("succeeded; no outputs", "broken", "outputs.json is missing."),
        ("succeeded; a day is missing", "broken", "accounts for 1 of 2 days"),
        ("succeeded; too large", "broken", "1e+12 bytes, more than the limit of 2e+10"),
        ("succeeded; a day out of memory", "memory", "ran out of memory"),
    ],
)
def test_a_retry_has_the_kind_and_the_reason_of_the_failure(observation, kind, reason):
    action = decide("running", observation)

    assert isinstance(action, Retry)
    assert action.end.kind == kind
    assert reason in action.end.reason
