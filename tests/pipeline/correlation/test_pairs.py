"""Which pairs there are, and how far apart, against ObsPy and arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy.geodetics import gps2dist_azimuth
from truth import PARAMS, utc

from xcor_daemon.pipeline.correlation.pairs import pair_table
from xcor_daemon.pipeline.datatypes import Epoch
from xcor_daemon.request.pairs import count_pairs
from xcor_daemon.request.stations import Channel

SPANS = ((utc("2020-01-01"), utc("2020-01-02")),)


def channels(*ids, **extra):
    return [Channel(*text.split("."), SPANS, **extra) for text in ids]


def test_distances_and_azimuths_are_obspys():
    two = channels("A.A..BHZ", "B.B..BHZ")
    epochs = [Epoch(0, 1, 60.8, 10.8, 300), Epoch(0, 1, -33.0, 179.9, 5)]

    table = pair_table(two, epochs, PARAMS)

    metres, azimuth, back = gps2dist_azimuth(60.8, 10.8, -33.0, 179.9)
    assert table.distance[0] == pytest.approx(metres / 1000, abs=1e-6)
    assert table.azimuth[0] == pytest.approx(azimuth, abs=1e-6)
    assert table.back_azimuth[0] == pytest.approx(back, abs=1e-6)
    assert table.names == ["A.A..BHZ|B.B..BHZ"]


def test_a_pair_without_coordinates_is_listed_with_a_distance_of_nan():
    table = pair_table(
        channels("A.A..BHZ", "B.B..BHZ"), [None, None], replace(PARAMS, max_distance=5)
    )

    assert np.isnan(table.distance).all()
    assert table.first.size == 1


def test_bands_and_locations_of_one_station_are_channels_of_their_own():
    ids = ["A.A..BHZ", "A.A..HHZ", "A.A.00.BHZ", "A.A.10.BHZ"]

    table = pair_table(channels(*ids), [None] * 4, PARAMS)

    assert table.names == [f"{a}|{b}" for i, a in enumerate(ids) for b in ids[i + 1 :]]


def test_coordinates_of_stations_csv_stand_in_for_missing_metadata():
    two = channels("A.A..BHZ", "B.B..BHZ", latitude=1.0, longitude=2.0, elevation=3.0)

    table = pair_table(two, [None, Epoch(0, 1, 1.0, 3.0, 0.0)], PARAMS)

    assert table.distance[0] == pytest.approx(111.3, abs=0.2)
    assert table.elevation.tolist() == [3.0, 0.0]


def test_pairs_beyond_max_distance_are_left_out():
    epochs = [Epoch(0, 1, 0, 0), Epoch(0, 1, 0, 0.01), Epoch(0, 1, 0, 1)]

    table = pair_table(
        channels("A.A..Z", "A.B..Z", "A.C..Z"), epochs, replace(PARAMS, max_distance=50)
    )

    assert table.names == ["A.A..Z|A.B..Z"]


@settings(max_examples=80, deadline=None)
@given(
    codes=st.sets(
        st.tuples(st.sampled_from("AB"), st.sampled_from("PQRS"), st.sampled_from("ZNE")),
        min_size=1,
    ),
    autocorrelations=st.booleans(),
    same_station=st.booleans(),
    components=st.sampled_from([(), ("ZZ",), ("ZN", "NN"), ("Z?",), ("?N", "NZ")]),
)
def test_the_table_the_estimate_and_the_rule_for_one_pair_agree(
    codes, autocorrelations, same_station, components
):
    ids = sorted(f"{n}.{s}..BH{c}" for n, s, c in codes)
    params = replace(
        PARAMS,
        autocorrelations=autocorrelations,
        same_station=same_station,
        components=components,
    )
    some = channels(*ids)

    table = pair_table(some, [None] * len(some), params)

    by_rule = [
        f"{a.id}|{b.id}" for i, a in enumerate(some) for b in some[i:] if params.selects(a, b)
    ]
    assert table.names == by_rule
    assert count_pairs(tuple(some), params) == len(by_rule)
