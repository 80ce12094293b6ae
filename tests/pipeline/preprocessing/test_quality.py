"""Quality rules: each drops its own windows, no others, and none unless it is on."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy.signal.spectral_estimation import get_nlnm
from paths import DATA
from truth import DAY, MIDNIGHT, PARAMS, SPAN, utc

from xcor_daemon.errors import NoDataError, RequestError
from xcor_daemon.pipeline.datatypes import NS, Samples, Segment, day_start
from xcor_daemon.pipeline.preprocessing import quality
from xcor_daemon.pipeline.preprocessing.band import margin
from xcor_daemon.pipeline.preprocessing.channel import prepare
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.request.params import XcorParams
from xcor_daemon.request.stations import Channel

LOOSE = replace(PARAMS, fs=4, freqmin=0.1, freqmax=1, cc_len=3600, cc_step=1800)
FS = 4.0


def recorded(*spoils):
    """A day of noise in counts, spoilt; each of ``spoils`` changes the samples in place."""
    data = np.random.default_rng(1).normal(0, 1000, round(FS * 86400)).astype(np.int32)
    for spoil in spoils:
        spoil(data)
    return Samples((Segment(MIDNIGHT, FS, data),), "test", data.nbytes)


def flat(data):
    data[40000 : 40000 + 400] = 77  # 100 s from 02:46:40 on


def clipped(data):
    np.clip(data, -2500, 2500, out=data)
    data[:200_000] //= 2
    data[200_000:201_000] = 2500  # in a row, and nowhere else


def spike(data):
    data[100_000] = 2_000_000


def earthquake(data):
    data[160_000:170_000] *= 50


def checked(samples, **rules):
    params = replace(LOOSE, **rules)
    covered = prepare(samples, (), SPAN, DAY, params)
    by_samples, first = quality.check_samples(samples, covered.candidates, MIDNIGHT, params)
    kept, second = quality.check_motion(covered.motion(), by_samples, params)
    return covered.candidates, kept, first + second


def windows_at(first, stop):
    """Which windows hold samples [first, stop)."""
    starts = np.arange(LOOSE.n_windows) * LOOSE.cc_step * FS
    return (starts < stop) & (starts + LOOSE.cc_len * FS > first)


@pytest.mark.parametrize(
    ("spoil", "rule", "span"),
    [
        (flat, {"max_flat": 99}, (40000, 40400)),
        (spike, {"max_std": 15}, (100_000, 100_001)),
        (earthquake, {"max_median": 5}, (160_000, 170_000)),
    ],
)
def test_a_rule_drops_its_windows_only_if_it_is_on(spoil, rule, span):
    kept, found, dropped = checked(recorded(spoil), **rule)

    bad = windows_at(*span)
    np.testing.assert_array_equal(found, kept & ~bad)
    assert dropped == f"{next(iter(rule))}={bad.sum()}"
    _, unchanged, nothing = checked(recorded(spoil))
    np.testing.assert_array_equal(unchanged, kept)
    assert nothing == ""


@pytest.mark.parametrize("rule", [{"max_flat": 101}, {"max_std": 40}, {"max_median": 500}])
def test_windows_within_a_rule_are_accepted(rule):
    kept, found, dropped = checked(recorded(flat), **rule)

    np.testing.assert_array_equal(found, kept)
    assert dropped == ""


def test_clipped_windows_are_those_with_samples_in_a_row_at_the_limit():
    kept, found, dropped = checked(recorded(clipped), drop_clipped=True)

    bad = windows_at(200_000, 201_000)
    assert not found[bad].any()
    assert found[: np.flatnonzero(bad)[0]].all()
    assert dropped == f"drop_clipped={(kept & ~found).sum()}"


def test_a_flat_channel_is_flat_and_not_clipped():
    def constant(data):
        data[:] = 5

    _, found, dropped = checked(recorded(constant), max_flat=10, drop_clipped=True, max_std=10)

    assert not found.any()
    assert dropped == f"max_flat={LOOSE.n_windows}"


def test_a_clock_that_steps_too_often_is_rejected():
    data = np.random.default_rng(1).normal(0, 1000, round(FS * 86400)).astype(np.int32)
    parts = np.split(data, 24)
    late = 0.3 / FS * NS  # more every hour
    segments = tuple(
        Segment(MIDNIGHT + round(k * (3600 * NS + late)), FS, part) for k, part in enumerate(parts)
    )
    samples = Samples(segments, "test", data.nbytes)

    assert quality.clock_steps(samples) == 23
    checked(samples, max_steps=23)
    with pytest.raises(NoDataError, match="steps; 23 exceed max_steps = 22") as caught:
        checked(samples, max_steps=22)
    assert caught.value.status == "refused"


def test_a_gap_is_no_step():
    data = np.arange(1000, dtype=np.int32)
    segments = (Segment(0, 1.0, data), Segment(1010 * NS, 1.0, data))

    assert quality.clock_steps(Samples(segments, "test", 0)) == 0


def test_the_low_noise_model_is_petersons():
    periods, decibels = get_nlnm()

    ours = 10 * np.log10(quality.low_noise(1 / periods))

    np.testing.assert_allclose(ours, decibels, atol=0.2)


@pytest.mark.parametrize("band", [(0.05, 0.12), (0.1, 0.2)])
def test_the_dead_sensor_of_this_is_found_and_its_neighbour_lives(band):
    """BK.THIS moves by hundreds of counts a day, none of it the ground's (README of the data)."""
    params = XcorParams(*(1, *band, 1800, 1800, 200), drop_dead=True)
    spans = ((utc("2022-01-01"), utc("2022-01-04")),)
    channels = [Channel("CI", "WBM", "", "LHZ", spans), Channel("BK", "THIS", "00", "LHZ", spans)]
    archive = Archive(DATA / "ci_bk_2022")
    metadata = archive.metadata(channels, "velocity")
    day = date(2022, 1, 2)
    midnight, aside = day_start(day), round(margin(params) * NS)
    start, end = midnight - aside, midnight + 86400 * NS + aside
    verdicts = []
    for channel, samples in archive.fetch(channels, start, end):
        epochs = metadata.at(channel.id, midnight, midnight + 1)
        covered = prepare(samples, epochs, [(0, 1 << 62)], day, params)
        try:
            verdicts.append(quality.check_motion(covered.motion(), covered.candidates, params)[1])
        except NoDataError as error:
            verdicts.append(str(error).partition(";")[0])

    assert verdicts == ["", "dead channel"]


@pytest.mark.parametrize(
    "changes",
    [{"response": "none"}, {"response": "velocity", "freqmin": 12, "freqmax": 20, "fs": 50}],
)
def test_dead_channels_are_found_by_their_ground_motion_only(changes):
    with pytest.raises(RequestError, match="drop_dead = true requires"):
        replace(PARAMS, **{"drop_dead": True, **changes})


def runs_by_hand(data, least, values=None):
    """Every run of equal samples, one sample after the other."""
    edges = [0, *(np.flatnonzero(np.diff(data)) + 1), data.size]
    runs = itertools.pairwise(edges)
    return [(a, b) for a, b in runs if b - a >= least and (values is None or data[a] in values)]


@pytest.mark.parametrize("kind", [np.int32, np.float32, np.float64])
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=40),
    least=st.integers(2, 9),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_runs_are_those_that_are_found_sample_by_sample(kind, lengths, least, seed):
    values = np.random.default_rng(seed).integers(-2, 3, len(lengths)).astype(kind)
    data = np.repeat(values, lengths)

    assert quality._runs(data, least) == runs_by_hand(data, least)
    low, high = data.min(), data.max()
    assert quality._runs_of(data, low, high, 3) == runs_by_hand(data, 3, (low, high))


def test_amplitudes_are_those_of_numpy():
    window = np.random.default_rng(0).normal(7, 3, 36000).astype(np.float32)

    largest, std = quality._amplitude(window)

    mean = window.mean(dtype=np.float64)
    assert largest == pytest.approx(np.abs(window - mean).max(), rel=1e-6)
    assert std == pytest.approx(window.std(dtype=np.float64), rel=1e-9)
