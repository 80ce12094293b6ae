"""Open data on S3, on a real S3 server, with real day objects under their true names."""

from __future__ import annotations

import csv
from datetime import date

import numpy as np
import pytest
from opendata import DATA, open_bucket
from truth import utc

from xcor_daemon.errors import ConfigError, NoDataError, RequestError
from xcor_daemon.pipeline.datatypes import NS, day_start
from xcor_daemon.pipeline.run import correlate_job
from xcor_daemon.pipeline.sources import Access, open_source, open_sources
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.pipeline.sources.fdsn import Fdsn
from xcor_daemon.pipeline.sources.http_client import Client
from xcor_daemon.pipeline.sources.open_data import OpenData
from xcor_daemon.request.stations import Channel

SPANS = ((utc("2022-01-01"), utc("2022-01-04")),)
WBM = Channel("CI", "WBM", "", "LHZ", SPANS, sample_rate=1.0)
RUSS, THIS = (Channel("BK", name, "00", "LHZ", SPANS, sample_rate=1.0) for name in ("RUSS", "THIS"))
START = day_start(date(2022, 1, 2))
END = day_start(date(2022, 1, 3))


@pytest.fixture(scope="module")
def bucket(s3_server):
    """The URL of a public bucket that holds `OBJECTS`, and one of HTML."""
    broken = "continuous_waveforms/2022/2022_002/CIHTML_LHZ___2022002.ms"
    return open_bucket(s3_server, {broken: b"<html>moved</html>"})


def fetch_one(source, channel, start=START, end=END):
    ((fetched, result),) = source.fetch([channel], start, end)
    assert fetched == channel
    return result


@pytest.mark.parametrize(
    ("layout", "channel"),
    [("SCEDC", WBM), ("NCEDC", RUSS), ("NCEDC", THIS), ("EARTHSCOPE", WBM)],
    ids=lambda x: getattr(x, "id", x),
)
def test_a_day_of_a_bucket_equals_that_of_the_archive_on_disk(bucket, layout, channel):
    found = fetch_one(open_source(f"s3:{layout}|{bucket}"), channel)

    expected = fetch_one(Archive(DATA), channel)
    assert found.source == f"s3:{layout}"
    np.testing.assert_array_equal(
        np.concatenate([s.data for s in found.segments])[-80_000:],
        np.concatenate([s.data for s in expected.segments])[-80_000:],
    )


def test_margins_come_from_parts_of_the_neighbours(bucket):
    source = OpenData(f"SCEDC|{bucket}")
    asked = []
    plain = source._get
    source._get = lambda key, h=None: asked.append((key[-10:], h)) or plain(key, h)
    margin = 900 * NS

    found = fetch_one(source, WBM, START - margin, END + margin)

    expected = fetch_one(Archive(DATA), WBM, START - margin, END + margin)
    assert [s.start for s in found.segments] == [s.start for s in expected.segments]
    np.testing.assert_array_equal(found.segments[0].data, expected.segments[0].data)
    assert asked == [
        ("2022001.ms", {"Range": "bytes=-20480"}),
        ("2022002.ms", {}),
        ("2022003.ms", {"Range": "bytes=0-20479"}),
    ]


@pytest.mark.parametrize(
    ("channel", "status", "words"),
    [
        (Channel("CI", "NONE", "", "LHZ", SPANS), "nodata", "no samples at this time"),
        (Channel("CI", "HTML", "", "LHZ", SPANS), "failed", "not miniSEED: '<html>moved"),
    ],
    ids=["missing", "html"],
)
def test_missing_channels_have_a_reason(bucket, channel, status, words):
    result = fetch_one(OpenData(f"SCEDC|{bucket}"), channel)

    assert isinstance(result, NoDataError)
    assert result.status == status
    assert words in str(result)


def test_station_xml_comes_from_the_bucket(bucket):
    found = OpenData(f"SCEDC|{bucket}").metadata([WBM, RUSS], "velocity")
    other = OpenData(f"NCEDC|{bucket}").metadata([THIS, RUSS], "velocity")

    assert list(found.epochs) == [WBM.id]
    assert found.epochs[WBM.id][0].response is not None
    assert list(other.epochs) == [THIS.id]


def test_a_bucket_that_does_not_answer_fails_the_channel_only(bucket):
    source = OpenData("SCEDC|http://127.0.0.1:9", Client(sleep=lambda _: None))

    result = fetch_one(source, WBM)

    assert result.status == "failed"


def test_several_sources_serve_one_job_and_stand_in_its_summary(bucket, tmp_path):
    sources = {"SCEDC-S3": f"s3:SCEDC|{bucket}", "NCEDC-S3": f"s3:NCEDC|{bucket}"}
    (tmp_path / "stations.csv").write_text(
        "Network,Station,Location,Channel,StartDate,EndDate,DataCenter\n"
        "CI,WBM,,LHZ,2022-01-02,2022-01-03,SCEDC-S3\n"
        "BK,RUSS,00,LHZ,2022-01-02,2022-01-03,NCEDC-S3\n"
        "BK,YUBA,00,LHZ,2022-01-02,2022-01-03,\n"
    )
    (tmp_path / "params.csv").write_text(
        "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response\n1,0.05,0.1,1800,1800,200,none\n"
    )

    outputs = correlate_job(tmp_path, f"archive:{DATA}", 1, sources=sources)

    assert outputs["units"]["done"] == 1
    with (tmp_path / "summary.csv").open() as file:
        rows = {row["channel"]: row for row in csv.DictReader(file)}
    assert {name: row["source"] for name, row in rows.items()} == {
        "BK.RUSS.00.LHZ": "s3:NCEDC",
        "BK.YUBA.00.LHZ": "archive:ci_bk_2022",
        "CI.WBM..LHZ": "s3:SCEDC",
    }
    assert all(int(row["n_bytes"]) > 50_000 for row in rows.values())
    assert all(row["status"] == "kept" for row in rows.values())
    # Waveforms are not needed again; metadata are, should the job be begun again.
    kept = (tmp_path / ".downloads").rglob("*.npz")
    assert {path.name.partition("-")[0] for path in kept} == {"metadata"}


def test_downloads_of_one_source_are_not_used_for_another(tmp_path):
    access = Access(download_folder=tmp_path)

    folders = {
        open_sources(text, [WBM], {}, access).folder
        for text in ("s3:SCEDC", "s3:NCEDC", "s3:SCEDC|http://127.0.0.1:9", "fdsn:SCEDC")
    }

    assert len(folders) == 4
    assert {folder.parent for folder in folders} == {tmp_path}


def test_an_unknown_data_centre_is_rejected_and_one_of_obspys_list_is_not():
    known = Channel("CI", "WBM", "", "LHZ", SPANS, data_center="SCEDC")
    unknown = Channel("CI", "WBM", "", "LHZ", SPANS, data_center="EVIL")

    source = open_sources(f"archive:{DATA}", [known], {})

    assert isinstance(source.others["SCEDC"], Fdsn)
    with pytest.raises(RequestError, match="DataCenter = EVIL is neither a configured data"):
        open_sources(f"archive:{DATA}", [known, unknown], {})


@pytest.mark.parametrize("place", ["ELSEWHERE", "SCEDC|file:///etc/passwd"])
def test_a_bucket_that_is_none_is_a_wrong_setting(place):
    with pytest.raises(ConfigError):
        open_source(f"s3:{place}")


def test_creating_a_source_sends_no_request_and_has_the_buckets_urls():
    assert OpenData("SCEDC").url == "https://scedc-pds.s3.us-west-2.amazonaws.com"
