"""Records decoded one by one, against ObsPy's reader; a broken one costs itself."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace, UTCDateTime, read
from paths import DATA

from xcor_daemon.pipeline.sources import mseed_headers
from xcor_daemon.pipeline.sources.mseed_decode import decode


def rows_of(content):
    """Headers of a content that holds one channel."""
    rows = mseed_headers.scan(content).rows
    return rows[mseed_headers.sampled(rows)]


def written(data, encoding, reclen=512):
    header = {"network": "XX", "station": "S00", "channel": "LHZ"}
    trace = Trace(np.asarray(data), {**header, "starttime": UTCDateTime(2020, 1, 1)})
    content = io.BytesIO()
    Stream([trace]).write(content, format="MSEED", encoding=encoding, reclen=reclen)
    return np.frombuffer(content.getvalue(), np.uint8)


@pytest.mark.parametrize(
    "name", ["CIWBM__LHZ___2022002.ms", "CICCA__BHN___2022002.ms", "THIS.BK.LHZ.00.D.2022.002"]
)
def test_days_of_archives_equal_those_that_obspy_reads(name):
    content = np.fromfile(DATA / "ci_bk_2022" / name, np.uint8)

    ((rows, samples),) = decode(content, rows_of(content))

    stream = read(io.BytesIO(content.tobytes()), format="MSEED", check_compression=False)
    np.testing.assert_array_equal(samples, np.concatenate([trace.data for trace in stream]))
    assert rows["n_samples"].sum() == samples.size


DIFFERENCES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 40), st.integers(0, 999)), min_size=1, max_size=12
)


@pytest.mark.parametrize("encoding", ["STEIM1", "STEIM2"])
@given(parts=DIFFERENCES)
@settings(deadline=None, max_examples=100)
def test_written_records_are_read_back(encoding, parts):
    """Stretches of differences of so many bits, so that words of every kind occur."""
    steps = [np.random.default_rng(seed).integers(-(1 << bits) // 2, (1 << bits) // 2 + 1, n)
             for bits, n, seed in parts]  # fmt: skip
    data = np.cumsum(np.concatenate(steps)).clip(-(1 << 28), 1 << 28).astype(np.int32)
    content = written(data, encoding, 256)

    ((_, samples),) = decode(content, rows_of(content))

    np.testing.assert_array_equal(samples, data)


@pytest.mark.parametrize("kind", ["int32", "float32", "float64"])
def test_plain_numbers_keep_their_kind(kind):
    data = np.random.default_rng(0).normal(0, 1e6, 500).astype(kind)
    content = written(data, {"int32": "INT32", "float32": "FLOAT32", "float64": "FLOAT64"}[kind])

    ((_, samples),) = decode(content, rows_of(content))

    assert samples.dtype == kind
    np.testing.assert_array_equal(samples, data)


# Bytes of a record: its last sample as it says, a word in its midst, how many samples there are,
# where they begin, where the blockettes begin and go on.
@pytest.mark.parametrize("place", [75, 144, 31, 44, 47, 51])
def test_a_record_with_a_wrong_header_is_dropped_alone(place):
    data = np.random.default_rng(0).integers(-99, 99, 2000).astype(np.int32)
    content = written(data, "STEIM2").copy()
    counts = rows_of(content)["n_samples"]
    content[512 + place] ^= 0x55

    ((rows, samples),) = decode(content, rows_of(content))

    assert rows["offset"].tolist() == [512 * k for k in range(counts.size) if k != 1]
    np.testing.assert_array_equal(samples, np.delete(data, np.arange(counts[0], counts[:2].sum())))
