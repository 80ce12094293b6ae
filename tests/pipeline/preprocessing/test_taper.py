"""Detrend and taper against SciPy and an explicit formula."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from xcor_daemon.pipeline.preprocessing.taper import detrend, taper

NOISE = np.random.default_rng(0).standard_normal((2, 3, 501))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32, np.float64])
def test_detrend_subtracts_the_least_squares_line(dtype):
    # An offset that float32 cannot hold beside the noise, as of many recorded counts.
    offset = 1e4 if dtype == np.int16 else 5e8
    counts = (offset + 5 * np.arange(501) + 1000 * NOISE).astype(dtype)

    detrended = detrend(counts)

    expected = scipy.signal.detrend(counts.astype(np.float64))
    assert detrended.dtype == np.float32
    np.testing.assert_allclose(detrended, expected, atol=1e-3 if dtype != np.float32 else 0.1)


def test_detrend_works_in_place_and_on_one_trace():
    trace = NOISE[0, 0].astype(np.float32)
    expected = detrend(trace)

    assert detrend(trace, out=trace) is trace
    assert trace.tobytes() == expected.tobytes()


def test_the_taper_is_half_a_period_of_a_cosine():
    weights = np.ones(501)
    weights[:50] = (1 - np.cos(np.pi * (np.arange(50) + 0.5) / 50)) / 2
    weights[-50:] = weights[:50][::-1]

    np.testing.assert_allclose(taper(NOISE, 50), NOISE * weights, rtol=1e-6, atol=1e-7)


def test_a_taper_of_no_samples_changes_nothing():
    np.testing.assert_array_equal(taper(NOISE, 0), NOISE.astype(np.float32))


@pytest.mark.parametrize("n_taper", [-1, 251])
def test_tapers_that_overlap_are_an_error(n_taper):
    with pytest.raises(ValueError, match=f"n_taper = {n_taper} samples .* half a window"):
        taper(NOISE, n_taper)


@pytest.mark.parametrize(
    "out",
    [
        np.empty((2, 3, 501)),
        np.empty((3, 501), dtype=np.float32),
        np.empty((2, 3, 1002), dtype=np.float32)[..., ::2],
    ],
    ids=["float64", "shape", "strided"],
)
@pytest.mark.parametrize("verb", [detrend, lambda windows, out: taper(windows, 5, out)])
def test_a_result_array_that_does_not_fit_is_an_error(verb, out):
    with pytest.raises(ValueError, match="use contiguous float32 of shape \\(2, 3, 501\\)"):
        verb(NOISE, out=out)


@pytest.mark.parametrize("shape", [(0, 501), (0,), (3, 0)])
def test_nothing_stays_nothing(shape):
    assert detrend(np.empty(shape)).shape == taper(np.empty(shape), 0).shape == shape
