"""The decoder of plain records against libmseed: the same samples, or none of its business."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace, UTCDateTime, read

from xcor_daemon.pipeline.sources import records, steim

DATA = Path(__file__).parent / "data"
ODD = sorted(path for path in (DATA / "nasty").iterdir() if path.suffix != ".csv")


def rows_of(content):
    """Headers of a content that holds one channel."""
    rows = records.scan(content).rows
    return rows[records.sampled(rows)]


def by_libmseed(content):
    traces = read(io.BytesIO(bytes(content)), format="MSEED", check_compression=False)
    return np.concatenate([trace.data for trace in traces])


def written(data, encoding, reclen=512):
    header = {"network": "XX", "station": "S00", "channel": "LHZ"}
    trace = Trace(np.asarray(data, np.int32), {**header, "starttime": UTCDateTime(2020, 1, 1)})
    content = io.BytesIO()
    Stream([trace]).write(content, format="MSEED", encoding=encoding, reclen=reclen)
    return np.frombuffer(content.getvalue(), np.uint8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", ODD, ids=lambda path: path.name)
def test_an_odd_record_is_decoded_alike_or_left_to_libmseed(path):
    found = records.scan(path.read_bytes())
    for row in found.rows[records.sampled(found.rows)][:20]:
        content = found.data[row["offset"] : row["offset"] + row["length"]]
        samples = steim.decode(content, np.array([row]))
        if samples is not None:
            np.testing.assert_array_equal(samples, by_libmseed(content))


def test_records_of_the_archives_are_plain():
    for name in ("CIWBM__LHZ___2022002.ms", "CICCA__BHN___2022002.ms", "THIS.BK.LHZ.00.D.2022.002"):
        content = np.fromfile(DATA / "ci_bk_2022" / name, np.uint8)

        samples = steim.decode(content, rows_of(content))

        np.testing.assert_array_equal(samples, by_libmseed(content))


DIFFERENCES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 40), st.integers(0, 999)), min_size=1, max_size=12
)


@pytest.mark.parametrize("encoding", ["STEIM1", "STEIM2"])
@given(parts=DIFFERENCES)
@settings(deadline=None, max_examples=100)
def test_whatever_libmseed_writes_is_read_back(encoding, parts):
    """Stretches of differences of so many bits, so that words of every kind occur."""
    steps = [np.random.default_rng(seed).integers(-(1 << bits) // 2, (1 << bits) // 2 + 1, n)
             for bits, n, seed in parts]  # fmt: skip
    data = np.cumsum(np.concatenate(steps)).clip(-(1 << 28), 1 << 28)
    content = written(data, encoding, 256)

    samples = steim.decode(content, rows_of(content))

    np.testing.assert_array_equal(samples, data)


# Bytes of a record: the last sample as it says, a word in its midst, how many samples there are,
# word order, where the data begin, where the blockettes begin and go on.
@pytest.mark.parametrize("place", [75, 144, 31, 53, 45, 47, 51])
def test_a_record_that_is_not_what_it_says_is_left_to_libmseed(place):
    content = written(np.random.default_rng(0).integers(-99, 99, 2000), "STEIM2").copy()
    rows = rows_of(content)
    content[512 + place] ^= 0x55
    rows["n_samples"][1] = int(content[512 + 30]) << 8 | int(content[512 + 31])

    assert steim.decode(content, rows) is None


def test_another_encoding_is_not_its_business():
    content = written(np.arange(500), "INT32")

    assert steim.decode(content, rows_of(content)) is None
