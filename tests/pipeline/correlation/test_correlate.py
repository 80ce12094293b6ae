"""The correlation against the plain float64 form, over shapes that are easy to get wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import correlate_circular, correlate_windows

from xcor_daemon.pipeline.correlation import correlate as engine
from xcor_daemon.pipeline.correlation import kernel
from xcor_daemon.pipeline.correlation.correlate import correlate, plan_segments


def correlate_all(windows, n_lags, *, pairs=None, kept=None, circular=False, **options):
    """Correlations of arrays (n_channels, n_windows, n_components, n_samples), as one array."""
    n_channels, n_windows, n_components, n_samples = windows.shape
    kept = np.ones((n_channels, n_windows), dtype=bool) if kept is None else kept
    first, second = np.triu_indices(n_channels) if pairs is None else pairs
    groups = options.get("groups")
    n_rows = n_windows if groups is None else groups[-1] + 1
    corr = np.full((first.size, n_rows, 2 * n_lags + 1), 7.0, dtype=np.float32)
    calls = np.zeros(corr.shape[:2], dtype=int)

    def sink(rows, row, part):
        corr[rows, row : row + part.shape[1]] = part
        calls[rows, row : row + part.shape[1]] += 1

    def cut(channel, indices):
        assert kept[channel, indices].all()
        return windows[channel, indices], windows[channel, indices]

    plan = plan_segments(n_samples, n_lags, circular, n_components * n_windows / n_rows)
    correlate(cut, kept, (first, second), plan, sink, n_components=n_components, **options)
    assert (calls == 1).all()
    return corr


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def expected(windows, pair, window, n_lags, circular=False):
    one = correlate_circular if circular else correlate_windows
    i, j = pair
    return sum(
        one(windows[i, window, part], windows[j, window, part], n_lags)
        for part in range(windows.shape[2])
    )


def assert_close(corr, reference, windows, tolerance=1e-6):
    """Equal within ``tolerance`` of the maximum of an autocorrelation, the sum of squares."""
    assert np.abs(corr - reference).max() <= tolerance * (windows[0, 0] ** 2).sum()


def test_a_wave_that_reaches_the_second_channel_later_peaks_at_positive_lag():
    delay, n_lags = 25, 60
    field = noise(4, 925)
    windows = np.stack([field[:, delay:], field[:, :-delay]])[:, :, None, :]

    corr = correlate_all(windows, n_lags, pairs=(np.array([0]), np.array([1])))

    assert (corr[0].argmax(axis=-1) - n_lags == delay).all()


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize(
    ("n_samples", "n_lags"),
    [(1000, 50), (1001, 7), (500, 499), (640, 200), (333, 1), (401, 100), (18000, 600), (97, 24)],
)
def test_every_lag_equals_the_full_length_float64_correlation(n_samples, n_lags, circular):
    windows = noise(3, 2, 1, n_samples)

    corr = correlate_all(windows, n_lags, circular=circular)

    for row, pair in enumerate(zip(*np.triu_indices(3), strict=True)):
        for window in range(2):
            reference = expected(windows, pair, window, n_lags, circular)
            assert_close(corr[row, window], reference, windows)


@settings(max_examples=60, deadline=None)
@given(
    n_samples=st.integers(2, 900),
    share=st.floats(0.001, 0.999),
    n_channels=st.integers(1, 22),
    apart=st.integers(0, 3),
    n_components=st.integers(1, 2),
    circular=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_length_lag_and_number_of_channels_is_exact(
    n_samples, share, n_channels, apart, n_components, circular, seed
):
    n_lags = max(1, min(n_samples - 1, round(share * n_samples)))
    windows = noise(n_channels, 2, n_components, n_samples, seed=seed)
    i, j = np.triu_indices(n_channels, min(apart, n_channels - 1))

    corr = correlate_all(windows, n_lags, pairs=(i, j), circular=circular)

    row = seed % i.size
    reference = expected(windows, (i[row], j[row]), 1, n_lags, circular)
    scale = np.sqrt((windows[i[row], 1] ** 2).sum() * (windows[j[row], 1] ** 2).sum())
    assert np.abs(corr[row, 1] - reference).max() <= 2e-6 * scale


def test_an_autocorrelation_is_largest_at_zero_lag_where_it_is_the_sum_of_squares():
    windows = noise(2, 3, 1, 800)

    corr = correlate_all(windows, 80, pairs=(np.array([0, 1]), np.array([0, 1])))

    np.testing.assert_allclose(corr[:, :, 80], (windows[:, :, 0] ** 2).sum(axis=-1), rtol=1e-6)
    assert (np.abs(corr).argmax(axis=-1) == 80).all()


def test_a_missing_window_is_nan_for_its_pairs_only():
    windows, kept = noise(20, 4, 1, 600), np.ones((20, 4), dtype=bool)
    kept[1, 2], kept[19, 0] = False, False
    windows[~kept] = np.nan
    complete = correlate_all(np.nan_to_num(windows), 50)

    corr = correlate_all(windows, 50, kept=kept)

    i, j = np.triu_indices(20)
    lost = ~(kept[i] & kept[j])
    assert np.isnan(corr[lost]).all()
    np.testing.assert_array_equal(corr[~lost], complete[~lost])


@pytest.mark.parametrize("n_samples", [333, 2000])  # a window whole, and in blocks
def test_a_correlation_does_not_depend_on_the_others_computed_with_it(n_samples):
    n_lags = 100
    windows = noise(34, 5, 1, n_samples)
    i, j = np.triu_indices(34)
    everything = correlate_all(windows, n_lags)

    for n in range(1, 34):  # channels, and so groups of pairs, of every size
        first = slice(34 - n, None)
        own = np.flatnonzero(i >= 34 - n)
        corr = correlate_all(windows[first, : 1 + n % 5], n_lags)
        assert corr.tobytes() == everything[own, : 1 + n % 5].tobytes()


def test_a_channel_without_any_window_leaves_the_others_as_they_are():
    windows, kept = noise(3, 2, 1, 300), np.ones((3, 2), dtype=bool)
    kept[1] = False

    corr = correlate_all(windows, 20, kept=kept)

    i, j = np.triu_indices(3)
    assert (np.isnan(corr).all(axis=(1, 2)) == ((i == 1) | (j == 1))).all()


def test_groups_are_the_mean_over_windows_that_both_channels_have():
    windows, kept = noise(4, 6, 1, 500), np.ones((4, 6), dtype=bool)
    kept[1, 2], kept[2, 3:] = False, False
    groups = np.array([0, 0, 0, 1, 1, 1])

    corr = correlate_all(windows, 40, kept=kept, groups=groups)

    for row, (i, j) in enumerate(zip(*np.triu_indices(4), strict=True)):
        for group in range(2):
            both = np.flatnonzero(kept[i] & kept[j] & (groups == group))
            if not both.size:
                assert np.isnan(corr[row, group]).all()
                continue
            mean = np.mean([expected(windows, (i, j), w, 40) for w in both], axis=0)
            assert_close(corr[row, group], mean, windows)


def test_a_list_of_some_pairs_gives_the_rows_of_all_of_them():
    windows = noise(30, 2, 1, 400)
    i, j = np.triu_indices(30)
    some = np.flatnonzero((i * 7 + j) % 5 == 0)
    everything = correlate_all(windows, 30)

    corr = correlate_all(windows, 30, pairs=(i[some], j[some]))

    np.testing.assert_array_equal(corr, everything[some])


@pytest.mark.parametrize("groups", [None, np.array([0, 0, 1, 1, 1])])
@pytest.mark.parametrize("change", [{"threads": 3}, {"memory": 1}, {"memory": 1_000_000}])
def test_bytes_do_not_depend_on_threads_on_batches_or_on_blocks(monkeypatch, change, groups):
    windows, kept = noise(29, 5, 1, 2000), np.ones((29, 5), dtype=bool)
    kept[17, 1:4], kept[3, 0] = False, False
    plain = correlate_all(windows, 100, kept=kept, groups=groups)
    if "memory" in change:
        monkeypatch.setattr(engine, "MEMORY", change["memory"])

    threads = change.get("threads", 1)
    corr = correlate_all(windows, 100, kept=kept, groups=groups, threads=threads)

    assert corr.tobytes() == plain.tobytes()


def test_a_stack_of_many_windows_equals_the_mean_of_its_windows():
    windows = noise(50, 40, 1, 900)  # more blocks than a small tile takes at a time
    i, j = np.triu_indices(50)
    groups = np.zeros(40, dtype=int)

    stack = correlate_all(windows, 60, groups=groups)[:, 0]

    for row in (0, 7, 700, i.size - 1):
        mean = np.mean([expected(windows, (i[row], j[row]), w, 60) for w in range(40)], axis=0)
        assert_close(stack[row], mean, windows)


def test_products_are_not_written_across_lines_of_the_cache():
    spectra = kernel.empty_spectra(2, 1, 14)
    memory = kernel.empty_products(5, 14).reshape(-1)[1:]
    askew = memory[: 4 * spectra.shape[1] * kernel.LANE].reshape(4, -1)

    with pytest.raises(ValueError, match="empty_products"):
        kernel.multiply_tile(spectra[0], spectra[1], 0, 2, 0, 2, 0, np.arange(4), askew)


def test_block_spectra_are_not_written_across_lines_of_the_cache():
    memory = kernel.empty_spectra(2, 2, 14)
    askew = memory.reshape(-1)[1 : 1 + memory[0, :, :1].size].reshape(memory.shape[1], 1, 2, 2, -1)

    with pytest.raises(ValueError, match="empty_spectra"):
        kernel.store_spectra(np.zeros((1, 16), np.float32), 0, 0, askew)


def test_an_exception_of_the_sink_reaches_the_caller():
    def sink(rows, row, part):
        raise OSError("disk full")

    windows = noise(2, 1, 1, 100)
    one = np.array([0])
    with pytest.raises(OSError, match="disk full"):
        correlate(
            lambda c, w: (windows[c, w], windows[c, w]),
            np.ones((2, 1), dtype=bool),
            (one, one),
            plan_segments(100, 10, False),
            sink,
        )


@pytest.mark.parametrize(
    ("kept", "pairs", "groups", "message"),
    [
        (np.ones((2, 3)), ([0], [1]), None, "booleans"),
        (np.ones((2, 3), dtype=bool), ([0], [2]), None, "0 <= first <= second < 2"),
        (np.ones((2, 3), dtype=bool), ([1], [0]), None, "0 <= first <= second < 2"),
        (np.ones((2, 3), dtype=bool), ([0, 0], [1, 1]), None, "listed twice"),
        (np.ones((2, 3), dtype=bool), ([0], [1]), [0, 1], "3 numbers"),
        (np.ones((2, 3), dtype=bool), ([0], [1]), [1, 0, 2], "3 numbers"),
    ],
)
def test_shapes_that_do_not_fit_are_an_error(kept, pairs, groups, message):
    groups = None if groups is None else np.array(groups)
    with pytest.raises(ValueError, match=message):
        correlate(
            lambda c, w: (np.zeros((w.size, 1, 50), "f4"),) * 2,
            kept,
            tuple(np.array(p) for p in pairs),
            plan_segments(50, 5, False),
            lambda *_: None,
            groups=groups,
        )


@pytest.mark.parametrize("n_lags", [0, 50, 60])
def test_lags_outside_the_window_are_an_error(n_lags):
    with pytest.raises(ValueError, match="n_lags"):
        plan_segments(50, n_lags, False)
