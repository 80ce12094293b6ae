"""New jobs, from the page and from the command line."""

from __future__ import annotations

import json

import pytest
from hosting import PARAMS, STACKING, STATIONS, keys, read

from xcor_daemon.errors import RequestError, UnreachableError
from xcor_daemon.web.submit import MAX_BODY, draw_job_id, handle, handle_cancel, submit

FILES = {"params.csv": PARAMS, "stations.csv": STATIONS}


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


GOOD = body(stations=STATIONS.decode(), params=PARAMS.decode())
LAUNCH = "0123456789abcdef" * 2


def test_a_valid_request_becomes_a_waiting_job(store):
    status, answer = handle(store, GOOD)

    assert status == 201
    (job,) = store.waiting().jobs
    assert job.id == answer["id"]
    assert store.fetch(job) == FILES


def test_a_stacking_request_becomes_a_job_as_well(store):
    status, answer = handle(store, body(stacking_params=STACKING.decode()))

    assert status == 201
    assert keys(store) == [f"incoming/{answer['id']}/stacking_params.csv"]


def test_params_csv_is_written_last():
    written = []

    class Recorder:
        def put_input(self, job_id, name, content):
            written.append(name)
            return True

    submit(Recorder(), FILES)

    assert written == ["stations.csv", "params.csv"]


def test_ids_are_random_numbers_that_javascript_holds_exactly():
    ids = {draw_job_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert max(map(int, ids)) < 2**53
    assert all(job_id.isdecimal() and len(job_id) <= 16 for job_id in ids)


def test_an_id_that_is_taken_is_not_used(store):
    submit(store, {**FILES, "params.csv": PARAMS.replace(b"0.12", b"0.13")}, lambda: "41")
    ids = iter(["41", "42"])

    assert submit(store, FILES, lambda: next(ids)) == "42"
    assert b"0.13" in read(store, "incoming/41/params.csv")


def test_submission_fails_where_all_drawn_ids_are_taken(store):
    submit(store, {**FILES, "params.csv": PARAMS.replace(b"0.12", b"0.13")}, lambda: "41")

    with pytest.raises(UnreachableError, match="no free job id"):
        submit(store, FILES, lambda: "41")


# --- launches ---


def launched(**changes: str) -> bytes:
    fields = {"stations": STATIONS.decode(), "params": PARAMS.decode(), "launch": LAUNCH}
    return body(**{**fields, **changes})


def test_a_launch_repeated_after_a_lost_response_is_one_job(store):
    first, again = handle(store, launched()), handle(store, launched())

    assert first == again
    assert first[0] == 201
    (job,) = store.waiting().jobs
    assert job.id == first[1]["id"]
    assert 0 <= int(job.id) < 2**53
    assert store.fetch(job) == FILES


def test_an_interrupted_launch_is_completed(store):
    class Breaks:
        def put_input(self, job_id, name, content):
            if name == "params.csv":
                raise UnreachableError("S3 does not answer")
            return store.put_input(job_id, name, content)

    assert handle(Breaks(), launched())[0] == 503
    assert handle(store, launched())[0] == 201

    (job,) = store.waiting().jobs
    assert job.is_complete


@pytest.mark.parametrize(
    "changes",
    [{"launch": "f" * 32}, {"params": PARAMS.decode().replace("0.12", "0.13")}],
)
def test_another_launch_or_the_same_one_with_other_files_is_another_job(store, changes):
    ids = {handle(store, sent)[1]["id"] for sent in (launched(), launched(**changes))}

    assert {job.id for job in store.waiting().jobs} == ids
    assert len(ids) == 2


def test_a_repeated_launch_of_an_admitted_job_changes_nothing(store):
    job_id = handle(store, launched())[1]["id"]
    before = {key: read(store, key) for key in keys(store)}
    store.put_status(job_id, {"state": "done"})

    assert handle(store, launched()) == (201, {"id": job_id})
    assert {key: read(store, key) for key in keys(store, "incoming/")} == before


@pytest.mark.parametrize("launch", ["", "1", "F" * 32, "0" * 33, "../" * 10 + "ab", 7, ["0" * 32]])
def test_a_launch_of_another_shape_is_malformed(store, launch):
    status, answer = handle(store, launched(launch=launch))

    assert status == 400
    assert "32 hexadecimal digits" in answer["error"]
    assert keys(store) == []


def test_an_invalid_request_gets_every_problem_and_leaves_no_object(store):
    wrong = STATIONS.decode().replace("NAO01", "nao1").replace("2019-01-02", "2019-13-01")
    status, answer = handle(store, body(stations=wrong, params=PARAMS.decode()))

    assert status == 422
    places = [(p["file"], p["line"], p["column"], p["value"]) for p in answer["problems"]]
    assert places == [
        ("stations.csv", 2, "EndDate", "2019-13-01T00:00:00"),
        ("stations.csv", 3, "Station", "nao1"),
        ("stations.csv", 3, "EndDate", "2019-13-01T00:00:00"),
    ]
    assert "is not a date" in answer["problems"][0]["text"]
    assert keys(store) == []


def test_a_request_that_is_too_large_is_rejected(store):
    rows = [f"NO,S{k:04},,BHZ,2000-01-01T00:00:00,2000-01-09T00:00:00" for k in range(3000)]
    stations = "\n".join([STATIONS.splitlines()[0].decode(), *rows]).encode()

    with pytest.raises(RequestError, match="pair-days"):
        submit(store, {**FILES, "stations.csv": stations})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'"x"',
        b"[" * 100_000,
        body(stations=1, params="x"),
        body(stations="x", params="y", id="41"),
        body(stations="x", params=["y"]),
        b'{"stations": "\\ud800", "params": "x"}',
    ],
)
def test_a_body_of_another_shape_is_malformed(store, content):
    status, answer = handle(store, content)

    assert status == 400
    assert "stations" in answer["error"]


def test_a_body_beyond_the_limit_is_not_even_parsed(store):
    assert handle(store, b" " * (MAX_BODY + 1))[0] == 413


def test_an_outage_is_reported_without_its_details(store):
    class Away:
        def put_input(self, *_):
            raise UnreachableError("S3 at http://10.0.0.1 does not answer")

    status, answer = handle(Away(), GOOD)

    assert status == 503
    assert "10.0.0.1" not in answer["error"]


# --- cancel ---


def test_a_waiting_job_is_cancelled_by_a_marker(store):
    job_id = submit(store, FILES)

    assert handle_cancel(store, job_id) == (202, {"id": job_id})
    assert handle_cancel(store, job_id)[0] == 202  # a second click
    (job,) = store.waiting().jobs
    assert job.is_cancelled
    assert read(store, f"incoming/{job_id}/cancel") == b""


def test_a_stacking_job_can_be_cancelled_as_well(store):
    job_id = submit(store, {"stacking_params.csv": STACKING})

    assert handle_cancel(store, job_id)[0] == 202
    assert store.waiting().jobs[0].is_cancelled


def test_an_ended_job_is_not_changed(store):
    job_id = submit(store, FILES)
    store.put_status(job_id, {"state": "done"})

    assert handle_cancel(store, job_id)[0] == 202
    assert not store.waiting().jobs[0].is_cancelled


@pytest.mark.parametrize("job_id", ["41", "", "../41", "4/1", "12345678901234567", "x"])
def test_an_unknown_job_cannot_be_cancelled(store, job_id):
    assert handle_cancel(store, job_id)[0] == 404
    assert keys(store) == []


def test_an_outage_at_a_cancel_is_reported_without_its_details():
    class Away:
        def read_status(self, _):
            raise UnreachableError("S3 at http://10.0.0.1 does not answer")

    status, answer = handle_cancel(Away(), "41")

    assert status == 503
    assert "10.0.0.1" not in answer["error"]
