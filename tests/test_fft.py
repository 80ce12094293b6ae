"""The chosen transform against numpy, and the lengths it likes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from xcor_daemon.pipeline.fft import irfft, next_fast_len, rfft


def test_transforms_keep_single_precision_and_equal_numpys():
    x = np.random.default_rng(0).standard_normal((3, 360)).astype(np.float32)

    spectra = rfft(x)

    assert spectra.dtype == np.complex64
    np.testing.assert_allclose(spectra, np.fft.rfft(x.astype(float)), atol=1e-4)
    np.testing.assert_allclose(irfft(spectra, 360), x, atol=1e-5)
    assert irfft(spectra, 360).dtype == np.float32


@pytest.mark.parametrize("n", [1, 2, 7, 11, 97, 1001, 3601, 36001, 868001])
def test_a_fast_length_is_even_5_smooth_and_the_next_one(n):
    found = next_fast_len(n)

    candidates = [m for m in range(n, found + 1) if m % 2 == 0]
    smooth = [m for m in candidates if scipy.fft.next_fast_len(m, real=True) == m]
    assert smooth == [found]


@pytest.mark.parametrize("n", [250, 4000, 36000])
def test_a_row_does_not_depend_on_the_rows_beside_it(n):
    x = np.random.default_rng(0).standard_normal((12, n)).astype(np.float32)

    spectra = rfft(x)

    alone = np.concatenate([rfft(x[k : k + 1]) for k in range(12)])
    assert alone.tobytes() == spectra.tobytes()
    alone = np.concatenate([irfft(spectra[k : k + 1], n) for k in range(12)])
    assert alone.tobytes() == irfft(spectra, n).tobytes()
