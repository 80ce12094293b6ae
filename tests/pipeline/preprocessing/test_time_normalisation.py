"""Temporal normalisation on arrays, against explicit loops."""

from __future__ import annotations

import numpy as np
import pytest

from xcor_daemon.pipeline.preprocessing import time_normalisation
from xcor_daemon.pipeline.preprocessing.time_normalisation import (
    clamp,
    clip,
    mute,
    one_bit,
    running_absolute_mean,
)

WINDOWS = np.random.default_rng(1).standard_normal((4, 300)) * [[1e-9], [1], [1e6], [0]]


def running_absolute_mean_by_a_loop(window: np.ndarray, half: int) -> np.ndarray:
    means = [np.abs(window[max(0, k - half) : k + half + 1]).mean() for k in range(window.size)]
    return np.array([x / mean if mean else 0 for x, mean in zip(window, means, strict=True)])


def test_one_bit_keeps_signs_only():
    assert one_bit(WINDOWS).tolist() == np.sign(WINDOWS).tolist()


def test_clip_limits_each_window_by_its_own_standard_deviation():
    for clipped, window in zip(clip(WINDOWS, 1.5), WINDOWS, strict=True):
        limit = 1.5 * window.std()
        np.testing.assert_allclose(clipped, np.clip(window, -limit, limit), rtol=1e-5)


def test_clamp_limits_all_windows_by_one_amplitude():
    np.testing.assert_allclose(clamp(WINDOWS, 0.7), np.clip(WINDOWS, -0.7, 0.7), rtol=1e-6)


@pytest.mark.parametrize("half", [1, 20, 1000])
def test_the_running_absolute_mean_divides_by_the_amplitudes_around(half):
    normalised = running_absolute_mean(WINDOWS, half)

    for row, window in zip(normalised, WINDOWS, strict=True):
        expected = running_absolute_mean_by_a_loop(window, half)
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


def test_a_running_mean_of_one_sample_is_one_bit():
    np.testing.assert_allclose(running_absolute_mean(WINDOWS, 0), one_bit(WINDOWS), rtol=1e-6)


def test_mute_removes_a_burst_and_nothing_else():
    t = np.arange(3000)
    series = np.sin(0.4 * t) * np.where((t >= 1000) & (t < 1100), 100, 1)

    muted = mute(series.astype(np.float32), 5, np.array([0, 500, 2000]), 500)

    assert not muted[1010:1090].any()
    far = np.r_[:900, 1200:3000]
    np.testing.assert_array_equal(muted[far], series[far].astype(np.float32))


@pytest.mark.parametrize(
    ("verb", "settings"),
    [(one_bit, ()), (clip, (1.5,)), (clamp, (0.7,)), (running_absolute_mean, (20,))],
)
def test_a_verb_in_place_gives_the_same_bytes(verb, settings):
    windows = WINDOWS.astype(np.float32)
    before = windows.copy()
    expected = verb(windows, *settings)

    np.testing.assert_array_equal(windows, before)  # a new array by default
    assert verb(windows, *settings, out=windows) is windows
    assert windows.tobytes() == expected.tobytes()


def test_weights_of_nothing_do_not_amplify_without_limit():
    weights = np.array([1, 1, 1, 0, 1e-9], dtype=np.float32)

    divided = time_normalisation.divide_by_weights(np.ones(5, dtype=np.float32), weights)

    np.testing.assert_allclose(divided, [1, 1, 1, 1000, 1000], rtol=1e-5)
