"""Jobs, work folders and buckets of version 0.1.0 are read, adopted and finished.

``made_by_0.1.0.tar.xz`` holds a bucket and a work folder whose daemon and worker were killed while
job 42 had two of its four days (41 is published; 43, and 44 that stacks 41, wait), and two job
folders of a laptop: one finished, one killed after two of four days. All have the same request.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from paths import DATA

from xcor_daemon.results import open_results

DAYS = ["2017-05-01", "2017-05-02", "2017-05-03", "2017-05-04"]
ARCHIVE = f"archive:{DATA / 'ta_2017_05'}"
FIRST, SECOND = "TA.N16K..LHZ", "TA.N19K..LHZ"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folders of version 0.1.0, whose source is where the data are on this machine."""
    with tarfile.open(DATA / "made_by_0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    for path in tmp_path.glob("work/*/*/job.json"):
        path.write_text(path.read_text().replace("archive:/data/ta_2017_05", ARCHIVE))
    return tmp_path


def run(*arguments: str, **environ: str) -> str:
    """Output of a command, which must succeed."""
    command = [sys.executable, "-m", "xcor_daemon.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environ or None)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pair_of(place: str | Path) -> np.ndarray:
    """Correlations (96 windows, 301 lags) of the one pair that the request has."""
    with open_results(place) as results:
        assert results.days == DAYS
        return results.pair(FIRST, SECOND).values


def assert_equal_to_rounding(got: np.ndarray, expected: np.ndarray) -> None:
    """Agreement to 1e-4 of the maximum, as with float64 (test_chain); 1.6e-5 was measured."""
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


def test_a_finished_job_folder_is_read_and_stacked(old: Path):
    folder = old / "finished"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("CORR/*.h5")}

    corr = pair_of(folder)
    with open_results(folder) as results:
        stack = results.stack("linear")["stack"].values[0]
    (old / "again").mkdir()
    (old / "again/stacking_params.csv").write_text("job,type,stack_all\n41,linear,true\n")
    run("stack", str(old / "again"), "--corr", str(folder / "CORR"))
    with open_results(old / "again") as results:
        again = results.stack("linear")["stack"].values[0]

    assert corr.shape == (96, 301)
    assert_equal_to_rounding(stack, corr.mean(axis=0))
    assert_equal_to_rounding(again, stack)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_job_folder_that_was_killed_is_finished(old: Path):
    run("correlate", str(old / "killed"), "--source", ARCHIVE, "--processes", "1")

    assert_equal_to_rounding(pair_of(old / "killed"), pair_of(old / "finished"))


@pytest.mark.real
def test_a_work_folder_and_its_bucket_are_adopted_and_finished(old: Path, bucket):
    client = bucket.server.client()
    for path in sorted(path for path in (old / "bucket").rglob("*") if path.is_file()):
        key = path.relative_to(old / "bucket").as_posix()
        client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes())
    published = read(bucket, "processed/41/manifest.json")

    environ = bucket.environ(old / "work", source=ARCHIVE, settle="0", processes="1")
    run("run-once", "--wait", PATH="/usr/bin:/bin", **environ)

    assert read(bucket, "processed/41/manifest.json") == published
    for job_id in ("42", "43", "44"):
        assert json.loads(read(bucket, f"processed/{job_id}/status.json"))["state"] == "done"
    expected = pair_of(f"{bucket.url}/processed/41")
    for job_id in ("42", "43"):
        assert_equal_to_rounding(pair_of(f"{bucket.url}/processed/{job_id}"), expected)
    with open_results(f"{bucket.url}/processed/44") as results:
        stack = results.stack("linear")["stack"].values[0]
    assert_equal_to_rounding(stack, expected.mean(axis=0))
    # The folder of version 0.1.0 was taken on: its attempt is the one that is published.
    files = json.loads(read(bucket, "processed/42/manifest.json"))["files"]
    assert all("/runs/20261130_213417-880fca/" in file["key"] for file in files)


def read(bucket, key: str) -> bytes:
    with urllib.request.urlopen(f"{bucket.url}/{key}", timeout=30) as answer:
        return answer.read()
