"""A job walks from incoming/ to processed/ through real servers and a real daemon."""

from __future__ import annotations

import hashlib
import json
import math
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

pytestmark = pytest.mark.real

CORR_FIELDS = {
    "corr": (("pair", "window", "lag"), "float32"),
    "first": (("pair",), None),
    "second": (("pair",), None),
    "distance": (("pair",), "float64"),
    "azimuth": (("pair",), "float64"),
    "back_azimuth": (("pair",), "float64"),
    "window": (("window",), None),
    "lag": (("lag",), "float64"),
    "channel": (("channel",), None),
    "latitude": (("channel",), "float64"),
    "longitude": (("channel",), "float64"),
    "elevation": (("channel",), "float64"),
    "coverage": (("channel", "window"), "float32"),
}


def test_the_sample_walks_through_foreign_servers_to_published_results(
    serve, foreign_dataselect, fdsn_server, sample_job, tmp_path: Path
):
    service = serve(f"fdsn:{foreign_dataselect}|{fdsn_server.url}")

    job_id = service.send(sample_job)
    status = service.wait_for(job_id)

    assert (status["state"], status["reason"]) == ("done", None)
    manifest = json.loads(service.read(status["manifest"]))
    files = fetch_results(service, manifest, tmp_path / "results")
    assert_listed_as_the_original_did(service, manifest)
    assert_moveout(files["STACK/linear.h5"])
    assert_fields(files["CORR/2019-01-01.h5"])
    assert_a_range_is_one_pair(service, manifest, files["CORR/2019-01-01.h5"])
    assert {name.split("/")[0] for name in files} >= {"PLOT", "request.json", "summary.csv"}


def test_broken_files_end_as_rejected_with_every_reason(serve, fdsn_server):
    service = serve(f"fdsn:{fdsn_server.url}")
    stations = b"Network,Station,Location,Channel,StartDate,EndDate\nNO,NAO00,,BHZ,2019-13-01,\n"
    params = b"fs,freqmin,freqmax,cc_step,cc_len,maxlag\n5,0.12,3,300,600,60\n"

    status = service.wait_for(service.send({"stations.csv": stations, "params.csv": params}), 60)

    assert status["state"] == "rejected"
    assert "stations.csv line 2: StartDate = 2019-13-01 is not a date" in status["reason"]
    assert "params.csv line 2: freqmax = 3 Hz exceeds the Nyquist frequency " in status["reason"]
    assert status["manifest"] is None


def fetch_results(service, manifest: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Download every file of a manifest and check its size and hash; name -> path."""
    prefix = f"processed/{manifest['id']}/runs/{manifest['attempt']}/"
    files = {}
    for file in manifest["files"]:
        content = service.read(file["key"])
        assert len(content) == file["size"]
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        name = file["key"].removeprefix(prefix)
        files[name] = folder / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_bytes(content)
    return files


def assert_listed_as_the_original_did(service, manifest: dict[str, Any]) -> None:
    lines = service.read(f"processed/{manifest['id']}/files.txt").decode().splitlines()
    assert lines == [*(file["key"] for file in manifest["files"]), "done"]


def assert_moveout(path: Path) -> None:
    """The sample's microseisms cross the array from the Atlantic at 2.5 to 4 km/s."""
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        stack = data["stack"].to_numpy().reshape(data.sizes["pair"], -1)
        lag = data["lag"].to_numpy()[np.nanargmax(stack, axis=1)]
        distance = data["distance"].to_numpy()
        azimuth = np.radians(data["azimuth"].to_numpy())
    assert distance.size == 24 * 23 // 2
    assert 2 < distance.min() < distance.max() < 70
    assert (np.abs(lag) <= distance / 2 + 2).all()
    east_north = distance[:, None] * np.column_stack([np.sin(azimuth), np.cos(azimuth)])
    slowness = np.linalg.lstsq(east_north, lag)[0]
    assert 2.5 < 1 / np.hypot(*slowness) < 4
    assert slowness[0] > 0  # a wave from the west reaches the eastern station later


def assert_fields(path: Path) -> None:
    """The file has the arrays of the contract, with its shapes and types."""
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        for name, (dims, dtype) in CORR_FIELDS.items():
            assert data[name].dims == dims, name
            assert dtype is None or data[name].dtype == dtype, name
        first, second = (data[name].to_numpy().astype(str) for name in ("first", "second"))
        assert (first < second).all()
        lag = data["lag"].to_numpy()
        assert lag.size == 2 * 60 * 5 + 1
        assert lag[lag.size // 2] == 0
        windows = data["window"].to_numpy() - np.datetime64("2019-01-01T00:00:00")
        assert (windows % np.timedelta64(300, "s") == np.timedelta64(0, "s")).all()
        for name in ("fs", "freqmin", "freqmax", "cc_step", "cc_len", "maxlag"):
            assert name in data.attrs
        assert {"lag_convention", "units", "normalisation", "software"} <= set(data.attrs)
        # Data end at 04:00, so windows that reach beyond hold nothing; nearly all others do.
        full = windows + np.timedelta64(600, "s") <= np.timedelta64(4, "h")
        corr = data["corr"].to_numpy()
        assert not np.isfinite(corr[:, ~full]).any()
        assert np.isfinite(corr[:, full]).all(axis=2).mean() > 0.9
        assert full.sum() >= 44


def assert_a_range_is_one_pair(service, manifest: dict[str, Any], path: Path) -> None:
    """A page reads one pair's matrix with one ranged request and no HDF5 reader."""
    (file,) = (f for f in manifest["files"] if f["key"].endswith("CORR/2019-01-01.h5"))
    (array,) = (a for a in file["arrays"] if a["name"] == "corr")
    n_pairs, *matrix = array["shape"]
    size, pair = 4 * math.prod(matrix), n_pairs // 2
    start = array["offset"] + pair * size
    request = urllib.request.Request(f"{service.bucket.url}/{file['key']}")
    request.add_header("Range", f"bytes={start}-{start + size - 1}")

    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 206
        got = np.frombuffer(answer.read(), "<f4").reshape(matrix)

    with xarray.open_dataset(path, engine="h5netcdf") as data:
        assert np.array_equal(got, data["corr"].to_numpy()[pair], equal_nan=True)
