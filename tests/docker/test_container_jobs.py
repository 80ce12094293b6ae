"""Jobs with containers as workers, from incoming/ to their end."""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Callable
from dataclasses import replace

import pytest
import working
from container_kit import find
from hosting import keys, read, send, wait_until

from xcor_daemon.service.daemon import Daemon
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.workers.docker_engine import Engine

pytestmark = pytest.mark.real

# A worker without computation: tests/support/working.py, on /job.
WORK = f"{inspect.getsource(working)}\nfrom pathlib import Path\njob = Path('/job')\nwork(job)\n"
# Replaces its claims in outputs.json.
CLAIM = "outputs = json.loads((job / 'outputs.json').read_text())\n{}\n"
CLAIM += "(job / 'outputs.json').write_text(json.dumps(outputs))\n"


class Service:
    """A daemon with containers on a real bucket, and a clock set by the test."""

    def __init__(self, store: Bucket, launcher, **settings) -> None:
        # The clock is advanced while a worker runs and must not reach its deadline.
        common = {"bucket": store.name, "source": "archive:/usr/share", "deadline": 1e9}
        settings = {**common, **settings}
        self.config = replace(launcher.config, reserve=0, lease=0, **settings)
        launcher.config = self.config
        self.store, self.launcher, self.time = store, launcher, 1.8e9
        self.daemon = self.new_daemon()

    def new_daemon(self) -> Daemon:
        daemon = Daemon(self.store, self.launcher, self.config, now=lambda: self.time)
        with daemon.locked():
            return daemon

    def job(self, job_id: str = "41"):
        return self.daemon.jobs[job_id]

    def status(self, job_id: str = "41") -> dict:
        return self.store.read_status(job_id) or {}

    def go_on(self, until: Callable[[], bool]) -> None:
        """Run passes without back-off until a condition holds."""

        def one_pass() -> bool:
            self.time += 4000
            self.daemon._failures.clear()
            self.daemon.run_pass()
            return until()

        wait_until(one_pass, 240)

    def run_to_its_end(self, job_id: str = "41") -> dict:
        self.go_on(lambda: self.status(job_id).get("state") in ("done", "failed", "rejected"))
        return self.status(job_id)

    def log(self, job_id: str = "41") -> str:
        (key,) = [key for key in keys(self.store, f"processed/{job_id}/") if "xcor_log" in key]
        return read(self.store, key).decode()


@pytest.fixture
def serve(bucket, containers) -> Callable[..., Service]:
    """Starts a service whose workers run a Python program, and sends one valid job."""
    store = Bucket(bucket.server.client(), bucket.name, settle=0)

    def start(code: str = WORK, image: str = "", **settings) -> Service:
        service = Service(store, containers(code, image), **settings)
        send(store, "41")
        return service

    return start


def test_a_job_is_published_with_the_image_that_made_it(serve, engine):
    service = serve()

    assert service.run_to_its_end()["state"] == "done"

    manifest = service.store.read_manifest("41")
    names = [file["key"].rpartition("/")[2] for file in manifest["files"]]
    assert names == ["request.json", "summary.csv", "2019-01-01.h5", "xcor_log.txt"]
    assert manifest["image"] == engine.images.get(service.config.image).id
    assert find(engine, service.job()) is None


def test_a_job_that_runs_out_of_memory_is_retried_with_fewer_processes_and_fails_with_advice(
    serve, engine
):
    code = "import sys; print('processes', sys.argv[-1], flush=True); x = bytearray(600_000_000)"
    service = serve(code, processes=8)

    status = service.run_to_its_end()

    assert status["state"] == "failed"
    assert "failed after 3 attempts: the worker ran out of memory; request" in status["reason"]
    assert service.log() == "processes 8\nprocesses 2\nprocesses 1\n"
    assert service.daemon.registry.worker_ends == {"memory": 3}


def test_a_day_lost_by_lack_of_memory_is_retried_although_the_worker_succeeded(serve):
    starve = "import os\nif os.fork() == 0:\n    x = bytearray(600_000_000)\nos.wait()\n"
    lose = CLAIM.format("outputs['units'] = {'done': 0, 'empty': 0, 'failed': [{'day': 'x'}]}")
    service = serve(WORK + "import sys\nif sys.argv[-1] != '1':\n" + "".join(
        f"    {line}\n" for line in (starve + lose).splitlines()
    ), processes=4)  # fmt: skip

    assert service.run_to_its_end()["state"] == "done"
    assert service.daemon.registry.worker_ends == {"memory": 1, "ok": 1}


def test_the_limit_of_processes_is_named_in_the_reason(serve):
    code = "import os, time\nfor _ in range(100):\n    os.fork() or time.sleep(60)\n"
    service = serve(code, worker_pids=16, max_attempts=1)

    status = service.run_to_its_end()

    assert "exceeded its limit of processes and threads: BlockingIOError" in status["reason"]
    assert service.daemon.registry.worker_ends == {"pids": 1}


def test_a_late_worker_that_ignores_sigterm_is_killed_and_its_log_kept(serve, engine):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
    service = serve(code, deadline=5)
    service.launcher.grace = 0.3
    service.daemon.run_pass()
    wait_until(lambda: b"up" in find(engine, service.job()).logs())

    status = service.run_to_its_end()

    assert status["state"] == "failed"
    assert "the worker ran longer than 5 s" in status["reason"]
    assert service.log() == "up\n"
    assert find(engine, service.job()) is None


def test_a_container_that_is_killed_from_outside_is_retried(serve, engine):
    code = "import os, time\nif not os.path.exists('/job/once'):\n"
    service = serve(WORK + code + "    open('/job/once', 'w'); print('up'); time.sleep(600)\n")
    service.daemon.run_pass()
    wait_until(lambda: b"up" in find(engine, service.job()).logs())

    find(engine, service.job()).kill()

    assert service.run_to_its_end()["state"] == "done"
    assert (service.job().killed, service.job().failures) == (1, 0)


def test_a_restarted_daemon_adopts_the_container(serve, engine):
    service = serve(WORK + "import time\nwhile not (job / 'go').exists():\n    time.sleep(0.05)\n")
    service.daemon.run_pass()
    first = find(engine, service.job()).id

    service.daemon = service.new_daemon()
    service.daemon.run_pass()
    assert find(engine, service.job()).id == first
    (service.job().results / "go").touch()

    assert service.run_to_its_end()["state"] == "done"


# --- outputs that are not what they should be ---

RESULT = "result = job / 'CORR/2019-01-01.h5'\nresult.unlink()\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (RESULT + "result.symlink_to('/etc/shadow')", "cannot be opened as a file: Too many"),
        ("(job / 'outputs.json').unlink(); (job / 'outputs.json').symlink_to('/etc/passwd')",
         "outputs.json is missing"),
        (f"{RESULT}result.parent.rmdir(); result.parent.symlink_to('/etc')\n"
         + CLAIM.format("outputs['files'][-1]['name'] = 'CORR/hostname'"),
         "CORR/hostname cannot be opened"),
        (RESULT + "import os; os.mkfifo(result)", "is not a regular file"),
        (RESULT + "import socket; socket.socket(socket.AF_UNIX).bind(str(result))", "cannot be"),
        (RESULT, "cannot be opened as a file: No such file"),
        (CLAIM.format("outputs['files'][-1]['name'] = '../job.json'"), "not a valid name of a"),
        (CLAIM.format("outputs['files'][-1]['size'] = 10**15"), "its results take 1e"),
    ],
)  # fmt: skip
def test_outputs_that_are_not_files_of_the_job_are_not_published(serve, code, reason):
    service = serve(f"{WORK}\n{code}\n", max_attempts=1)

    status = service.run_to_its_end()

    assert status["state"] == "failed"
    assert reason in status["reason"]
    names = {"xcor_log.txt", "request.json", "summary.csv", "2019-01-01.h5"}
    for key in keys(service.store, "processed/41/runs/"):
        assert key.rpartition("/")[2] in names
        assert b"root:" not in read(service.store, key)


def test_a_worker_that_never_stops_writing_is_stopped(serve):
    sparse = "open(job / 'CORR/hole.h5', 'wb').truncate(10**12)\nimport time; time.sleep(600)\n"
    service = serve(WORK + sparse)
    service.launcher.grace = 0.0

    status = service.run_to_its_end()

    assert status["state"] == "failed"
    assert "files exceed" in status["reason"]


# --- an engine that is not as it should be ---


def test_a_missing_image_pauses_admission_until_it_is_available(serve, engine, python_image):
    service = serve(image="xcor-test:later", max_parallel=1)
    for _ in range(4):
        service.go_on(lambda: True)
    for job_id in ("42", "43"):
        send(service.store, job_id)
    for _ in range(2):
        service.go_on(lambda: True)

    assert service.status()["state"] == "queued"
    assert service.status()["stage"].startswith("waiting: no worker could be started")
    assert set(service.daemon.jobs) == {"41"}

    engine.images.get(python_image(WORK)).tag("xcor-test", "later")
    assert [service.run_to_its_end(job_id)["state"] for job_id in ("41", "42", "43")] == [
        "done"
    ] * 3
    engine.images.remove("xcor-test:later", force=True)


def test_a_worker_survives_an_engine_that_is_unreachable_for_a_while(serve, docker_host):
    service = serve(WORK + "import time\nwhile not (job / 'go').exists():\n    time.sleep(0.05)\n")
    service.daemon.run_pass()
    there = service.launcher.engine
    service.launcher.engine = Engine({"DOCKER_HOST": "tcp://127.0.0.1:9"})
    for _ in range(3):
        service.go_on(lambda: True)
    assert service.status()["state"] == "running"
    send(service.store, "42")
    service.go_on(lambda: True)
    assert set(service.daemon.jobs) == {"41"}  # a second one could not run here

    (service.job().results / "go").touch()
    service.launcher.engine = there

    assert service.run_to_its_end()["state"] == "done"
    service.go_on(lambda: "42" in service.daemon.jobs)
    wait_until(lambda: service.job("42").results.name == "job")
    (service.job("42").results / "go").touch()
    assert service.run_to_its_end("42")["state"] == "done"


def test_a_worker_cannot_access_the_daemons_files_of_its_job(serve):
    code = "import os\nprint(sorted(name for _, _, names in os.walk('/job') for name in names))\n"
    service = serve(WORK + code)

    assert service.run_to_its_end()["state"] == "done"
    seen = ast.literal_eval(service.log())
    assert {"stations.csv", "params.csv", "outputs.json"} <= set(seen)
    assert not {"job.json", "worker.json", "xcor_log.txt"} & set(seen)
    assert {"job.json", "worker.json"} <= set(os.listdir(service.job().folder))


LOOK = """
for name in ("connections", "archives"):
    print(name, os.access(f"/shared/{name}", os.W_OK))
print("cache", os.environ["XCOR_CACHE"], flush=True)
"""


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("archive:/usr/share", ["connections False", "archives True"]),
        ("fdsn:http://127.0.0.1:9", ["connections True", "archives False"]),
    ],
)
def test_a_downloading_job_shares_the_connection_limit_and_cannot_write_archive_indexes(
    serve, tmp_path, source, seen
):
    code = f"{WORK}import os{LOOK}"
    service = serve(code, source=source, cache=tmp_path / "cache")

    assert service.run_to_its_end()["state"] == "done"

    assert service.log().splitlines()[:3] == [*seen, "cache /shared"]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        "archives",
        "connections",
    ]
