"""The FDSN server of the demo, with requests by ObsPy's client and by hand."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import obspy
import pytest
from obspy import UTCDateTime
from obspy.clients.fdsn import Client
from obspy.clients.fdsn.header import FDSNNoDataException

from xcor_daemon.demo.fdsn_query import BadQueryError, parse_get, parse_post
from xcor_daemon.demo.fdsn_server import serve_fdsn

START = UTCDateTime(2019, 1, 1)


@pytest.fixture(scope="module")
def client(fdsn_server) -> Client:
    """ObsPy's client, which discovers the services of the server."""
    return Client(fdsn_server.url)


def ask(url: str, body: bytes | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


pytestmark = pytest.mark.real


def test_the_client_discovers_both_services(client):
    assert set(client.services) == {"station", "dataselect"}
    assert {"level", "startbefore", "minlatitude"} <= set(client.services["station"])


def test_responses_are_those_of_the_archive(client, norsar):
    given = obspy.read_inventory(str(norsar / "station.xml"), format="STATIONXML")
    got = client.get_stations(network="NO", channel="BHZ", location="", level="response")

    assert got.networks[0].stations == given.networks[0].stations


@pytest.mark.parametrize("format", ["xml", "text"])
@pytest.mark.parametrize(("level", "counts"), [("network", 0), ("station", 4), ("channel", 4)])
def test_metadata_have_every_level_in_both_formats(client, format, level, counts):
    inventory = client.get_stations(network="N?", station="NAO*", level=level, format=format)

    contents = inventory.get_contents()
    assert contents["networks"] == ["NO"]
    assert len(contents["stations"]) == counts
    assert len(contents["channels"]) == (counts if level == "channel" else 0)
    if level == "channel":
        assert inventory[0][0][0].sample_rate == 5
        assert inventory[0][0][0].response.instrument_sensitivity.value == pytest.approx(1e9)


def test_waveforms_are_those_of_the_archive(client, norsar):
    given = obspy.read(str(norsar / "NO.NB200..BHZ.mseed"), format="MSEED", check_compression=False)
    got = client.get_waveforms("NO", "NB200", "--", "BHZ", START, START + 86400)

    assert len(got) == 1
    assert got[0].stats.starttime == given[0].stats.starttime
    assert np.array_equal(got[0].data, given[0].data)


def test_a_bulk_request_returns_complete_records_around_its_times(client):
    hour, minute = 3600, 60
    times = (START + hour, START + hour + minute)
    bulk = [("NO", name, "", "BHZ", *times) for name in ("NAO00", "NC604")]

    stream = client.get_waveforms_bulk(bulk)

    assert [trace.stats.station for trace in stream] == ["NAO00", "NC604"]
    for trace in stream:
        assert trace.stats.starttime <= START + hour
        assert trace.stats.endtime >= START + hour + minute
        assert trace.stats.npts < 2 * 16 * 60 * 5 + 5  # a record holds about 16 min at 5 Hz
    assert len(client.get_stations_bulk(bulk, level="response")[0]) == 2


def test_the_status_without_data_is_204_or_404_as_requested(client, fdsn_server):
    with pytest.raises(FDSNNoDataException):
        client.get_waveforms("NO", "NAO00", "", "BHZ", START + 1e7, START + 1e7 + 60)
    station = fdsn_server.url + "/fdsnws/station/1/query?net=ZZ"
    assert ask(station) == (204, "")
    assert ask(station + "&nodata=404")[0] == 404


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("dataselect/1/query?net=NO", "starttime and endtime are needed"),
        ("dataselect/1/query?start=2019-13-01&end=2020-01-01", "'2019-13-01' is not a time"),
        ("dataselect/1/query?start=2020-01-01&end=2019-01-01", "is before starttime"),
        ("station/1/query?colour=red", "unknown parameter 'colour'"),
        ("station/1/query?net=NO&network=NO", "given twice"),
        ("station/1/query?level=response&format=text", "no responses"),
        ("station/1/query?minlat=north", "not a number of degrees"),
        ("station/1/query?level=rack", "must be one of station, network, channel, response"),
    ],
)
def test_an_invalid_parameter_is_rejected_with_the_reason(fdsn_server, query, reason):
    status, text = ask(f"{fdsn_server.url}/fdsnws/{query}")

    assert status == 400
    assert reason in text


def test_an_invalid_line_of_a_bulk_request_is_rejected(fdsn_server):
    status, text = ask(fdsn_server.url + "/fdsnws/dataselect/1/query", b"NO NAO00 BHZ 2019-01-01")

    assert status == 400
    assert "need NET STA LOC CHA START END" in text


def test_files_of_other_formats_are_skipped(tmp_path: Path, norsar: Path):
    (tmp_path / "note.txt").write_text("D" * 5000)
    record = (norsar / "NO.NAO00..BHZ.mseed").read_bytes()[:4096]
    (tmp_path / "cut.mseed").write_bytes(record + record[:100])

    with serve_fdsn(tmp_path) as server:
        url = server.url + "/fdsnws/dataselect/1/query?start=2019-01-01&end=2019-01-02"
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.read() == record


def test_codes_are_lists_with_wildcards_and_dashes_for_blank():
    (selection,) = parse_get("station", [("loc", "--,1?"), ("cha", "BH*,lhz")]).selections

    assert selection.matches(location="", channel="BHZ")
    assert selection.matches(location="10", channel="LHZ")
    assert not selection.matches(location="00")
    assert not selection.matches(channel="HHZ")


def test_a_bulk_request_sets_options_for_all_its_lines():
    query = parse_post("station", "level=channel\nNO NAO00 -- BHZ * *\nNO NB200 -- BHZ * *\n")

    assert query.options["level"] == "channel"
    assert [s.codes["station"] for s in query.selections] == ["NAO00", "NB200"]
    with pytest.raises(BadQueryError, match="no line selects"):
        parse_post("station", "level=channel")
