"""Stack files do not depend on the number of processes and blocks."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta

import h5py
import numpy as np
import pytest
import xarray
from correlation_files import DAYS, PARAMS, windows, write_day

from xcor_daemon.errors import RequestError
from xcor_daemon.pipeline import stack
from xcor_daemon.pipeline.hdf5.correlation_day import CorrDay
from xcor_daemon.pipeline.hdf5.correlation_file import CorrFile
from xcor_daemon.pipeline.products import products
from xcor_daemon.pipeline.stack import files
from xcor_daemon.pipeline.stack.files import stack_files
from xcor_daemon.pipeline.stack.plan import StackPlan
from xcor_daemon.request.parse import StackParams


def corr_days(paths):
    return tuple(CorrDay(path.stem, (CorrFile(path),)) for path in paths)


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    folder = tmp_path_factory.mktemp("CORR")
    paths = [write_day(folder, day) for day in DAYS[:2]]
    return [*paths, write_day(folder, DAYS[2], ("B", "C"))]  # one pair only, of three


def run(days, path, processes=1, **columns):
    columns = {"type": "linear", "phase_smooth": None, "stack_all": True, "job": "1"} | columns
    plan = StackPlan(corr_days(days), StackParams(**columns), PARAMS)
    stack_files(path, plan, processes)
    with xarray.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
        return data.load()


@pytest.mark.parametrize("name", sorted(stack.METHODS))
def test_a_stack_of_all_days_is_that_of_all_windows(days, tmp_path, name):
    data = run(days, tmp_path / "stack.h5", type=name)

    params = StackParams(name, None, True, "1")
    method = stack.METHODS[name](params, PARAMS.fs, (PARAMS.freqmin / 2, 2 * PARAMS.freqmax))
    for k, pair in enumerate(zip(data["first"].values, data["second"].values, strict=True)):
        expected = method(windows(days, pair))
        np.testing.assert_allclose(data["stack"].values[k], expected, atol=1e-6)
    assert data["n_windows"].values.tolist() == [10, 12, 18]
    assert data.attrs["method"] == name
    assert (data["snr"].values > 3).all()


def test_a_day_without_a_file_has_no_stack(days, tmp_path):
    data = run(days, tmp_path / "stack.h5", stack_all=False)

    assert data["stack"].dims == ("pair", "day", "lag")
    assert data["n_windows"].values.tolist() == [[5, 5, 0, 0], [6, 6, 0, 0], [6, 6, 0, 6]]
    assert np.isnan(data["stack"].values[2, 2]).all()
    second = windows(days[1:2], ("XX.A..BHZ", "XX.B..BHZ"))
    np.testing.assert_allclose(data["stack"].values[0, 1], np.nanmean(second, axis=0), atol=1e-6)
    mean = np.nanmean(data["stack"].values, axis=1)
    np.testing.assert_allclose(data["mean"].values, mean, atol=1e-6)
    step = data["day_end"].values - data["day"].values
    assert (step == 86400).all()


@pytest.mark.parametrize(
    ("columns", "counts"),
    [
        ({"interval": "12h"}, [3, 3, 3, 3, 0, 0, 3, 3]),
        ({"interval": "2D"}, [12, 6]),
        ({"interval": "7D"}, [18]),
        ({"interval": "1ME"}, [12, 6]),
        ({"interval": "2D", "moving": "1D"}, [12, 6, 6]),
        ({"interval": "1D", "moving": "8h"}, [6, 6, 6, 6, 4, 2, 0, 2, 4, 6]),
    ],
)
@pytest.mark.parametrize("name", ["linear", "median"])
def test_windows_go_into_the_intervals_that_they_start_in(days, tmp_path, columns, counts, name):
    data = run(days, tmp_path / "stack.h5", type=name, stack_all=False, **columns)

    assert data["n_windows"].values[2].tolist() == counts
    pair = ("XX.B..BHZ", "XX.C..BHZ")
    starts = np.concatenate([CorrFile(day).starts for day in days])
    rows = windows(days, pair)
    average = np.mean if name == "linear" else np.median
    for k, (a, b) in enumerate(zip(data["day"].values, data["day_end"].values, strict=True)):
        inside = rows[(starts >= a) & (starts < b)]
        if len(inside):
            expected = average(inside, axis=0)
            np.testing.assert_allclose(data["stack"].values[2, k], expected, atol=1e-6)


@pytest.mark.parametrize("stack_all", [True, False])
def test_bytes_do_not_depend_on_processes_or_blocks(days, tmp_path, stack_all, monkeypatch):
    columns = {"type": "phase-weighted", "stack_all": stack_all, "bootstrap": 5}
    one = run(days, tmp_path / "one.h5", 1, **columns)

    monkeypatch.setattr(files, "_READ_BYTES", 1)
    other = run(days, tmp_path / "other.h5", 2, **columns)

    for name in one.variables:
        assert one[name].values.tobytes() == other[name].values.tobytes(), name


def test_an_error_is_that_of_the_windows(days, tmp_path):
    data = run(days, tmp_path / "stack.h5", bootstrap=50)

    rows = windows(days, ("XX.B..BHZ", "XX.C..BHZ"))
    expected = rows.std(axis=0).mean() / np.sqrt(len(rows))
    assert data["error"].values[2].mean() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("method", ["stretching", "cross-spectrum"])
def test_changes_of_velocity_are_written_with_errors(days, tmp_path, method):
    data = run(days, tmp_path / "stack.h5", stack_all=False, dvv=method, dvv_min_lag=4.0)

    assert data["dvv"].dims == ("pair", "day")
    known = np.isfinite(data["dvv"].values)
    assert not known[:, 2].any()
    assert (data["dvv_error"].values[known] > 0).all()
    assert method in data["dvv"].attrs["long_name"]


def test_a_coda_beyond_the_lags_is_an_error(days, tmp_path):
    with pytest.raises(RequestError, match="cannot be measured with maxlag=20 s"):
        run(days, tmp_path / "stack.h5", stack_all=False, dvv="stretching", dvv_max_lag=30.0)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pairs": ("XX.A..BHZ|XX.X..BHZ",)}, "XX.A..BHZ|XX.X..BHZ is not in job 1; it has 3"),
        ({"shots": ("XX.X..BHZ",)}, "shots = XX.X..BHZ is not in job 1; it has 3, such as XX.A"),
    ],
)
def test_a_selection_that_the_job_does_not_have_is_an_error(days, tmp_path, columns, message):
    stacking = StackParams("linear", None, True, "1", **columns)
    with pytest.raises(RequestError) as caught:
        products.stacking_products(tmp_path, corr_days(days), stacking, 1)

    assert message in str(caught.value)


def test_images_are_made_of_the_requested_pairs_and_channels(days, tmp_path):
    asked = StackParams(
        "linear", None, False, "1", pairs=("XX.A..BHZ|XX.C..BHZ",),
        shots=("XX.A..BHZ", "XX.C..BHZ"),
        dvv="stretching", dvv_min_lag=4.0, svg=True,
    )  # fmt: skip

    made, summary = products.stacking_products(tmp_path, corr_days(days), asked, 1)

    drawn = {name.removeprefix("PLOT/") for name in made if name.endswith(".png")}
    assert drawn == {
        "correlogram_XX.A..BHZ_XX.C..BHZ.png", "dvv_XX.A..BHZ_XX.C..BHZ.png", "overview.png",
        "record_section.png", "spectrum.png", "station_map.png", "virtual_shot_XX.A..BHZ.png",
        "virtual_shot_XX.C..BHZ.png",
    }  # fmt: skip
    for name in drawn:
        assert f"PLOT/{name.removesuffix('png')}svg" in made
        assert f"PLOT/{name.removesuffix('png')}txt" in made
    assert all((tmp_path / name).is_file() for name in made)
    assert summary["windows_kept"] == 10 + 12 + 18


def test_many_days_are_stacked_in_the_memory_of_one(tmp_path):
    """The year of 45 pairs in small; scripts/stack_year does it in full."""
    params = dataclasses.replace(PARAMS, cc_len=1800.0, cc_step=900.0)  # 95 windows
    first = write_day(tmp_path, "2020-01-01", tuple("ABCDEFGHIJ"), params=params)
    days = [first]
    for k in range(1, 40):
        day = tmp_path / f"{date(2020, 1, 1) + timedelta(days=k)}.h5"
        day.symlink_to(first)
        days.append(day)
    plan = StackPlan(corr_days(days), StackParams("phase-weighted", 1.0, True, "1"), params)

    stacked = stack_files(tmp_path / "stack.h5", plan, 1)

    with h5py.File(first) as file:
        expected = stack.phase_weighted(file["corr"][:], params.fs, 1.0)
    np.testing.assert_allclose(stacked.stack, expected, atol=1e-6)
    assert stacked.n_windows.shape == (45, 40)
    assert stacked.n_windows.sum() == 40 * (45 * 95 - 1)
