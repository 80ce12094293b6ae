"""Every odd or broken file of ``data/nasty``: read as ObsPy reads it, mended, or refused in words.

``as_read_by_obspy.csv`` is the oracle; where ObsPy's reading needs a repair, or there is none,
the answer stands here by hand.
"""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from obspy import Stream, Trace, UTCDateTime
from paths import DATA
from truth import PARAMS, SPAN, utc

from xcor_daemon.pipeline.datatypes import NS, day_start
from xcor_daemon.pipeline.preprocessing.channel import prepare
from xcor_daemon.pipeline.preprocessing.windows import paired_windows
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.pipeline.sources.miniseed import channel_samples
from xcor_daemon.pipeline.sources.mseed_headers import scan
from xcor_daemon.request.stations import Channel

NASTY = DATA / "nasty"
ALL = (-(1 << 62), 1 << 62)  # ns


@dataclass(frozen=True)
class Mended:
    """The samples of a file that ObsPy reads differently, or not at all."""

    n_samples: int
    total: int
    words: str  # of the warning
    channel_id: str = "CI.WBM..LHZ"


# Sum of the whole series -7043720; numbers of samples by the file's own making (see its name).
MENDED = {
    "nan_and_inf_float32.mseed": Mended(21600 - 11, -7041187, "11 samples left out, not finite"),
    "one_corrupt_record.mseed": Mended(21221, -6933734, "1 record could not be decoded"),
    "overlap_conflicting.mseed": Mended(
        22200 - 1200, 5756367, "600 samples left out where records disagree"
    ),
    "overlap_identical.mseed": Mended(21600, -7043720, ""),
    "whole_series_twice.mseed": Mended(21600, -7043720, ""),
    "rate_changes_1Hz_to_2Hz.mseed": Mended(
        32399 - 10800, -7731547, "10800 samples at 1 Hz left out, the channel has 2 Hz"
    ),
    # The same record 18 times: -2984634 / 18.
    "qualityflags.mseed": Mended(412, -165813, "", "BW.BGLD..EHE"),
}
REFUSED = {
    "reference-testdata-float32.mseed3": "miniSEED 3",
    "reference-testdata-steim2.mseed3": "miniSEED 3",
    "testdata-oneseries-mixedlengths-mixedorder.mseed3": "miniSEED 3",
    "reference-testdata-headeronly.mseed2": "text only",
    "reference-testdata-text.mseed2": "text only",
    "fullASCII_bigEndian.mseed": "text only",
    "rt130_sr0_cropped.mseed": "text only",
    "testdata-invalid-blockette-offsets.mseed2": "3 records could not be decoded",
    "empty.mseed": "empty",
    "emptyfile.mseed": "empty",
    "gzipped.mseed.gz": "compressed; unpack it",
    "html_error_page.mseed": "not miniSEED: '<html>",
    "truncated_in_first_header.mseed": "not miniSEED",
    "not.mseed": "dataless SEED, which is not read",
    "not2.mseed": "not miniSEED",
}
with (NASTY / "as_read_by_obspy.csv").open() as table:
    AS_OBSPY_READ = {Path(row["file"]).name: row for row in csv.DictReader(table)}
FILES = sorted(path.name for path in NASTY.iterdir() if path.suffix != ".csv")
PLAIN = [name for name in FILES if name not in MENDED.keys() | REFUSED.keys()]


def read_all(name):
    """Samples of every channel of a file."""
    records = scan((NASTY / name).read_bytes())
    return {one: channel_samples([records], one, *ALL, "test") for one in records.spans()}


def total(read):
    return sum(float(s.data.sum(dtype=float)) for one in read.values() for s in one.segments)


def good_neighbour():
    """A healthy channel: 6 h at 1 Hz, and the bytes of its file."""
    data = np.random.default_rng(0).integers(-1000, 1000, 21600, dtype=np.int32)
    header = {"network": "XX", "station": "GOOD", "channel": "LHZ"}
    written = io.BytesIO()
    trace = Trace(data, {**header, "starttime": UTCDateTime("2022-01-02T01:00:00")})
    Stream([trace]).write(written, format="MSEED", reclen=512)
    return data, written.getvalue()


def test_the_table_has_every_file_and_every_file_is_in_the_table():
    assert len(FILES) == 75
    assert set(FILES) == AS_OBSPY_READ.keys()
    assert not (MENDED.keys() | REFUSED.keys()) - set(FILES)


@pytest.mark.parametrize("name", PLAIN)
def test_files_that_obspy_reads_completely_give_the_same_samples(name):
    row = AS_OBSPY_READ[name]

    read = read_all(name)

    assert " ".join(sorted(read)) == row["ids"]
    assert sum(one.n_samples for one in read.values()) == int(row["samples"])
    assert total(read) == pytest.approx(float(row["sum"]), abs=1e-4)
    segments = [segment for one in read.values() for segment in one.segments]
    assert min(segment.start for segment in segments) == UTCDateTime(row["start"]).ns
    last = max(segment.end - NS / segment.fs for segment in segments)
    assert last == pytest.approx(UTCDateTime(row["end"]).ns, abs=2000)
    assert {f"{s.fs:.10g}" for s in segments} == set(row["rates"].split())


@pytest.mark.parametrize("name", MENDED)
def test_intact_records_are_read_and_a_warning_reports_the_others(name):
    expected = MENDED[name]

    read = read_all(name)

    assert list(read) == [expected.channel_id]
    (one,) = read.values()
    assert (one.n_samples, total(read)) == (expected.n_samples, expected.total)
    assert "; ".join(one.warnings) == expected.words


@pytest.mark.parametrize("name", REFUSED)
def test_unusable_channels_are_rejected_with_a_reason_and_others_are_read(name, tmp_path):
    data, content = good_neighbour()
    shutil.copy(NASTY / name, tmp_path / name)
    (tmp_path / "good.mseed").write_bytes(content)
    start = day_start(date(2022, 1, 2))
    good = Channel("XX", "GOOD", "", "LHZ", ((utc("2022-01-02"), utc("2022-01-03")),))

    archive = Archive(tmp_path)

    ((_, neighbour),) = archive.fetch([good], start, start + 86400 * NS)
    np.testing.assert_array_equal(neighbour.segments[0].data, data)
    reasons = [archive.skipped[name]] if name in archive.skipped else []
    for channel_id in archive.index.keys() - {good.id}:
        broken = Channel(*channel_id.split("."), good.spans)
        reasons += [str(result) for _, result in archive.fetch([broken], *ALL)]
    assert REFUSED[name] in "; ".join(reasons)


@pytest.mark.parametrize("name", [*PLAIN, *MENDED])
def test_damaged_files_give_windows_of_finite_numbers(name):
    for one in read_all(name).values():
        first = one.segments[0].start
        day = date.fromordinal(date(1970, 1, 1).toordinal() + first // (86400 * NS))
        covered = prepare(one, (), SPAN, day, params_for(one.fs))
        motion = covered.motion()
        some = np.flatnonzero(covered.candidates)[:3]

        assert np.isfinite(motion).all()
        assert np.isfinite(paired_windows(motion, some, params_for(one.fs))[0]).all()


def params_for(fs):
    """Parameters that suit a rate, with windows of 100 s."""
    return replace(
        PARAMS, fs=4, freqmin=0.02, freqmax=min(0.4 * fs, 1.0), cc_len=100, cc_step=50, maxlag=10
    )


def test_a_folder_of_damaged_files_is_indexed_completely(tmp_path):
    data, content = good_neighbour()
    folder = tmp_path / "archive"
    shutil.copytree(NASTY, folder)
    (folder / "good.mseed").write_bytes(content)
    channels = [
        Channel("XX", "GOOD", "", "LHZ", ((utc("2022-01-02"), utc("2022-01-03")),)),
        Channel("CI", "WBM", "", "LHZ", ((utc("2022-01-02"), utc("2022-01-03")),)),
        Channel("II", "KAPI", "00", "BHZ", ((utc("2013-01-05"), utc("2013-01-07")),)),
    ]
    archive = Archive(folder)
    start = day_start(date(2022, 1, 2))

    good, mixed, absent = (
        result for _, result in archive.fetch(channels, start, start + 86400 * NS)
    )

    np.testing.assert_array_equal(good.segments[0].data, data)
    # Many versions of the same six hours: samples that differ between two of them are dropped.
    assert mixed.n_samples < 21600
    assert "disagree" in "; ".join(mixed.warnings)
    assert absent.status == "nodata"
    refused = {name for name in REFUSED if "blockette-offsets" not in name}
    assert archive.skipped.keys() == {*refused, "as_read_by_obspy.csv"}


def test_a_gap_of_25_hours_between_two_files_is_a_gap():
    records = [
        scan((NASTY / name).read_bytes()) for name in FILES if name.startswith("II.KAPI.00.BHZ")
    ]

    read = channel_samples(records, "II.KAPI.00.BHZ", *ALL, "test")

    first, second = read.segments
    gap = (second.start - first.end) / NS
    # 2013-01-05 02:10:54.3695 + 1/20 s to 2013-01-06 03:27:02.4195
    assert gap == pytest.approx(25 * 3600 + 16 * 60 + 8, abs=1e-3)
    assert read.n_samples == 157088 + 111553
