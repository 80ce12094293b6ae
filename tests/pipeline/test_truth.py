"""The truth table: known travel times, gaps and clocks in, known correlations out."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import scipy.signal
from truth import DELAYS, PARAMS, SPAN, Noise, prepared, record

from xcor_daemon.pipeline.correlation.correlate import correlate, plan_segments
from xcor_daemon.pipeline.datatypes import NS, day_start
from xcor_daemon.pipeline.preprocessing.channel import prepare
from xcor_daemon.pipeline.preprocessing.spectral_normalisation import n_components
from xcor_daemon.pipeline.preprocessing.windows import paired_windows
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.request.stations import Channel


@pytest.fixture(scope="module")
def noise():
    return Noise()


@pytest.fixture(scope="module")
def early(noise):
    return record(noise, DELAYS["XX.S00..BHZ"])


@pytest.fixture(scope="module")
def late(noise):
    return record(noise, DELAYS["XX.S01..BHZ"])


def corr_of(first, second, params=PARAMS):
    """(n_windows, n_lags) of two records, through the shipped chain."""
    made = [prepared(first, params), prepared(second, params)]
    kept = np.array([one.candidates for one in made])
    motions = [one.motion() for one in made]
    corr = np.zeros((params.n_windows, 2 * params.n_lags + 1), dtype=np.float32)

    def sink(rows, row, part):
        corr[row : row + part.shape[1]] = part[0]

    correlate(
        lambda channel, indices: paired_windows(motions[channel], indices, params),
        kept,
        (np.array([0]), np.array([1])),
        plan_segments(params.n_samples, params.n_lags, params.circular),
        sink,
        n_components=n_components(params),
    )
    return corr


def lag_of_peak(corr, params=PARAMS):
    """Lag of the largest value of the mean, by a parabola through three samples (s)."""
    mean = np.nanmean(corr, axis=0)
    k = mean.argmax()
    a, b, c = mean[k - 1 : k + 2]
    return (k - params.n_lags + 0.5 * (a - c) / (a - 2 * b + c)) / params.fs


@pytest.mark.parametrize(
    ("first", "second", "lag"),
    [("S00", "S01", 5.5), ("S00", "S02", 12.0), ("S01", "S02", 6.5)],
)
def test_the_peak_stands_exactly_on_the_sample_of_the_travel_time(noise, first, second, lag):
    delays = [DELAYS[f"XX.{station}..BHZ"] for station in (first, second)]

    corr = corr_of(*(record(noise, delay) for delay in delays))

    assert (corr.argmax(axis=-1) - PARAMS.n_lags == round(lag * PARAMS.fs)).all()


@pytest.mark.parametrize("fs", [8.0, 25.0, 40.0, 50.0, 100.0])
def test_another_sampling_rate_moves_the_peak_by_less_than_5_ms(noise, late, fs):
    assert lag_of_peak(corr_of(record(noise, 0.0, fs), late)) == pytest.approx(5.5, abs=5e-3)


@pytest.mark.parametrize("offset", [0.02, 0.049, 0.0001])
def test_a_clock_off_the_grid_moves_the_peak_by_less_than_2_ms(noise, early, offset):
    corr = corr_of(early, record(noise, 5.5, offset=offset))

    assert lag_of_peak(corr) == pytest.approx(5.5, abs=2e-3)


@pytest.mark.parametrize("late", [0.025, 0.075, 0.1, 0.175])
def test_the_fraction_of_a_sample_at_which_norsar_starts_is_corrected(norsar, late):
    """Its traces start at any multiple of 25 ms, while a sample is 0.2 s (README of the data)."""
    params = replace(PARAMS, fs=20, freqmin=0.3, freqmax=2, cc_len=1800, cc_step=1800, maxlag=20)
    archive = Archive(norsar)
    day = date(2019, 1, 1)
    channel = Channel("NO", next(iter(archive.index)).split(".")[1], "", "BHZ", ())
    ((_, true),) = archive.fetch([channel], day_start(day), day_start(day) + 86400 * NS)
    moved = [replace(s, start=s.start + round(late * NS)) for s in true.segments]
    series = [
        prepare(samples, (), SPAN, day, params).motion()
        for samples in (true, replace(true, segments=tuple(moved)))
    ]

    full = scipy.signal.correlate(series[1], series[0], "same")
    middle = full.size // 2
    corr = full[middle - params.n_lags : middle + params.n_lags + 1]

    assert lag_of_peak(corr[None], params) == pytest.approx(late, abs=2e-3)


def test_a_rate_that_drifts_from_its_nominal_value_is_followed(noise, early):
    corr = corr_of(early, record(noise, 5.5, fs=20.0 * 1.00005))

    assert lag_of_peak(corr) == pytest.approx(5.5, abs=5e-3)


def test_90_missing_minutes_blank_the_windows_they_touch_and_no_other(noise, early, late):
    hour = 3600
    gap = (6 * hour + 600, 7 * hour + 2400)  # 06:10 to 07:40
    starts = np.arange(PARAMS.n_windows) * PARAMS.cc_step
    touched = (starts < gap[1]) & (starts + PARAMS.cc_len > gap[0])

    corr = corr_of(early, record(noise, 5.5, gaps=[gap]))

    complete = corr_of(early, late)
    assert (np.isnan(corr).all(axis=-1) == touched).all()
    assert np.abs(corr - complete)[~touched].max() < 1e-4 * np.abs(complete).max()


def test_half_a_day_missing_leaves_12_windows_of_an_hour(noise, early):
    params = replace(PARAMS, cc_step=3600)

    corr = corr_of(early, record(noise, 5.5, gaps=[(43200, 87000)]), params)

    assert (~np.isnan(corr).any(axis=-1)).sum() == 12
    assert lag_of_peak(corr, params) == pytest.approx(5.5, abs=2e-3)


def test_a_day_has_47_windows_of_an_hour_every_half_hour_and_189_at_the_defaults():
    assert PARAMS.n_windows == 47
    assert replace(PARAMS, cc_len=1800, cc_step=450).n_windows == 189


def test_an_autocorrelation_is_largest_at_zero_lag_and_there_the_sum_of_squares(early):
    params = replace(PARAMS, whiten=False)
    cut, _ = paired_windows(prepared(early, params).motion(), np.arange(params.n_windows), params)

    corr = corr_of(early, early, params)

    assert (np.abs(corr).argmax(axis=-1) == params.n_lags).all()
    np.testing.assert_allclose(corr[:, params.n_lags], (cut[:, 0] ** 2).sum(-1), rtol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"time_norm": "onebit"},
        {"time_norm": "clip"},
        {"time_norm": "ram"},
        {"whiten": False},
        {"method": "coherence", "whiten": False},
        {"method": "deconvolution", "whiten": False},
        {"method": "phase"},
        {"circular": True},
        {"normalisation": "coefficient"},
        {"freqmax": 5.0},
        {"fs": 4.0, "freqmax": 2.0},
        {"fs": 30.0},
    ],
    ids=str,
)
def test_every_option_keeps_the_travel_time_and_changes_the_values(early, late, change):
    params = replace(PARAMS, **change)
    plain = corr_of(early, late)

    corr = corr_of(early, late, params)

    assert lag_of_peak(corr, params) == pytest.approx(5.5, abs=5e-3)
    assert corr.shape != plain.shape or np.abs(corr - plain).max() > 1e-4 * np.abs(plain).max()
