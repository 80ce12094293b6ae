"""Small images and jobs for the tests of containers."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
import uuid
from pathlib import Path

import docker

from xcor_daemon.storage.jobs import Input, Job, create_job
from xcor_daemon.workers.docker_launcher import container_name

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker/Dockerfile"
INPUTS = {"stacking_params.csv": b"type,phase_smooth,stack_all,job\nlinear,,true,41\n"}


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
    """An image of the small system with this worker program."""
    name = name or f"xcor-test:{uuid.uuid4().hex[:12]}"
    repository, _, tag = name.partition(":")
    changes = [f"ENTRYPOINT {json.dumps(entry)}", "ENV PATH=/bin"]
    client.api.import_image_from_data(
        small_system(), repository=repository, tag=tag, changes=changes
    )
    return name


def a_job(work_dir: Path, job_id: str = "41") -> Job:
    """A stacking job: it needs no network and no parsed request."""
    work_dir.mkdir(exist_ok=True)
    inputs = [Input.of(f"incoming/{job_id}/{name}", "e", body) for name, body in INPUTS.items()]
    return create_job(work_dir, job_id, INPUTS, inputs, 0.0)


def find(engine: docker.DockerClient, job: Job) -> docker.models.containers.Container | None:
    """The container of a job's run, if there is one."""
    try:
        return engine.containers.get(container_name(job))
    except docker.errors.NotFound:
        return None
