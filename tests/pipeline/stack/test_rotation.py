"""Rotated correlations are correlations of rotated data."""

from __future__ import annotations

import numpy as np
import pytest
from obspy.signal.rotate import rotate_ne_rt
from scipy.signal import correlate
from truth import PARAMS, utc

from xcor_daemon.pipeline.correlation.pairs import pair_table
from xcor_daemon.pipeline.datatypes import Epoch
from xcor_daemon.pipeline.stack.rotation import rotate
from xcor_daemon.request.stations import Channel

SPANS = ((utc("2020-01-01"), utc("2020-01-02")),)
N, M = 400, 30


def table(*places, components="ENZ"):
    """Pairs of stations at (latitude, longitude), three components each."""
    codes = [(f"S{k}", f"BH{c}") for k in range(len(places)) for c in components]
    channels = [Channel("XX", station, "", code, SPANS) for station, code in codes]
    epochs = [Epoch(0, 1, *place) for place in places for _ in components]
    return pair_table(channels, epochs, PARAMS)


def data(n_stations):
    """Motion by station and component E, N, Z."""
    return np.random.default_rng(0).standard_normal((n_stations, 3, N))


def corr(first, second):
    full = correlate(second, first, "full")
    return full[N - 1 - M : N + M]


def all_corr(pairs, motion):
    series = motion.reshape(-1, N)
    places = zip(pairs.first, pairs.second, strict=True)
    return np.array([corr(series[i], series[j]) for i, j in places])


@pytest.mark.parametrize("place", [(0.0, 1.0), (1.0, 0.0), (-1.0, -2.0), (50.0, 120.0)])
def test_rotating_correlations_is_rotating_the_data(place):
    pairs = table((0.0, 0.0), place)
    motion = data(2)

    rotated, stacks, counts = rotate(pairs, all_corr(pairs, motion), np.arange(pairs.first.size))

    azimuth, back_azimuth = rotated.azimuth[0], rotated.back_azimuth[0]
    turned = motion.copy()
    for station, away in ((0, (azimuth + 180) % 360), (1, back_azimuth)):
        # ObsPy's R points away from the back azimuth it is given.
        east, north, _ = motion[station]
        turned[station, 0], turned[station, 1] = rotate_ne_rt(north, east, away)
    expected = [corr(turned[0, a], turned[1, b]) for a in range(3) for b in range(3)]
    np.testing.assert_allclose(stacks, expected, atol=1e-4)
    assert rotated.names[1] == "XX.S0..BHR|XX.S1..BHT"  # RT, not TR
    assert rotated.names[3] == "XX.S0..BHT|XX.S1..BHR"
    assert (counts == counts[0]).all()


def test_every_station_pair_with_nine_components_is_rotated_and_no_other():
    pairs = table((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    stacks = np.zeros((pairs.first.size, 5), np.float32)

    rotated, series, _ = rotate(pairs, stacks, np.ones(pairs.first.size, int))

    assert len(rotated.names) == 27
    assert series.shape == (27, 5)
    assert rotated.channels[:3] == ("XX.S0..BHR", "XX.S0..BHT", "XX.S0..BHZ")


@pytest.mark.parametrize(
    "pairs",
    [
        table((0.0, 0.0), (0.0, 1.0), components="EZ"),
        table((0.0, 0.0), (np.nan, 1.0)),
        table((0.0, 0.0), (0.0, 0.0)),
    ],
    ids=["two components", "no coordinates", "one place"],
)
def test_without_nine_components_or_a_direction_nothing_is_rotated(pairs):
    stacks = np.zeros((pairs.first.size, 5), np.float32)

    rotated, series, counts = rotate(pairs, stacks, np.ones(pairs.first.size, int))

    assert rotated.names == []
    assert (series.shape, counts.shape) == ((0, 5), (0,))
