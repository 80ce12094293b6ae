"""Both transforms against numpy, and the lengths they like."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from datetime import date
from functools import cache
from types import ModuleType

import h5py
import numpy as np
import pytest
import scipy.fft
from paths import ROOT
from synthetic import network_job

from xcor_daemon.pipeline.correlation.correlate import FftSegments, plan_segments
from xcor_daemon.pipeline.datatypes import Samples, Segment
from xcor_daemon.pipeline.numerics import fft
from xcor_daemon.pipeline.numerics.fft import next_fast_len
from xcor_daemon.pipeline.preprocessing import ground_motion
from xcor_daemon.pipeline.preprocessing.band import Grid
from xcor_daemon.pipeline.preprocessing.ground_motion import to_grid, to_spectrum
from xcor_daemon.request.params import XcorParams


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
    out = np.empty_like(x)

    spectra = backend.rfft(x)
    back = backend.irfft(spectra, n)
    again = backend.irfft(spectra, n, out)

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


def assert_rows_are_alone(backend: ModuleType, n: int, most: int, precision: type) -> None:
    """The first and the last 1 to ``most`` rows are transformed as all of them are."""
    x = np.random.default_rng(0).standard_normal((most, n), dtype=precision)
    spectra = backend.rfft(x)
    series = backend.irfft(spectra, n)
    for rows in range(1, most + 1):
        some = slice(rows) if rows % 2 else slice(most - rows, None)
        assert backend.rfft(x[some]).tobytes() == spectra[some].tobytes(), (n, rows)
        assert backend.irfft(spectra[some], n).tobytes() == series[some].tobytes(), (n, rows)


@pytest.mark.parametrize("n", [250, 1201, 4000, 4500, 18000, 36000])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_a_row_does_not_depend_on_the_rows_beside_it(backend, n, precision):
    assert_rows_are_alone(backend, n, 33, precision)


@cache
def ordinary_plans() -> list[FftSegments]:
    """How the engine cuts windows, for ordinary parameters."""
    return [
        plan_segments(round(cc_len * fs), round(maxlag * fs), circular, summed)
        for fs in (1, 10, 20, 50)
        for cc_len in (300, 900, 1800, 3600, 7200)
        for maxlag in (10, 30, 50, 60, 100, 120, 200, 300, 600)
        for circular, summed in ((False, 1), (False, 24), (True, 1))
        if maxlag < cc_len
    ]


def ordinary_lengths() -> set[int]:
    """Samples of the rows that jobs transform: blocks, windows, and lags of stacks."""
    plans = ordinary_plans()
    lengths = {plan.n_fft for plan in plans} | {plan.n_samples for plan in plans}
    return lengths | {next_fast_len(2 * plan.n_lags + 1, multiple=1) for plan in plans}


def test_rows_are_alone_at_every_length_that_the_engine_picks(backend):
    lengths = ordinary_lengths()
    assert len(lengths) > 80
    for n in sorted(lengths):
        # Of longer ones a call takes four rows, so that nine are every case.
        most = 33 if n < 10_000 else 9
        assert_rows_are_alone(backend, n, most, np.float32)


def test_segments_have_no_length_whose_rows_compete_for_the_cache():
    for plan in ordinary_plans():
        assert plan.n_fft % 1024, plan


def test_days_are_transformed_as_bare_signals(monkeypatch):
    """The length of a day's transform has no rows beside it that it could depend on."""
    shapes = []
    monkeypatch.setattr(ground_motion, "rfft", lambda x: shapes.append(x.shape) or fft.rfft(x))
    monkeypatch.setattr(
        ground_motion, "irfft", lambda x, n: shapes.append(x.shape) or fft.irfft(x, n)
    )
    params = XcorParams(fs=10, freqmin=0.1, freqmax=4, cc_len=3600, cc_step=3600, maxlag=100)
    params = replace(params, response="none")
    grid = Grid.of(date(2020, 1, 1), params)
    data = np.random.default_rng(0).integers(-99, 99, 86400 * 20).astype(np.int32)
    samples = Samples((Segment(grid.midnight, 20.0, data),), "made", 0)

    to_grid(to_spectrum(samples, (), grid, params), grid)

    assert len(shapes) == 2
    assert all(len(shape) == 1 for shape in shapes)


def test_a_job_gives_the_same_with_and_without_the_extra_to_1e_6_of_the_largest(tmp_path):
    """The image has SciPy's transforms, a laptop may have ducc0's."""
    code = """
import sys
from pathlib import Path
if sys.argv[2] == "scipy.fft":
    sys.modules["ducc0.fft"] = None
from xcor_daemon.pipeline.numerics.fft import BACKEND
from xcor_daemon.pipeline.run import correlate_job
assert sys.argv[2] == BACKEND
correlate_job(Path(sys.argv[1]), sys.argv[3], 1, images=False)
"""
    found = []
    for backend in ("ducc0", "scipy.fft"):
        job = network_job(tmp_path / backend, stations=3, days=1)
        command = [sys.executable, "-c", code, str(job.folder), backend, job.source]
        subprocess.run(command, check=True, cwd=ROOT)
        (path,) = (job.folder / "CORR").glob("*.h5")
        with h5py.File(path) as file:
            found.append(file["corr"][:])

    assert found[0].tobytes() != found[1].tobytes()  # two libraries were at work
    np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(found[1]))
    assert np.nanmax(np.abs(found[0] - found[1])) < 1e-6 * np.nanmax(np.abs(found[0]))
