"""The worker's image, built once for all tests, and containers as the launcher hardens them."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from pathlib import Path

import pytest
from engine import engine_script

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker/Dockerfile"


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
            check=False, timeout=600,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return name
