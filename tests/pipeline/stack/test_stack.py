"""Stacks against ObsPy, SciPy and explicit loops, and the properties of every stack."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace
from scipy.signal import hilbert

from xcor_daemon.pipeline import stack
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.request.parse import StackParams

FS = 10.0
N_LAGS = 601
LAGS = (np.arange(N_LAGS) - N_LAGS // 2) / FS
ALL = sorted(stack.METHODS)
SPECTRAL = ("adaptive-covariance", "tf-phase-weighted")


def pulse(at=12.0, period=4.0):
    """A wavelet that arrives at a lag (s)."""
    phase = 2 * np.pi * (LAGS - at) / period
    return np.cos(phase) * np.exp(-(((LAGS - at) / period) ** 2))


def noisy(n_windows=20, noise=0.5, seed=0):
    """Windows with the same pulse and different noise, float32."""
    random = np.random.default_rng(seed).standard_normal((n_windows, N_LAGS))
    return (pulse() + noise * random).astype(np.float32)


def apply(method, windows):
    return stack.METHODS[method](StackParams(method, None, True, "1"), FS, None)(windows)


def stream(windows):
    return Stream([Trace(row.astype(np.float64)) for row in windows])


def robust_by_loops(rows, iterations):
    """Pavlis & Vernon (2010), as written in the paper."""
    rows = [row.astype(np.float64) for row in rows]
    s = np.median(rows, axis=0)
    for _ in range(iterations):
        s = s / np.sqrt(np.sum(s * s))
        total, weights = np.zeros(rows[0].size), 0.0
        for d in rows:
            residual = d - np.sum(d * s) * s
            w = abs(np.sum(s * d)) / np.sqrt(np.sum(d * d)) / np.sqrt(np.sum(residual**2))
            total, weights = total + w * d, weights + w
        s = total / weights
    return s


# The three methods against others


def test_the_methods_are_those_that_stacking_params_csv_may_name():
    assert set(stack.METHODS) == set(LIMITS["stacking"]["type"]["choices"])


def test_linear_is_the_stack_of_obspy():
    windows = noisy()

    expected = stream(windows).stack(stack_type="linear")[0].data

    np.testing.assert_allclose(stack.linear(windows), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_phase_weighted_is_the_stack_of_obspy(power):
    windows = noisy()

    expected = stream(windows).stack(stack_type=("pw", power))[0].data

    got = stack.phase_weighted(windows, FS, power=power)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_phase_weighted_is_the_formula_of_the_paper():
    windows = noisy(5)
    total, phasors = np.zeros(N_LAGS), np.zeros(N_LAGS, dtype=complex)
    for row in windows.astype(np.float64):
        phase = np.angle(hilbert(row, 625)[:N_LAGS])  # 625 = 5**4, the fast length
        total, phasors = total + row, phasors + np.exp(1j * phase)

    got = stack.phase_weighted(windows, FS)

    np.testing.assert_allclose(got, total / 5 * np.abs(phasors / 5) ** 2, rtol=0, atol=1e-6)


def test_phase_coherence_is_smoothed_over_the_given_seconds():
    windows = noisy(6)
    phase = np.angle(hilbert(windows.astype(np.float64), 625)[:, :N_LAGS])
    coherence = np.abs(np.exp(1j * phase).mean(axis=0))
    # 2 s at 10 Hz: 10 samples on each side; at the ends those that there are.
    smooth = [coherence[max(k - 10, 0) : k + 11].mean() for k in range(N_LAGS)]

    got = stack.phase_weighted(windows, FS, phase_smooth=2.0)

    expected = windows.astype(np.float64).mean(axis=0) * np.square(smooth)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.0, 0.05, None])
def test_less_than_a_sample_of_smoothing_is_none(seconds):
    windows = noisy(6)

    got = stack.phase_weighted(windows, FS, phase_smooth=seconds)

    assert np.array_equal(got, stack.phase_weighted(windows, FS))


def test_smoothing_longer_than_the_trace_scales_the_linear_stack():
    windows = noisy(6)

    got = stack.phase_weighted(windows, FS, phase_smooth=3600.0)

    ratio = got / stack.linear(windows)
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-4)


@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_robust_is_the_iteration_of_the_paper(iterations):
    windows = noisy(9)
    windows[3] = np.random.default_rng(1).standard_normal(N_LAGS) * 50

    got = stack.robust(windows, tolerance=0, max_iterations=iterations)

    expected = robust_by_loops(windows, iterations)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_robust_stops_when_the_stack_stands_still():
    windows = noisy(9)

    got = stack.robust(windows)

    expected = robust_by_loops(windows, 200)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_robust_needs_an_iteration():
    with pytest.raises(ValueError, match="max_iterations = 0 must be at least 1"):
        stack.robust(noisy(), max_iterations=0)


# Signals and outliers


def test_one_window_of_an_earthquake_spoils_the_linear_stack_and_not_the_robust_one():
    windows = noisy(24, noise=0.2)
    windows[7] = 1000 * np.roll(pulse(at=-20.0), 3)

    robust, _ = stack.peak(stack.robust(windows), LAGS)
    linear, _ = stack.peak(stack.linear(windows), LAGS)

    assert abs(robust - 12) < 0.2
    assert abs(linear + 20) < 1


def test_phase_weighting_raises_the_signal_to_noise_ratio():
    windows = noisy(30, noise=2.0)

    linear = stack.snr(stack.linear(windows), LAGS, 36.0, (2.0, 5.0), 4.0)
    weighted = stack.snr(stack.phase_weighted(windows, FS), LAGS, 36.0, (2.0, 5.0), 4.0)

    assert weighted > 3 * linear


# Properties of every stack


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("n_windows", [1, 2, 3, 10])
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e30])
def test_equal_windows_come_out_unchanged(method, n_windows, scale):
    trace = noisy(1)[0] * np.float32(scale)

    got = apply(method, np.tile(trace, (n_windows, 1)))

    # Values from a spectrum are rounded relative to the largest value.
    atol = 1e-7 * np.abs(trace).max() if method in SPECTRAL else 0
    np.testing.assert_allclose(got, trace, rtol=1e-6, atol=atol)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("exponent", [-100, -66, -10, 10, 66, 100])
def test_a_louder_input_gives_a_stack_that_is_louder_by_as_much(method, exponent):
    windows = noisy()

    got = apply(method, np.ldexp(windows, exponent))

    expected = np.ldexp(apply(method, windows), exponent)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("method", ALL)
def test_a_window_with_a_missing_sample_counts_for_nothing(method):
    windows = noisy()
    broken = np.insert(windows, [0, 5, 20], 1e9, axis=0)
    broken[0, 0], broken[6, 300], broken[22, -1] = np.nan, np.inf, -np.inf

    assert np.array_equal(apply(method, broken), apply(method, windows))


@pytest.mark.parametrize("method", ALL)
def test_a_pair_without_windows_is_nan_and_leaves_its_neighbours_alone(method):
    windows = np.stack([noisy(seed=1), np.full((20, N_LAGS), np.nan, np.float32), noisy(seed=2)])

    got = apply(method, windows)

    assert np.isnan(got[1]).all()
    assert np.array_equal(got[0], apply(method, windows[0]))
    assert np.array_equal(got[2], apply(method, windows[2]))
    assert np.isnan(apply(method, windows[:, :0])).all()


@pytest.mark.parametrize("method", ALL)
def test_leading_axes_and_precision_are_kept_and_the_input_is_not_changed(method):
    windows = np.stack([noisy(seed=k) for k in range(6)]).reshape(2, 3, 20, N_LAGS)
    before = windows.copy()

    got = apply(method, windows)

    assert got.shape == (2, 3, N_LAGS)
    assert got.dtype == np.float32
    assert np.array_equal(got[1, 2], apply(method, windows[1, 2]))
    assert np.array_equal(windows, before)
    assert apply(method, windows.astype(np.float64)).dtype == np.float64


@pytest.mark.parametrize("method", ALL)
def test_no_pairs_give_no_stacks(method):
    assert apply(method, np.empty((0, 4, N_LAGS), np.float32)).shape == (0, N_LAGS)


@pytest.mark.parametrize("method", ALL)
def test_the_same_input_gives_the_same_bytes(method):
    windows = noisy()

    assert apply(method, windows).tobytes() == apply(method, windows.copy()).tobytes()


@pytest.mark.parametrize("method", ALL)
def test_a_strided_view_gives_the_stack_of_its_copy(method):
    windows = np.stack([noisy(seed=k) for k in range(4)])
    view = windows.transpose(1, 0, 2)[::2].transpose(1, 0, 2)

    assert np.array_equal(apply(method, view), apply(method, view.copy()))


@pytest.mark.parametrize("method", ALL)
def test_windows_of_zeros_give_zeros_and_no_warning(method):
    assert not apply(method, np.zeros((4, N_LAGS), np.float32)).any()


def test_a_window_of_zeros_has_no_weight_in_a_robust_stack():
    windows = noisy(8)
    with_zeros = np.concatenate([windows, np.zeros((1, N_LAGS), np.float32)])

    got = stack.robust(with_zeros, tolerance=0, max_iterations=200)

    expected = stack.robust(windows, tolerance=0, max_iterations=200)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_windows_that_cancel_give_a_robust_stack_of_zero():
    trace = noisy(1)[0]

    assert np.abs(stack.robust(np.stack([trace, -trace]))).max() < 1e-6


def test_spikes_at_different_lags_give_a_robust_stack():
    windows = np.eye(3, N_LAGS, dtype=np.float32)  # their median is zero

    np.testing.assert_allclose(stack.robust(windows), windows.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("method", [method for method in ALL if method not in SPECTRAL])
@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(2, 40)),
    seed=st.integers(0, 2**32 - 1),
    missing=st.integers(0, 63),
)
@example(shape=(6, 16), seed=1, missing=20)
def test_a_stack_lies_within_its_windows_and_is_blind_to_their_order(method, shape, seed, missing):
    random = np.random.default_rng(seed)
    windows = random.standard_normal(shape) * 10.0 ** random.integers(-8, 8, (shape[0], 1))
    windows[[k for k in range(shape[0]) if missing >> k & 1]] = np.nan
    kept = windows[np.isfinite(windows).all(axis=1)]

    got = apply(method, windows)

    if not len(kept):
        assert np.isnan(got).all()
        return
    bound = np.abs(kept).max(axis=0) * (1 + 1e-9)
    assert (np.abs(got) <= bound).all()
    # The robust stack is iterated until it changes by less than 1e-5 of its norm, so rounding may
    # end it an iteration sooner or later.
    accuracy = (2e-5 if method == "robust" else 1e-6) * np.abs(kept).max()
    np.testing.assert_allclose(apply(method, windows[::-1]), got, rtol=0, atol=accuracy)


def test_windows_without_lags_are_an_error():
    with pytest.raises(ValueError, match="n_windows, n_lags"):
        stack.linear(np.zeros(5))


# Peaks


@pytest.mark.parametrize("at", [-21.37, -4.96, 0.0, 0.03, 12.049])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_peak_is_found_between_samples(at, sign):
    lag, amplitude = stack.peak((sign * pulse(at)).astype(np.float32), LAGS)

    assert abs(lag - at) < 0.002
    assert amplitude == pytest.approx(sign, abs=1e-3)


def test_a_parabola_is_met_exactly():
    trace = np.maximum(5 - (np.arange(N_LAGS) - 340.25) ** 2, 0)

    lag, amplitude = stack.peak(trace, LAGS)

    assert lag == pytest.approx(4.025, abs=1e-9)
    assert amplitude == pytest.approx(5, abs=1e-12)


def test_a_peak_at_the_end_is_not_interpolated():
    first, last = np.zeros(N_LAGS), np.zeros(N_LAGS)
    first[0], last[-1] = -2.0, 3.0

    lag, amplitude = stack.peak(np.stack([first, last]), LAGS)

    assert np.array_equal(lag, [-30.0, 30.0])
    assert np.array_equal(amplitude, [-2.0, 3.0])


def test_of_two_equal_peaks_the_first_counts():
    trace = np.zeros(N_LAGS)
    trace[100] = trace[500] = 1.0

    assert stack.peak(trace, LAGS)[0] == LAGS[100]


def test_no_trace_and_a_dead_trace_have_no_peak():
    traces = np.zeros((3, N_LAGS), np.float32)
    traces[0, 5] = np.nan
    traces[2] = pulse()

    lag, amplitude = stack.peak(traces, LAGS)

    assert np.array_equal(np.isnan(lag), [True, True, False])
    assert np.isnan(amplitude[0])
    assert amplitude[1] == 0


def test_a_constant_trace_has_a_peak():
    lag, amplitude = stack.peak(np.ones(N_LAGS), LAGS)

    assert (lag, amplitude) == (-30.0, 1.0)


# Signal-to-noise ratio


def test_the_ratio_is_the_peak_of_the_analytic_signal_over_the_rms_beyond():
    trace = noisy(1, noise=0.05)[0]
    real = trace.astype(np.float64)
    envelope = np.abs(hilbert(real, 625)[:N_LAGS])
    signal = envelope[(np.abs(LAGS) > 3.85) & (np.abs(LAGS) < 20.15)].max()
    noise = np.sqrt(np.mean(real[np.abs(LAGS) > 20.15] ** 2))

    got = stack.snr(trace, LAGS, 36.0, (2.0, 6.0), 2.01)  # 4 to 20 s, and a sample

    assert got == pytest.approx(signal / noise, rel=1e-5)


def test_the_envelope_of_a_wave_is_its_amplitude_at_any_phase():
    # SeisNoise.jl takes abs(x + i (x + iHx)), which is not 1 for a unit wave.
    noise = 0.01 * np.random.default_rng(3).standard_normal(N_LAGS)
    ratios = []
    for phase in np.linspace(0, np.pi, 7):
        wave = np.cos(2 * np.pi * LAGS + phase) * np.exp(-((LAGS / 8) ** 4))
        rms = np.sqrt(np.mean(noise[np.abs(LAGS) > 22.5] ** 2))
        ratios.append(stack.snr(wave + noise, LAGS) * rms)

    np.testing.assert_allclose(ratios, 1, atol=0.06)


def test_arrivals_at_an_impossible_speed_are_no_signal():
    noise = 0.01 * np.random.default_rng(5).standard_normal(N_LAGS)

    at_3_km_s = stack.snr(pulse(12.0) + noise, LAGS, 36.0)
    at_12_km_s = stack.snr(pulse(3.0, 1.0) + noise, LAGS, 36.0)

    assert at_3_km_s > 50
    assert at_12_km_s < 10


def test_the_ratio_is_the_same_on_both_sides_and_in_any_unit():
    noise = 0.01 * np.random.default_rng(6).standard_normal(N_LAGS)
    trace = pulse() + noise
    variants = [trace, trace[::-1], -trace, 1e-20 * trace, 1e20 * trace]

    ratios = stack.snr(np.array(variants), LAGS, 36.0)

    np.testing.assert_allclose(ratios, ratios[0], rtol=0.02)
    np.testing.assert_allclose(ratios[[2, 3, 4]], ratios[0], rtol=1e-5)


def test_with_an_unknown_distance_the_signal_window_is_the_whole_trace():
    trace = pulse(12.0) + 0.01 * np.random.default_rng(7).standard_normal(N_LAGS)
    outer = np.abs(LAGS) > 22.5

    got = stack.snr(trace, LAGS, np.nan)

    envelope = np.abs(hilbert(trace)).max()
    assert got == pytest.approx(envelope / np.sqrt(np.mean(trace[outer] ** 2)), rel=1e-3)
    assert got == stack.snr(trace, LAGS)


def test_a_pair_too_far_for_the_lags_has_the_outer_quarter_as_noise():
    trace = pulse(12.0) + 0.01 * np.random.default_rng(8).standard_normal(N_LAGS)

    assert np.isfinite(stack.snr(trace, LAGS, 60.0))  # a window from 12 to 40 s
    assert np.isnan(stack.snr(trace, LAGS, 1000.0))  # from 200 s


def test_a_pair_closer_than_a_sample_has_a_window():
    trace = pulse(0.0) + 0.01 * np.random.default_rng(9).standard_normal(N_LAGS)

    ratios = stack.snr(np.tile(trace, (3, 1)), LAGS, np.array([0.0, 0.05, 0.2]), margin=8.0)

    assert (ratios > 50).all()


def test_traces_without_signal_or_noise_have_a_ratio_of_nan_or_infinity():
    spike = np.zeros(N_LAGS, np.float32)
    gap = spike.copy()
    gap[3] = np.nan
    spike[420] = 1.0

    ratios = stack.snr(np.stack([np.zeros(N_LAGS), gap, spike]), LAGS, 36.0)

    assert np.isnan(ratios[:2]).all()
    assert np.isposinf(ratios[2])


def test_ratios_of_many_traces_are_those_of_each():
    traces = noisy(600)
    distances = np.random.default_rng(4).uniform(0, 100, 600)
    distances[::7] = np.nan

    ratios = stack.snr(traces.reshape(2, 300, N_LAGS), LAGS, distances.reshape(2, 300))

    assert ratios.shape == (2, 300)
    for k in (0, 1, 299, 300, 599):
        alone = stack.snr(traces[k], LAGS, distances[k])
        assert ratios.reshape(-1)[k] == pytest.approx(alone, rel=1e-6, nan_ok=True)


def test_no_traces_have_no_ratios_and_no_peaks():
    nothing = np.empty((0, N_LAGS), np.float32)

    assert stack.snr(nothing, LAGS, np.empty(0)).shape == (0,)
    assert stack.peak(nothing, LAGS)[0].shape == (0,)
