"""An engine is killed under a running worker, with and without live-restore."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from container_kit import a_job, import_image
from engine import engine_script
from hosting import wait_until

from xcor_daemon.config import Config
from xcor_daemon.errors import UnreachableError
from xcor_daemon.workers.docker_engine import Engine
from xcor_daemon.workers.docker_launcher import DockerLauncher, container_name

pytestmark = [
    pytest.mark.real,
    # docker-py leaves the sockets of a lost engine to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# Waits for a signal file, then exits with a status of its own.
WORKER = "echo up; while [ ! -e /job/go ]; do sleep 0.1; done; echo went on; exit 5"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of an engine; a short name, for its socket."""
    made = Path(f"/tmp/xcor-lost-{os.getpid()}")
    yield made
    engine_script("down", made)


def kill(folder: Path, launcher: DockerLauncher, job) -> None:
    """Kill the engine with SIGKILL; an unreachable engine does not mean that the worker ended."""
    os.kill(int((folder / "docker.pid").read_text()), signal.SIGKILL)

    def is_gone() -> bool:
        try:
            launcher.inspect(job)
        except UnreachableError:
            return True
        return False

    wait_until(is_gone)


@pytest.mark.parametrize("live_restore", [True, False])
def test_a_worker_whose_engine_was_killed(folder, tmp_path, live_restore):
    options = ["--live-restore"] if live_restore else []
    host = engine_script("up", folder, *options)
    client = docker.DockerClient(host)
    image = import_image(client, ["/bin/bash", "-c", WORKER])
    config = Config(work_dir=tmp_path / "work", worker_memory=2**28, image=image)
    launcher = DockerLauncher(Engine({"DOCKER_HOST": host}), replace(config, worker_cpus=1))
    job = a_job(tmp_path / "work")
    launcher.start(job)
    wait_until(lambda: b"up" in client.containers.get(container_name(job)).logs())

    kill(folder, launcher, job)
    engine_script("up", folder, *options)

    if live_restore:
        assert launcher.inspect(job).state == "running"
        (job.results / "go").touch()
    wait_until(lambda: launcher.inspect(job).state == "ended")
    worker = launcher.inspect(job)
    said = (job.folder / "xcor_log.txt").read_text()
    assert (worker.exit_code, said) == ((5, "up\nwent on\n") if live_restore else (None, "up\n"))
    assert not worker.is_out_of_memory
    for one in (client, launcher.engine.client):
        one.close()
    gc.collect()
