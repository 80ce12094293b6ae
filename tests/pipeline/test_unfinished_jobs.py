"""Jobs that version 0.1.0 began (tests/data/version_0_1_0, made by its code) are continued."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from xcor_daemon.pipeline.run import correlate_job
from xcor_daemon.storage.jobs import Job

ROOT = Path(__file__).parents[2]
MADE_BY_IT = ROOT / "tests/data/version_0_1_0"


def test_a_half_finished_job_folder_is_finished_and_its_day_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # its record of the day depends on the name of the source
    job = shutil.copytree(MADE_BY_IT / "job", tmp_path / "job")
    finished = job / "CORR/2017-05-01.h5"
    before = finished.stat().st_mtime_ns, finished.read_bytes()

    outputs = correlate_job(job, "archive:tests/data/ta_2017_05", 1, images=False)

    assert outputs["units"] == {"done": 2, "empty": 0, "failed": []}
    assert (finished.stat().st_mtime_ns, finished.read_bytes()) == before


def test_a_jobs_record_is_read_and_written_with_the_same_keys_and_values(tmp_path):
    shutil.copy(MADE_BY_IT / "job.json", tmp_path)
    before = json.loads((tmp_path / "job.json").read_text())

    job = Job.load(tmp_path)
    job.changed()

    assert (job.id, job.state, job.run) == ("41", "running", 3 + 1 + 2 + 1)
    assert json.loads((tmp_path / "job.json").read_text()) == before


@pytest.mark.parametrize(
    "state", ["queued", "running", "done", "failed", "rejected", "cancelled", "left"]
)
def test_every_state_of_a_job_is_still_a_state(tmp_path, state):
    content = json.loads((MADE_BY_IT / "job.json").read_text()) | {"state": state}
    (tmp_path / "job.json").write_text(json.dumps(content))

    job = Job.load(tmp_path)

    assert job.is_live == (state in ("queued", "running"))
