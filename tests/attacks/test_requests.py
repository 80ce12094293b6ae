"""Untrusted requests: keys, ids, numbers, endless rows, and their parts that reach a log."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hosting import PARAMS, STATIONS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from truth import PARAMS as GOOD

from xcor_daemon import logs
from xcor_daemon.config import Config
from xcor_daemon.errors import RequestError
from xcor_daemon.request.cost import estimate
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.request.parse import format_params, parse_request
from xcor_daemon.request.stations import parse_stations
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.storage.jobs import Input, create_job
from xcor_daemon.workers.launcher import worker_command, worker_environment

FILES = {"stations.csv", "pairs.csv", "params.csv", "xcor_params.csv", "stacking_params.csv",
         "cancel"}  # fmt: skip

# --- keys and ids ---

PIECES = st.sampled_from(
    ["incoming", "/", "..", ".", "41", "999", "-rf", "$(id)", "`id`", ";", "&&", "|", "\n", "\0",
     " ", "~", "%2e%2e", "\\", "params.csv", "stations.csv", "cancel", "\u0664\u0661", "\u202e",
     "--help", "job.json", ".lock", "CORR", "0" * 17]
)  # fmt: skip
KEYS = st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=60)
TAILS = st.builds("incoming/{}/{}".format, KEYS, KEYS)


class OneKey:
    """S3 with one key in it."""

    def __init__(self, key: str) -> None:
        events = type("Events", (), {"register_first": lambda *_: None})
        self.meta = type("Meta", (), {"endpoint_url": "http://s3.test", "events": events})
        self.key = key

    def list_objects_v2(self, **_):
        modified = datetime(2026, 1, 1, tzinfo=UTC)
        item = {"Key": self.key, "ETag": '"e"', "Size": 1, "LastModified": modified}
        headers = {"date": "Thu, 01 Jan 2026 01:00:00 GMT"}
        return {"Contents": [item], "ResponseMetadata": {"HTTPHeaders": headers}}


@settings(max_examples=200, deadline=None)
@given(key=KEYS | TAILS)
@example("incoming/41/params.csv")
@example("incoming/41/cancel")
def test_a_key_is_a_file_of_a_job_with_a_valid_id_or_ignored(key):
    listing = Bucket(OneKey(key), "xcor", settle=0).waiting()

    if listing.jobs:
        (job,) = listing.jobs
        assert re.fullmatch(r"[0-9]{1,16}", job.id, re.ASCII)
        assert set(job.files) <= FILES
        assert key == f"incoming/{job.id}/{[*job.files, 'cancel'][0]}"
    else:
        assert listing.ignored_keys == (key,)


@given(job_id=st.from_regex(r"[0-9]{1,16}", fullmatch=True))
@settings(max_examples=50, deadline=None)
def test_an_id_is_the_name_of_a_folder_and_never_an_option(job_id, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("work")
    content = {"stations.csv": STATIONS, "params.csv": PARAMS}
    inputs = [Input.of(f"incoming/{job_id}/{name}", "e", body) for name, body in content.items()]

    job = create_job(work_dir, job_id, content, inputs, submitted_at=0.0)

    assert job.folder.parent.parent == work_dir
    options = [word for word in worker_command(job, Config(processes=1)) if word.startswith("-")]
    assert options == ["-P", "-m", "--source", "--executor", "--processes"]


def test_the_environment_of_a_worker_has_listed_names_only():
    names = ["AWS_SECRET_ACCESS_KEY", "XCOR_BUCKET", "XCOR_ENDPOINT_URL", "LD_PRELOAD", "PATH",
             "PYTHONPATH", "PYTHONSTARTUP", "BASH_ENV", "XCOR_SOURCES2"]  # fmt: skip

    assert worker_environment(dict.fromkeys(names, "x")) == {"PATH": "x"}


# --- numbers ---

NUMBERS = ["nan", "NaN", "inf", "-inf", "Infinity", "1e400", "-1e400", "0x10", "1_000", "1,5",
           "--1", "1e", "+", "-", ".", "e5", "0.1.2", "10 Hz", "=1+1", "1e308", "9" * 400,
           "\u0661\u0662", "\uff11\uff10", "1\u00a0", "None", "true", "1;2", "1/3", "-0", "1e-400",
           "$(id)", "__import__('os')"]  # fmt: skip
COLUMNS = ["fs", "freqmin", "freqmax", "cc_step", "cc_len", "maxlag", "max_distance", "substack",
           "min_coverage", "clip_factor", "max_std"]  # fmt: skip


SIX = {"fs": "4", "freqmin": "0.12", "freqmax": "0.35", "cc_step": "300", "cc_len": "600",
       "maxlag": "60"}  # fmt: skip


def refusal(parse, *arguments):
    """The accepted values, or the text of the error."""
    try:
        return parse(*arguments), ""
    except RequestError as error:
        return None, str(error)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("column", COLUMNS)
def test_an_invalid_number_is_rejected_with_its_name(column, number):
    row = SIX | {column: f'"{number}"'}
    params = f"{','.join(row)}\n{','.join(row.values())}\n".encode()

    request, text = refusal(parse_request, {"stations.csv": STATIONS, "params.csv": params})

    if request is None:
        assert column in text
    else:
        limit, value = LIMITS["params"][column], getattr(request.params, column)
        assert limit.get("min", limit.get("above")) <= value <= limit["max"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("column", ["Latitude", "Longitude", "Elevation", "SampleRate"])
def test_an_invalid_number_of_stations_csv_is_rejected_with_its_name(column, number):
    header = f"Network,Station,Location,Channel,StartDate,EndDate,{column}\n"
    row = f'NO,NAO00,,BHZ,2019-01-01,2019-01-02,"{number}"\n'

    channels, text = refusal(parse_stations, (header + row).encode())

    if channels is None:
        assert f"line 2: {column}" in text
    else:
        name = {"SampleRate": "sample_rate"}.get(column, column.lower())
        assert abs(getattr(channels[0], name)) <= 100_000


# --- files without end ---

LONG = {
    "rows": b"x\n" * 1_000_000,
    "good rows": b"NO,NAO00,,BHZ,2019-01-01,2019-01-02\n" * 1_000_000,
    "one row": b"NO," * 1_300_000,
    "one cell": b"N" * 3_900_000,
    "one quote": b'"' + b"\n" * 3_900_000,
    "quotes": b'"' * 3_900_000,
    "empty rows": b"\n" * 3_900_000,
    "commas": b"," * 3_900_000,
}


@pytest.mark.parametrize("kind", LONG)
def test_an_endless_file_yields_few_problems(kind):
    files = {"stations.csv": LONG[kind], "params.csv": LONG[kind]}

    with pytest.raises(RequestError) as refused:
        parse_request(files)

    assert 1 <= len(refused.value.problems) < 20_010
    assert len(str(refused.value)) < 20_000


# --- what reaches a log or a terminal ---

EVIL = "x\r\nERROR job 42: done\x1b[2J\x9b31m\u2028\u202e"


def test_untrusted_values_reach_messages_as_printable_text():
    row = f'"{EVIL}",A,,BHZ,2019-01-01,2019-01-02\n'

    with pytest.raises(RequestError) as refused:
        parse_stations(f"Network,Station,Location,Channel,StartDate,EndDate\n{row}".encode())

    assert all(line.isprintable() and line.isascii() for line in str(refused.value).split("\n"))
    assert "ERROR job 42" not in [line[:12] for line in str(refused.value).split("\n")]


@pytest.mark.parametrize("kind", ["text", "json"])
def test_an_untrusted_log_line_stays_one_line(kind, capsys):
    log = logging.Logger("attacked")
    logs.set_up(kind, log)

    log.warning("job 41: %s", EVIL)

    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert not [c for c in line[:-1] if ord(c) < 32 or 127 <= ord(c) < 160]
    assert kind == "text" or json.loads(line)["job"] == "41"


def test_a_log_shown_to_an_operator_moves_no_cursor():
    shown = logs.escape_controls("one\ttwo\nthree\x1b]0;title\x07\x9b2J\r")

    assert shown == "one\ttwo\nthree\\x1b]0;title\\x07\\x9b2J\\r"


# --- a request that is dear ---


def test_a_job_that_costs_too_much_is_rejected_before_a_download():
    rows = "".join(f"XX,S{k:04},,BHZ,2010-01-01,2020-01-01\n" for k in range(2000))
    params = format_params(replace(GOOD, cc_len=1800, cc_step=450)).encode()
    request = parse_request({"stations.csv": rows.encode(), "params.csv": params})

    with pytest.raises(RequestError, match="pair-days"):
        estimate(request)
