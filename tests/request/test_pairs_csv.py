"""pairs.csv: the explicit pairs of a job."""

from __future__ import annotations

from dataclasses import replace

import pytest
from truth import PARAMS, utc

from xcor_daemon.errors import RequestError
from xcor_daemon.pipeline.correlation.pairs import pair_table
from xcor_daemon.request.cost import estimate
from xcor_daemon.request.pairs import parse_pairs
from xcor_daemon.request.parse import format_params, parse_request
from xcor_daemon.request.stations import Channel

SPANS = ((utc("2020-01-01"), utc("2020-01-03")),)
STATIONS_CSV = "Network,Station,Location,Channel,StartDate,EndDate\n" + "".join(
    f"XX,{station},,BH{component},2020-01-01,2020-01-03\n"
    for station in "ABC"
    for component in "NZ"
)
PAIRS_CSV = b"First,Second\nXX.B..BHZ,XX.A..BHZ\nXX.A,XX.C\n"
NAMED = [
    "XX.A..BHN|XX.C..BHN",
    "XX.A..BHN|XX.C..BHZ",
    "XX.A..BHZ|XX.B..BHZ",
    "XX.A..BHZ|XX.C..BHN",
    "XX.A..BHZ|XX.C..BHZ",
]


def contents(pairs=PAIRS_CSV, **changes):
    params = format_params(replace(PARAMS, **changes)).encode()
    return {"stations.csv": STATIONS_CSV.encode(), "params.csv": params, "pairs.csv": pairs}


def names(request):
    table = pair_table(
        request.channels, [None] * len(request.channels), request.params, request.pairs
    )
    return table.names


def test_channels_and_stations_are_named_in_either_order():
    request = parse_request(contents())

    assert names(request) == NAMED
    assert estimate(request).pairs == 5
    assert estimate(request).pair_days == 10
    assert request.to_json()["pairs"] == (("XX.B..BHZ", "XX.A..BHZ"), ("XX.A", "XX.C"))


def test_the_rules_of_params_hold_for_named_pairs_too():
    request = parse_request(contents(components=("ZZ",)))

    assert names(request) == ["XX.A..BHZ|XX.B..BHZ", "XX.A..BHZ|XX.C..BHZ"]


def test_without_the_file_all_pairs_are_made():
    files = contents()
    del files["pairs.csv"]

    assert estimate(parse_request(files)).pairs == 15


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (b"First,Second\nXX.A..BHZ\n", "line 2: has 1 fields"),
        (b"First,Second\nXX.A..BHZ,XX.B.BHZ\n", r"line 2: Second = XX.B.BHZ is not a channel"),
        (b"First,Second\nXX.A,XX.Q\n", ": 'XX.A XX.Q' names XX.Q, which is not in stations.csv"),
        (b"First,Second\nXX.A..BHZ,XX.A..BHZ\n", ": 'XX.A..BHZ XX.A..BHZ' yields no pair with"),
        (b"First,Second\n", "contains no pair"),
        (b"", "is empty"),
    ],
)
def test_an_invalid_list_is_rejected_with_its_line(pairs, message):
    with pytest.raises(RequestError, match=message):
        parse_request(contents(pairs))


def test_a_channel_may_be_paired_with_itself():
    request = parse_request(contents(b"First,Second\nXX.A..BHZ,XX.A..BHZ\n", autocorrelations=True))

    assert names(request) == ["XX.A..BHZ|XX.A..BHZ"]


def test_a_list_without_a_header_line_is_read():
    assert parse_pairs(b"XX.A,XX.B\n") == (("XX.A", "XX.B"),)


def test_a_day_without_a_channel_has_none_of_its_pairs():
    request = parse_request(contents())
    present = [c for c in request.channels if c.id != "XX.C..BHZ"]

    table = pair_table(present, [None] * 5, request.params, request.pairs)

    assert table.names == [name for name in NAMED if "XX.C..BHZ" not in name]
    assert Channel("XX", "C", "", "BHZ", request.channels[0].spans) in request.channels
