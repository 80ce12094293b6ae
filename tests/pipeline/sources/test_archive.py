import os
import pickle
import shutil
from datetime import UTC, date, datetime

import numpy as np
import pytest
from obspy import Stream, Trace, UTCDateTime, read
from paths import DATA

from xcor_daemon.errors import ConfigError, NoDataError
from xcor_daemon.pipeline.datatypes import NS, day_start
from xcor_daemon.pipeline.sources import archive_index, open_source
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.request.stations import Channel

SPANS = ((datetime(2017, 5, 1, tzinfo=UTC), datetime(2022, 1, 4, tzinfo=UTC)),)
N16K = Channel("TA", "N16K", "", "LHZ", SPANS)
WBM = Channel("CI", "WBM", "", "LHZ", SPANS)
RUSS = Channel("BK", "RUSS", "00", "LHZ", SPANS)


def fetch_one(archive, channel, start, end):
    ((fetched, result),) = archive.fetch([channel], start, end)
    assert fetched == channel
    return result


def write_day(path, station="S00", n=86400, location="", start="2020-01-01", **options):
    data = np.random.default_rng(0).integers(-9, 9, n, dtype=np.int32)
    header = {"network": "XX", "station": station, "location": location, "channel": "LHZ"}
    trace = Trace(data, {**header, "starttime": UTCDateTime(start)})
    path.parent.mkdir(parents=True, exist_ok=True)
    Stream([trace]).write(path, format="MSEED", **{"reclen": 512, **options})
    return trace


def test_an_sds_tree_gives_a_day_with_its_margins_from_the_neighbours():
    archive = open_source(f"archive:{DATA / 'ta_2017_05'}")
    start, end = (day_start(date(2017, 5, day)) for day in (3, 4))

    result = fetch_one(archive, N16K, start - 600 * NS, end + 600 * NS)

    folder = DATA / "ta_2017_05/2017/TA/N16K/LHZ.D"
    files = [folder / f"TA.N16K..LHZ.D.2017.{day}" for day in (122, 123, 124)]
    stream = Stream()
    for file in files:
        stream += read(file, format="MSEED", check_compression=False)
    stream.merge().trim(UTCDateTime(ns=start - 600 * NS), UTCDateTime(ns=end + 600 * NS) - 1)
    assert result.n_samples == stream[0].stats.npts
    np.testing.assert_array_equal(
        np.concatenate([segment.data for segment in result.segments]), stream[0].data
    )
    assert result.segments[0].start == stream[0].stats.starttime.ns
    # The neighbours are not read whole.
    assert result.n_bytes < 1.1 * files[1].stat().st_size


def test_files_of_any_name_are_found_and_metadata_with_them():
    archive = Archive(DATA / "ci_bk_2022")
    day = day_start(date(2022, 1, 2))

    fetched = dict(archive.fetch([WBM, RUSS], day, day + 86400 * NS))

    assert [len(archive.index[channel.id]) for channel in (WBM, RUSS)] == [3, 1]
    # CI.WBM samples 72 ms after the second.
    assert [fetched[c].segments[0].start - day for c in (WBM, RUSS)] == [71_859_000, 0]
    assert fetched[WBM].n_samples == 86400


def test_a_channel_without_metadata_is_missing_from_them():
    found = Archive(DATA / "ci_bk_2022").metadata([WBM, RUSS], "velocity")

    assert list(found.epochs) == [WBM.id]
    assert found.epochs[WBM.id][0].response is not None


def test_missing_channels_and_times_have_a_reason():
    archive = Archive(DATA / "ci_bk_2022")
    early = fetch_one(archive, WBM, 0, NS)
    unknown = fetch_one(archive, N16K, 0, NS)

    assert [early.status, unknown.status] == ["nodata", "nodata"]
    assert str(early).startswith("the archive has no samples at this time; its samples are from ")
    assert str(unknown).startswith("the archive does not have this channel; it has ")


def test_a_blank_location_is_no_wildcard(tmp_path):
    write_day(tmp_path / "a.mseed", location="00")
    blank = Channel("XX", "S00", "", "LHZ", SPANS)

    result = fetch_one(Archive(tmp_path), blank, *_whole_day())

    assert isinstance(result, NoDataError)


def _whole_day():
    start = day_start(date(2020, 1, 1))
    return start, start + 86400 * NS


def test_all_channels_of_a_mixed_file_are_found(tmp_path):
    traces = [write_day(tmp_path / f"{k}.part", f"S{k:02d}", n=2000 * (k + 1)) for k in range(3)]
    parts = [tmp_path / f"{k}.part" for k in range(3)]
    whole = b"".join(part.read_bytes() for part in parts)
    for part in parts:
        part.unlink()
    # A name that promises one channel, and first and last records that do not agree with it.
    (tmp_path / "XX.S00..LHZ.D.2020.001").write_bytes(whole)
    channels = [Channel("XX", f"S{k:02d}", "", "LHZ", SPANS) for k in range(3)]

    fetched = dict(Archive(tmp_path).fetch(channels, *_whole_day()))

    for channel, trace in zip(channels, traces, strict=True):
        np.testing.assert_array_equal(fetched[channel].segments[0].data, trace.data)


def test_files_that_are_no_waveforms_are_skipped_and_counted(tmp_path):
    write_day(tmp_path / "good.mseed")
    (tmp_path / "empty.mseed").touch()
    (tmp_path / "page.html").write_text("<html></html>")
    (tmp_path / "other.xml").write_text("<other/>")
    (tmp_path / "noise.bin").write_bytes(np.random.default_rng(0).bytes(100_000))
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")

    archive = Archive(tmp_path)

    assert (archive.n_files, len(archive.skipped)) == (1, 4)
    assert archive.skipped["empty.mseed"] == "empty"


@pytest.mark.parametrize(
    "name",
    [
        "XX/S00/S00.XX..LHZ.2020.001",  # BUD
        "2020/2020_001/XXS00__LHZ___2020001.ms",  # SCEDC's day archive
        "XX/2020/2020.001/S00.XX.LHZ..D.2020.001",  # NCEDC's
        "2020/XX/S00/LHZ.D/XX.S00..LHZ.D.2020.001",  # SDS
        "anything",
    ],
)
def test_the_layout_of_an_archive_does_not_matter(tmp_path, name):
    trace = write_day(tmp_path / name)
    channel = Channel("XX", "S00", "", "LHZ", SPANS)

    result = fetch_one(Archive(tmp_path), channel, *_whole_day())

    np.testing.assert_array_equal(result.segments[0].data, trace.data)


def test_indexing_again_finds_new_and_changed_files(tmp_path):
    write_day(tmp_path / "a.mseed", "S00")
    channels = [Channel("XX", f"S0{k}", "", "LHZ", SPANS) for k in range(2)]
    first = [result for _, result in Archive(tmp_path).fetch(channels, *_whole_day())]
    write_day(tmp_path / "a.mseed", "S00", n=1000)
    write_day(tmp_path / "b.mseed", "S01", n=2000)

    second = [result for _, result in Archive(tmp_path).fetch(channels, *_whole_day())]

    assert (first[0].n_samples, first[1].status) == (86400, "nodata")
    assert [result.n_samples for result in second] == [1000, 2000]


def looked_into(monkeypatch):
    """The files whose headers are read from now on."""
    names = []
    plain = archive_index._index_file
    monkeypatch.setattr(archive_index, "_index_file", lambda *a: names.append(a[1]) or plain(*a))
    return names


def test_an_archive_is_indexed_once_and_then_only_its_changed_files(tmp_path, monkeypatch):
    archive, cache = tmp_path / "archive", tmp_path / "cache"
    for name in ("changed", "gone", "same"):
        write_day(archive / name, f"S{name[:3].upper()}", n=1000)
    shutil.copy(DATA / "ci_bk_2022/CI_WBM.xml", archive)
    (archive / "page.html").write_text("<html></html>")
    first = Archive(archive, cache)
    names = looked_into(monkeypatch)
    again = Archive(archive, cache)
    assert (names, again.index, again.xml) == ([], first.index, first.xml)
    assert again.skipped == first.skipped

    modified = (archive / "changed").stat()
    write_day(archive / "changed", "SNEW", n=1000)  # of the same size
    os.utime(archive / "changed", ns=(modified.st_atime_ns, modified.st_mtime_ns))
    write_day(archive / "new", "SADD", n=1000)
    (archive / "gone").unlink()
    third = Archive(archive, cache)

    assert sorted(names) == ["changed", "new"]
    assert sorted(third.index) == ["XX.SADD..LHZ", "XX.SNEW..LHZ", "XX.SSAM..LHZ"]
    assert Archive(archive, cache).index == third.index
    assert sorted(names) == ["changed", "new"]


@pytest.mark.parametrize("spoil", [b"", b"{}\n", b"1\n[1, 2]\n", b"1\n\xff\xfe", b"99\n"])
def test_a_damaged_index_is_not_used(tmp_path, spoil):
    write_day(tmp_path / "archive/a.mseed")
    first = Archive(tmp_path / "archive", tmp_path / "cache")
    (memory,) = (tmp_path / "cache").iterdir()
    memory.write_bytes(spoil)

    again = Archive(tmp_path / "archive", tmp_path / "cache")

    assert again.index == first.index


def test_a_job_runs_without_a_writable_cache(tmp_path, caplog):
    write_day(tmp_path / "archive/a.mseed")
    (tmp_path / "cache").write_bytes(b"")  # no folder
    caplog.set_level("INFO")

    archive = Archive(tmp_path / "archive", tmp_path / "cache")

    assert list(archive.index) == ["XX.S00..LHZ"]
    assert "the index of the archive is not cached" in caplog.text


def test_links_are_followed_but_not_in_circles(tmp_path):
    write_day(tmp_path / "elsewhere/a.mseed")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/data").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "tree")

    archive = Archive(tmp_path / "tree")

    assert [entry.file for entry in archive.index["XX.S00..LHZ"]] == ["data/a.mseed"]


def test_stationxml_with_a_document_type_is_left_out(tmp_path, caplog):
    shutil.copy(DATA / "ci_bk_2022/CI_WBM.xml", tmp_path / "good.xml")
    content = (tmp_path / "good.xml").read_bytes()
    (tmp_path / "bad.xml").write_bytes(content.replace(b"<FDSN", b"<!DOCTYPE x []><FDSN", 1))
    (tmp_path / "broken.xml").write_bytes(content[: len(content) // 2])
    write_day(tmp_path / "a.mseed")

    found = Archive(tmp_path).metadata([WBM], "velocity")

    assert list(found.epochs) == [WBM.id]
    assert {record.args[0] for record in caplog.records} == {"bad.xml", "broken.xml"}


def test_a_file_that_vanishes_costs_its_channel_only(tmp_path):
    write_day(tmp_path / "a.mseed", "S00")
    write_day(tmp_path / "b.mseed", "S01")
    archive = Archive(tmp_path)
    (tmp_path / "a.mseed").unlink()
    channels = [Channel("XX", f"S0{k}", "", "LHZ", SPANS) for k in range(2)]

    gone, kept = (result for _, result in archive.fetch(channels, *_whole_day()))

    assert gone.status == "failed"
    assert str(gone) == "a file of the archive cannot be read; a.mseed: No such file or directory."
    assert kept.n_samples == 86400


def test_a_pickled_archive_is_not_indexed_again(tmp_path, monkeypatch):
    write_day(tmp_path / "a.mseed")
    dumped = pickle.dumps(Archive(tmp_path))
    monkeypatch.setattr(Archive, "__init__", None)

    archive = pickle.loads(dumped)  # noqa: S301

    channel = Channel("XX", "S00", "", "LHZ", SPANS)
    assert fetch_one(archive, channel, *_whole_day()).n_samples == 86400


@pytest.mark.parametrize("minute", [0, 1, 700, 1430, 1439])
@pytest.mark.parametrize("reclen", [256, 4096])
def test_a_short_part_of_a_long_file_is_read_completely(tmp_path, minute, reclen):
    trace = write_day(tmp_path / "a.mseed", start="2020-01-01T00:00:00.3", reclen=reclen)
    channel = Channel("XX", "S00", "", "LHZ", SPANS)
    start = day_start(date(2020, 1, 1)) + minute * 60 * NS

    result = fetch_one(Archive(tmp_path), channel, start, start + 60 * NS)

    np.testing.assert_array_equal(result.segments[0].data, trace.data[minute * 60 :][:60])


def test_records_out_of_order_are_found_in_a_long_file(tmp_path):
    trace = write_day(tmp_path / "a.mseed")
    content = np.frombuffer((tmp_path / "a.mseed").read_bytes(), np.uint8).reshape(-1, 512)
    order = np.random.default_rng(0).permutation(len(content))
    (tmp_path / "a.mseed").write_bytes(content[order].tobytes())
    channel = Channel("XX", "S00", "", "LHZ", SPANS)
    start = day_start(date(2020, 1, 1)) + 3600 * NS

    result = fetch_one(Archive(tmp_path), channel, start, start + 600 * NS)

    np.testing.assert_array_equal(result.segments[0].data, trace.data[3600:4200])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("archive:/does/not/exist", "is not a readable folder"),
        ("archive:", "neither archive:PATH nor"),
        ("https://example.org", "neither archive:PATH nor"),
        ("fdsn:NOWHERE", "'NOWHERE' is unknown; write a URL or one of AUSPASS"),
        ("fdsn:EARTHSCOPE|ELSEWHERE", "'ELSEWHERE' is unknown"),
        ("fdsn:file:///etc/passwd", "is unknown"),
    ],
)
def test_an_invalid_source_is_rejected(text, message):
    with pytest.raises(ConfigError, match=message):
        open_source(text)


def test_a_folder_without_waveforms_is_rejected(tmp_path):
    with pytest.raises(ConfigError, match="contains no miniSEED"):
        open_source(f"archive:{tmp_path}")
