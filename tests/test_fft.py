"""Both transforms against numpy, and the lengths they like."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
import scipy.fft

from xcor_daemon.pipeline import fft
from xcor_daemon.pipeline.fft import next_fast_len


@pytest.fixture(params=["ducc0", "scipy.fft"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it is with and without the extra."""
    if request.param == "scipy.fft":
        monkeypatch.setitem(sys.modules, "ducc0.fft", None)
    spec = importlib.util.spec_from_file_location("fft_again", fft.__file__)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert request.param == made.BACKEND
    return made


@pytest.mark.parametrize("shape", [(360,), (1, 360), (3, 360), (8, 361), (7, 9000)])
def test_transforms_keep_single_precision_and_equal_numpys(backend, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    n = shape[-1]
    room = np.empty_like(x)

    spectra = backend.rfft(x)
    back = backend.irfft(spectra, n)
    again = backend.irfft(spectra, n, room)

    assert spectra.dtype == np.complex64
    np.testing.assert_allclose(spectra, np.fft.rfft(x.astype(float)), atol=1e-6 * n)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, x, atol=1e-5)
    assert again.tobytes() == back.tobytes()


@pytest.mark.parametrize("n", [1, 2, 7, 11, 97, 1001, 3601, 36001, 868001])
def test_a_fast_length_is_even_5_smooth_and_the_next_one(n):
    found = next_fast_len(n)

    candidates = [m for m in range(n, found + 1) if m % 2 == 0]
    smooth = [m for m in candidates if scipy.fft.next_fast_len(m, real=True) == m]
    assert smooth == [found]


@pytest.mark.parametrize("n", [250, 1201, 4000, 4500, 18000, 36000])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_a_row_does_not_depend_on_the_rows_beside_it(backend, n, precision):
    x = np.random.default_rng(0).standard_normal((33, n)).astype(precision)

    spectra = backend.rfft(x)
    series = backend.irfft(spectra, n)

    for rows in range(1, 34):
        for some in (slice(rows), slice(33 - rows, None)):
            assert backend.rfft(x[some]).tobytes() == spectra[some].tobytes()
            assert backend.irfft(spectra[some], n).tobytes() == series[some].tobytes()
