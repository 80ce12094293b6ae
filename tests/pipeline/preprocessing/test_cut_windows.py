"""Windows cut from a series."""

from __future__ import annotations

import numpy as np
import pytest

from xcor_daemon.pipeline.correlation.cross_correlation import cross_correlate
from xcor_daemon.pipeline.preprocessing.spectral_normalisation import whiten
from xcor_daemon.pipeline.preprocessing.taper import detrend, taper
from xcor_daemon.pipeline.preprocessing.time_normalisation import (
    clip,
    one_bit,
    running_absolute_mean,
)
from xcor_daemon.pipeline.preprocessing.windows import cut_windows


def test_windows_are_slices_of_the_series_and_a_copy():
    series = np.arange(100)

    windows = cut_windows(series, [0, 25, 90], 10)

    assert windows.dtype == np.float32
    assert windows.tolist() == [series[k : k + 10].tolist() for k in (0, 25, 90)]
    windows[:] = 0
    assert series[1] == 1


@pytest.mark.parametrize("starts", [[-1], [0, 91]])
def test_a_window_that_exceeds_the_series_is_an_error(starts):
    with pytest.raises(
        ValueError, match=r"windows of 10 samples .* exceed the series \(0 to 100\)"
    ):
        cut_windows(np.arange(100), starts, 10)


def test_no_window_is_no_error():
    assert cut_windows(np.arange(5), np.array([], dtype=int), 10).shape == (0, 10)


def test_windows_with_a_gap_are_missing_in_the_correlation():
    """A masked series, as ObsPy merges traces with a gap: no window near it is correlated."""
    noise = np.random.default_rng(5).standard_normal(10_000)
    gap = np.zeros(10_000, dtype=bool)
    gap[3_200:3_300] = True
    series = np.ma.masked_array(noise, gap)

    corr = []
    for one in (series, noise):
        cut = cut_windows(one, np.arange(0, 10_000, 1000), 1000)
        for normalise in (one_bit, lambda x: clip(x, 3), lambda x: running_absolute_mean(x, 20)):
            white = whiten(taper(normalise(detrend(cut)), 50), (1, 10), 50.0)
            corr.append(cross_correlate(white, white, 30))

    for masked, complete in zip(corr[:3], corr[3:], strict=True):
        assert np.flatnonzero(np.isnan(masked).all(axis=-1)).tolist() == [3]
        others = np.arange(10) != 3
        np.testing.assert_array_equal(masked[others], complete[others])


def test_a_masked_trace_is_detrended_to_nan_as_a_whole():
    masked = np.ma.masked_array(np.arange(6), [0, 0, 1, 0, 0, 0])

    assert np.isnan(detrend(masked)).all()
    assert np.isnan(taper(masked, 0)).tolist() == [False, False, True, False, False, False]
