"""The correlation of two arrays against the plain float64 form."""

from __future__ import annotations

import numpy as np
import pytest
from reference import correlate_circular, correlate_windows

from xcor_daemon.pipeline.correlation.cross_correlation import cross_correlate

FIRST, SECOND = np.random.default_rng(3).standard_normal((2, 9, 2000))


@pytest.mark.parametrize(
    ("circular", "reference"), [(False, correlate_windows), (True, correlate_circular)]
)
@pytest.mark.parametrize("n_lags", [1, 40, 1999])
def test_each_window_is_correlated_with_its_counterpart(circular, reference, n_lags):
    corr = cross_correlate(FIRST, SECOND, n_lags, circular=circular)

    assert corr.shape == (9, 2 * n_lags + 1)
    expected = np.array([reference(a, b, n_lags) for a, b in zip(FIRST, SECOND, strict=True)])
    np.testing.assert_allclose(corr, expected, atol=2e-5 * np.abs(expected).max())


def test_a_wave_that_arrives_later_at_the_second_channel_peaks_at_positive_lag():
    wave = np.random.default_rng(4).standard_normal(3000)

    corr = cross_correlate(wave[100:2100], wave[88:2088], 30)

    assert corr.shape == (61,)
    assert corr.argmax() - 30 == 12


def test_a_window_with_a_gap_in_either_channel_is_nan():
    first, second = FIRST.copy(), SECOND.copy()
    first[2, 100], second[7, 0] = np.nan, np.inf

    corr = cross_correlate(first, second, 20)

    complete = np.isfinite(corr).all(axis=-1)
    assert np.flatnonzero(~complete).tolist() == [2, 7]
    assert np.isnan(corr[~complete]).all()
    assert corr[complete].tobytes() == cross_correlate(FIRST, SECOND, 20)[complete].tobytes()


def test_the_result_does_not_depend_on_the_threads():
    plain = cross_correlate(FIRST, SECOND, 20)

    assert cross_correlate(FIRST, SECOND, 20, threads=3).tobytes() == plain.tobytes()


def test_no_window_gives_no_correlation():
    assert cross_correlate(FIRST[:0], SECOND[:0], 20).shape == (0, 41)


@pytest.mark.parametrize(
    ("second", "n_lags", "message"),
    [
        (SECOND[:8], 20, r"first has shape \(9, 2000\) and second \(8, 2000\)"),
        (SECOND[:, :-1], 20, "both must have the same"),
        (SECOND, 2000, r"n_lags = 2000 is not between 1 and n_samples - 1 \(1999\)"),
    ],
)
def test_arrays_that_do_not_fit_are_an_error(second, n_lags, message):
    with pytest.raises(ValueError, match=message):
        cross_correlate(FIRST, second, n_lags)
