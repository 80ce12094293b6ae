"""Readers without HDF5 find every pair with the CSV, the JSON and the offsets of the manifest."""

from __future__ import annotations

import csv
import json

import h5py
import numpy as np
import pytest
from correlation_files import LAGS, PARAMS, pair_table, windows, write_day

from xcor_daemon.pipeline.datatypes import PairTable
from xcor_daemon.pipeline.hdf5 import correlation_day, correlation_file
from xcor_daemon.pipeline.plots.captions import peak_facts
from xcor_daemon.pipeline.products import pair_tables, products
from xcor_daemon.pipeline.stack.files import Stacked
from xcor_daemon.pipeline.stack.plan import StackPlan
from xcor_daemon.report import highest_snr_table
from xcor_daemon.request.parse import StackParams

DAYS = ("2020-01-30", "2020-01-31", "2020-02-02")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Three days; on the last one a channel is missing, so the other pairs have other rows."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "CORR").mkdir()
    stations = ["ABCD", "ABCD", "ABD"]
    paths = [write_day(folder / "CORR", d, s) for d, s in zip(DAYS, stations, strict=True)]
    days = tuple(correlation_day.from_files(folder / "CORR", [path.name for path in paths]))
    plan = StackPlan(days, StackParams("linear", None, True, "1"), PARAMS)
    stacked = products.stack_files(folder / "STACK/linear.h5", plan, 1)
    pair_tables.write_pair_table(stacked, plan.lags)
    pair_tables.write_row_index(folder, plan)
    return folder


def table(folder, name="linear"):
    with (folder / f"STACK/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def matrix(path, name, row):
    """The values of one pair of an array, from the bytes of the file."""
    (about,) = (a for a in correlation_file.describe(path)["arrays"] if a["name"] == name)
    shape, kind = about["shape"][1:], np.dtype(about["dtype"])
    size = kind.itemsize * int(np.prod(shape))
    with path.open("rb") as raw:
        raw.seek(about["offset"] + row * size)
        return np.frombuffer(raw.read(size), kind).reshape(shape)


def test_every_pair_is_found_in_every_daily_file(job):
    found = json.loads((job / pair_tables.ROWS).read_text())
    pairs = table(job)

    assert found["pairs"] == "STACK/linear.csv"
    assert found["rows"] == [[[0, 6]], [[0, 1], [2, 1], [4, 1]]]
    for file in found["files"]:
        members = [first + k for first, count in found["rows"][file["rows"]] for k in range(count)]
        with h5py.File(job / file["name"]) as data:
            assert [pairs[k]["first"] for k in members] == list(data["first"].asstr()[:])
            assert [pairs[k]["second"] for k in members] == list(data["second"].asstr()[:])
            times = [s + k * step for s, step, count in file["window"] for k in range(count)]
            assert times == data["window"][:].tolist()


def test_the_windows_of_a_pair_are_bytes_of_the_daily_files(job):
    found = json.loads((job / pair_tables.ROWS).read_text())
    pairs = [(row["first"], row["second"]) for row in table(job)]
    wanted = pairs.index(("XX.B..BHZ", "XX.D..BHZ"))
    read = []
    for file in found["files"]:
        members = [first + k for first, count in found["rows"][file["rows"]] for k in range(count)]
        read.append(matrix(job / file["name"], "corr", members.index(wanted)))

    expected = windows([job / file["name"] for file in found["files"]], pairs[wanted])
    np.testing.assert_array_equal(np.concatenate(read), expected)


def test_the_table_has_the_values_of_the_stack_file(job):
    pairs = table(job)

    with h5py.File(job / "STACK/linear.h5") as file:
        for name, within in (("distance", 1e-4), ("n_windows", 0), ("snr", 1e-3)):
            values = [float(row[name]) for row in pairs]
            np.testing.assert_allclose(values, file[name][:], atol=within)
        stack = file["stack"][:]
    lags = LAGS[np.abs(stack).argmax(axis=1)]
    for row, lag in zip(pairs, lags, strict=True):
        assert float(row["lag"]) == pytest.approx(lag, abs=1 / PARAMS.fs)
        assert float(row["speed"]) == pytest.approx(
            float(row["distance"]) / abs(float(row["lag"])), rel=1e-3
        )


def test_unknown_values_are_empty(tmp_path):
    pairs = pair_table("AB")
    nothing = np.full((1, LAGS.size), np.nan)
    path = tmp_path / "linear.h5"
    pair_tables.write_pair_table(
        Stacked(path, pairs, nothing, np.array([np.nan]), np.array([[0]])), LAGS
    )

    (row,) = csv.DictReader(path.with_suffix(".csv").read_text().splitlines())
    assert (row["snr"], row["lag"], row["speed"], row["n_windows"]) == ("", "", "", "0")


def test_uneven_windows_are_listed_as_several_runs():
    times = np.array([0, 450, 900, 4500, 4950, 86400.5])

    runs = [pair_tables._as_run(run) for run in pair_tables._evenly_spaced(times)]

    assert [s + k * step for s, step, count in runs for k in range(count)] == times.tolist()
    assert runs[0] == [0, 450, 3]


@pytest.mark.parametrize("distance", [0.0, 1e-4])  # km; the second is 10 cm
def test_two_channels_at_one_location_have_no_apparent_speed(tmp_path, distance):
    lags = np.arange(-2.0, 3.0)
    pairs = PairTable(
        ("XX.A..BHE", "XX.A..BHZ", "XX.B..BHZ"), np.array([0, 1]), np.array([1, 2]),
        np.array([distance, 6.0]), *(np.zeros(2),) * 2, *(np.zeros(3),) * 3,
    )  # fmt: skip
    stack = np.array([[0, 0, 0, 1, 0], [0, 0, 0, 0, 1]], dtype=np.float32)
    snr, n_windows = np.array([9.0, 5.0]), np.ones((2, 1), dtype=int)
    stacked = Stacked(tmp_path / "linear.h5", pairs, stack, snr, n_windows)

    same, apart = products.highest_snr_pairs(stacked, lags)
    table = pair_tables.write_pair_table(stacked, lags).read_text().splitlines()
    printed = highest_snr_table([same, apart])
    beside = peak_facts(pairs.names, pairs.distance, snr, np.array([1.0, 2.0]))

    assert (same["pair"], same["speed_km_s"]) == ("XX.A..BHE|XX.A..BHZ", None)
    assert apart["speed_km_s"] == 3.0  # 6 km in 2 s
    assert [line.rpartition(",")[2] for line in table] == ["speed", "", "3.0000"]
    assert [line.split()[-1] for line in printed[2:]] == ["-", "km/s"]
    assert printed[3].endswith("3.00 km/s")
    assert "km/s" not in next(line for line in beside if "BHE" in line)
    assert not any(odd in "\n".join([*printed, *beside]) for odd in ("0.00 km/s", "nan", "inf"))
