import csv
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from obspy import Stream, Trace, UTCDateTime, read

from xcor_daemon.errors import NoDataError
from xcor_daemon.pipeline.datatypes import NS
from xcor_daemon.pipeline.sources.miniseed import samples, scan

NASTY = Path(__file__).parent / "data/nasty"
ALL = (-(1 << 62), 1 << 62)  # ns
WBM = "CI.WBM..LHZ"


def read_nasty(name, channel_id=WBM):
    return samples([scan((NASTY / name).read_bytes())], channel_id, *ALL, "test")


def total(result):
    return sum(float(segment.data.sum(dtype=float)) for segment in result.segments)


def record_bytes(data, start="2020-01-01", fs=1.0, **options):
    header = {"network": "XX", "station": "S00", "channel": "LHZ", "sampling_rate": fs}
    trace = Trace(np.asarray(data), {**header, "starttime": UTCDateTime(start)})
    written = io.BytesIO()
    Stream([trace]).write(written, format="MSEED", **{"reclen": 512, **options})
    return written.getvalue()


def join(*contents, span=ALL):
    return samples([scan(b"".join(contents))], "XX.S00..LHZ", *span, "test")


def noise(n, seed=0):
    return np.random.default_rng(seed).integers(-1000, 1000, n, dtype=np.int32)


def as_obspy_read():
    """Rows of files in which ObsPy's own traces need no repair: the reference."""
    broken = "overlap|twice|corrupt|nan_and|rate_changes"
    with (NASTY / "as_read_by_obspy.csv").open() as file:
        for row in csv.DictReader(file):
            name = row["file"].partition("/")[2]
            if (NASTY / name).is_file() and not any(part in name for part in broken.split("|")):
                yield pytest.param({**row, "file": name}, id=name)


@pytest.mark.parametrize("row", as_obspy_read())
def test_channels_rates_times_and_samples_are_those_that_obspy_reads(row):
    records = scan((NASTY / row["file"]).read_bytes())
    spans = records.spans()
    read_all = [samples([records], channel_id, *ALL, "test") for channel_id in spans]

    if row["rates"] == "0":
        assert spans == {}  # a log has no samples
        return
    assert " ".join(sorted(spans)) == row["ids"]
    assert sum(result.n_samples for result in read_all) == int(row["samples"])
    assert sum(map(total, read_all)) == float(row["sum"])
    starts = [segment.start for result in read_all for segment in result.segments]
    assert min(starts) == UTCDateTime(row["start"]).ns


def test_identical_repeats_are_joined():
    twice, overlap = read_nasty("whole_series_twice.mseed"), read_nasty("overlap_identical.mseed")

    for result in (twice, overlap):
        assert (len(result.segments), result.n_samples, total(result)) == (1, 21600, -7043720)
        assert result.warnings == ()


def test_samples_that_records_disagree_about_become_a_gap():
    result = read_nasty("overlap_conflicting.mseed")

    assert [s.data.size for s in result.segments] == [10800, 10200]
    assert result.warnings == ("600 samples left out where records disagree",)


def test_a_third_copy_does_not_settle_a_disagreement():
    data = noise(300)
    other = data.copy()
    other[100:200] += 1

    result = join(record_bytes(data), record_bytes(other), record_bytes(data))

    assert sum(s.data.size for s in getattr(result, "segments", ())) == 0
