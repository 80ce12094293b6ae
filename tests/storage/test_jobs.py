"""A job's folder and its job.json."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hosting import PARAMS, STATIONS

from xcor_daemon.atomic_files import write_bytes
from xcor_daemon.errors import BusyError, DiskError, Problem
from xcor_daemon.request.job_files import JobProgress
from xcor_daemon.storage import jobs
from xcor_daemon.storage.jobs import Input, Job, create_job, load_jobs, sweep_unfinished
from xcor_daemon.storage.worker_outputs import (
    BrokenOutputs,
    complete_files,
    log_tail,
    open_output,
    read_outputs,
    read_progress,
)


@pytest.fixture
def job(tmp_path):
    contents = {"stations.csv": STATIONS, "params.csv": PARAMS}
    inputs = [Input.of(f"incoming/41/{name}", '"e"', body) for name, body in contents.items()]
    return create_job(tmp_path, "41", contents, inputs, submitted_at=1546300800.0)


def test_a_job_is_read_back_as_it_was_written(job, tmp_path):
    changed = job.changed(state="running", failures=2, not_before=3.5, problems=({"line": 1},))

    assert load_jobs(tmp_path) == [changed]
    assert (job.folder / "stations.csv").read_bytes() == STATIONS


def test_job_json_keeps_the_keys_of_version_0_1_0(job, tmp_path):
    counted = job.changed(final_state="failed", out_of_memory=1, previous_runs=2, disk_estimate=3)

    content = json.loads((job.folder / "job.json").read_text())

    old = {"seen": 1546300800.0, "verdict": "failed", "starved": 1, "past": 2, "needed": 3}
    assert {key: content[key] for key in old} == old
    assert content.keys() == {
        *("id", "kind", "attempt", "inputs", "seen", "state", "verdict", "reason", "problems"),
        *("source", "executor", "corr", "failures", "killed", "starved", "not_before", "started"),
        *("launched", "needed", "past", "is_held"),
    }
    assert load_jobs(tmp_path) == [counted]


def test_the_folder_is_named_by_time_and_id_and_the_attempt_after_it(job, tmp_path):
    stamp, job_id = job.folder.relative_to(tmp_path).parts

    assert job_id == "41"
    assert job.attempt.startswith(f"{stamp}-")
    assert len(job.attempt) == len("20200615_102819-3f9a1c")


def test_job_json_holds_no_path_of_this_machine(job, tmp_path):
    assert str(tmp_path) not in (job.folder / "job.json").read_text()


def test_a_staging_without_job_json_is_not_a_job_and_is_removed(job, tmp_path):
    half = tmp_path / "20200615_102819" / "77"
    half.mkdir(parents=True)
    (half / "stations.csv").write_bytes(STATIONS)

    assert load_jobs(tmp_path) == [job]
    assert sweep_unfinished(tmp_path) == [half]
    assert not half.exists()
    assert load_jobs(tmp_path) == [job]


def test_folders_of_others_are_neither_read_nor_swept(tmp_path):
    for name in ("notes/1", "20200615_102819/readme", "20200615_102819/12345678901234567"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "20200615_102820").symlink_to(tmp_path / "notes")

    assert load_jobs(tmp_path) == []
    assert sweep_unfinished(tmp_path) == []
    assert (tmp_path / "notes/1").is_dir()


def test_an_interrupted_write_leaves_the_old_content(job):
    before = (job.folder / "job.json").read_bytes()
    (job.folder / "job.json.partial").write_bytes(before[:20])

    assert Job.load(job.folder) == job


def test_a_folder_that_cannot_be_written_is_a_disk_error(tmp_path):
    with pytest.raises(DiskError, match="cannot be written"):
        write_bytes(tmp_path / "missing" / "file", b"")


def test_only_one_process_locks_a_work_folder(tmp_path):
    code = (
        "import sys, pathlib; from xcor_daemon.storage.jobs import lock_work_dir\n"
        "with lock_work_dir(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match="another xcor-daemon"), jobs.lock_work_dir(tmp_path):
            pass
        other.kill()

    with jobs.lock_work_dir(tmp_path):
        pass


def test_a_problem_is_shortened_for_the_page():
    problem = Problem("stations.csv", 2, "Network", "x" * 4_000_000, "is no code")

    assert len(json.dumps(jobs.problem_json(problem))) < 1000
    assert len(jobs.problems_json([problem] * 5000)) == 200


# --- what a worker leaves ---


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "CORR/../../secret", "", "CORR//a", ".hidden", "a\nb"]
)
def test_a_result_cannot_be_named_out_of_its_folder(job, name):
    (job.folder.parent / "secret").write_text("x")

    with pytest.raises(BrokenOutputs, match="not a valid name of a result file"):
        open_output(job.folder, name)


def test_links_pipes_and_folders_are_no_results(job, tmp_path):
    (tmp_path / "secret").write_text("x")
    (job.folder / "link.h5").symlink_to(tmp_path / "secret")
    (job.folder / "CORR").symlink_to(tmp_path)
    os.mkfifo(job.folder / "pipe.h5")
    (job.folder / "STACK").mkdir()

    for name in ("link.h5", "CORR/secret", "pipe.h5", "STACK", "missing.h5"):
        with pytest.raises(BrokenOutputs):
            open_output(job.folder, name)
    assert complete_files(job.folder) == []


def test_complete_files_are_those_with_their_final_names(job):
    for name in ("CORR/2019-01-01.h5", "CORR/2019-01-02.h5.partial", "PLOT/map.png", "PLOT/é.png"):
        (job.folder / name).parent.mkdir(exist_ok=True)
        (job.folder / name).touch()

    assert complete_files(job.folder) == ["CORR/2019-01-01.h5", "PLOT/map.png"]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"days": "x", "warnings": [1]}'])
def test_an_invalid_progress_file_is_empty_progress(job, text):
    (job.folder / "progress.json").write_text(text)

    assert read_progress(job.folder) == JobProgress()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"files": [], "units": {"done": 1}},
        {"files": [{"name": "a"}], "units": {"done": 1, "empty": 0, "failed": []}},
        {"files": {}, "units": {"done": 1, "empty": 0, "failed": []}},
    ],
)
def test_an_outputs_file_of_another_shape_is_rejected(job, content):
    (job.folder / "outputs.json").write_text(json.dumps(content))

    with pytest.raises(BrokenOutputs, match="outputs.json"):
        read_outputs(job.folder)


def test_the_log_tail_is_the_last_lines_whatever_the_bytes(job):
    (job.folder / "xcor_log.txt").write_bytes(b"\xff" * 100_000 + b"\n" + b"line\n" * 60)

    assert log_tail(job.folder) == ["line"] * 50
