"""Workers as detached processes, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosting import wait_until

from xcor_daemon.config import Config
from xcor_daemon.errors import DiskError
from xcor_daemon.storage.jobs import Job, create_job
from xcor_daemon.workers import supervisor
from xcor_daemon.workers.launcher import worker_command, worker_environment
from xcor_daemon.workers.local_launcher import LocalLauncher
from xcor_daemon.workers.supervisor import read_record

ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": "/nowhere",
    "NUMBA_CACHE_DIR": "/tmp/cache",
    "OMP_NUM_THREADS": "1",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "XCOR_BUCKET": "secret",
    "PYTHONPATH": "/tmp/evil",
}


@pytest.fixture
def job(tmp_path) -> Job:
    return create_job(tmp_path, "41", {}, [], 0.0)


@pytest.fixture
def launch(tmp_path) -> Iterator:
    """Makes launchers whose workers run a Python program and end with the test."""
    made: list[tuple[LocalLauncher, Job]] = []

    def make(job: Job, code: str, grace: float = 10.0) -> LocalLauncher:
        launcher = LocalLauncher(lambda job: [sys.executable, "-c", code], ENVIRON, grace)
        made.append((launcher, job))
        launcher.start(job)
        return launcher

    yield make
    for launcher, job in made:
        launcher.grace = 0.0
        wait_until(lambda launcher=launcher, job=job: stopped(launcher, job))
        for child in launcher._children.values():
            child.wait(10)


def stopped(launcher: LocalLauncher, job: Job) -> bool:
    launcher.stop(job)
    return launcher.inspect(job).state != "running"


def wait_for_end(launcher: LocalLauncher, job: Job) -> int | None:
    wait_until(lambda: launcher.inspect(job).state == "ended")
    return launcher.inspect(job).exit_code


def log_of(job: Job) -> str:
    path = job.folder / "xcor_log.txt"
    return path.read_text() if path.exists() else ""


def wait_for_worker(job: Job) -> None:
    """Wait until a worker has written to its log and its supervisor has recorded it."""
    wait_until(lambda: "up" in log_of(job) and "worker" in read_record(job.folder))


def test_the_exit_code_and_the_output_of_a_worker_are_recorded(job, launch):
    launcher = launch(job, "import sys; print('out'); sys.stdout.flush(); sys.exit('err')")

    assert wait_for_end(launcher, job) == 1
    assert log_of(job) == "out\nerr\n"


def test_a_job_without_a_worker_is_not_started(job):
    assert LocalLauncher(lambda job: [], {}).inspect(job).state == "not-started"


def test_a_worker_has_no_secrets_in_its_environment(job, launch):
    launcher = launch(job, "import json, os; print(json.dumps(list(os.environ)))")

    wait_for_end(launcher, job)

    names = set(json.loads(log_of(job)))
    assert {"PATH", "HOME", "NUMBA_CACHE_DIR", "OMP_NUM_THREADS"} <= names
    assert not [n for n in names if n.startswith(("AWS_", "XCOR_", "PYTHONPATH"))]
    assert "AWS_SECRET_ACCESS_KEY" not in worker_environment(ENVIRON)


def test_a_second_start_does_not_start_a_second_worker(job, launch):
    launcher = launch(job, "print('once', flush=True); import time; time.sleep(60)")
    launcher.start(job)
    wait_until(lambda: "once" in log_of(job))
    launcher.start(job)
    LocalLauncher(launcher.command, ENVIRON).start(job)

    assert launcher.inspect(job).state == "running"
    assert log_of(job) == "once\n"


def test_two_daemons_that_start_at_once_start_one_worker(job, launch):
    code = "print('once', flush=True); import time; time.sleep(0.5)"
    first, second = launch(job, code), launch(job, code)

    assert wait_for_end(first, job) == 0
    assert wait_for_end(second, job) == 0
    assert log_of(job) == "once\n"


def test_another_daemon_finds_the_worker_and_its_end(job, launch):
    launcher = launch(job, "import time; time.sleep(60)")
    wait_until(lambda: (job.folder / "worker.json").exists())

    successor = LocalLauncher(launcher.command, ENVIRON, grace=10)

    assert successor.inspect(job).state == "running"
    wait_until(lambda: stopped(successor, job))
    assert successor.inspect(job).state == "ended"


def test_a_worker_that_is_killed_from_outside_has_no_exit_code(job, launch):
    launcher = launch(job, "print('up', flush=True); import time; time.sleep(60)")
    wait_for_worker(job)

    os.kill(read_record(job.folder)["worker"]["pid"], signal.SIGKILL)

    assert wait_for_end(launcher, job) is None


def test_a_worker_that_crashes_has_the_exit_code_of_a_shell(job, launch):
    launcher = launch(job, "import os; os.kill(os.getpid(), 11)")

    assert wait_for_end(launcher, job) == 139


def test_a_worker_whose_supervisor_was_killed_continues_and_can_be_stopped(job, launch):
    launcher = launch(job, "print('up', flush=True); import time; time.sleep(60)")
    wait_for_worker(job)

    os.kill(read_record(job.folder)["supervisor"]["pid"], signal.SIGKILL)

    assert launcher.inspect(job).state == "running"
    wait_until(lambda: stopped(launcher, job))
    assert launcher.inspect(job).exit_code is None


def test_a_worker_that_cannot_be_recorded_is_killed(job, monkeypatch):
    """Otherwise the next worker would run at the same time."""
    workers = []

    def refuse(folder: Path, record: dict) -> None:
        if "worker" in record:
            workers.append(record["worker"])
            raise DiskError("no space left")

    monkeypatch.setattr(supervisor, "write_record", refuse)
    with pytest.raises(DiskError):
        supervisor.supervise(job.folder, 0, [sys.executable, "-c", "import time; time.sleep(60)"])

    (worker,) = workers
    assert not supervisor.is_alive(worker)


def test_a_worker_gets_sigterm_first(job, launch):
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('up', flush=True); time.sleep(60)"
    )
    launcher = launch(job, code)
    wait_for_worker(job)

    launcher.stop(job)

    assert wait_for_end(launcher, job) == 7


def test_a_worker_that_ignores_sigterm_is_killed_after_the_grace_period(job, launch):
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True); time.sleep(60)"
    )
    launcher = launch(job, code, grace=0.3)
    wait_for_worker(job)

    wait_until(lambda: stopped(launcher, job))

    assert launcher.inspect(job).exit_code is None


def test_child_processes_of_a_worker_end_with_it(job, launch):
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); import os; os._exit(0)"
    )
    launcher = launch(job, code)

    assert wait_for_end(launcher, job) == 0
    wait_until(lambda: not Path(f"/proc/{log_of(job).strip()}").exists())


def test_a_process_with_the_reused_pid_of_a_worker_is_not_killed(job):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with stranger:
        worker = {"pid": stranger.pid, "start": 1, "boot": "another"}
        (job.folder / "worker.json").write_text(
            json.dumps({"run": 0, "supervisor": worker, "worker": worker})
        )
        launcher = LocalLauncher(lambda job: [], {}, grace=0.0)

        launcher.stop(job)
        launcher.stop(job)

        assert launcher.inspect(job).state == "ended"
        assert stranger.poll() is None
        stranger.kill()


def test_the_worker_of_an_earlier_run_is_not_the_next_one(job, launch):
    launcher = launch(job, "import sys; sys.exit(3)")
    assert wait_for_end(launcher, job) == 3

    again = job.changed(failures=1)
    assert launcher.inspect(again).state == "not-started"
    launcher.start(again)

    assert wait_for_end(launcher, again) == 3


def test_a_worker_that_cannot_be_started_has_ended(job):
    launcher = LocalLauncher(lambda job: ["/no/such/program"], ENVIRON)
    launcher.start(job)

    assert wait_for_end(launcher, job) is None
    assert "No such file" in log_of(job)


def test_workers_run_the_command_line_of_this_package(job):
    config = Config(processes=4, dask_address="tls://10.0.0.1:8786")
    correlate = worker_command(job.changed(source="archive:/data"), config)
    large = worker_command(job.changed(source="archive:/data", executor="dask"), config)
    stack = worker_command(job.changed(kind="stack", corr="/w/CORR"), Config())

    folder = str(job.folder)
    common = ["correlate", folder, "--source", "archive:/data", "--executor"]
    assert correlate[-8:] == [*common, "processes", "--processes", "4"]
    address = ["--dask-address", "tls://10.0.0.1:8786"]
    assert large[-10:] == [*common, "dask", "--processes", "4", *address]
    assert stack[-6:] == ["stack", folder, "--corr", "/w/CORR", "--processes", "0"]
