"""Series in memory or on disk read back the same."""

from __future__ import annotations

import numpy as np
import pytest

from xcor_daemon.pipeline.units import buffer


@pytest.mark.parametrize("memory", [0, 10**9])
def test_series_are_read_as_written_and_no_file_is_left(tmp_path, monkeypatch, memory):
    monkeypatch.setattr(buffer, "MAX_BYTES_IN_MEMORY", memory)
    series = np.random.default_rng(0).standard_normal((5, 1000)).astype(np.float32)

    with buffer.ChannelBuffer(tmp_path, 5, 1000) as series_buffer:
        for index in (3, 0, 4):
            series_buffer.write(index, series[index])
        for index in (0, 3, 4):
            np.testing.assert_array_equal(series_buffer.read(index), series[index])
        assert not list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_series_of_another_length_is_rejected(tmp_path):
    with buffer.ChannelBuffer(tmp_path, 1, 10) as short, pytest.raises(ValueError, match="10"):
        short.write(0, np.zeros(9, dtype=np.float32))
