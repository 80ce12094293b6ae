"""Results are opened from folders, S3 and HTTP, and read back from every export."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import urllib.request
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import obspy
import pytest
from correlation_files import DAYS, PARAMS, STATIONS, write_day
from paths import DATA, ROOT

from xcor_daemon.errors import NoDataError, UnreachableError
from xcor_daemon.pipeline import stack
from xcor_daemon.pipeline.datatypes import ChannelDay
from xcor_daemon.pipeline.hdf5 import correlation_file
from xcor_daemon.pipeline.hdf5.correlation_day import CorrDay
from xcor_daemon.pipeline.hdf5.correlation_file import CorrFile
from xcor_daemon.pipeline.products.pair_tables import write_pair_table
from xcor_daemon.pipeline.products.summary import write_summary
from xcor_daemon.pipeline.stack.files import stack_files
from xcor_daemon.pipeline.stack.plan import StackPlan
from xcor_daemon.pipeline.units.records import DayResult
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.request.parse import StackParams
from xcor_daemon.results import FORMATS, Selection, export, open_results, read_seisnoise

JULIA = DATA / "seisnoise/reference_BP.EADB-BP.LCCB-11.jld2"
PAIR = ("XX.A..BHZ", "XX.C..BHZ")


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Path:
    """A finished job: three days, a stack of all and, with dv/v, a phase-weighted one per day."""
    folder = tmp_path_factory.mktemp("jobs") / "4711"
    (folder / "CORR").mkdir(parents=True)
    files = tuple(
        CorrDay(day, (CorrFile(write_day(folder / "CORR", day, STATIONS)),)) for day in DAYS
    )
    for name, every, dvv in (("linear", True, "none"), ("phase-weighted", False, "stretching")):
        plan = StackPlan(files, StackParams(name, None, every, "1", dvv=dvv), PARAMS)
        write_pair_table(stack_files(folder / "STACK" / f"{name}.h5", plan, 1), plan.lags)
    rows = [ChannelDay(day, f"XX.{name}..BHZ", "kept") for day in DAYS for name in STATIONS]
    rows = [replace(row, windows_kept=6 - (row.channel == "XX.B..BHZ")) for row in rows]
    write_summary(folder / "summary.csv", [DayResult("", "", [], 0, 0, rows)])
    return folder


@pytest.fixture(scope="module")
def expected(job) -> np.ndarray:
    """The linear stack of a pair, read with h5py."""
    rows = []
    for day in DAYS:
        with h5py.File(job / f"CORR/{day}.h5") as file:
            rows.append(file["corr"][1])
    return stack.linear(np.concatenate(rows))


def publish(job: Path, bucket) -> str:
    """Upload the results of a job as the daemon does; returns the job's key."""
    client = bucket.server.client()
    prefix = "processed/4711/runs/20200615_102819-3f9a1c"
    files = []
    for path in sorted([*job.rglob("*.h5"), *job.rglob("*.csv")]):
        key = f"{prefix}/{path.relative_to(job)}"
        client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
        files.append({"key": key, **correlation_file.describe(path)})
    manifest = {"id": "4711", "attempt": "20200615_102819-3f9a1c", "files": files}
    client.put_object(
        Bucket=bucket.name, Key="processed/4711/manifest.json", Body=json.dumps(manifest)
    )
    return "processed/4711"


def test_a_folder_is_opened_lazily(job, expected):
    with open_results(job) as results:
        assert results.days == list(DAYS)
        assert results.stacks == ["linear", "phase-weighted"]
        stacks = results.stack()
        assert not stacks["stack"].variable._in_memory
        np.testing.assert_allclose(stacks["stack"].values[1], expected, atol=1e-6)
        windows = results.pair(*PAIR)
        assert windows.dims == ("window", "lag")
        assert windows.shape == (18, 161)
        assert windows["window"].values[0] == np.datetime64("2020-01-30")
        with pytest.raises(NoDataError, match=r"no STACK/robust.h5; its stacks: linear, phase"):
            results.stack("robust")
        with pytest.raises(NoDataError, match="has no pair"):
            results.pair("XX.A..BHZ", "XX.Q..BHZ")


def test_the_pairs_of_a_stack_are_a_table(job):
    with open_results(job) as results:
        table = results.pairs()
        assert list(table["first"] + "|" + table["second"]) == [
            "XX.A..BHZ|XX.B..BHZ", "XX.A..BHZ|XX.C..BHZ", "XX.B..BHZ|XX.C..BHZ",
        ]  # fmt: skip
        assert list(table["distance"]) == [10, 20, 10]
        assert list(table["n_windows"]) == [15, 18, 18]  # `write_day` leaves one of six a day out
        np.testing.assert_allclose(table["speed"], 2.0, rtol=0.03)  # of the pulse in `write_day`
        np.testing.assert_allclose(table["lag"].abs(), table["distance"] / 2, atol=0.13)
        near = table[table["distance"] < 15]
        assert results.stack()["stack"].values[near.index].shape == (2, 161)
        with pytest.raises(NoDataError, match=r"no STACK/robust.csv; its tables: STACK/linear.csv"):
            results.pairs("robust")


def test_dvv_is_a_table(job):
    with open_results(job) as results:
        table = results.dvv("phase-weighted")
        with pytest.raises(NoDataError, match="has no dv/v; request it in stacking_params.csv"):
            results.dvv()
    with h5py.File(job / "STACK/phase-weighted.h5") as file:
        expected = file["dvv"][:]
        errors = file["dvv_error"][:]

    assert list(table.columns) == [
        "first", "second", "day", "day_end", "dvv", "dvv_error", "dvv_correlation",
    ]  # fmt: skip
    np.testing.assert_array_equal(table["dvv"].to_numpy().reshape(expected.shape), expected)
    np.testing.assert_array_equal(table["dvv_error"].to_numpy().reshape(errors.shape), errors)
    one = table[(table["first"] == PAIR[0]) & (table["second"] == PAIR[1])]
    assert list(one["day"].dt.strftime("%Y-%m-%d"))[:2] == list(DAYS[:2])
    assert ((one["day_end"] - one["day"]).dt.days == 1).all()
    assert one["dvv"].abs().max() < 0.01  # the pulse is the same every day


def test_the_summary_is_a_table(job, tmp_path):
    rows = [
        ChannelDay(
            "2020-01-30", "NA.A..BHZ", "kept", "fdsn:X", 4096, 20.0, 1728000, 1, 0.5, 46, 40
        ),
        ChannelDay("2020-01-31", "NA.A..BHZ", "nodata", reason="=HYPERLINK()"),
        ChannelDay("2020-01-31", "NA.NAN..BHZ", "nodata", reason="'quoted'"),
    ]
    shutil.copytree(job / "STACK", tmp_path / "STACK")
    write_summary(tmp_path / "summary.csv", [DayResult("", "", [], 0, 0, rows)])

    with open_results(tmp_path) as results:
        table = results.summary()
        assert results.stacks == ["linear", "phase-weighted"]
    assert list(table["channel"]) == ["NA.A..BHZ", "NA.A..BHZ", "NA.NAN..BHZ"]
    assert list(table["source"]) == ["fdsn:X", "", ""]
    assert list(table["reason"]) == ["", "=HYPERLINK()", "'quoted'"]
    assert table["windows_kept"].sum() == 40
    assert table["fs_raw"].isna().tolist() == [False, True, True]
    assert table["day"].dt.day.tolist() == [30, 31, 31]
    assert table.groupby("channel")["coverage"].mean()["NA.A..BHZ"] == 0.25
    (tmp_path / "summary.csv").unlink()
    with open_results(tmp_path) as results, pytest.raises(NoDataError, match="no summary.csv"):
        results.summary()


def test_a_folder_without_results_is_rejected(tmp_path):
    with pytest.raises(NoDataError, match="neither CORR nor STACK"):
        open_results(tmp_path)


@pytest.mark.real
def test_results_are_opened_on_s3_and_over_http(job, bucket, expected, monkeypatch):
    key = publish(job, bucket)
    for name, value in bucket.server.environ.items():
        monkeypatch.setenv(name, value)
    # What boto3 finds first it keeps: of no test before, and for none that comes after.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)

    for where in (f"s3://{bucket.name}/{key}", f"{bucket.url}/{key}"):
        with open_results(where) as results:
            assert results.days == list(DAYS)
            one = results.stack()["stack"][1].load()
            np.testing.assert_allclose(one.values, expected, atol=1e-6)
            assert results.pair(*PAIR).shape == (18, 161)
            assert results.pairs()["second"].tolist()[1] == PAIR[1]
    with pytest.raises(NoDataError, match="The job is not done, or the address is wrong"):
        open_results(f"{bucket.url}/processed/4712")
    with pytest.raises(NoDataError, match="The job is not done, or the address is wrong"):
        open_results(f"s3://{bucket.name}/processed/4712")
    with pytest.raises(UnreachableError, match="no response from"):
        open_results("http://127.0.0.1:9/xcor/processed/1")


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "name"), [("CORR/2020-01-31.h5", "corr"), ("STACK/phase-weighted.h5", "stack")]
)
def test_one_range_request_is_one_pair(job, bucket, file, name):
    """As the page does: the manifest has the offset of the pair, and no HDF5 reader is needed."""
    key = publish(job, bucket)
    with urllib.request.urlopen(f"{bucket.url}/{key}/manifest.json", timeout=30) as answer:
        manifest = json.load(answer)
    (entry,) = [entry for entry in manifest["files"] if entry["key"].endswith(file)]
    (array,) = [array for array in entry["arrays"] if array["name"] == name]
    n_pairs, *matrix = array["shape"]
    size = np.dtype(array["dtype"]).itemsize * math.prod(matrix)

    for pair in range(n_pairs):
        begin = array["offset"] + pair * size
        request = urllib.request.Request(f"{bucket.url}/{entry['key']}")
        request.add_header("Range", f"bytes={begin}-{begin + size - 1}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 206
            got = answer.read()

        with h5py.File(job / file) as whole:
            assert got == whole[name][pair].astype("<f4").tobytes()


# Exports


def test_sac_has_the_headers_that_other_tools_expect(job, tmp_path, expected):
    with open_results(job) as results:
        paths = export(results, tmp_path, "sac", selection=Selection(pairs=("|".join(PAIR),)))

    (path,) = paths
    assert path.name == "XX.A..BHZ_XX.C..BHZ.all.sac"
    (trace,) = obspy.read(str(path), format="SAC")
    sac = trace.stats.sac
    assert trace.id == "XX.C..BHZ"
    assert (sac.kevnm.strip(), sac.b, sac.delta) == ("XX.A..BHZ", -20.0, 0.25)
    assert (sac.dist, sac.az, sac.baz) == (20.0, 0.0, 0.0)
    assert (sac.evla, sac.stla, sac.stel) == (0.0, 0.0, 0.0)
    assert sac.user0 == 18
    assert sac.user1 > 3
    assert sac.kuser0.strip() == "linear"
    assert trace.stats.sampling_rate == 4
    assert trace.stats.starttime == obspy.UTCDateTime("2020-01-30") - 20
    np.testing.assert_allclose(trace.data, expected, atol=1e-6)


def test_miniseed_is_read_back(job, tmp_path, expected):
    with open_results(job) as results:
        paths = export(results, tmp_path, "mseed", selection=Selection(pairs=("|".join(PAIR),)))

    (trace,) = obspy.read(str(paths[0]), format="MSEED")
    assert trace.id == "XX.C..BHZ"
    assert trace.stats.starttime == obspy.UTCDateTime("2020-01-30") - 20
    np.testing.assert_array_equal(trace.data, expected.astype(np.float32))


def test_npz_and_csv_are_read_back(job, tmp_path, expected):
    with open_results(job) as results:
        one = Selection(pairs=("|".join(PAIR),))
        (npz,) = export(results, tmp_path, "npz", selection=one)
        (text,) = export(results, tmp_path, "csv", selection=one)

    with np.load(npz, allow_pickle=False) as data:
        np.testing.assert_array_equal(data["values"], expected.astype(np.float32))
        assert data["second"] == "XX.C..BHZ"
    rows = list(csv.reader(line for line in text.read_text().splitlines() if line[0] != "#"))
    assert rows[0] == ["lag", "value"]
    got = np.array(rows[1:], dtype=float)
    np.testing.assert_allclose(got[:, 0], np.arange(-80, 81) / 4)
    np.testing.assert_array_equal(got[:, 1].astype(np.float32), expected.astype(np.float32))


def test_hdf5_has_a_file_a_pair_and_may_be_written_again(job, tmp_path):
    for _ in range(2):
        with open_results(job) as results:
            paths = export(results, tmp_path, "hdf5", "corr")

    assert [path.name for path in paths] == [
        "XX.A..BHZ_XX.B..BHZ.h5", "XX.A..BHZ_XX.C..BHZ.h5", "XX.B..BHZ_XX.C..BHZ.h5",
    ]  # fmt: skip
    with h5py.File(paths[0]) as file, h5py.File(job / f"CORR/{DAYS[1]}.h5") as day:
        assert len(file) == 1 + 18 - 3  # a window a day has no data
        assert file["lag"].shape == (161,)
        np.testing.assert_array_equal(file["20200131T040000"][:], day["corr"][0, 1])
        assert file["20200131T040000"].attrs["distance"] == 10.0


@pytest.mark.parametrize(
    ("chosen", "n"),
    [
        ({}, 9),
        ({"days": (DAYS[0],)}, 3),
        ({"pairs": ("XX.A",)}, 6),
        ({"pairs": ("XX.B..BHZ",), "days": DAYS[:2]}, 4),
        ({"pairs": ("XX.C..BHZ|XX.A..BHZ",)}, 3),
        ({"components": ("ZZ",)}, 9),
        ({"min_distance": 15.0}, 3),
        ({"max_distance": 15.0}, 6),
    ],
)
def test_pairs_and_days_are_selected(job, tmp_path, chosen, n):
    with open_results(job) as results:
        paths = export(results, tmp_path, "npz", "phase-weighted", Selection(**chosen))

    assert len(paths) == len({path.name for path in paths}) == n
    assert sorted(paths) == sorted(tmp_path.iterdir())


def test_an_empty_selection_is_an_error(job, tmp_path):
    with open_results(job) as results, pytest.raises(NoDataError, match="matches the selection"):
        export(results, tmp_path, "sac", selection=Selection(components=("NN",)))


def test_the_command_exports(job, tmp_path):
    from click.testing import CliRunner

    from xcor_daemon.cli import main

    arguments = ["export", str(job), str(tmp_path / "out"), "--format", "npz", "--component", "ZZ"]
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 0, result.output
    assert result.output == f"3 files in {tmp_path / 'out'}\n"
    formats = next(option for option in main.commands["export"].params if option.name == "kind")
    assert set(formats.type.choices) == set(FORMATS)


# SeisNoise.jl


def test_a_stack_of_seisnoise_jl_is_read():
    arrays = read_seisnoise(JULIA)

    assert sorted(name.rpartition("/")[2] for name in arrays) == [
        "0.2-0.5", "0.5-0.9", "0.9-1.2", "1.2-2.0",
    ]  # fmt: skip
    low = arrays["2010-01-01T00:00:00--2022-06-01T00:00:00/0.2-0.5"]
    assert low.dims == ("window", "lag")
    assert low.shape == (1, 4001)
    assert low["lag"].values[[0, 2000, -1]].tolist() == [-100, 0, 100]
    assert low["window"].values[0] == np.datetime64("2010-01-01T00:30")
    assert low.attrs["name"] == "BP.EADB-BP.LCCB-11"
    assert low.attrs["dist"] == pytest.approx(12.528, abs=1e-3)
    # 12.5 km at 1 to 3.5 km/s: our own measure finds the wave where physics has it.
    lag, _ = stack.peak(low.values[0], low["lag"].values)
    assert 3 < abs(lag) < 13
    assert stack.snr(low.values[0], low["lag"].values, 12.528, margin=5.0) > 8


def test_other_files_than_those_of_seisnoise_jl_are_rejected(tmp_path, job):
    (tmp_path / "text.jld2").write_text("no")
    with pytest.raises(NoDataError, match="is not a JLD2 file"):
        read_seisnoise(tmp_path / "text.jld2")
    with pytest.raises(NoDataError, match="contains no CorrData"):
        read_seisnoise(job / "STACK/linear.h5")


# The documentation


def test_the_examples_of_the_documentation_run(job, capsys):
    text = (ROOT / "docs/results.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)

    exec(compile("\n".join(code), "docs/results.md", "exec"), {"place": job})  # noqa: S102

    days, near, windows, same, *table, kept, change, shapes = capsys.readouterr().out.splitlines()
    assert days == "['2020-01-30', '2020-01-31', '2020-02-02'] ['linear', 'phase-weighted']"
    assert near == "2 pairs within 15 km"
    assert windows == "('window', 'lag') 20.0 s"
    assert same == "True"
    assert [line.split() for line in table] == [
        ["first", "second", "distance", "speed"],
        ["XX.A..BHZ", "XX.B..BHZ", "10.0", "2.0"],
        ["XX.B..BHZ", "XX.C..BHZ", "10.0", "2.0"],
        ["XX.A..BHZ", "XX.C..BHZ", "20.0", "2.0"],
    ]
    assert kept == "15 windows of the channel with the fewest"
    assert change == "3 days with dv/v"
    assert shapes == "(161,) (161,)"


def test_the_documentation_names_every_column_of_a_stacking_job():
    text = (ROOT / "docs/results.md").read_text()

    for name in LIMITS["stacking"]:
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("kind", FORMATS)
def test_an_untrusted_pair_cannot_name_a_file_outside_the_folder(job, tmp_path, kind):
    shutil.copytree(job, tmp_path / "job")
    with h5py.File(tmp_path / "job/STACK/linear.h5", "r+") as file:
        file["second"][...] = "../../evil"

    with (
        open_results(str(tmp_path / "job")) as results,
        pytest.raises(NoDataError, match="'../../evil' is not a channel id"),
    ):
        export(results, tmp_path / "a/b/out", kind)

    assert list(tmp_path.rglob("*evil*")) == []
