"""The methods beyond the original's three, against ObsPy, loops over the published formulas, and
statistics; stacks in parts; bootstrap."""

import numpy as np
import pytest
from obspy import Stream, Trace

from xcor_daemon.pipeline import stack
from xcor_daemon.request.parse import StackParams

FS = 10.0
N_LAGS = 121
LAGS = (np.arange(N_LAGS) - N_LAGS // 2) / FS
ALL = sorted(stack.METHODS)


def pulse(at=2.0, period=1.0):
    return np.cos(2 * np.pi * (LAGS - at) / period) * np.exp(-(((LAGS - at) / period) ** 2))


def noisy(n_windows=12, noise=0.5, seed=0):
    random = np.random.default_rng(seed).standard_normal((n_windows, N_LAGS))
    return (pulse() + noise * random).astype(np.float32)


def method(name, **columns):
    return stack.METHODS[name](StackParams(name, None, True, "1", **columns), FS, None)


def misfit(got, clean):
    return np.linalg.norm(got - clean) / np.linalg.norm(clean)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_nth_root_is_the_stack_of_obspy(order):
    windows = noisy()
    stream = Stream([Trace(row.astype(np.float64)) for row in windows])

    expected = stream.stack(stack_type=("root", order))[0].data

    np.testing.assert_allclose(stack.nth_root(windows, order), expected, rtol=0, atol=1e-6)


def test_median_is_that_of_numpy():
    for n in (1, 4, 5):
        windows = noisy(n)
        np.testing.assert_allclose(stack.median(windows), np.median(windows, axis=0), atol=1e-7)


def s_transform_by_loops(trace):
    """Stockwell et al. (1996), equation 3, in time: a Gaussian of width 1/f under a phasor."""
    n = trace.size
    out = np.zeros((n // 2 + 1, n), dtype=complex)
    out[0] = trace.mean()
    time = np.arange(n)
    for k in range(1, n // 2 + 1):
        for tau in range(n):
            # The transform is periodic in the trace: all its repeats are under the window.
            away = tau - time[:, None] + n * np.arange(-8, 9)
            window = (k / n / np.sqrt(2 * np.pi) * np.exp(-(((away * k / n) ** 2) / 2))).sum(axis=1)
            out[k, tau] = (trace * window * np.exp(-2j * np.pi * k * time / n)).sum()
    return out


@pytest.mark.parametrize("power", [1, 2])
def test_time_frequency_phase_weighting_is_the_formula_of_the_paper(power):
    windows = noisy(5)[:, 40:76].astype(np.float64)  # 36 is a fast length: no padding
    n = windows.shape[1]
    # Schimmel et al. (2011): the unit phasor has its phase turned back by 2 pi f tau.
    turn = np.exp(2j * np.pi * np.arange(n // 2 + 1)[:, None] * np.arange(n) / n)
    transforms = [s_transform_by_loops(row) for row in windows]
    coherence = np.abs(np.mean([s * turn / np.abs(s) for s in transforms], axis=0))
    weighted = coherence**power * s_transform_by_loops(windows.mean(axis=0))
    expected = np.fft.irfft(weighted.sum(axis=1), n)

    got = stack.time_frequency_phase_weighted(windows, FS, power)

    # The Gaussian in frequency is cut at Nyquist, where the loops' goes on for ever.
    assert misfit(got, expected) < 0.02


def test_outside_its_band_a_time_frequency_stack_is_the_linear_one():
    windows = noisy(8)

    got = stack.time_frequency_phase_weighted(windows, FS, 2, (0.5, 2.0))

    n_fft = 125
    linear = np.fft.rfft(np.pad(stack.linear(windows), (0, n_fft - N_LAGS)))
    outside = np.fft.rfft(np.pad(got, (0, n_fft - N_LAGS)))
    frequency = np.fft.rfftfreq(n_fft, 1 / FS)
    high = frequency > 2.5
    # The cut of the padding leaks a little of the band.
    assert np.abs(outside - linear)[high].max() < 0.1 * np.abs(linear).max()
    assert misfit(got, pulse()) < misfit(stack.linear(windows), pulse())
    nothing = stack.time_frequency_phase_weighted(windows, FS, 2, (100.0, 200.0))
    np.testing.assert_allclose(nothing, stack.linear(windows), atol=1e-6)


@pytest.mark.parametrize("sharpness", [1, 2])
def test_adaptive_covariance_is_the_formula_of_the_paper(sharpness):
    windows = noisy(6).astype(np.float64)
    n_fft = 243  # the fast length above 2 * 121 - 1
    u = np.fft.rfft(windows, n_fft)
    cross = np.zeros(u.shape[1])
    for i in range(6):
        for j in range(6):
            if i != j:
                cross += (u[i] * u[j].conj()).real
    gain = np.clip(cross / (5 * (np.abs(u) ** 2).sum(axis=0)), 0, None)
    expected = np.fft.irfft(gain**sharpness * u.mean(axis=0), n_fft)[:N_LAGS]

    got = stack.adaptive_covariance(windows, sharpness)

    np.testing.assert_allclose(got, expected, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["phase-weighted", "tf-phase-weighted", "adaptive-covariance", "nth-root"]
)
def test_coherent_signals_have_a_higher_snr_than_in_the_mean(name):
    windows = noisy(40, noise=1.0)
    noise = np.abs(LAGS - 2) > 3

    def clearness(trace):
        return np.abs(trace).max() / np.std(trace[noise])

    assert clearness(method(name)(windows)) > 1.1 * clearness(stack.linear(windows))


def test_a_selective_stack_drops_windows_of_the_opposite_sign():
    windows = np.concatenate([noisy(9), -noisy(3, seed=1)])

    got = stack.selective(windows, FS)

    np.testing.assert_allclose(got, windows[:9].mean(axis=0), atol=1e-6)


def test_a_selective_stack_counts_the_windows_that_it_takes():
    windows = np.concatenate([noisy(9), -noisy(3, seed=1)])
    chosen = method("selective")

    trace, count = chosen.finish(chosen.gather(windows))
    nothing, none = method("selective", threshold=1.0).finish(windows)

    assert count == 9
    assert none == 0
    assert np.isnan(nothing).all()
    assert np.isfinite(trace).all()


def test_a_selective_stack_by_snr_takes_clear_windows():
    windows = noisy(20, noise=1.0)
    windows[::4] = noisy(5, noise=0.02)

    got = stack.selective(windows, FS, "snr", 12.0)

    np.testing.assert_allclose(got, windows[::4].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_windows_may_come_in_parts(name):
    windows = noisy(20)
    chosen = method(name)
    parts = [chosen.gather(part) for part in (windows[:3], windows[3:4], windows[4:])]

    trace, count = chosen.finish(chosen.merge(parts))

    assert count == 20
    np.testing.assert_allclose(trace, chosen(windows), atol=1e-6)


# Robust weights take a window that is drawn twice for agreement; a request for both is refused.
@pytest.mark.parametrize("name", [name for name in ALL if name != "robust"])
def test_the_bootstrap_error_is_the_spread_of_stacks_of_other_noise(name):
    many = np.stack([method(name)(noisy(30, seed=seed)) for seed in range(60)])

    error = stack.bootstrap(method(name), noisy(30), 60)

    # Both are estimates of a standard deviation at 121 lags; their mean squares agree.
    ratio = np.sqrt(np.mean(error**2) / np.mean(np.var(many, axis=0)))
    # The median of a resample takes few values; a filter made of the same windows fits them.
    assert 0.6 < ratio < 1.6


def test_the_bootstrap_error_of_a_mean_is_known():
    windows = np.stack([noisy(50), np.full((50, N_LAGS), np.nan, np.float32)])

    error = stack.bootstrap(stack.linear, windows, 400)

    expected = windows[0].std(axis=0) / np.sqrt(50)
    assert np.sqrt(np.mean((error[0] / expected - 1) ** 2)) < 0.06
    assert np.isnan(error[1]).all()
    assert np.isnan(stack.bootstrap(stack.linear, noisy(1), 10)).all()
    assert (stack.bootstrap(stack.linear, np.ones((4, 5)), 10) == 0).all()
    assert np.array_equal(error, stack.bootstrap(stack.linear, windows, 400), equal_nan=True)
    with pytest.raises(ValueError, match="at least 2"):
        stack.bootstrap(stack.linear, windows, 1)
