"""The messages and exit codes of errors."""

import os

import pytest

from xcor_daemon import errors
from xcor_daemon.errors import NoDataError, Problem, RequestError, XcorError

ALL = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, XcorError)
]


def test_every_error_has_a_distinct_exit_code():
    codes = {kind.__name__: kind.exit_code for kind in ALL}

    assert codes["RequestError"] == os.EX_DATAERR
    assert codes["ConfigError"] == os.EX_CONFIG
    assert codes["UnreachableError"] == os.EX_UNAVAILABLE
    assert codes["DiskError"] == os.EX_IOERR
    assert codes["BusyError"] == os.EX_TEMPFAIL
    # 2 is click's for a wrong command line; from 126 on shells and signals begin.
    assert all(0 < code < 126 and code != 2 for code in codes.values())


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (
            ("stations.csv", 4, "EndDate", "2006-13-01", "is not a date"),
            "stations.csv line 4: EndDate = 2006-13-01 is not a date",
        ),
        (("params.csv", 0, "fs", "", "is missing"), "params.csv: fs is missing"),
        (("params.csv", 0, "", "", "is empty"), "params.csv: is empty"),
        (("params.csv", 1, "", "fmin", "is no column"), "params.csv line 1: 'fmin' is no column"),
    ],
)
def test_a_problem_has_position_value_and_requirement(problem, message):
    assert str(Problem(*problem)) == message


@pytest.mark.parametrize(
    "value", ["\x1b[31mred", "a\nb: done", "\u202etxt.exe", "é" * 30, "x" * 10_000]
)
def test_an_untrusted_value_is_shown_in_one_printable_bounded_line(value):
    shown = str(Problem("stations.csv", 2, "Station", value, "is wrong"))

    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) < 500


def test_a_request_error_lists_the_first_problems_and_has_all():
    problems = [Problem("stations.csv", k + 2, "", "", "is wrong") for k in range(1000)]

    error = RequestError(problems)

    assert error.problems == tuple(problems)
    lines = str(error).splitlines()
    assert lines[0] == "stations.csv line 2: is wrong"
    assert len(lines) == 51
    assert lines[-1] == "and 950 more problems"
    assert str(RequestError(problems[:50])).count("\n") == 49


def test_the_default_status_of_missing_data_is_nodata():
    assert NoDataError("no samples").status == "nodata"
    assert NoDataError("no response", "refused").status == "refused"
    assert str(NoDataError("no samples")) == "no samples"
