"""Windows cut from a series."""

from __future__ import annotations

import numpy as np
import pytest

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
