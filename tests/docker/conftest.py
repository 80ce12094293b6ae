"""The worker's image, built once, and small images whose worker is a test's program."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from engine import engine_script

from xcor_daemon.config import Config
from xcor_daemon.containers import DockerLauncher, container_name
from xcor_daemon.engine import Engine
from xcor_daemon.jobs import Input, Job, create_job

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker/Dockerfile"
HERE = Path(__file__).parent
INPUTS = {"stacking_params.csv": b"type,phase_smooth,stack_all,job\nlinear,,true,41\n"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first installs the engine and builds the images."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def worker_image(docker_host: str) -> str:
    """The image of docker/Dockerfile, by a plain `docker build`; what has not changed is kept."""
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


def small_system() -> bytes:
    """A tar of bash, a few commands and the libraries that they need, of this machine."""
    programs = [shutil.which(name) for name in ("bash", "cat", "sleep", "timeout")]
    wanted = set(programs)
    for program in programs:
        said = subprocess.check_output(["ldd", program], text=True)
        wanted |= set(re.findall(r"(/\S+) \(0x", said))
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", dereference=True) as tar:
        for path in sorted(wanted):
            tar.add(path, path.removeprefix("/usr") if "/bin/" in path else path)
    return made.getvalue()


def import_image(client: docker.DockerClient, entry: list[str], name: str = "") -> str:
    """An image of the small system whose worker is this."""
    name = name or f"xcor-test:{uuid.uuid4().hex[:12]}"
    repository, _, tag = name.partition(":")
    changes = [f"ENTRYPOINT {json.dumps(entry)}", "ENV PATH=/bin"]
    client.api.import_image_from_data(
        small_system(), repository=repository, tag=tag, changes=changes
    )
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


def a_job(work_dir: Path, job_id: str = "41") -> Job:
    """A stacking job, which asks for no network and has nothing to be parsed."""
    work_dir.mkdir(exist_ok=True)
    inputs = [Input.of(f"incoming/{job_id}/{name}", "e", body) for name, body in INPUTS.items()]
    return create_job(work_dir, job_id, INPUTS, inputs, 0.0)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return a_job(tmp_path / "work")


@pytest.fixture
def containers(docker_host: str, python_image, tmp_path: Path) -> Iterator[Callable]:
    """Makes launchers whose workers run some Python; no container outlives the test."""
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
        if "client" in vars(launcher.engine):  # it was asked
            launcher.engine.client.close()
    client = docker.DockerClient(docker_host)
    label = f"org.xcor-daemon.work={tmp_path / 'work'}"
    for container in client.containers.list(all=True, filters={"label": label}):
        container.remove(force=True)
    client.close()


def find(engine: docker.DockerClient, job: Job) -> docker.models.containers.Container | None:
    """The container of a job's run, if there is one."""
    try:
        return engine.containers.get(container_name(job))
    except docker.errors.NotFound:
        return None
