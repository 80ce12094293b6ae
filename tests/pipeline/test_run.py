"""Jobs on a folder: real data must show the known physics, and interrupted jobs must complete."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from paths import DATA
from truth import DELAYS, Noise, record

from xcor_daemon import demo
from xcor_daemon.errors import RequestError
from xcor_daemon.pipeline.run import correlate_job, stack_job
from xcor_daemon.request.parse import XcorParams

NORSAR = Path(demo.__file__).parent / "data" / "norsar_2019_001"
SAMPLE_JOB = Path(demo.__file__).parent / "data" / "job"
TA_PARAMS = "fs,freqmin,freqmax,cc_step,cc_len,maxlag\n1,0.05,0.1,900,1800,200\n"
TA_STATIONS = """Network,Station,Location,Channel,StartDate,EndDate
TA,N16K,,LHZ,2017-05-01T00:00:00,2017-05-09T00:00:00
TA,N19K,,LHZ,2017-05-01T00:00:00,2017-05-09T00:00:00
"""


def job(folder, stations, params, name="params.csv"):
    folder.mkdir(parents=True)
    (folder / "stations.csv").write_text(stations)
    (folder / name).write_text(params)
    return folder


def write_truth(folder, records, days=1):
    """A miniSEED archive of synthetic stations, one file each."""
    import obspy

    folder.mkdir(parents=True)
    for channel, samples in records.items():
        network, station, location, code = channel.split(".")
        stream = obspy.Stream()
        for segment in samples.segments:
            start = obspy.UTCDateTime(ns=segment.start)
            header = {"network": network, "station": station, "location": location,
                      "channel": code, "sampling_rate": segment.fs, "starttime": start}  # fmt: skip
            stream.append(obspy.Trace(segment.data, header))
        path = str(folder / f"{channel}.mseed")
        stream.write(path, format="MSEED", encoding="STEIM2", reclen=512)
    return folder


TRUTH_STATIONS = "".join(
    f"XX,{channel.split('.')[1]},,BHZ,2020-01-01T00:00:00,2020-01-02T00:00:00\n"
    for channel in DELAYS
)
TRUTH_PARAMS = "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response\n10,0.1,2,1800,3600,60,none\n"


@pytest.fixture(scope="module")
def truth_archive(tmp_path_factory):
    noise = Noise()
    records = {channel: record(noise, delay) for channel, delay in DELAYS.items()}
    return write_truth(tmp_path_factory.mktemp("archive") / "truth", records)


@pytest.fixture(scope="module")
def truth_job(tmp_path_factory, truth_archive):
    folder = job(tmp_path_factory.mktemp("jobs") / "truth", TRUTH_STATIONS, TRUTH_PARAMS)
    outputs = correlate_job(folder, f"archive:{truth_archive}", 1)
    return folder, outputs


@pytest.fixture(scope="module")
def ta_job(tmp_path_factory):
    folder = job(tmp_path_factory.mktemp("jobs") / "ta", TA_STATIONS, TA_PARAMS)
    outputs = correlate_job(folder, f"archive:{DATA / 'ta_2017_05'}", 2)
    return folder, outputs


def summary(folder):
    """The rows of summary.csv."""
    with (folder / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def open_nc(path):
    return xarray.open_dataset(path, engine="h5netcdf")


def datasets(path):
    """Every data set of a file as bytes, texts as strings."""
    with h5py.File(path) as file:
        return {
            name: data.asstr()[:].tolist() if data.dtype == object else bytes(data[:])
            for name, data in file.items()
        }


def test_the_files_of_a_synthetic_job_peak_at_the_travel_times(truth_job):
    folder, _ = truth_job
    with open_nc(folder / "CORR/2020-01-01.h5") as corr:
        peak = corr.lag.values[np.nanargmax(corr["corr"].values, axis=-1)]

    assert (peak == np.array([[5.5], [12.0], [6.5]])).all()
    assert peak.shape == (3, 47)


def test_a_file_has_the_fields_of_the_contract_and_opens_as_netcdf(truth_job):
    folder, _ = truth_job
    with open_nc(folder / "CORR/2020-01-01.h5") as corr:
        assert dict(corr.sizes) == {"pair": 3, "window": 47, "lag": 1201, "channel": 3}
        assert corr["corr"].dims == ("pair", "window", "lag")
        assert corr["corr"].dtype == np.float32
        assert corr["first"].values.tolist() == ["XX.S00..BHZ", "XX.S00..BHZ", "XX.S01..BHZ"]
        assert (corr["first"].values < corr["second"].values).all()
        for name in ("distance", "azimuth", "back_azimuth"):
            assert corr[name].dims == ("pair",)
            assert corr[name].dtype == np.float64
        for name in ("latitude", "longitude", "elevation"):
            assert corr[name].dims == ("channel",)
        assert corr["coverage"].dims == ("channel", "window")
        assert corr["window"].values[1] == np.datetime64("2020-01-01T00:30")
        assert corr.lag.values[600] == 0
        assert corr.lag.values[-1] == 60
        written = {field.name for field in fields(XcorParams) if field.default is not None}
        assert written <= set(corr.attrs)
        assert "positive lag" in corr.attrs["lag_convention"]
        assert corr.attrs["normalisation"] == "none"


def test_outputs_list_the_offset_of_every_array(truth_job):
    folder, outputs = truth_job
    (entry,) = [file for file in outputs["files"] if file["name"] == "CORR/2020-01-01.h5"]
    (corr,) = [array for array in entry["arrays"] if array["name"] == "corr"]
    n_pairs, n_windows, n_lags = corr["shape"]
    raw = (folder / entry["name"]).read_bytes()

    begin = corr["offset"] + 2 * n_windows * n_lags * 4  # the third pair
    part = np.frombuffer(raw[begin : begin + n_windows * n_lags * 4], corr["dtype"])

    with h5py.File(folder / entry["name"]) as file:
        np.testing.assert_array_equal(part.reshape(n_windows, n_lags), file["corr"][2])
    assert entry["size"] == len(raw)
    assert json.loads((folder / "outputs.json").read_text()) == outputs


def test_bytes_do_not_depend_on_processes_threads_or_the_hash_seed(
    tmp_path, truth_archive, truth_job
):
    folder = job(tmp_path / "again", TRUTH_STATIONS, TRUTH_PARAMS)
    code = (
        "import sys; from pathlib import Path; from xcor_daemon.pipeline.run import correlate_job; "
        "correlate_job(Path(sys.argv[1]), sys.argv[2], 3)"
    )
    command = [sys.executable, "-c", code, str(folder), f"archive:{truth_archive}"]

    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "77"})

    for name in ("CORR/2020-01-01.h5", "STACK/linear.h5"):
        assert datasets(folder / name) == datasets(truth_job[0] / name)


def test_ta_pair_shows_its_pulses_near_minus_80_and_plus_55_s(ta_job):
    with open_nc(ta_job[0] / "STACK/linear.h5") as stacks:
        stack, lag = stacks["stack"].values[0], stacks.lag.values
        assert stacks["distance"].item() == pytest.approx(237, abs=1)

    negative, positive = (lag > -120) & (lag < -30), (lag > 30) & (lag < 120)
    noise = np.std(stack[np.abs(lag) > 140])
    assert lag[negative][np.abs(stack[negative]).argmax()] == pytest.approx(-80, abs=6)
    assert lag[positive][np.abs(stack[positive]).argmax()] == pytest.approx(55, abs=6)
    assert min(np.abs(stack[negative]).max(), np.abs(stack[positive]).max()) > 5 * noise


def test_both_halves_of_the_week_give_the_same_waveform(ta_job):
    halves = []
    for days in (range(1, 5), range(5, 9)):
        stacks = []
        for day in days:
            with h5py.File(ta_job[0] / f"CORR/2017-05-{day:02}.h5") as file:
                stacks.append(np.nanmean(file["corr"][0], axis=0))
        halves.append(np.mean(stacks, axis=0))

    assert np.corrcoef(*halves)[0, 1] > 0.75


@pytest.mark.parametrize(
    ("band", "extra"), [("0.12,0.35,300,600", 2.0), ("0.05,0.12,300,900", 5.0)]
)
def test_norsar_pulses_lie_within_the_moveout_cone_in_all_276_pairs(tmp_path, band, extra):
    params = f"fs,freqmin,freqmax,cc_step,cc_len,maxlag\n5,{band},60\n"
    folder = job(tmp_path / "norsar", (SAMPLE_JOB / "stations.csv").read_text(), params)

    correlate_job(folder, f"archive:{NORSAR}", 2)

    with open_nc(folder / "STACK/linear.h5") as stacks:
        lag = stacks.lag.values[np.abs(stacks["stack"].values).argmax(axis=-1)]
        assert lag.size == 276
        assert (np.abs(lag) <= stacks["distance"].values / 2 + extra).all()


def test_every_channel_day_is_a_row_with_a_reason_if_it_has_no_window(tmp_path, truth_archive):
    stations = TRUTH_STATIONS + (
        "XX,GONE,,BHZ,2020-01-01T00:00:00,2020-01-02T00:00:00\n"
        "XX,S00,,BHZ,2020-01-02T00:00:00,2020-01-03T00:00:00\n"
        "XX,S01,,BHZ,2020-01-02T00:00:00,2020-01-03T00:00:00\n"
    )
    folder = job(tmp_path / "j", stations, TRUTH_PARAMS)

    outputs = correlate_job(folder, f"archive:{truth_archive}", 1)

    rows = summary(folder)
    by_key = {(row["day"], row["channel"]): row for row in rows}
    assert len(rows) == 6
    assert by_key["2020-01-01", "XX.GONE..BHZ"]["status"] == "nodata"
    assert by_key["2020-01-01", "XX.GONE..BHZ"]["reason"]
    assert by_key["2020-01-01", "XX.S00..BHZ"]["windows_kept"] == "47"
    assert by_key["2020-01-02", "XX.S00..BHZ"]["status"] == "empty"
    assert outputs["units"] == {"done": 1, "empty": 1, "failed": []}


def test_a_channel_without_metadata_is_rejected_and_the_others_are_used(tmp_path):
    stations = TA_STATIONS + "TA,X99X,,LHZ,2017-05-01T00:00:00,2017-05-02T00:00:00\n"
    stations = stations.replace("2017-05-09", "2017-05-02")
    import obspy

    archive = tmp_path / "archive"
    archive.mkdir()
    for source in (DATA / "ta_2017_05").rglob("*LHZ.D.2017.121"):
        (archive / source.name).write_bytes(source.read_bytes())
    (archive / "station.xml").write_bytes((DATA / "ta_2017_05" / "station.xml").read_bytes())
    stream = obspy.read(str(next(archive.glob("*N16K*"))), format="MSEED")
    for trace in stream:
        trace.stats.station = "X99X"
    stream.write(str(archive / "x99x.mseed"), format="MSEED")
    folder = job(tmp_path / "job", stations, TA_PARAMS)

    outputs = correlate_job(folder, f"archive:{archive}", 1)

    rows = {row["channel"]: row for row in summary(folder)}
    assert rows["TA.X99X..LHZ"]["status"] == "refused"
    assert "no metadata" in rows["TA.X99X..LHZ"]["reason"]
    assert outputs["summary"]["pairs"] == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from xcor_daemon.pipeline import run
from xcor_daemon.pipeline.hdf5 import correlation_file
write = correlation_file.CorrWriter.write
def write_then_die(self, rows, window, corr):
    write(self, rows, window, corr)
    if self.path.stem == "2017-05-02":
        os.kill(os.getpid(), signal.SIGKILL)
correlation_file.CorrWriter.write = write_then_die
run.correlate_job(Path(sys.argv[1]), sys.argv[2], 1)
"""


def test_a_job_killed_while_writing_is_completed_by_the_next_run(tmp_path, ta_job):
    folder = job(tmp_path / "killed", TA_STATIONS, TA_PARAMS)
    source = f"archive:{DATA / 'ta_2017_05'}"

    died = subprocess.run([sys.executable, "-c", KILLED, str(folder), source], check=False)
    kept = (folder / "CORR/2017-05-01.h5").stat().st_mtime_ns
    left = sorted(path.name for path in (folder / "CORR").iterdir())
    correlate_job(folder, source, 1)

    assert died.returncode == -signal.SIGKILL
    assert left[0] == "2017-05-01.h5"
    assert [(name[:13], name[-8:]) for name in left[1:]] == [("2017-05-02.h5", ".partial")]
    assert (folder / "CORR/2017-05-01.h5").stat().st_mtime_ns == kept
    assert sorted(p.name for p in (folder / "CORR").iterdir()) == [
        *(f"2017-05-{day:02}.h5" for day in range(1, 9)),
        "rows.json",
    ]
    for name in ("CORR/2017-05-01.h5", "CORR/2017-05-02.h5", "STACK/linear.h5"):
        assert datasets(folder / name) == datasets(ta_job[0] / name)


def test_other_parameters_in_the_same_folder_are_processed_again(tmp_path, truth_archive):
    folder = job(tmp_path / "j", TRUTH_STATIONS, TRUTH_PARAMS)
    correlate_job(folder, f"archive:{truth_archive}", 1)
    (folder / "params.csv").write_text(TRUTH_PARAMS.replace(",60,", ",30,"))

    correlate_job(folder, f"archive:{truth_archive}", 1)

    with h5py.File(folder / "CORR/2020-01-01.h5") as file:
        assert file["lag"].size == 601


def test_substacks_are_the_means_of_the_windows(tmp_path, truth_archive, truth_job):
    params = TRUTH_PARAMS.replace("response", "response,substack").replace("none", "none,21600")
    folder = job(tmp_path / "j", TRUTH_STATIONS, params)

    correlate_job(folder, f"archive:{truth_archive}", 1)

    with h5py.File(truth_job[0] / "CORR/2020-01-01.h5") as file:
        windows = file["corr"][:]
    with h5py.File(folder / "CORR/2020-01-01.h5") as file:
        means = file["corr"][:]
    expected = np.stack([windows[:, k * 12 : k * 12 + 12].mean(axis=1) for k in range(4)], axis=1)
    assert np.abs(means - expected).max() < 1e-6 * np.abs(windows).max()


@pytest.mark.parametrize("method", ["linear", "phase-weighted", "robust"])
@pytest.mark.parametrize("stack_all", ["true", "false"])
def test_a_stacking_job_stacks_a_finished_one(tmp_path, ta_job, method, stack_all):
    folder = tmp_path / "stack"
    folder.mkdir()
    (folder / "stacking_params.csv").write_text(
        f"type,phase_smooth,stack_all,job\n{method},,{stack_all},41808\n"
    )

    outputs = stack_job(folder, ta_job[0] / "CORR", 1)

    with open_nc(folder / f"STACK/{method}.h5") as stacks:
        assert stacks["stack"].shape == ((1, 401) if stack_all == "true" else (1, 8, 401))
        assert stacks.attrs["method"] == method
        mean = stacks["stack"].values.reshape(-1, 401).mean(axis=0)
    with open_nc(ta_job[0] / "STACK/linear.h5") as linear:
        assert np.corrcoef(mean, linear["stack"].values[0])[0, 1] > 0.8
    names = {file["name"] for file in outputs["files"]}
    assert {f"STACK/{method}.h5", "PLOT/correlogram.png"} <= names


def test_a_job_of_the_other_kind_is_rejected(tmp_path, ta_job):
    with pytest.raises(RequestError, match="xcor-daemon correlate"):
        stack_job(ta_job[0], ta_job[0] / "CORR")


def test_progress_counts_days_and_ends_complete(ta_job):
    progress = json.loads((ta_job[0] / "progress.json").read_text())

    assert progress["days"] == [8, 8]
    assert progress["pairs"] == 1
    assert progress["stage"] == "finished"


def test_without_images_all_other_results_are_the_same(tmp_path, truth_archive, truth_job):
    folder = job(tmp_path / "j", TRUTH_STATIONS, TRUTH_PARAMS)

    outputs = correlate_job(folder, f"archive:{truth_archive}", 1, images=False)

    names = {file["name"] for file in truth_job[1]["files"]}
    made = {file["name"] for file in outputs["files"]}
    assert made == {name for name in names if not name.startswith("PLOT/")}
    assert not (folder / "PLOT").exists()


def test_a_job_with_rotate_also_writes_the_nine_components_of_its_stations(tmp_path):
    noise = Noise(5)
    records, rows = {}, "Network,Station,Location,Channel,StartDate,EndDate,Latitude,Longitude\n"
    for k, (station, longitude) in enumerate((("S00", 5.0), ("S01", 6.0))):  # S01 lies in the east
        for c, component in enumerate("ENZ"):
            records[f"XX.{station}..BH{component}"] = record(noise, 1.5 * k + 0.4 * c)
            rows += f"XX,{station},,BH{component},2020-01-01,2020-01-02,0,{longitude}\n"
    archive = write_truth(tmp_path / "archive", records)
    params = TRUTH_PARAMS.replace("response", "response,whiten,rotate").replace(
        "none", "none,false,true"
    )
    folder = job(tmp_path / "job", rows, params)

    outputs = correlate_job(folder, f"archive:{archive}", 1, images=False)

    assert "STACK/linear-RTZ.h5" in {file["name"] for file in outputs["files"]}
    stacks = folder / "STACK"
    with open_nc(stacks / "linear.h5") as plain, open_nc(stacks / "linear-RTZ.h5") as rtz:
        ends = zip(rtz["first"].values, rtz["second"].values, strict=True)
        names = [f"{first[-1]}{second[-1]}" for first, second in ends]
        assert names == ["RR", "RT", "RZ", "TR", "TT", "TZ", "ZR", "ZT", "ZZ"]
        pair = (plain["first"] == "XX.S00..BHE") & (plain["second"] == "XX.S01..BHE")
        east = plain["stack"].values[pair.values][0]
        # Due east on the equator R is E, and T is south.
        assert np.abs(rtz["stack"].values[0] - east).max() < 1e-3 * np.abs(east).max()
        assert rtz["n_windows"].values.tolist() == [47] * 9
