"""Samples -> windows against ObsPy, plain float64 and arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import obspy
import pytest
from reference import whiten
from truth import DAY, MIDNIGHT, PARAMS, SPAN, Noise, prepared, record

from xcor_daemon.errors import NoDataError
from xcor_daemon.pipeline.datatypes import NS, Epoch, Samples, Segment
from xcor_daemon.pipeline.preprocessing.band import Band, Grid, margin
from xcor_daemon.pipeline.preprocessing.channel import prepare, real_samples
from xcor_daemon.pipeline.preprocessing.decimation import decimation_filter, filter_gain, plan_rates
from xcor_daemon.pipeline.preprocessing.spectral_normalisation import normalise
from xcor_daemon.pipeline.preprocessing.time_normalisation import running_mean
from xcor_daemon.pipeline.preprocessing.windows import preprocess_windows
from xcor_daemon.pipeline.sources.stationxml import curve


@pytest.fixture(scope="module")
def noise():
    return Noise(3)


def constant(n, fs=1.0, start=0.0):
    """A record of ``n`` samples that starts so many seconds after midnight."""
    data = np.arange(n, dtype=np.int32)
    return Samples((Segment(MIDNIGHT + round(start * NS), fs, data),), "test", 4 * n)


@pytest.mark.parametrize("fs_raw", [20.0, 25.0, 40.0, 50.0, 100.0, 200.0])
def test_frequencies_aliased_onto_the_band_are_attenuated_by_90_dB(fs_raw):
    top = Band.of(PARAMS).top
    rates = plan_rates(fs_raw, PARAMS.fs, 900000, top)
    taps = decimation_filter(fs_raw, rates.factor, top)
    folds = np.linspace(rates.fs_middle - top, fs_raw / 2, 5000)
    kept = np.linspace(0, top, 2000)

    stopped = np.abs(filter_gain(taps, folds, fs_raw))

    if rates.factor > 1:
        assert stopped.max() < 10 ** (-88 / 20)
    assert np.abs(filter_gain(taps, kept, fs_raw) - 1).max() < 1e-3  # and divided out


@pytest.mark.parametrize(
    ("fs_raw", "fs"), [(100, 10), (40, 25), (1, 1), (20, 30), (19.99987, 20), (50, 8), (1.00005, 1)]
)
def test_both_rates_span_the_same_time(fs_raw, fs):
    rates = plan_rates(fs_raw, fs, 864000, fs / 2 * 0.8)

    drift = rates.n_middle / rates.fs_middle - rates.n_grid / fs
    assert rates.n_grid >= 864000
    assert abs(drift) < 1e-3


def test_ground_motion_equals_obspys_remove_response_in_band_to_half_a_percent(noise):
    inventory = obspy.read_inventory()
    response = inventory.select(station="RJOB", channel="EHZ")[0][-1].channels[0].response
    params = replace(PARAMS, response="velocity", freqmin=0.1, freqmax=2.0)
    samples = record(noise, 0.0, fs=20.0)
    epochs = (Epoch(0, 2 * MIDNIGHT, response=curve(response, "velocity", 10.0)),)
    trace = obspy.Trace(samples.segments[0].data.astype(float), {"sampling_rate": 20.0})
    trace.stats.response = response
    trace.detrend("linear").taper(None, max_length=20)
    trace.remove_response(output="VEL", pre_filt=(0.025, 0.05, 4.0, 5.0), water_level=None)

    ours = prepare(samples, epochs, SPAN, DAY, params).motion()

    first = 400 * 20
    theirs = trace.data[first : first + 86400 * 20 : 2]
    window = np.hanning(ours.size)
    spectra = [np.fft.rfft(x * window) for x in (ours, theirs)]
    frequency = np.fft.rfftfreq(ours.size, 0.1)
    band = (frequency > 0.15) & (frequency < 1.6)
    gain = Band.of(params).gain(frequency[band])
    error = spectra[0][band] / gain - spectra[1][band]
    assert np.linalg.norm(error) < 5e-3 * np.linalg.norm(spectra[1][band])


def test_two_response_epochs_in_a_day_are_two_responses(noise):
    response = obspy.read_inventory().select(station="RJOB", channel="EHZ")[0][-1][0].response
    one = curve(response, "velocity", 10.0)
    double = replace(one, log_amplitude=one.log_amplitude + np.log(2))
    noon = MIDNIGHT + 43200 * NS
    samples, params = record(noise, 0.0), replace(PARAMS, response="velocity")
    single = (Epoch(0, 2 * noon, response=one),)
    whole = prepare(samples, single, SPAN, DAY, params).motion()
    epochs = (Epoch(0, noon, response=one), Epoch(noon, 2 * noon, response=double))

    both = prepare(samples, epochs, SPAN, DAY, params).motion()

    away = 1200 * 10  # samples from the change, where tapers ring
    noon_at = 43200 * 10
    scale = np.abs(whole).max()
    assert np.abs(both - whole)[: noon_at - away].max() < 1e-4 * scale
    assert np.abs(2 * both - whole)[noon_at + away :].max() < 1e-4 * scale


def test_an_epoch_without_a_response_is_rejected_with_its_reason(noise):
    epochs = (Epoch(0, 2 * MIDNIGHT, problem="polynomial response"),)
    with pytest.raises(NoDataError, match="polynomial response"):
        prepare(record(noise, 0.0), epochs, SPAN, DAY, replace(PARAMS, response="velocity"))


def test_a_channel_sampled_too_slowly_for_the_band_is_rejected():
    with pytest.raises(NoDataError, match="freqmax = 2 Hz exceeds the Nyquist frequency"):
        prepared(constant(86400))


def test_the_band_has_half_its_gain_at_both_corners_and_none_below_freqmin_over_4():
    gain = Band(0.1, 2.0, 5.0).gain(np.array([0.0, 0.025, 0.1, 0.5, 2.0, 5.0]))

    np.testing.assert_allclose(gain, [0, 0, 0.5, 1, 0.5, 0], atol=2e-3)


@pytest.mark.parametrize(
    ("start", "first_real"), [(0.0, 0), (0.4, 0), (0.99, 0), (1.0, 1), (30.0, 30)]
)
def test_the_first_sample_after_midnight_misses_nothing_before_it(start, first_real):
    params = replace(PARAMS, fs=1, freqmax=0.3)
    real = real_samples(constant(86400, start=start), SPAN, Grid.of(DAY, params))

    assert int(real.argmax()) == first_real
    assert real[first_real:].all()


def test_samples_outside_the_requested_times_count_as_missing():
    params = replace(PARAMS, fs=1, freqmax=0.3)

    result = prepare(constant(86400), (), [(7200, 14400)], DAY, params)

    assert np.flatnonzero(result.candidates).tolist() == [4, 5, 6]  # 02:00, 02:30 and 03:00
    assert result.coverage[3] == pytest.approx(0.5)


@pytest.mark.parametrize(("least", "n_kept"), [(1.0, 45), (0.9, 47)])
def test_min_coverage_selects_candidate_windows(noise, least, n_kept):
    gap = (3600.0, 3900.0)  # 300 of 3600 s are missing in two windows

    result = prepared(record(noise, 0.0, gaps=[gap]), replace(PARAMS, min_coverage=least))

    assert int(result.candidates.sum()) == n_kept
    assert result.coverage[[1, 2]] == pytest.approx(1 - 300 / 3600, abs=1e-3)


def test_windows_are_detrended_and_tapered_over_20_s():
    params = replace(PARAMS, whiten=False)
    ramp = np.linspace(5, 9, 864000).astype(np.float32)
    wave = np.sin(2 * np.pi * np.arange(864000) / 50).astype(np.float32)

    made = preprocess_windows(ramp + wave, np.array([0, 18000]), params)

    inside = slice(200, -200)
    assert np.abs(made[0] - (wave[:36000] - wave[:36000].mean()))[inside].max() < 2e-3
    assert np.abs(made[:, 0]).max() < 1e-4


def test_whitened_windows_have_the_bands_modulus_and_their_own_phase(noise):
    made = preprocess_windows(prepared(record(noise, 0.0)).motion(), np.array([36000]), PARAMS)
    modulus = Band.of(PARAMS).whitened(np.fft.rfftfreq(36000, 0.1))

    white, _ = normalise(made.copy(), PARAMS)

    reference = whiten(made[0], modulus)
    assert np.abs(white[0, 0] - reference).max() < 1e-5 * np.abs(reference).max()


@pytest.mark.parametrize("scale", [1e-12, 1e9])
@pytest.mark.parametrize("method", ["cross-correlation", "coherence", "deconvolution"])
def test_the_unit_of_a_window_divides_out(noise, scale, method):
    params = replace(PARAMS, whiten=method == "cross-correlation", method=method)
    made = preprocess_windows(prepared(record(noise, 0.0)).motion(), np.array([36000]), PARAMS)
    made /= np.abs(made).max()
    powers = (-1, 1) if method == "deconvolution" else (0, 0)  # as first, as second

    plain = normalise(made.copy(), params)
    scaled = normalise(made * np.float32(scale), params)

    for one, other, power in zip(plain, scaled, powers, strict=True):
        np.testing.assert_allclose(
            other / np.float32(scale) ** power, one, atol=1e-4 * np.abs(one).max()
        )


def test_a_dead_window_stays_zero():
    white, _ = normalise(np.zeros((1, 36000), dtype=np.float32), PARAMS)

    assert not white.any()


def test_the_running_mean_uses_fewer_samples_at_the_ends():
    x = np.array([[1.0, 2, 3, 4, 10]], dtype=np.float32)

    np.testing.assert_allclose(running_mean(x, 1), [[1.5, 2, 3, 17 / 3, 7]])


def test_the_margin_holds_the_pre_filter_and_the_taper():
    assert margin(PARAMS) == 120
    assert margin(replace(PARAMS, freqmin=0.001)) == 2800


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "phase"},
        {"method": "coherence", "whiten": False},
        {"method": "deconvolution", "whiten": False},
        {"time_norm": "clip", "clip_factor": 3.0},
        {"normalisation": "coefficient"},
    ],
)
def test_a_window_does_not_depend_on_the_windows_beside_it(changes):
    params = replace(PARAMS, **changes)
    starts = np.arange(9) * params.n_step
    motion = np.random.default_rng(0).standard_normal(starts[-1] + params.n_samples, np.float32)
    together = normalise(preprocess_windows(motion, starts, params), params)

    for n in range(1, 9):
        alone = normalise(preprocess_windows(motion, starts[9 - n :], params), params)
        for side, whole in zip(alone, together, strict=True):
            assert side.tobytes() == whole[9 - n :].tobytes()
