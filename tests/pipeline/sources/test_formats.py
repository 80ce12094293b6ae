"""Messages about files that are neither miniSEED nor StationXML: their format and a remedy."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import obspy
import obspy.io
import pytest

from xcor_daemon.errors import ConfigError
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.pipeline.sources.formats import BEGINNING, describe_bytes
from xcor_daemon.pipeline.sources.mseed_headers import scan

OBSPY = Path(obspy.io.__file__).parent
# Files of ObsPy's own tests, by the reader of ObsPy that they are for.
REAL = [
    ("sac/tests/data/test.sac", "SAC"),
    ("sac/tests/data/test.sac.swap", "SAC"),
    ("sac/tests/data/IU_ANMO_BH.sacpz", "SAC poles and zeros"),
    ("sac/tests/data/NZCRLZ_HHZ10.pz", "SAC poles and zeros"),
    ("sac/tests/data/RESP.NZ.CRLZ.10.HHZ", "RESP"),
    ("xseed/tests/data/RESP.BW.FURT..EHZ", "RESP"),
    ("xseed/tests/data/dataless.seed.BW_FURT", "dataless SEED"),
    ("xseed/tests/data/dataless.seed.BW_FURT.xml", "XML-SEED"),
    ("gse2/tests/data/loc_RJOB20050831023349.z", "GSE2"),
    ("gse2/tests/data/loc_STAU20031119011659.z", "GSE1"),
    ("segy/tests/data/00001034.sgy_first_trace", "SEG-Y"),
    ("segy/tests/data/ld0042_file_00018.sgy_first_trace", "SEG-Y"),
    ("seg2/tests/data/20180307_031245000.0.seg2", "SEG-2"),
    ("win/tests/data/10030302.00", "WIN"),
    ("ascii/tests/data/tspair.ascii", "SLIST or TSPAIR"),
    ("ascii/tests/data/slist.ascii", "SLIST or TSPAIR"),
    ("seisan/tests/data/2011-09-06-1311-36S.A1032_001BH_Z", "SEISAN"),
    ("ah/tests/data/ah1.f", "AH"),
    ("nied/tests/data/test.knet", "K-NET"),
    ("reftek/tests/data/225051000_00008656", "Reftek 130"),
    ("quakeml/tests/data/quakeml_1.2_event.xml", "QuakeML"),
    ("seiscomp/tests/data/EB_response_sc3ml", "SeisComP's XML"),
    ("stationxml/tests/data/no_default_namespace.xml", "StationXML"),
    ("stationtxt/tests/data/station_level_fdsn.txt", "FDSN's station text"),
    ("ascii/tests/data/tspair.ascii.gz", "compressed"),
]


@pytest.mark.parametrize(("file", "name"), REAL)
def test_real_files_of_other_formats_are_named(file, name):
    paths = [OBSPY / file] if (OBSPY / file).is_file() else list(OBSPY.glob(f"{file}*"))
    assert paths, f"{file} is not in this ObsPy"
    for path in paths[:1]:
        content = path.read_bytes()

        assert not scan(content).rows.size
        assert describe_bytes(content[:BEGINNING]).startswith((f"{name},", f"{name};"))


READABLE = ("SAC", "GSE2", "GSE1", "WIN", "SLIST or TSPAIR", "AH", "K-NET")


@pytest.mark.parametrize("file", [file for file, name in REAL if name in READABLE])
def test_the_remedy_for_waveforms_works(file, tmp_path):
    """After the remedy of the message the archive has the channels of the file."""
    (path,) = OBSPY.glob(file)
    assert "read(FILE)" in describe_bytes(path.read_bytes()[:BEGINNING])
    stream = obspy.read(path)

    stream.write(str(tmp_path / "out.mseed"), "MSEED")

    assert Archive(tmp_path).index.keys() == {
        trace.id for trace in obspy.read(tmp_path / "out.mseed")
    }


@pytest.mark.parametrize("file", [file for file, name in REAL if name in
                         ("RESP", "dataless SEED", "XML-SEED")])  # fmt: skip
def test_the_remedy_for_responses_works(file, tmp_path):
    (path,) = OBSPY.glob(file)
    assert "read_inventory(FILE)" in describe_bytes(path.read_bytes()[:BEGINNING])

    obspy.read_inventory(path).write(str(tmp_path / "out.xml"), "STATIONXML")

    trace = obspy.Trace(np.arange(100, dtype="int32"), {"network": "XX", "station": "A"})
    trace.write(str(tmp_path / "a.mseed"), "MSEED")
    assert Archive(tmp_path).xml == ["out.xml"]


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<html><body>We are moving</body>", "not miniSEED: '<html><body>We are moving</body>'"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5, which is not read; write its waveforms"),
        (tar(), "a tar archive; unpack it"),
        (b"\x80\x04\x95evil", "a pickle, which is never loaded"),
        (bytes([7, 201, 3, 255] * 30), "not miniSEED: binary data of an unknown format, from 0x07"),
        (np.arange(700, dtype="f4").tobytes(), "not miniSEED: binary data"),
        (b"<?xml version='1.0'?><other/>", "XML of another kind"),
    ],
)  # fmt: skip
def test_other_beginnings(content, said):
    assert describe_bytes(content[:BEGINNING]).startswith(said)


def test_any_bytes_have_an_answer_of_printable_text():
    random = np.random.default_rng(1)
    for size in (1, 16, 100, 631, 700, 3599, 3700, 4096):
        for _ in range(30):
            content = random.integers(0, 256, size, np.uint8).tobytes()
            assert describe_bytes(content).isprintable()


def test_the_error_of_an_archive_without_miniseed_lists_its_formats(tmp_path):
    stream = obspy.read()
    for k, trace in enumerate(stream):
        trace.write(str(tmp_path / f"{k}.sac"), "SAC")
    (tmp_path / "RESP.X").write_text("#\nB050F03     Station:     X\n")

    with pytest.raises(ConfigError) as caught:
        Archive(tmp_path)

    assert str(caught.value).splitlines() == [
        f"archive {str(tmp_path)!r} contains no miniSEED: ",
        "  3 files: SAC, which is not read; convert it to miniSEED with ObsPy: "
        'read(FILE).write(OUT, "MSEED")',
        "  1 file: RESP, which is not read; convert it to StationXML with ObsPy: "
        'read_inventory(FILE).write(OUT, "STATIONXML")',
    ]


def test_the_error_of_an_empty_archive_states_that_it_is_empty(tmp_path):
    with pytest.raises(ConfigError, match="contains no miniSEED: it is empty"):
        Archive(tmp_path)
