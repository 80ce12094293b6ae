"""Downloads that a killed job had made are not made again."""

from __future__ import annotations

import numpy as np
import pytest
from truth import utc

from xcor_daemon.errors import NoDataError
from xcor_daemon.pipeline.datatypes import Epoch, Metadata, ResponseCurve, Samples, Segment
from xcor_daemon.pipeline.sources.cache import CachedSource
from xcor_daemon.request.stations import Channel

SPANS = ((utc("2020-01-01"), utc("2020-01-02")),)
A, B, C = (Channel("XX", name, "", "BHZ", SPANS) for name in "ABC")
SAMPLES = Samples(
    (
        Segment(5, 20.0, np.arange(9, dtype=np.int32)),
        Segment(10**12, 20.0, np.linspace(0, 1, 7, dtype=np.float32)),
    ),
    "fdsn:SOMEWHERE",
    123,
    ("two samples left out",),
)


class Remote:
    """A centre that has A, does not have B and cannot be reached for C."""

    name = "remote"

    def __init__(self):
        self.asked = []

    def fetch(self, channels, start, end):
        for channel in channels:
            self.asked.append(channel.station)
            answers = {"A": SAMPLES, "B": NoDataError("none"), "C": NoDataError("down", "failed")}
            yield channel, answers[channel.station]


def test_downloads_are_cached_and_failures_are_not(tmp_path):
    first = dict(CachedSource(Remote(), tmp_path).fetch([A, B, C], 0, 100))
    remote = Remote()

    again = dict(CachedSource(remote, tmp_path).fetch([A, B, C], 0, 100))

    assert remote.asked == ["C"]
    assert first[A] is SAMPLES
    assert (again[A].source, again[A].n_bytes) == ("fdsn:SOMEWHERE", 123)
    assert (again[A].warnings, again[A].fs) == (SAMPLES.warnings, 20.0)
    for ours, theirs in zip(again[A].segments, SAMPLES.segments, strict=True):
        assert ours.start == theirs.start
        assert ours.data.dtype == theirs.data.dtype
        np.testing.assert_array_equal(ours.data, theirs.data)
    assert [str(again[c]) for c in (B, C)] == ["none", "down"]


def test_another_time_is_another_file_and_a_day_that_is_done_is_forgotten(tmp_path):
    remote = Remote()
    kept = CachedSource(remote, tmp_path)
    list(kept.fetch([A], 0, 100))

    list(kept.fetch([A], 0, 101))
    kept.discard(0, 100)
    list(kept.fetch([A], 0, 100))
    list(kept.fetch([A], 0, 101))

    assert remote.asked == ["A"] * 3


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_a_file_that_is_cut_is_fetched_again(tmp_path, content):
    remote = Remote()
    kept = CachedSource(remote, tmp_path)
    list(kept.fetch([A], 0, 100))
    path = tmp_path / "0-100" / "XX.A..BHZ.npz"
    path.write_bytes(path.read_bytes()[:300] if content is None else content)

    ((_, result),) = kept.fetch([A], 0, 100)

    assert result is SAMPLES
    assert remote.asked == ["A", "A"]


CURVE = ResponseCurve(*np.random.default_rng(0).random((3, 50)))
DESCRIBED = Metadata(
    {
        A.id: (Epoch(-5, 10, 1.5, -2.5, 3.0, CURVE), Epoch(10, 1 << 62, response=CURVE)),
        B.id: (Epoch(0, 9, problem="polynomial", warning="off"),),
    }
)


class Described(Remote):
    """A data centre that returns fixed metadata and counts the requests."""

    def metadata(self, channels, response):
        self.asked.append(response)
        return DESCRIBED


def test_metadata_are_requested_once_in_the_life_of_a_job(tmp_path):
    CachedSource(Described(), tmp_path / "job").metadata([A, B], "velocity")
    remote = Described()
    again = CachedSource(remote, tmp_path / "job")

    found = again.metadata([A, B], "velocity")

    assert remote.asked == []
    assert found.epochs.keys() == DESCRIBED.epochs.keys()
    first, second = found.epochs[A.id]
    assert first.response is second.response
    for name in ("frequency", "log_amplitude", "phase"):
        np.testing.assert_array_equal(getattr(first.response, name), getattr(CURVE, name))
    assert (first.start, first.end, first.longitude) == (-5, 10, -2.5)
    assert np.isnan(second.latitude)
    (odd,) = found.epochs[B.id]
    assert (odd.response, odd.problem, odd.warning) == (None, "polynomial", "off")
    again.metadata([A], "velocity")
    again.metadata([A, B], "none")
    assert remote.asked == ["velocity", "none"]


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 100])
def test_damaged_metadata_are_requested_again(tmp_path, content):
    CachedSource(Described(), tmp_path).metadata([A], "velocity")
    (path,) = tmp_path.glob("metadata-*")
    path.write_bytes(content)
    remote = Described()

    assert CachedSource(remote, tmp_path).metadata([A], "velocity") is DESCRIBED
    assert remote.asked == ["velocity"]
