"""dv/v of real stacks that were stretched by known amounts, and the errors against scatter."""

from functools import cache

import h5py
import numpy as np
import pytest
from paths import DATA

from xcor_daemon.pipeline.measure import dvv
from xcor_daemon.pipeline.measure.dvv import Coda

JULIA = DATA / "seisnoise/reference_BP.EADB-BP.LCCB-11.jld2"
LAGS = np.arange(-2000, 2001) / 20
CODA = Coda(min_lag=10, max_lag=80, freqmin=0.2, freqmax=0.5, max_dvv=0.02)
BOTH = sorted(dvv.METHODS)


@cache
def real_stack(band="0.2-0.5"):
    """A stack of 12 years between two stations at Parkfield, made by SeisNoise.jl."""
    with h5py.File(JULIA) as file:
        entry = file["2010-01-01T00:00:00--2022-06-01T00:00:00"][band][()]
        return file[entry["corr"]][0].astype(np.float64)


def stretched(trace, change):
    """trace(t (1 + change)) from its Fourier series: exact, and no spline as in the code."""
    return stretched_once(trace.tobytes(), change)


@cache
def stretched_once(trace, change):
    lags, trace = LAGS, np.frombuffer(trace)
    spectrum = np.fft.rfft(trace)
    samples = (lags * (1 + change) - lags[0]) / (lags[1] - lags[0])
    turns = np.exp(2j * np.pi * np.outer(samples, np.arange(spectrum.size)) / trace.size)
    spectrum[1:] *= 2
    return (turns @ spectrum).real / trace.size


@pytest.fixture(scope="module")
def reference():
    return real_stack()


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(
    ("band", "changes"),
    [
        ("0.2-0.5", [-0.01, -0.003, -0.0005, 0, 0.0002, 0.001, 0.004, 0.012]),
        ("0.5-0.9", [-0.003, -0.0005, 0, 0.0002, 0.001, 0.004]),
        ("0.9-1.2", [-0.003, -0.0005, 0, 0.0002, 0.001, 0.004]),
        ("1.2-2.0", [-0.002, -0.0005, 0, 0.0002, 0.001]),
    ],
)
def test_known_stretches_of_a_real_stack_are_found(method, band, changes):
    trace = real_stack(band)
    freqmin, freqmax = (float(f) for f in band.split("-"))
    coda = Coda(10, 80, freqmin, freqmax, 0.02)
    stacks = np.array([stretched(trace, change) for change in changes], dtype=np.float32)

    got = dvv.METHODS[method](trace.astype(np.float32), stacks, LAGS, coda)

    assert np.abs(got.dvv - changes).max() < 5e-5
    assert (got.correlation > 0.9999).all()
    assert (got.error < 5e-5).all()


@pytest.mark.parametrize("method", BOTH)
def test_a_wave_that_arrives_earlier_is_a_higher_velocity(method, reference):
    earlier = stretched(reference, 0.002)  # a wave at 50 s arrives at 49.9 s

    assert dvv.METHODS[method](reference, earlier[None], LAGS, CODA).dvv[0] > 0.0019


@pytest.mark.parametrize("method", BOTH)
def test_the_error_is_the_scatter_under_noise(method, reference):
    random = np.random.default_rng(2)
    spectrum = np.fft.rfft(random.standard_normal((40, LAGS.size)))
    frequency = np.fft.rfftfreq(LAGS.size, 0.05)
    noise = np.fft.irfft(spectrum * ((frequency > 0.2) & (frequency < 0.5)), LAGS.size)
    inside = CODA.lag_mask(LAGS)
    noise *= np.std(reference[inside]) / np.std(noise[:, inside]) * 0.5
    stacks = stretched(reference, 0.001) + noise

    got = dvv.METHODS[method](reference, stacks, LAGS, CODA)

    scatter = np.std(got.dvv)
    assert abs(np.median(got.dvv) - 0.001) < 4 * scatter / np.sqrt(40) + 5e-5
    assert 0.5 < np.median(got.error) / scatter < 2
    assert got.correlation == pytest.approx(1 / np.sqrt(1.25), abs=0.1)


def test_the_error_of_a_stretch_is_the_formula_of_weaver():
    coda = Coda(10, 50, 0.1, 1.0, 0.02)  # T = 1/0.9 s, w = 2 pi 0.55

    got = dvv.weaver_error(np.array([0.8, 1.0, -0.1]), coda)

    root = np.sqrt(6 * 1.2533141 * (1 / 0.9) / ((2 * np.pi * 0.55) ** 2 * (50**3 - 10**3)))
    assert got[0] == pytest.approx(0.6 / 1.6 * root, rel=1e-6)
    assert got[1] == 0
    assert np.isnan(got[2])


@pytest.mark.parametrize("method", BOTH)
def test_stacks_that_cannot_be_compared_have_a_dvv_of_nan(method, reference):
    missing, dead = reference.copy(), np.zeros_like(reference)
    missing[0] = np.nan
    stacks = np.stack([reference, missing, dead, 1e-20 * reference, 1e20 * reference])

    got = dvv.METHODS[method](reference, stacks, LAGS, CODA)

    assert np.array_equal(np.isnan(got.dvv), [False, True, True, False, False])
    assert np.nanmax(np.abs(got.dvv)) < 1e-6
    nothing = dvv.METHODS[method](missing, stacks, LAGS, CODA)
    assert np.isnan([nothing.dvv, nothing.error, nothing.correlation]).all()
    assert dvv.METHODS[method](reference, stacks[:0], LAGS, CODA).dvv.shape == (0,)


@pytest.mark.parametrize("method", BOTH)
def test_a_change_beyond_the_search_is_not_given(method, reference):
    coda = Coda(10, 80, 0.2, 0.5, 0.003)

    got = dvv.METHODS[method](reference, stretched(reference, 0.006)[None], LAGS, coda)

    assert np.isnan(got.dvv[0])
    assert np.isnan(got.error[0])


@pytest.mark.parametrize(("begin", "end"), [(10, 99), (50, 54), (98.5, 99.5)])
def test_a_coda_beyond_the_lags_is_an_error(begin, end, reference):
    with pytest.raises(ValueError, match="or exceeds the largest usable lag"):
        dvv.stretching(reference, reference[None], LAGS, Coda(begin, end, 0.2, 0.5, 0.02))
