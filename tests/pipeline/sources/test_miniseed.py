import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from obspy import Stream, Trace, UTCDateTime, read
from paths import DATA

from xcor_daemon.errors import NoDataError
from xcor_daemon.pipeline.datatypes import NS
from xcor_daemon.pipeline.sources import stationxml  # noqa: F401  it takes ObsPy's plug-in away
from xcor_daemon.pipeline.sources.miniseed import channel_samples
from xcor_daemon.pipeline.sources.mseed_headers import scan

NASTY = DATA / "nasty"
ALL = (-(1 << 62), 1 << 62)  # ns
WBM = "CI.WBM..LHZ"


def read_nasty(name, channel_id=WBM):
    return channel_samples([scan((NASTY / name).read_bytes())], channel_id, *ALL, "test")


def total(result):
    return sum(float(segment.data.sum(dtype=float)) for segment in result.segments)


def record_bytes(data, start="2020-01-01", fs=1.0, **options):
    header = {"network": "XX", "station": "S00", "channel": "LHZ", "sampling_rate": fs}
    trace = Trace(np.asarray(data), {**header, "starttime": UTCDateTime(start)})
    written = io.BytesIO()
    Stream([trace]).write(written, format="MSEED", **{"reclen": 512, **options})
    return written.getvalue()


def join(*contents, span=ALL):
    return channel_samples([scan(b"".join(contents))], "XX.S00..LHZ", *span, "test")


def noise(n, seed=0):
    return np.random.default_rng(seed).integers(-1000, 1000, n, dtype=np.int32)


def test_identical_repeats_are_joined():
    twice, overlap = read_nasty("whole_series_twice.mseed"), read_nasty("overlap_identical.mseed")

    for result in (twice, overlap):
        assert (len(result.segments), result.n_samples, total(result)) == (1, 21600, -7043720)
        assert result.warnings == ()


def test_samples_that_records_disagree_about_become_a_gap():
    result = read_nasty("overlap_conflicting.mseed")

    assert [s.data.size for s in result.segments] == [8400, 12600]
    assert result.warnings == ("600 samples left out where records disagree",)


def test_a_third_copy_does_not_settle_a_disagreement():
    data = noise(300)
    again = record_bytes(data[100:200], "2020-01-01T00:01:40")
    other = record_bytes(data[100:200] + 1, "2020-01-01T00:01:40")

    result = join(record_bytes(data), other, again)

    assert [s.data.size for s in result.segments] == [100, 100]
    assert result.segments[1].start - result.segments[0].start == 200 * NS


def test_records_out_of_order_are_sorted():
    result = read_nasty("out_of_order.mseed")

    assert (len(result.segments), total(result)) == (1, -7043720)


def test_a_channel_that_changes_its_rate_keeps_the_rate_of_most_samples():
    result = read_nasty("rate_changes_1Hz_to_2Hz.mseed")

    assert (result.fs, result.n_samples) == (2.0, 21599)
    assert result.warnings == ("10800 samples at 1 Hz left out, the channel has 2 Hz",)


def test_nan_and_infinity_become_gaps():
    result = read_nasty("nan_and_inf_float32.mseed")

    assert result.n_samples == 21600 - 11
    assert all(np.isfinite(segment.data).all() for segment in result.segments)
    assert result.segments[0].data.dtype == np.float32
    assert result.warnings == ("11 samples left out, not finite",)


def test_a_corrupt_record_costs_itself_only():
    result = read_nasty("one_corrupt_record.mseed")

    assert result.warnings == ("1 record could not be decoded",)
    assert 21000 < result.n_samples < 21600
    gap = result.segments[1].start - result.segments[0].end
    assert result.n_samples + gap / NS == 21600


def test_a_clock_that_jumps_begins_a_segment_at_its_own_time():
    result = read_nasty("clock_step_0.7s_at_middle.mseed")

    first, second = result.segments
    assert second.start - first.end == 0.7 * NS


def test_a_clock_that_drifts_over_many_records_is_followed():
    data = noise(6000)
    drift = 0.15  # s, from each record to the next: libmseed joins them all
    contents = [
        record_bytes(data[k * 100 : (k + 1) * 100], UTCDateTime(2020, 1, 1) + k * (100 + drift))
        for k in range(60)
    ]

    result = join(*contents)

    assert result.n_samples == 6000
    position = 0
    for segment in result.segments:
        k, rest = divmod(position, 100)
        true = UTCDateTime(2020, 1, 1).ns + round((k * (100 + drift) + rest) * NS)
        assert abs(segment.start - true) < 0.35 * NS
        position += segment.data.size
    assert all(
        b.start >= a.end for a, b in zip(result.segments[:-1], result.segments[1:], strict=True)
    )


def test_a_neighbour_with_another_clock_does_not_move_the_day():
    data = noise(1100)
    before = record_bytes(data[:100], "2020-01-01T00:00:00.000")
    day = record_bytes(data[100:], "2020-01-01T00:01:40.025")

    result = channel_samples([scan(before), scan(day)], "XX.S00..LHZ", *ALL, "test")

    assert [s.start for s in result.segments] == [UTCDateTime("2020-01-01T00:00:00.025").ns]


def test_jitter_below_half_a_sample_does_not_break_a_segment():
    starts = ["2020-01-01T00:00:00.25", "2020-01-01T00:01:40.45", "2020-01-01T00:03:20.05"]
    data = noise(300)

    result = join(*(record_bytes(data[k * 100 :][:100], t) for k, t in enumerate(starts)))

    assert len(result.segments) == 1
    assert result.segments[0].start == UTCDateTime(starts[0]).ns
    np.testing.assert_array_equal(result.segments[0].data, data)


def test_trimming_keeps_samples_from_the_start_on_and_before_the_end():
    content = record_bytes(noise(1000), "2020-01-01T00:00:00.4")
    start, end = UTCDateTime(2020, 1, 1, 0, 1).ns, UTCDateTime(2020, 1, 1, 0, 2).ns

    result = join(content, span=(start, end))

    (segment,) = result.segments
    assert (segment.start - start, segment.data.size) == (0.4 * NS, 60)


def test_only_records_of_the_requested_time_are_decoded():
    content = record_bytes(noise(100_000))
    start = UTCDateTime("2020-01-01T12:00:00").ns

    result = join(content, span=(start, start + 60 * NS))

    assert result.n_samples == 60
    assert result.n_bytes <= 1024


@pytest.mark.parametrize("encoding", ["STEIM1", "STEIM2", "INT32", "INT16", "FLOAT32", "FLOAT64"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_encoding_and_byte_order_gives_obspys_samples(encoding, byteorder):
    kind = {"INT16": "i2", "FLOAT32": "f4", "FLOAT64": "f8"}.get(encoding, "i4")
    content = record_bytes(noise(5000).astype(kind), encoding=encoding, byteorder=byteorder)

    (segment,) = join(content).segments

    (trace,) = read(io.BytesIO(content), format="MSEED", check_compression=False)
    assert segment.data.dtype == trace.data.dtype
    np.testing.assert_array_equal(segment.data, trace.data)


def test_channels_of_one_file_do_not_mix():
    content = (NASTY / "two_channels.mseed").read_bytes()
    records = scan(content)

    for channel_id in ("BW.UH3..EHE", "BW.UH3..EHZ"):
        (segment,) = channel_samples([records], channel_id, *ALL, "test").segments
        stream = read(io.BytesIO(content), format="MSEED", check_compression=False)
        np.testing.assert_array_equal(segment.data, stream.select(id=channel_id)[0].data)


def test_a_time_without_records_has_a_reason():
    with pytest.raises(NoDataError, match="no samples at this time") as caught:
        join(record_bytes(noise(100)), span=(0, NS))
    assert caught.value.status == "nodata"


def test_text_is_no_waveform():
    records = scan((NASTY / "rt130_sr0_cropped.mseed").read_bytes())

    with pytest.raises(NoDataError):
        channel_samples([records], "GR.FUR..LOG", *ALL, "test")


def test_a_record_that_promises_more_samples_than_it_can_hold_is_no_record():
    content = bytearray(record_bytes(noise(100)))
    content[30:32] = (60_000).to_bytes(2, "big")

    assert scan(bytes(content)).rows.size == 0


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bytes_neither_crash_nor_hang(seed):
    rng = np.random.default_rng(seed)
    content = np.frombuffer(record_bytes(noise(3000)), np.uint8).copy()
    places = rng.integers(0, content.size, 40)
    content[places] = rng.integers(0, 256, places.size)
    records = scan(content[: rng.integers(1, content.size)])

    for channel_id in records.spans():
        try:
            result = channel_samples([records], channel_id, *ALL, "test")
        except NoDataError:
            continue
        assert all(np.isfinite(s.data).all() for s in result.segments)


class _Exploit:
    def __reduce__(self):
        return (Path.touch, (Path("exploited"),))


def test_a_pickle_is_neither_read_nor_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(_Exploit())

    assert scan(content).rows.size == 0
    with pytest.raises(TypeError):  # with the plug-in removed, ObsPy does not recognise the format
        read(io.BytesIO(content))  # the lint rule allows this one: it proves the point

    assert not Path("exploited").exists()
