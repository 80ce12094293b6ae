"""Untrusted CSV files become checked types, or an error that names every problem."""

import csv
import json
import time
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcor_daemon.errors import RequestError
from xcor_daemon.request.cost import check_files
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.request.pairs import count_pairs
from xcor_daemon.request.parse import (
    StackParams,
    XcorParams,
    XcorRequest,
    format_params,
    parse_params,
    parse_request,
    parse_stacking,
    read_request,
)
from xcor_daemon.request.stations import Channel, format_stations, parse_stations

HEADER = "Network,Station,Location,Channel,StartDate,EndDate"
TWO = f"{HEADER}\nTA,I02A,,BHZ,2006-02-01,2006-02-03\nTA,J03A,,BHZ,2006-02-01,2006-02-03\n"
PARAMS_HEADER = "fs,freqmin,freqmax,cc_step,cc_len,maxlag"
DEFAULTS = f"{PARAMS_HEADER}\n10,0.1,0.2,450,1800,60\n"
PARAMS = XcorParams(fs=10, freqmin=0.1, freqmax=0.2, cc_step=450, cc_len=1800, maxlag=60)


def stations(*rows, header=HEADER):
    return parse_stations("\n".join([header, *rows]).encode())


def params(header="", values="", six="10,0.1,0.2,450,1800,60"):
    extra = ("," + header, "," + values) if header else ("", "")
    return parse_params(f"{PARAMS_HEADER}{extra[0]}\n{six}{extra[1]}\n".encode())


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def channel(code="XX.A..BHZ", start="2006-02-01", end="2006-02-02"):
    return Channel(*code.split("."), spans=((at(start), at(end)),))


def refusal(parse, *arguments):
    with pytest.raises(RequestError) as caught:
        parse(*arguments)
    return [str(problem) for problem in caught.value.problems]


# stations.csv


def test_the_rows_of_the_contract_are_read():
    (got,) = stations("TA,I07A,,BHZ,2006-07-21T00:00:00,2007-04-15T17:00:00")

    assert got == Channel("TA", "I07A", "", "BHZ", ((at("2006-07-21"), at("2007-04-15T17:00:00")),))
    assert got.id == "TA.I07A..BHZ"


def test_a_file_without_a_header_line_and_with_epochs_that_touch_is_read():
    # The lines of the original application.
    got = parse_stations(
        b"TA,I02A,,BHZ,2005-11-18T00:00:00,2006-01-27T15:40:20\n"
        b"TA,I02A,,BHZ,2006-01-27T15:40:20,2007-08-15T17:45:00\n"
        b"TA,I01A,,BHZ,2006-01-27T15:40:20,2007-08-15T17:45:00\n"
    )

    assert [c.id for c in got] == ["TA.I01A..BHZ", "TA.I02A..BHZ"]
    assert got[1].spans == ((at("2005-11-18"), at("2007-08-15T17:45:00")),)


@pytest.mark.parametrize(
    "content",
    [
        TWO.encode(),
        b"\xef\xbb\xbf" + TWO.encode(),
        TWO.replace("\n", "\r\n").encode(),
        TWO.strip().encode(),
        TWO.replace(",", " , ").encode() + b"\n , ,\n\n",
        TWO.replace("TA", '"TA"').encode(),
        TWO.replace("2006-02-01", "2006-02-01T00:00:00.000000Z").encode(),
        TWO.replace(",,", ",--,").encode(),
    ],
)
def test_a_byte_order_mark_line_ends_spaces_and_quotes_do_not_matter(content):
    assert parse_stations(content) == parse_stations(TWO.encode())


def test_columns_are_read_by_name():
    got = stations(
        "44.5,BHZ,2006-02-01,2006-02-02,TA,I02A,00,-120.25,EARTHSCOPE,100,40",
        header="Latitude,Channel,StartDate,EndDate,Network,Station,Location,Longitude,DataCenter,"
        "Elevation,SampleRate",
    )[0]

    assert got.id == "TA.I02A.00.BHZ"
    assert (got.latitude, got.longitude, got.elevation) == (44.5, -120.25, 100)
    assert (got.sample_rate, got.data_center) == (40, "EARTHSCOPE")


def test_spans_that_overlap_are_joined_and_spans_apart_stay_apart():
    got = stations(
        "TA,A,,BHZ,2006-03-01,2006-03-05",
        "TA,A,,BHZ,2006-01-01,2006-01-02",
        "TA,A,,BHZ,2006-03-02,2006-03-03",
        "TA,A,,BHZ,2006-03-05,2006-03-06",
    )

    assert got[0].spans == (
        (at("2006-01-01"), at("2006-01-02")),
        (at("2006-03-01"), at("2006-03-06")),
    )


def test_the_message_of_the_contract():
    rows = ["TA,A,,BHZ,2006-01-01,2006-02-01", "TA,B,,BHZ,2006-01-01,2006-02-01"]

    got = refusal(stations, *rows, "TA,C,,BHZ,2006-01-01,2006-13-01")

    assert got == [
        "stations.csv line 4: EndDate = 2006-13-01 is not a date; write YYYY-MM-DDThh:mm:ss"
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("ta,A,,BHZ,2006-01-01,2006-02-01", "Network = ta is not a network code"),
        ("TA,*,,BHZ,2006-01-01,2006-02-01", r"Station = '\*' is not a station code"),
        ("TA,../../etc,,BHZ,2006-01-01,2006-02-01", "is not a station code"),
        ("TA,A,?,BHZ,2006-01-01,2006-02-01", "Location = [?] is not a location code"),
        ("TA,A,,B*,2006-01-01,2006-02-01", "is not a channel code"),
        ("TA,A,,,2006-01-01,2006-02-01", "Channel is not a channel code"),
        ("TA,A,,BHZ,,2006-02-01", "StartDate is not a date"),
        ("TA,A,,BHZ,2006-02-30,2006-03-01", "StartDate = 2006-02-30 is not a date"),
        ("TA,A,,BHZ,2006-02-01T00:00:00T00:00:00,2006-03-01", "StartDate = .* is not a date"),
        ("TA,A,,BHZ,2006-02-01T00:00:00+02:00,2006-03-01", "is not a date"),
        ("TA,A,,BHZ,1969-12-31,1970-01-02", "StartDate = 1969-12-31 is before 1970"),
        ("TA,A,,BHZ,2006-01-01,2006-01-01", "EndDate = 2006-01-01 must be later than StartDate"),
        ("TA,A,,BHZ,2006-01-01,2599-12-31", "span of 216953 days; at most 3700"),
        ("TA,A,,BHZ,2006-01-01", "line 2: has 5 fields instead of 6"),
        ("TA,A,,BHZ,2006-01-01,2006-02-01,", "line 2: has 7 fields"),
        ('TA,"A,,BHZ,2006-01-01,2006-02-01', "is not CSV"),
    ],
)
def test_an_invalid_row_is_rejected_with_its_line_and_field(row, message):
    with pytest.raises(RequestError, match=message):
        stations(row)


@pytest.mark.parametrize(
    "value", ["91", "-90.001", "nan", "inf", "1e999", "north", "\u0661\u0662", "0x10", "1_0"]
)
def test_an_invalid_latitude_is_rejected(value):
    with pytest.raises(RequestError, match="Latitude .* is not a number from -90 to 90 degrees"):
        stations(f"TA,A,,BHZ,2006-01-01,2006-02-01,{value}", header=HEADER + ",Latitude")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.replace("EndDate", "End"), "lacks the column EndDate"),
        (HEADER + ",Network", "Network appears twice"),
        (HEADER + ",Colour", "'Colour' is not a column of this file"),
        (HEADER + ",", "' ' is not a column"),
    ],
)
def test_an_invalid_header_is_rejected(header, message):
    with pytest.raises(RequestError, match=message):
        stations("TA,A,,BHZ,2006-01-01,2006-02-01,7", header=header)


def test_every_error_of_a_file_is_found():
    got = refusal(
        stations,
        "ta,A,,BHZ,2006-01-01,2006-13-01",
        "TA,B,,BHZ,2006-01-01,2006-02-01",
        "TA,B,,BHZ,2006-01-01,2006-02-01",
        "TA,C,,BHZ,2006-01-01",
    )

    assert sorted(message.split(":")[0] for message in got) == [
        "stations.csv line 2",
        "stations.csv line 2",
        "stations.csv line 4",
        "stations.csv line 5",
    ]
    assert "stations.csv line 4: repeats line 3; delete one of the two" in got


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n , \n", "is empty"),
        (HEADER.encode(), "contains no channel"),
        (TWO.encode("utf-16"), "is UTF-16"),
        (b"\xff\xff", "is not UTF-8 text .byte 0."),
        (TWO.encode() + b"\0", "NUL bytes"),
        (b"x" * 4_000_001, "is larger than 4000000 bytes"),
        (b"\x1f\x8b\x08" + b"x" * 50, "is not UTF-8"),
        (b"<html><body>404</body></html>", "has 1 fields"),
    ],
)
def test_files_that_are_not_csv_are_rejected(content, message):
    with pytest.raises(RequestError, match=message):
        parse_stations(content)


@settings(max_examples=300, deadline=None)
@given(content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_any_bytes_are_parsed_or_rejected(content):
    for parse in (parse_stations, parse_params, parse_stacking):
        for head in (b"", f"{HEADER}\n".encode(), f"{PARAMS_HEADER}\n".encode()):
            with suppress(RequestError):
                parse(head + content)


CELLS = st.sampled_from(
    ["TA", "A", "", "--", "00", "BHZ", "2006-01-01", "2006-02-01T00:00:00", "1e5", "-1", "nan", "*"]
)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(st.lists(CELLS, min_size=6, max_size=6), min_size=1, max_size=5))
def test_accepted_values_have_their_types(rows):
    content = "\n".join([HEADER, *(",".join(row) for row in rows)]).encode()
    try:
        got = parse_stations(content)
    except RequestError:
        return
    assert [c.id for c in got] == sorted({c.id for c in got})
    for c in got:
        assert all(s < e for s, e in c.spans)
        assert all(one[1] < next_[0] for one, next_ in zip(c.spans, c.spans[1:], strict=False))
        assert c.location in ("", "00", "TA", "A", "BHZ")


CODES = st.text("ABCXYZ019", min_size=1, max_size=5)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(1979, 12, 31), timezones=st.just(UTC))
COORDINATES = st.none() | st.floats(-90, 90)


@st.composite
def channels(draw):
    found = {}
    for _ in range(draw(st.integers(1, 4))):
        moments = MOMENTS.filter(lambda time: time.second < 59)  # an end there means the minute
        times = sorted(draw(st.lists(moments, min_size=2, max_size=6, unique=True)))
        spans = tuple(zip(times[::2], times[1::2], strict=False))
        made = Channel(
            draw(CODES),
            draw(CODES),
            draw(st.just("") | CODES),
            draw(st.sampled_from(["BHZ", "LH1"])),
            spans,
            draw(COORDINATES),
            draw(COORDINATES),
            draw(COORDINATES),
            draw(st.none() | st.floats(0, 1e5)),
            draw(st.just("") | CODES),
        )
        found[made.id] = made
    return tuple(found[key] for key in sorted(found))


@settings(max_examples=200, deadline=None)
@given(given_channels=channels())
def test_written_stations_are_read_back(given_channels):
    got = parse_stations(format_stations(given_channels).encode())

    # -0.0 is written "-0": equal, and the same place.
    assert got == given_channels


# params.csv


def test_the_row_of_the_contract_holds_the_defaults():
    got = parse_params(DEFAULTS.encode())

    assert got == PARAMS
    assert got == XcorParams(
        **{
            name: limit["default"]
            for name, limit in LIMITS["params"].items()
            if limit.get("required")
        }
    )
    assert (got.n_samples, got.n_step, got.n_lags, got.n_windows) == (18000, 4500, 600, 189)


def test_the_defaults_of_the_optional_columns_are_those_of_limits_json():
    for field in fields(XcorParams):
        limit = LIMITS["params"][field.name]
        if not limit.get("required"):
            default = () if limit["kind"] == "components" else limit["default"]
            assert getattr(PARAMS, field.name) == default
    assert set(LIMITS["params"]) == {field.name for field in fields(XcorParams)}


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("response", "displacement", "displacement"),
        ("whiten", "FALSE", False),
        ("circular", "true", True),
        ("components", "ZZ;NN", ("ZZ", "NN")),
        ("components", "all", ()),
        ("components", "", ()),
        ("max_distance", "", None),
        ("max_distance", "1e2", 100.0),
        ("substack", "86400", 86400.0),
        ("min_coverage", ".5", 0.5),
        ("source", "demo", "demo"),
    ],
)
def test_optional_columns_are_read(column, text, value):
    assert getattr(params(column, text), column) == value


@pytest.mark.parametrize(
    ("column", "text", "message"),
    [
        ("response", "Velocity", "response = Velocity is not one of velocity, displacement"),
        ("whiten", "yes", "whiten = yes is neither true nor false"),
        ("components", "Z", "components = Z is neither all nor a list such as ZZ;NN"),
        ("components", "ZZ;;NN", "is neither all nor"),
        (
            "max_distance",
            "0",
            r"max_distance = 0 km is out of range \(above 0 and at most 20100 km\)",
        ),
        ("min_coverage", "0", r"min_coverage = 0 is out of range \(above 0 and at most 1\)"),
        ("substack", "60", r"shorter than cc_step \(450 s\), so it averages no windows"),
        ("source", "fdsn:http://evil", "is not a valid name of a data source"),
        ("method,normalisation", "phase,coefficient", "cannot be combined with method=phase"),
        ("colour", "red", "'colour' is not a column of this file"),
    ],
)
def test_an_invalid_optional_value_is_rejected(column, text, message):
    with pytest.raises(RequestError, match=message):
        params(column, text)


@pytest.mark.parametrize(
    ("six", "message"),
    [
        (
            "10,0.1,6,450,1800,60",
            r"freqmax = 6 Hz exceeds the Nyquist frequency \(5 Hz at fs = 10 Hz\)",
        ),
        ("10,0.2,0.2,450,1800,60", r"freqmax = 0.2 Hz must be higher than freqmin \(0.2 Hz\)"),
        ("10,0,0.2,450,1800,60", "freqmin = 0 Hz is out of range"),
        ("10,0.1,0.2,0,1800,60", "cc_step = 0 s is out of range"),
        (
            "10,0.1,0.2,450,86400.1,60",
            r"cc_len = 86400.1 s is out of range \(above 0 and at most 86400 s\)",
        ),
        ("10,0.1,0.2,450,1800.05,60", "18000.5 samples at fs = 10 Hz; it must be a whole number"),
        ("10,0.1,0.2,0.01,1800,60", "cc_step = 0.01 s is 0.1 samples"),
        ("10,0.1,0.2,450,1800,1800", r"maxlag = 1800 s must be shorter than cc_len \(1800 s\)"),
        ("10,0.1,0.2,450,1800,1799.99", "must be shorter than cc_len"),
        ("10,0.1,0.2,450,1800,0.01", "maxlag = 0.01 s is shorter than one sample"),
        ("10,0.1,0.2,450,9,1", r"shorter than one period of freqmin \(0.1 Hz\); set at least 10 s"),
        ("ten,0.1,0.2,450,1800,60", "fs = ten is not a finite number"),
        ("\u0661\u0660,0.1,0.2,450,1800,60", "is not a finite number"),
        ("nan,0.1,0.2,450,1800,60", "is not a finite number"),
        ("1e400,0.1,0.2,450,1800,60", "is not a finite number"),
        (",0.1,0.2,450,1800,60", "fs is not a finite number"),
        ("10,0.1,0.2,450,1800", "has 5 fields"),
        (
            "10,0.1,0.2,450,1800,60\n10,0.1,0.2,450,1800,60",
            "has 2 rows of values; it must have exactly one",
        ),
    ],
)
def test_a_row_that_breaks_a_rule_is_rejected_with_its_line(six, message):
    with pytest.raises(RequestError, match=message) as caught:
        params(six=six)

    assert all(problem.file == "params.csv" for problem in caught.value.problems)
    assert all(problem.line in (0, 2) for problem in caught.value.problems)


def test_all_broken_rules_are_named():
    assert len(refusal(lambda: params(six="10,0.3,6,450.01,1800,1800"))) == 3


@pytest.mark.parametrize("name", [f.name for f in fields(XcorParams) if "float" in str(f.type)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0])
def test_parameters_set_in_python_are_checked_as_well(name, value):
    with pytest.raises(RequestError, match=name):
        replace(PARAMS, **{name: value})


def test_a_frequency_of_zero_is_rejected_without_a_division_by_it():
    with pytest.raises(RequestError, match="freqmin = 0 Hz is out of range"):
        replace(PARAMS, freqmin=0.0)


@pytest.mark.parametrize(
    ("cc_len", "cc_step", "n"),
    [(3600, 1800, 47), (1800, 450, 189), (86400, 86400, 1), (3600, 3600, 24)],
)
def test_the_windows_of_a_day_are_all_that_fit(cc_len, cc_step, n):
    assert replace(PARAMS, cc_len=cc_len, cc_step=cc_step).n_windows == n


@settings(max_examples=200, deadline=None)
@given(step=st.integers(10, 864000), length=st.integers(10, 864000), per=st.integers(1, 40))
def test_windows_and_substacks_are_as_counted_by_hand(step, length, per):
    got = replace(
        PARAMS,
        freqmin=1.0,
        freqmax=2.0,
        cc_step=step / 10,
        cc_len=length / 10,
        maxlag=0.1,
        substack=min(step * per / 10, 86400.0) if step * per <= 864000 else 0.0,
    )

    starts = list(range(0, 864000 - length + 1, step))
    assert got.n_windows == len(starts)
    group = step * per if got.substack else step
    assert got.n_kept == max(start // group for start in starts) + 1


@st.composite
def any_params(draw):
    fs = draw(st.floats(0.5, 1000))
    freqmax = draw(st.floats(0.05, 0.5)) * fs
    freqmin = draw(st.floats(0.1, 0.9)) * freqmax
    n_samples = draw(st.integers(int(fs / freqmin) + 1, int(fs / freqmin) + 5000))
    return {
        "fs": fs, "freqmin": freqmin, "freqmax": freqmax, "cc_len": n_samples / fs,
        "cc_step": draw(st.integers(1, n_samples)) / fs,
        "maxlag": draw(st.integers(1, n_samples - 2)) / fs,
        "whiten": draw(st.booleans()),
        "components": draw(st.sampled_from([(), ("ZZ",), ("ZN", "11")])),
        "max_distance": draw(st.none() | st.floats(0.001, 20000)),
        "min_coverage": draw(st.floats(0.01, 1)), "source": draw(st.sampled_from(["", "demo"])),
        "method": draw(st.sampled_from(LIMITS["params"]["method"]["choices"])),
    }  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(values=any_params())
def test_written_parameters_are_read_back_to_the_last_digit(values):
    try:
        made = XcorParams(**values)
    except RequestError:
        return  # such as a window longer than a day
    assert parse_params(format_params(made).encode()) == made


def test_only_what_differs_from_the_defaults_is_written():
    assert format_params(PARAMS) == DEFAULTS
    assert format_params(replace(PARAMS, whiten=False)).splitlines()[0] == f"{PARAMS_HEADER},whiten"


# stacking_params.csv


def test_the_stacking_row_of_the_contract_is_read():
    got = parse_stacking(b"type,phase_smooth,stack_all,job\nlinear,,false,4180812345678901\n")

    assert got == StackParams("linear", None, False, "4180812345678901")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("mean,,false,1", "type = mean is not one of linear, phase-weighted, robust"),
        ("linear,2,false,1", "line 2: phase_smooth = 2 applies only with type=phase-weighted"),
        ("phase-weighted,-1,false,1", "phase_smooth = -1 s is out of range"),
        ("linear,,maybe,1", "stack_all = maybe is neither true nor false"),
        ("linear,,true,", "job is not a job id"),
        ("linear,,true,../1", "is not a job id"),
        ("linear,,true,12345678901234567", "1 to 16 digits"),
        ("linear,,true,\u0661", "is not a job id"),
    ],
)
def test_an_invalid_stacking_row_is_rejected(row, message):
    with pytest.raises(RequestError, match=message) as caught:
        parse_stacking(f"type,phase_smooth,stack_all,job\n{row}\n".encode())

    assert caught.value.problems[0].file == "stacking_params.csv"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "linear", "power": 2}, "power = 2 applies only with type=phase-weighted or tf-"),
        ({"type": "median", "select": "snr"}, "select = snr applies only with type=selective"),
        ({"threshold": 0.5}, "threshold = 0.5 applies only with type=selective"),
        ({"type": "nth-root", "power": 0.5}, "is not a valid order of a root"),
        ({"type": "selective", "threshold": 2}, "exceeds 1, the largest correlation"),
        ({"bootstrap": 1}, "set 0 or a whole number of at least 2"),
        ({"bootstrap": 2.5}, "set 0 or a whole number of at least 2"),
        ({"type": "robust", "bootstrap": 20}, "takes a repeated window for agreement"),
        ({"stack_all": "true", "interval": "7D"}, "interval = 7D does not apply with stack_all"),
        ({"stack_all": "true", "moving": "7D"}, "moving = 7D does not apply with stack_all"),
        ({"interval": "7"}, "is not a number of hours, days or months"),
        ({"interval": "0D"}, "is not a number of hours, days or months"),
        ({"moving": "1D"}, "must be shorter than interval=1D"),
        ({"interval": "1ME", "moving": "7D"}, "months combine only with months"),
        ({"stack_all": "true", "dvv": "stretching"}, "compares intervals, but stack_all=true"),
        ({"dvv_min_lag": 5}, "applies only with dvv=stretching"),
        (
            {"dvv": "stretching", "dvv_min_lag": 9, "dvv_max_lag": 9},
            "must be larger than dvv_min_lag .9 s",
        ),
        ({"dvv": "both"}, "is not one of none, stretching, cross-spectrum"),
        ({"pairs": "A-B"}, "is not a list of pairs such as"),
        ({"shots": ";".join(["NO.A..BHZ"] * 21)}, "lists 21 channels; at most 20 are plotted"),
    ],
)
def test_contradicting_columns_of_a_stacking_job_are_rejected(changes, message):
    values = {"type": "linear", "phase_smooth": "", "stack_all": "false", "job": "1"} | changes
    lines = [",".join(values), ",".join(str(value) for value in values.values())]

    with pytest.raises(RequestError, match=message) as caught:
        parse_stacking("\n".join(lines).encode())

    assert {p.line for p in caught.value.problems} == {2}


def starts(first, last, **columns):
    params = StackParams("linear", None, False, "1", **columns)
    found = params.starts(date.fromisoformat(first), date.fromisoformat(last))
    return [(f"{a:%m-%dT%H}", f"{b:%m-%dT%H}") for a, b in found]


def test_intervals_are_days_by_default():
    assert starts("2019-02-27", "2019-03-01") == [
        ("02-27T00", "02-28T00"), ("02-28T00", "03-01T00"), ("03-01T00", "03-02T00"),
    ]  # fmt: skip
    assert starts("2019-01-01", "2019-01-09", interval="7D") == [
        ("01-01T00", "01-08T00"), ("01-08T00", "01-15T00"),
    ]  # fmt: skip
    assert starts("2019-01-01", "2019-01-01", interval="12h") == [
        ("01-01T00", "01-01T12"), ("01-01T12", "01-02T00"),
    ]  # fmt: skip
    assert starts("2019-01-30", "2019-03-02", interval="1ME") == [
        ("01-01T00", "02-01T00"), ("02-01T00", "03-01T00"), ("03-01T00", "04-01T00"),
    ]  # fmt: skip


def test_moving_intervals_overlap_and_end_with_the_last_day():
    assert starts("2019-01-01", "2019-01-05", interval="3D", moving="1D") == [
        ("01-01T00", "01-04T00"), ("01-02T00", "01-05T00"), ("01-03T00", "01-06T00"),
    ]  # fmt: skip
    assert starts("2019-01-01", "2019-04-30", interval="3ME", moving="1ME") == [
        ("01-01T00", "04-01T00"), ("02-01T00", "05-01T00"),
    ]  # fmt: skip


# A job


def test_the_errors_of_both_files_are_reported_together():
    got = refusal(
        parse_request,
        {"stations.csv": TWO.replace("BHZ", "B?").encode(), "xcor_params.csv": b"fs\n10\n"},
    )

    assert {message.split(" ")[0].rstrip(":") for message in got} == {
        "stations.csv",
        "xcor_params.csv",
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["stations.csv"], "params.csv: is missing"),
        (["params.csv"], "stations.csv: is missing"),
        (["stacking_params.csv", "stations.csv"], "is present with stations.csv"),
    ],
)
def test_a_job_with_a_missing_or_extra_file_is_rejected(names, message):
    good = {"stations.csv": TWO, "params.csv": DEFAULTS, "stacking_params.csv": "x"}

    assert message in refusal(parse_request, {name: good[name].encode() for name in names})[0]


def test_a_folder_is_read_with_either_name_of_params_csv(tmp_path):
    assert "is not a job folder" in refusal(read_request, tmp_path)[0]
    (tmp_path / "stations.csv").write_text(TWO)
    (tmp_path / "xcor_params.csv").write_text(DEFAULTS)
    (tmp_path / "job.json").write_text("{}")

    got = read_request(tmp_path)

    assert (got.kind, got.params) == ("xcor", PARAMS)
    assert got.days == (date(2006, 2, 1), date(2006, 2, 2))


@pytest.mark.parametrize(
    ("rows", "header", "values"),
    [
        (["XX,A,,BHZ,2006-01-01,2006-01-02"], "", ""),
        (["XX,A,,BHZ,2006-01-01,2006-01-02", "XX,B,,BHZ,2006-01-02,2006-01-03"], "", ""),
        (
            ["XX,A,,BHZ,2006-01-01,2006-01-02", "XX,A,,BHN,2006-01-01,2006-01-02"],
            "same_station",
            "false",
        ),
        (
            ["XX,A,,BHZ,2006-01-01,2006-01-02", "XX,B,,BHZ,2006-01-01,2006-01-02"],
            "components",
            "NN",
        ),
        (
            ["XX,A,,BHN,2006-01-01,2006-01-02", "XX,B,,BHZ,2006-01-01,2006-01-02"],
            "components",
            "ZN",
        ),
    ],
)
def test_a_job_without_a_pair_is_rejected(rows, header, values):
    content = {
        "stations.csv": "\n".join([HEADER, *rows]).encode(),
        "params.csv": format_params(params(header, values)).encode(),
    }

    assert (
        "pair" in refusal(parse_request, content)[0]
        or "requires two" in refusal(parse_request, content)[0]
    )


def test_one_channel_is_enough_for_an_autocorrelation():
    content = {
        "stations.csv": f"{HEADER}\nXX,A,,BHZ,2006-01-01,2006-01-02".encode(),
        "params.csv": format_params(replace(PARAMS, autocorrelations=True)).encode(),
    }

    assert parse_request(content).days == (date(2006, 1, 1),)


def test_request_json_has_every_field():
    request = parse_request({"stations.csv": TWO.encode(), "params.csv": DEFAULTS.encode()})

    got = json.loads(json.dumps(request.to_json()))

    assert got["kind"] == "xcor"
    assert got["params"]["whiten"] is True
    assert got["channels"][0]["id"] == "TA.I02A..BHZ"
    assert got["channels"][0]["spans"] == [
        ["2006-02-01T00:00:00+00:00", "2006-02-03T00:00:00+00:00"]
    ]


# Days and pairs


def test_a_span_that_ends_at_midnight_does_not_touch_the_day_that_begins():
    one = channel(start="2006-02-01T23:59:59.999999", end="2006-02-03")

    assert one.days == [date(2006, 2, 1), date(2006, 2, 2)]
    request = XcorRequest((one, replace(one, station="B")), PARAMS)
    assert request.days == (date(2006, 2, 2),)  # the first holds no whole window
    assert request.on(date(2006, 2, 1)) == request.on(date(2006, 2, 3)) == ()


@st.composite
def requests(draw):
    day = st.integers(0, 20)
    made = {}
    for k in range(draw(st.integers(1, 6))):
        ends = sorted(draw(st.lists(day, min_size=2, max_size=6, unique=True)))
        hours = draw(st.integers(-23, 23))
        spans = tuple(
            (
                at("2006-02-01") + timedelta(days=a, hours=hours),
                at("2006-02-01") + timedelta(days=b),
            )
            for a, b in zip(ends[::2], ends[1::2], strict=False)
            if b - a > 1 or hours < 1
        )
        last = draw(st.sampled_from("ZN1"))
        if spans:
            one = Channel("XX", draw(st.sampled_from("ABC")), f"{k:02d}", "BH" + last, spans)
            made[one.id] = one
    wanted = draw(st.sampled_from([(), ("ZZ",), ("ZN", "NZ"), ("11", "NN", "ZZ")]))
    chosen = replace(
        PARAMS,
        components=wanted,
        same_station=draw(st.booleans()),
        autocorrelations=draw(st.booleans()),
    )
    return XcorRequest(tuple(made[key] for key in sorted(made)), chosen)


@settings(max_examples=300, deadline=None)
@given(request=requests())
def test_days_channels_and_pairs_are_those_of_an_enumeration(request):
    days = [date(2006, 1, 25) + timedelta(days=k) for k in range(40)]
    # Spans begin and end at whole hours, windows of half an hour at every quarter of it: a channel
    # has a window on every day that a span touches, and two share one where their spans do.
    there = {
        day: tuple(
            (c, s, e)
            for c in request.channels
            for s, e in c.spans
            if s < at(day.isoformat()) + timedelta(days=1) and e > at(day.isoformat())
        )
        for day in days
    }
    wants = request.params.selects
    shared = [
        day
        for day in days
        if any(
            wants(a, b) and max(s, t) < min(e, f)
            and max(s, t) < at(day.isoformat()) + timedelta(days=1)
            and min(e, f) > at(day.isoformat())
            for a, s, e in there[day] for b, t, f in there[day] if a.id <= b.id
        )
    ]  # fmt: skip

    assert request.days == tuple(shared)
    for day in days:
        on = tuple({c.id: c for c, _, _ in there[day]}.values())
        assert request.on(day) == on
        slow = sum(wants(a, b) for i, a in enumerate(on) for b in on[i:])
        assert count_pairs(on, request.params) == slow


# Untrusted files that could take much time


def seconds(function, *arguments):
    begin = time.process_time()
    with suppress(RequestError):
        function(*arguments)
    return time.process_time() - begin


def test_no_file_within_the_limits_keeps_the_service_busy():
    # Each of these took minutes, or memory without bound, when pairs and days were enumerated.
    often = [
        f"XX,A,,BHZ,2006-01-01T00:{k // 600:02d}:{k // 10 % 60:02d}.{k % 10},"
        f"2006-01-01T00:{k // 600:02d}:{k // 10 % 60:02d}.{k % 10}5"
        for k in range(20000)
    ]
    many = [f"XX,S{k:04d},,BHZ,2006-01-01,2015-12-31" for k in range(5000)]
    far = [f"XX,S{k:04d},,BHZ,{1970 + k * 10}-01-01,{1979 + k * 10}-12-31" for k in range(800)]
    wide = ",".join(f"c{k}" for k in range(200_000))
    components = format_params(replace(PARAMS, components=("QQ",))).encode()

    # Twenty thousand spans, hardly two alike, of channels that pair by letter.
    spread = [
        f"XX,S{k:04d},,BH{'ENZ'[k % 3]},{year}-01-{1 + k % 28:02d}T{k % 24:02d}:{k % 47:02d}:00,"
        f"{year}-{2 + k % 11:02d}-11T00:{k % 59:02d}:{k % 58:02d}"
        for year in range(2000, 2004)
        for k in range(5000)
    ]
    by_letter = format_params(replace(PARAMS, components=("Z?", "EN"))).encode()
    content = {"stations.csv": "\n".join([HEADER, *spread]).encode(), "params.csv": by_letter}

    assert "pair-days" in refusal(check_files, content)[0]
    assert seconds(check_files, content) < 10
    assert seconds(lambda: stations(*often)) < 10
    content = {"stations.csv": "\n".join([HEADER, *many]).encode(), "params.csv": components}
    assert seconds(parse_request, content) < 10
    assert seconds(lambda: stations(*far)) < 5
    assert seconds(parse_stations, f"Network,{wide}\n".encode()) < 5


def test_a_request_for_too_many_days_is_rejected_however_they_are_spread():
    rows = [f"XX,S{k},,BHZ,{1970 + k * 10}-01-01,{1975 + k * 10}-01-01" for k in range(5)]

    assert refusal(stations, *rows) == [
        "stations.csv: requests 9132 days; at most 3700 are allowed in one job"
    ]


def test_a_header_of_thousands_of_columns_is_one_problem():
    got = refusal(parse_stations, ("Network," + "x," * 5000 + "\n").encode())

    assert got == ["stations.csv line 1: has 5002 columns; at most 22 are read"]


def test_too_many_rows_or_channels_are_rejected():
    rows = [f"XX,S{k:04d},,BHZ,2006-01-01,2006-01-02" for k in range(5001)]

    assert refusal(stations, *rows) == [
        "stations.csv: contains 5001 channels; at most 5000 are allowed in one job"
    ]
    assert "has more than 20000 rows" in refusal(stations, *["x"] * 30000)[0]


def test_a_cell_beyond_the_field_limit_of_python_is_rejected():
    row = "x" * (csv.field_size_limit() + 1)

    assert "is not CSV" in refusal(stations, row)[0]


@pytest.mark.parametrize(
    ("end", "meant"),
    [
        ("2006-02-01T23:59:59", "2006-02-02T00:00:00"),
        ("2006-02-01T23:59:59Z", "2006-02-02T00:00:00"),
        ("2006-02-01T23:59:59.99", "2006-02-02T00:00:00"),
        ("2006-02-01T23:59:59.999999", "2006-02-02T00:00:00"),
        ("2006-12-31T23:59:59", "2007-01-01T00:00:00"),
        ("2006-02-01T04:59:59", "2006-02-01T05:00:00"),
        ("2006-02-01T04:29:59.5", "2006-02-01T04:30:00"),
        ("2006-02-01T23:59:58.999999", "2006-02-01T23:59:58.999999"),
        ("2006-02-01T23:59:00", "2006-02-01T23:59:00"),
        ("2006-02-02", "2006-02-02T00:00:00"),
        ("2006-02-02T00:00:00.000001", "2006-02-02T00:00:00.000001"),
    ],
)
def test_an_end_in_the_last_second_of_a_minute_is_the_full_minute(end, meant):
    rows = f"TA,I07A,,BHZ,2006-01-31T12:00:00,{end}\n".encode()

    (one,) = parse_stations(rows)

    assert one.spans[0][1].replace(tzinfo=None).isoformat() == meant
    assert one.spans[0][0].isoformat() == "2006-01-31T12:00:00+00:00"


def test_days_that_end_in_their_last_second_are_one_span_and_a_start_there_stays():
    rows = b"TA,A,,BHZ,2006-02-01T00:00:00,2006-02-01T23:59:59\nTA,A,,BHZ,2006-02-02,2006-02-03\n"
    late = b"TA,A,,BHZ,2006-02-01T23:59:59,2006-02-03\n"

    assert len(parse_stations(rows)[0].spans) == 1
    assert parse_stations(late)[0].spans[0][0].isoformat() == "2006-02-01T23:59:59+00:00"


def test_the_last_second_that_there_is_stays():
    rows = b"TA,A,,BHZ,9999-12-31T00:00:00,9999-12-31T23:59:59\n"

    assert parse_stations(rows)[0].spans[0][1].second == 59
