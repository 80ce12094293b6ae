"""scripts/docker-engine: starts an engine and makes a base image."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from engine import SCRIPT, engine_script


def test_the_base_image_has_python_and_certificates(engine, base_image):
    code = (
        "import ssl, sys; print(sys.version_info >= (3, 11));"
        "print(len(ssl.create_default_context().get_ca_certs()) > 50)"
    )
    command = ["python3", "-c", code]
    said = engine.containers.run(base_image, command, network_mode="none", remove=True)

    assert said == b"True\nTrue\n"


def test_a_running_engine_is_used(docker_host):
    assert engine_script("up", DOCKER_HOST=docker_host) == docker_host


def test_an_engine_of_the_tests_leaves_nothing_behind(docker_host):
    folder = Path(f"/tmp/xcor-engine-{os.getpid()}")
    host = engine_script("up", folder)
    assert host == f"unix://{folder}/docker.sock" != docker_host
    assert engine_script("up", folder) == host
    pid = int((folder / "docker.pid").read_text())

    engine_script("down", folder)

    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()
    assert str(folder) not in Path("/proc/mounts").read_text()


def test_an_engine_that_cannot_start_reports_the_reason(docker_host):
    folder = Path(f"/tmp/xcor-engine-{os.getpid()}")
    done = subprocess.run(
        [SCRIPT, "up", folder, "--storage-driver=nonsense"], text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    engine_script("down", folder)

    assert done.returncode == 1
    assert "nonsense" in done.stderr
    assert "dockerd ended" in done.stderr
