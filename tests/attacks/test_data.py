"""Untrusted data: pickles, archives, bombs and false values, served by every kind of source."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
from centre import END, SPANS, START, WAVEFORMS, WBM, Centre, serving

from xcor_daemon.errors import NoResultError, RequestError
from xcor_daemon.pipeline.datatypes import ChannelDay
from xcor_daemon.pipeline.products.reasons import nothing_made_error
from xcor_daemon.pipeline.products.summary import escape_formula
from xcor_daemon.pipeline.run import correlate_job
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.pipeline.sources.open_data import OpenData
from xcor_daemon.pipeline.sources.stationxml import read_stationxml
from xcor_daemon.request.parse import parse_request
from xcor_daemon.request.stations import Channel


class _Exploit:
    def __reduce__(self):
        return (Path.touch, (Path("exploited"),))


def _zip(content: bytes) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil", content)
    return written.getvalue()


def _tar(content: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        member = tarfile.TarInfo("/etc/evil")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


NOTHING = bytes(20 << 20)
BODIES = {
    "pickle": pickle.dumps(_Exploit()),
    "pickle protocol 0": pickle.dumps(_Exploit(), protocol=0),
    "pickle in gzip": gzip.compress(pickle.dumps(_Exploit())),
    "gzip bomb": gzip.compress(NOTHING, 9),
    "bzip2 bomb": bz2.compress(NOTHING),
    "zip bomb": _zip(NOTHING),
    "tar": _tar(WAVEFORMS),
    "miniSEED in zip": _zip(WAVEFORMS),
}
del NOTHING


def served_by_fdsn(body, folder):
    with serving(Centre(answers=[(200, {"Content-Encoding": "gzip"}, body)])) as centre:
        (result,) = centre.fetch()
    assert result.status == "failed"
    return str(result)


def served_by_s3(body, folder):
    class Public:
        def request(self, url, body_=None, headers=None):
            return type("Reply", (), {"status": 200, "body": body, "total": len(body)})

    source = OpenData("SCEDC")
    source.client = Public()
    ((_, result),) = source.fetch([WBM], START, END)
    assert result.status == "failed"
    return str(result)


def lying_in_an_archive(body, folder):
    (folder / "archive").mkdir()
    (folder / "archive/good").write_bytes(WAVEFORMS)
    (folder / "archive/CI.WBM..LHZ.D.2022.002").write_bytes(body)
    return Archive(folder / "archive").skipped["CI.WBM..LHZ.D.2022.002"]


@pytest.mark.parametrize("served", [served_by_fdsn, served_by_s3, lying_in_an_archive])
@pytest.mark.parametrize("body", BODIES)
def test_other_formats_served_as_miniseed_are_neither_loaded_nor_unpacked(
    body, served, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    reason = served(BODIES[body], tmp_path)

    expected = {"pickle": "a pickle, which is never loaded", "pickle protocol 0": "not miniSEED"}
    assert expected.get(body, "compressed; unpack it") in reason
    assert os.listdir() == ["archive"] * (served is lying_in_an_archive)
    assert not (tmp_path.parent.parent / "evil").exists()


BOMBS = {
    "billion laughs": b"<!DOCTYPE x [<!ENTITY a 'ha'>"
    + b"".join(b"<!ENTITY %c '%s'>" % (c, b"&%c;" % (c - 1) * 10) for c in b"bcdefghij")
    + b"]><FDSNStationXML>&j;</FDSNStationXML>",
    "quadratic": b"<!DOCTYPE x [<!ENTITY a '%s'>]><FDSNStationXML>%s</FDSNStationXML>"
    % (b"a" * 100_000, b"&a;" * 10_000),
    "file": b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
    b"<FDSNStationXML><Source>&a;</Source></FDSNStationXML>",
    "elsewhere": b"<!DOCTYPE x SYSTEM 'http://169.254.169.254/x.dtd'><FDSNStationXML/>",
    "hidden in UTF-7": b"<?xml version='1.0' encoding='UTF-7'?>"
    + "<!DOCTYPE x [<!ENTITY a 'ha'>]><FDSNStationXML>&a;</FDSNStationXML>".encode("utf-7"),
    "hidden in UTF-16": "<!DOCTYPE x [<!ENTITY a 'ha'>]><FDSNStationXML/>".encode("utf-16"),
    "deep": b"<FDSNStationXML>" + b"<a>" * 200_000,
    "wide": b"<FDSNStationXML>" + b"<a " + b"b='' " * 100_000,
    "in gzip": gzip.compress(b"<FDSNStationXML/>"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_untrusted_xml_is_not_expanded(bomb):
    with pytest.raises(ValueError, match=r"document type|not XML|not valid StationXML"):
        read_stationxml(BOMBS[bomb])


@pytest.mark.parametrize("bomb", ["billion laughs", "elsewhere", "hidden in UTF-16", "deep"])
def test_xml_bombs_of_a_listing_are_not_expanded(bomb):
    class Public:
        def request(self, url, body=None, headers=None):
            return type("Reply", (), {"status": 200, "body": BOMBS[bomb], "total": 1})

    source = OpenData("EARTHSCOPE")
    source.client = Public()
    ((_, result),) = source.fetch([WBM], START, END)

    assert (result.status, "the listing is unreadable" in str(result)) == ("failed", True)


# --- sources are never chosen by untrusted input ---

ADDRESSES = [
    "http://169.254.169.254/latest/meta-data/iam/",
    "http://127.0.0.1:9000",
    "http://[::1]/",
    "https://evil.example/fdsnws",
    "//evil.example",
    "file:///etc/passwd",
    "archive:/etc",
    "fdsn:http://127.0.0.1",
    "s3:SCEDC|http://127.0.0.1",
    "../../etc",
    "EARTHSCOPE|http://127.0.0.1",
    "evil.example",
    "a b",
    "x\r\nHost: evil",
]


def request_with(data_center="", source=""):
    quoted = data_center.replace('"', '""')
    stations = "Network,Station,Location,Channel,StartDate,EndDate,DataCenter\n" + "".join(
        f'CI,{station},,LHZ,2022-01-02,2022-01-03,"{quoted}"\n' for station in ("WBM", "CCA")
    )
    params = f'fs,freqmin,freqmax,cc_step,cc_len,maxlag,source\n1,0.1,0.2,450,1800,60,"{source}"\n'
    return parse_request({"stations.csv": stations.encode(), "params.csv": params.encode()})


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_column_accepts_an_address(address):
    with pytest.raises(RequestError, match="DataCenter|is not CSV|fields"):
        request_with(data_center=address)
    with pytest.raises(RequestError, match="source|is not CSV|fields"):
        request_with(source=address)


@pytest.mark.parametrize("name", ["archive", "etc", "localhost", "EVIL", "s3", "default"])
def test_an_unknown_name_of_a_source_is_rejected_by_the_worker(name, tmp_path):
    job(tmp_path, f"CI,WBM,,LHZ,2022-01-02,2022-01-03,{name}\n")

    with pytest.raises(RequestError, match="is neither a configured data centre"):
        correlate_job(tmp_path, "fdsn:EARTHSCOPE", 1)


def job(folder, *rows):
    header = "Network,Station,Location,Channel,StartDate,EndDate,DataCenter\n"
    (folder / "stations.csv").write_text(header + "".join(rows))
    (folder / "params.csv").write_text(
        "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response,autocorrelations\n"
        "1,0.1,0.2,1800,1800,60,none,true\n"
    )


# --- untrusted text in tables and logs ---


def test_text_of_a_data_centre_is_not_a_formula_and_not_a_line_of_its_own(tmp_path, caplog):
    body = b'=HYPERLINK("http://evil")\r\n2022-01-02,CI.FAKE..LHZ,kept\x1b[2J'
    job(tmp_path, "CI,WBM,,LHZ,2022-01-02,2022-01-03,\n")

    centre = Centre(answers=[lambda asked: b"" if "level=" in asked else body])
    with serving(centre), pytest.raises(NoResultError) as caught:
        correlate_job(tmp_path, f"fdsn:{centre.url}", 1, images=False)

    assert len(str(caught.value).splitlines()) == 3  # the error and its table
    assert not [c for c in str(caught.value) if not (c.isprintable() or c == "\n")]
    text = (tmp_path / "summary.csv").read_text()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["channel"], row["status"]) == ("CI.WBM..LHZ", "failed")
    assert "HYPERLINK" in row["reason"]
    assert text.isascii()
    assert not [c for c in text if not (c.isprintable() or c == "\n")]
    assert not [value for value in row.values() if value.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@"])
def test_a_reason_that_begins_with_an_odd_name_of_a_file_is_not_a_formula(begin, tmp_path):
    (tmp_path / f"{begin}cmd|calc").write_bytes(WAVEFORMS)
    source = Archive(tmp_path)
    (tmp_path / f"{begin}cmd|calc").unlink()  # so it cannot be read any more

    ((_, result),) = source.fetch([WBM], START, END)

    assert escape_formula(str(result)) == str(result)  # the name stands within
    assert f"{begin}cmd|calc" in str(result)
    assert escape_formula(f"{begin}cmd|calc") == f"'{begin}cmd|calc"
    assert escape_formula(-1.5) == -1.5


def test_an_untrusted_reason_adds_no_line_and_no_escape_to_a_table():
    reason = "the download failed: \x1b[2J\nerror: all is well; \u202eevil"
    row = ChannelDay("2022-01-02", "CI.WBM..LHZ", "failed", "fdsn:x", reason=reason)

    error = nothing_made_error([([row], False)])

    assert len(str(error).splitlines()) == 3
    assert all(c.isprintable() or c == "\n" for c in str(error))


def test_no_channel_is_accepted_from_the_claims_of_a_response():
    body = WAVEFORMS.replace(b"WBM    LHZCI", b"../..  LHZCI")
    wanted = [WBM, Channel("CI", "XX", "", "LHZ", SPANS)]
    with serving(Centre(answers=[body])) as centre:
        results = centre.fetch(wanted)

    assert [result.status for result in results] == ["nodata", "nodata"]
