"""Series in memory or on disk read back the same."""

from __future__ import annotations

import numpy as np
import pytest

from xcor_daemon.pipeline.units import buffer


@pytest.mark.parametrize("memory", [0, 10**9])
def test_series_come_back_as_they_were_put_and_nothing_is_left(tmp_path, monkeypatch, memory):
    monkeypatch.setattr(buffer, "MEMORY", memory)
    series = np.random.default_rng(0).standard_normal((5, 1000)).astype(np.float32)

    with buffer.Shelf(tmp_path, 5, 1000) as rows:
        for place in (3, 0, 4):
            rows.put(place, series[place])
        for place in (0, 3, 4):
            np.testing.assert_array_equal(rows.take(place), series[place])
        assert not list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_series_of_another_length_is_refused(tmp_path):
    with buffer.Shelf(tmp_path, 1, 10) as rows, pytest.raises(ValueError, match="10"):
        rows.put(0, np.zeros(9, dtype=np.float32))
