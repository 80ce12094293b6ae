"""Whitening of arrays against the plain float64 form."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from xcor_daemon.pipeline.preprocessing.spectral_normalisation import whiten

FS, BAND = 5.0, (0.12, 0.35)
WINDOWS = np.random.default_rng(2).standard_normal((7, 1500))


def modulus_by_a_loop(n: int, low: float, high: float) -> np.ndarray:
    """1 within BAND, and squared cosines of ``low`` and ``high`` (Hz) outside."""
    modulus = []
    for f in np.fft.rfftfreq(n, 1 / FS):
        away = (BAND[0] - f) / low if f < BAND[0] else max(0.0, (f - BAND[1]) / high)
        modulus.append(np.cos(np.pi / 2 * min(away, 1)) ** 2)
    return np.array(modulus)


@pytest.mark.parametrize(
    ("tapers", "widths"),
    [((None, None), (0.2 * BAND[0], 0.2 * BAND[1])), ((0.05, 0.3), (0.05, 0.3))],
)
def test_a_whitened_window_has_the_bands_modulus_and_its_own_phase(tapers, widths):
    modulus = modulus_by_a_loop(1500, *widths)

    for white, window in zip(whiten(WINDOWS, BAND, FS, tapers), WINDOWS, strict=True):
        expected = reference.whiten(window, modulus)
        np.testing.assert_allclose(white, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("scale", [1e-15, 1e12])
def test_whitening_does_not_depend_on_the_unit(scale):
    np.testing.assert_allclose(
        whiten(WINDOWS * scale, BAND, FS), whiten(WINDOWS, BAND, FS), atol=1e-6
    )


def test_a_window_is_whitened_to_the_same_bytes_alone_among_others_and_in_place():
    windows = WINDOWS.astype(np.float32)
    white = whiten(windows, BAND, FS)

    np.testing.assert_array_equal(windows, WINDOWS.astype(np.float32))
    assert whiten(windows[5:6], BAND, FS).tobytes() == white[5:6].tobytes()
    assert whiten(windows[5], BAND, FS).tobytes() == white[5].tobytes()
    assert whiten(windows, BAND, FS, out=windows) is windows
    assert windows.tobytes() == white.tobytes()


@pytest.mark.parametrize("band", [(0.0, 1.0), (1.0, 0.5), (0.5, 2.6)])
def test_a_band_beyond_the_nyquist_frequency_or_without_width_is_an_error(band):
    with pytest.raises(ValueError, match=r"band = .* Hz .* \(2.5 Hz at fs = 5 Hz\)"):
        whiten(WINDOWS, band, FS)
