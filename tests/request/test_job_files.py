"""The files that worker, daemon and page exchange: written, read back, and checked."""

from __future__ import annotations

import copy
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcor_daemon.request.job_files import (
    DayCounts,
    FailedDay,
    JobOutputs,
    JobProgress,
    JobWarning,
    OutputFile,
    is_job_id,
)

HASH = "0123456789abcdef" * 4
# As version 0.1.0 wrote them.
OUTPUTS = {
    "units": {"done": 2, "empty": 1, "failed": [{"day": "2019-01-04", "reason": "OSError: x"}]},
    "files": [
        {"name": "request.json", "size": 2, "sha256": HASH, "arrays": []},
        {
            "name": "CORR/2019-01-01.h5",
            "size": 3,
            "sha256": HASH,
            "arrays": [{"name": "corr", "dtype": "<f4", "shape": [1, 2, 3], "offset": 2048}],
        },
    ],
    "warnings": [{"code": "nodata", "channel": "CI.WBM..LHZ", "day": "2019-01-01", "text": "no"}],
    "summary": {"pairs": 3, "best": [{"pair": "A|B", "snr": 3.5, "speed_km_s": None}]},
}
PROGRESS = {
    "stage": "2019-01-01: 12 of 24 channels",
    "days": [1, 3],
    "pairs": 276,
    "eta_s": 5.5,
    "warnings": OUTPUTS["warnings"],
}
NOT_COUNTS = [None, True, -1, 1.0, "1", [1], 2**53, math.nan]


@pytest.mark.parametrize("text", ["0", "41", "9" * 16])
def test_a_job_id_has_1_to_16_digits(text):
    assert is_job_id(text)


@pytest.mark.parametrize("text", ["", "9" * 17, "-1", "4 1", "41\n", "٤١", "4a", "../41"])
def test_other_texts_are_not_job_ids(text):
    assert not is_job_id(text)


def test_outputs_are_read_and_written_in_the_format_of_version_0_1_0():
    outputs = JobOutputs.from_json(OUTPUTS)

    assert outputs.days == DayCounts(2, 1, (FailedDay("2019-01-04", "OSError: x"),))
    assert outputs.days.total == 4
    assert [file.name for file in outputs.files] == ["request.json", "CORR/2019-01-01.h5"]
    assert outputs.files[1].arrays[0]["offset"] == 2048
    assert outputs.warnings == (JobWarning("nodata", "CI.WBM..LHZ", "2019-01-01", "no"),)
    assert json.dumps(outputs.to_json()) == json.dumps(OUTPUTS)  # the order of the keys as well


def test_progress_is_read_and_written_in_the_format_of_version_0_1_0():
    progress = JobProgress.from_json(PROGRESS)

    assert (progress.days, progress.pairs, progress.eta) == ((1, 3), 276, 5.5)
    assert json.dumps(progress.to_json()) == json.dumps(PROGRESS)


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_COUNTS = st.integers(0, 2**53 - 1)
_WARNINGS = st.lists(st.builds(JobWarning, _TEXTS, _TEXTS, _TEXTS, _TEXTS), max_size=3).map(tuple)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        JobProgress,
        _TEXTS,
        st.none() | st.tuples(_COUNTS, _COUNTS),
        st.none() | _COUNTS,
        st.none() | st.floats(0, 1e8),
        _WARNINGS,
    ),
    st.builds(
        JobOutputs,
        st.builds(
            DayCounts,
            _COUNTS,
            _COUNTS,
            st.lists(st.builds(FailedDay, _TEXTS, _TEXTS), max_size=3).map(tuple),
        ),
        st.lists(
            st.builds(OutputFile, _TEXTS, _COUNTS, st.just(HASH)),
            max_size=3,
            unique_by=lambda file: file.name,
        ).map(tuple),
        _WARNINGS,
        st.dictionaries(_TEXTS, st.none() | st.booleans() | _COUNTS | _TEXTS, max_size=3),
    ),
)
def test_progress_and_outputs_survive_a_round_trip_through_json(progress, outputs):
    for content in (progress, outputs):
        text = json.dumps(content.to_json())
        assert type(content).from_json(json.loads(text)) == content


@pytest.mark.parametrize("content", [None, 1, "x", [], [PROGRESS]])
def test_progress_that_is_not_an_object_is_empty(content):
    assert JobProgress.from_json(content) == JobProgress()


@pytest.mark.parametrize("days", [*NOT_COUNTS, {}, [], [1], [1, 2, 3], [1, -1], [True, 2]])
def test_days_of_progress_that_are_not_two_counts_are_dropped(days):
    progress = JobProgress.from_json({**PROGRESS, "days": days})

    assert progress.days is None
    assert progress.pairs == 276


@pytest.mark.parametrize("pairs", NOT_COUNTS)
def test_pairs_of_progress_that_are_not_a_count_are_dropped(pairs):
    assert JobProgress.from_json({**PROGRESS, "pairs": pairs}).pairs is None


@pytest.mark.parametrize("eta", [-1, True, "5", [5], math.nan, math.inf, -math.inf, 1e10, 10**400])
def test_an_invalid_remaining_time_is_dropped(eta):
    assert JobProgress.from_json({**PROGRESS, "eta_s": eta}).eta is None


def test_texts_and_lists_of_a_worker_are_bounded_and_can_be_encoded():
    warnings = [{"code": "x" * 999, "text": 7}, "no warning"] + [{"text": "\ud800"}] * 2000

    progress = JobProgress.from_json({"stage": "\udfff" * 999, "warnings": warnings})

    assert progress.stage == "?" * 200
    assert progress.warnings[0] == JobWarning("x" * 300, "", "", "")
    assert progress.warnings[1] == JobWarning("", "", "", "?")
    assert len(progress.warnings) == 999  # one of the first 1000 items is not a warning


def changed(path: tuple, value: object) -> dict:
    """OUTPUTS with another value at a path of keys and indices."""
    content = copy.deepcopy(OUTPUTS)
    *parents, last = path
    inner = content
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return content


def nested(depth: int) -> list:
    content: list = []
    for _ in range(depth - 1):
        content = [content]
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("files",), None, "does not list the files"),
        (("files",), {}, "does not list the files"),
        (("units",), None, "has no counts of days"),
        (("units",), [], "has no counts of days"),
        (("units", "failed"), 0, "has no counts of days"),
        (("units", "failed"), [3], "describes a failed day"),
        (("units", "failed"), [{"day": 3}], "describes a failed day"),
        *((("units", key), n, "counts of|finite") for key in ("done", "empty") for n in NOT_COUNTS),
        (("files", 0), "CORR", "describes a file"),
        (("files", 0, "name"), 3, "describes a file"),
        *((("files", 0, "size"), size, "describes a file|finite") for size in NOT_COUNTS),
        (("files", 0, "sha256"), HASH.upper(), "describes a file"),
        (("files", 0, "sha256"), HASH + "\n", "describes a file"),
        (("files", 0, "arrays"), {}, "no list of arrays"),
        (("files", 0, "arrays"), [1], "no list of arrays"),
        (("files", 0, "name"), "CORR/2019-01-01.h5", "lists a file twice"),
        (("summary", "pairs"), math.nan, "not finite"),
        (("summary", "best", 0, "snr"), math.inf, "not finite"),
        (("files", 1, "arrays", 0, "offset"), -math.inf, "not finite"),
        (("summary", "best"), nested(19), "more than 20 deep"),
        (("other",), nested(20), "more than 20 deep"),
    ],
)
def test_outputs_of_another_shape_are_rejected(path, value, message):
    with pytest.raises(ValueError, match=message):
        JobOutputs.from_json(changed(path, value))


@pytest.mark.parametrize("content", [None, 3, "files", [], [OUTPUTS], {}])
def test_outputs_without_a_list_of_files_are_rejected(content):
    with pytest.raises(ValueError, match="does not list the files"):
        JobOutputs.from_json(content)


def test_outputs_nested_as_deep_as_allowed_can_be_written_again():
    outputs = JobOutputs.from_json(changed(("summary", "best"), nested(17)))

    json.dumps(outputs.to_json(), indent=1, allow_nan=False)


def test_outputs_without_optional_parts_are_accepted():
    file = {"name": "a", "size": 0, "sha256": HASH}
    units = {"done": 0, "empty": 0, "failed": []}

    outputs = JobOutputs.from_json({"units": units, "files": [file], "warnings": 3, "summary": []})

    assert outputs == JobOutputs(DayCounts(0, 0), (OutputFile("a", 0, HASH),))
