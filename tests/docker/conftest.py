"""The worker's image, built once, and small images with the program of a test."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from container_kit import DOCKERFILE, ROOT, a_job
from engine import engine_script

from xcor_daemon.config import Config
from xcor_daemon.storage.jobs import Job
from xcor_daemon.workers.docker_engine import Engine
from xcor_daemon.workers.docker_launcher import DockerLauncher

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test installs the engine and builds the images."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def worker_image(docker_host: str) -> str:
    """The image of docker/Dockerfile, by a plain `docker build` with its cache."""
    pinned = re.search(r"^ARG BASE=(\S+)", DOCKERFILE.read_text(), re.MULTILINE).group(1)
    name = "xcor-daemon:test"
    with Path(f"/tmp/xcor-image.{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        base = engine_script("base", pinned, DOCKER_HOST=docker_host)
        command = ["docker", "build", "--network=host", "-f", DOCKERFILE, "-t", name]
        done = subprocess.run(
            [*command, "--build-arg", f"BASE={base}", "--build-arg", "VERSION=0.0.test", ROOT],
            env={**os.environ, "DOCKER_HOST": docker_host}, text=True, capture_output=True,
            check=False, timeout=800,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return name


@pytest.fixture(scope="session")
def python_image(engine, base_image) -> Iterator[Callable[[str], str]]:
    """Makes images whose worker is a Python program."""
    made = []

    def make(code: str) -> str:
        name = f"xcor-test:{uuid.uuid4().hex[:12]}"
        entry = json.dumps(["python3", "-u", "-c", code])
        text = f"FROM {base_image}\nENTRYPOINT {entry}\n"
        engine.images.build(fileobj=io.BytesIO(text.encode()), tag=name, rm=True)
        made.append(name)
        return name

    yield make
    for name in made:
        engine.images.remove(name, force=True)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return a_job(tmp_path / "work")


@pytest.fixture
def containers(docker_host: str, python_image, tmp_path: Path) -> Iterator[Callable]:
    """Makes launchers whose workers run a Python program and end with the test."""
    environ = {"DOCKER_HOST": docker_host}
    config = Config(
        work_dir=tmp_path / "work", launcher="docker", worker_memory=2**28, worker_cpus=1
    )

    made = []

    def make(code: str = "", image: str = "", **settings) -> DockerLauncher:
        image = image or python_image(code)
        made.append(DockerLauncher(Engine(environ), replace(config, image=image, **settings)))
        return made[-1]

    yield make
    for launcher in made:
        if "client" in vars(launcher.engine):  # it was used
            launcher.engine.client.close()
    client = docker.DockerClient(docker_host)
    label = f"org.xcor-daemon.work={tmp_path / 'work'}"
    for container in client.containers.list(all=True, filters={"label": label}):
        container.remove(force=True)
    client.close()
