"""The whole chain, from counts to correlations, against the plain way in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import obspy
import pytest
import reference
from truth import DAY, MIDNIGHT, PARAMS, SPAN, Noise, record

from xcor_daemon.pipeline.correlation.correlate import correlate, plan_segments
from xcor_daemon.pipeline.datatypes import Epoch
from xcor_daemon.pipeline.preprocessing.band import Band
from xcor_daemon.pipeline.preprocessing.channel import prepare
from xcor_daemon.pipeline.preprocessing.windows import paired_windows
from xcor_daemon.pipeline.sources.stationxml import curve

CHAIN = replace(PARAMS, response="velocity", cc_step=3600, maxlag=100)
DELAYS = (0.0, 5.5)


@pytest.fixture(scope="module")
def rjob():
    """A response of four stages."""
    inventory = obspy.read_inventory()
    return inventory.select(station="RJOB", channel="EHZ")[0][-1].channels[0].response


def ours(noise, response, fs_raw):
    epochs = (Epoch(0, 2 * MIDNIGHT, response=curve(response, "velocity", fs_raw / 2)),)
    motions = [
        prepare(record(noise, delay, fs_raw), epochs, SPAN, DAY, CHAIN).motion() for delay in DELAYS
    ]
    corr = np.empty((CHAIN.n_windows, 2 * CHAIN.n_lags + 1), np.float32)

    def sink(rows, row, part):
        corr[row : row + part.shape[1]] = part[0]

    correlate(
        lambda channel, which: paired_windows(motions[channel], which, CHAIN),
        np.ones((2, CHAIN.n_windows), bool),
        (np.array([0]), np.array([1])),
        plan_segments(CHAIN.n_samples, CHAIN.n_lags, circular=False),
        sink,
    )
    return corr


def plainly(noise, response, fs_raw):
    step = round(fs_raw / CHAIN.fs)
    records = [record(noise, delay, fs_raw).segments[0].data for delay in DELAYS]
    frequency = np.fft.rfftfreq(records[0].size, 1 / fs_raw)
    gain = np.zeros(frequency.size, complex)
    inside = Band.of(CHAIN).gain(frequency) > 0
    known = response.get_evalresp_response_for_frequencies(frequency[inside], "VEL")
    gain[inside] = Band.of(CHAIN).gain(frequency[inside]) / known
    motions = [reference.motion(counts, fs_raw, gain, step)[400 * 10 :] for counts in records]
    n = CHAIN.n_samples
    modulus = Band.of(CHAIN).whitened(np.fft.rfftfreq(n, 1 / CHAIN.fs)).astype(float)
    cut = [
        [reference.window(motion, k * n, n, 200, modulus) for k in range(CHAIN.n_windows)]
        for motion in motions
    ]
    return np.array(
        [reference.correlate_windows(a, b, CHAIN.n_lags) for a, b in zip(*cut, strict=True)]
    )


@pytest.mark.parametrize("fs_raw", [20.0, 100.0])
def test_the_whole_chain_is_float64s_within_1e_4_of_the_maximum(fs_raw, rjob):
    noise = Noise(5)

    got, want = ours(noise, rjob, fs_raw), plainly(noise, rjob, fs_raw)

    error = np.abs(got - want).max(axis=1) / np.abs(want).max(axis=1)
    print(f"{fs_raw:g} Hz: {error.max():.1e} of the maximum at most")
    assert error.max() < 1e-4
