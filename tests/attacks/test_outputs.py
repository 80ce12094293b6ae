"""A worker under an attacker's control: only complete files of its own are published.

More of such ends stand in tests/service/test_daemon.py
(`test_a_worker_with_broken_outputs_has_failed`) and tests/storage/test_jobs.py
(`test_links_pipes_and_folders_are_no_results`).
"""

from __future__ import annotations

import json
import os

import pytest
from hosting import FakeLauncher, keys, read, send, work

from xcor_daemon.config import Config
from xcor_daemon.service.daemon import Daemon

SECRET = b"the daemon's own secret"


def link(path, secret):
    path.symlink_to(secret)


def hard_link(path, secret):
    path.hardlink_to(secret)


def folder_link(path, secret):
    path.parent.rmdir()
    path.parent.symlink_to(secret.parent)
    (secret.parent / path.name).write_bytes(SECRET)


def pipe(path, secret):
    os.mkfifo(path)


def device(path, secret):
    path.symlink_to("/dev/zero")


def process(path, secret):
    path.symlink_to("/proc/self/environ")


def holes(path, secret):
    with path.open("wb") as file:
        file.truncate(1 << 40)


def folder(path, secret):
    path.mkdir()


ENDS = [link, hard_link, folder_link, pipe, device, process, holes, folder]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("name", ["CORR/2019-01-01.h5", "PLOT/extra.png", "xcor_log.txt"])
def test_nothing_from_outside_is_published(end, name, store, tmp_path):
    if name == "xcor_log.txt" and end is folder_link:
        return  # the job's own folder is the daemon's
    secret = tmp_path / "outside/secret"
    secret.parent.mkdir()
    secret.write_bytes(SECRET)
    launcher = FakeLauncher()
    config = Config("xcor", work_dir=tmp_path / "work", source="archive:/data", max_attempts=1)
    daemon = Daemon(store, launcher, config)
    with daemon.locked():
        send(store, "41")
        daemon.run_pass()
        job = daemon.jobs["41"]
        outputs = work(job.folder)
        path = job.folder / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        end(path, secret)
        outputs["files"].append({"name": "PLOT/extra.png", "size": 5, "sha256": "0" * 64})
        (job.folder / "outputs.json").write_text(json.dumps(outputs))
        daemon.run_pass()  # while the worker runs, complete files are published
        launcher.workers["41", job.run] = launcher.workers["41", job.run].__class__("ended", 0)
        daemon.run_pass()

    assert store.read_status("41")["state"] == "failed"
    published = [key for key in keys(store) if "/runs/" in key]
    assert not [key for key in published if SECRET in read(store, key)]
    assert not [key for key in published if key.endswith(name)]


DEEP = "[" * 400 + "]" * 400  # json reads it; to write it indented takes as many nested calls


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", DEEP], ids=lambda value: value[:8])
def test_a_summary_that_is_invalid_json_fails_its_job_and_no_other(value, store, tmp_path):
    launcher = FakeLauncher()
    config = Config(
        "xcor", work_dir=tmp_path / "work", source="archive:/data", max_attempts=1, max_parallel=2
    )
    daemon = Daemon(store, launcher, config)
    with daemon.locked():
        for job_id in ("41", "42"):
            send(store, job_id)
        daemon.run_pass()
        for job_id in ("41", "42"):
            job = daemon.jobs[job_id]
            work(job.folder)
            (job.folder / "xcor_log.txt").touch()
            if job_id == "41":
                text = (job.folder / "outputs.json").read_text()
                text = text.replace('"pairs": 1', f'"pairs": {value}')
                (job.folder / "outputs.json").write_text(text)
            worker = launcher.workers[job_id, job.run]
            launcher.workers[job_id, job.run] = worker.__class__("ended", 0)
        daemon.run_pass()

    failed = store.read_status("41")
    assert (failed["state"], store.read_manifest("41")) == ("failed", None)
    assert "outputs.json" in failed["reason"]
    assert store.read_status("42")["state"] == "done"
