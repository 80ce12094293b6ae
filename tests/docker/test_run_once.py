"""The whole way with the image of docker/Dockerfile: `xcor-daemon run-once --launcher docker`."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import docker
import pytest
from hosting import read

from xcor_daemon.storage.bucket import Bucket

pytestmark = pytest.mark.real


@pytest.fixture
def service(bucket, docker_host, worker_image, norsar, tmp_path):
    """Sends jobs and runs them as an operator does; returns the published manifests."""
    store = Bucket(bucket.server.client(), bucket.name, settle=0)
    environ = {**os.environ, "DOCKER_HOST": docker_host}
    environ |= bucket.environ(tmp_path / "work", settle="0")

    def run(files: dict[str, bytes], source: str = "") -> tuple[str, dict, str]:
        job_id = str(secrets.randbelow(2**53))
        for name in sorted(files, reverse=True):
            key = f"incoming/{job_id}/{name}"
            store.client.put_object(Bucket=store.name, Key=key, Body=files[name])
        command = [sys.executable, "-m", "xcor_daemon.cli", "run-once", "--wait"]
        done = subprocess.run(
            [*command, "--launcher", "docker", "--image", worker_image],
            env={**environ, "XCOR_SOURCE": source or f"archive:{norsar}"}, text=True,
            capture_output=True, check=False, timeout=400,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout == f"{job_id} done\n"
        manifest = store.read_manifest(job_id)
        prefix = f"processed/{job_id}/runs/{manifest['attempt']}/"
        return job_id, manifest, read(store, f"{prefix}xcor_log.txt").decode()

    return run


def names_of(manifest: dict) -> set[str]:
    return {file["key"].split("/", 4)[4] for file in manifest["files"]}


def test_the_demos_job_and_a_stack_of_it_run_in_containers(
    service, engine, worker_image, sample_job
):
    job_id, manifest, said = service(sample_job)

    assert manifest["image"] == engine.images.get(worker_image).id
    assert manifest["units"] == {"done": 1, "empty": 0, "failed": []}
    assert (manifest["summary"]["pairs"], manifest["summary"]["windows_kept"]) == (276, 12696)
    assert {"CORR/2019-01-01.h5", "STACK/linear.h5", "PLOT/record_section.png"} <= names_of(
        manifest
    )
    assert "276 pairs, 12696 pair-windows kept, 1 of 1 days with data" in said
    best = json.dumps(manifest["summary"]["best"][0])
    assert "NO.NB200..BHZ" in best
    assert "NO.NB204..BHZ" in best

    stacking = f"type,phase_smooth,stack_all,job\nphase-weighted,2,true,{job_id}\n".encode()
    _, stacked, _ = service({"stacking_params.csv": stacking})

    assert stacked["kind"] == "stack"
    assert [name for name in names_of(stacked) if name.startswith("STACK/")]


@pytest.fixture
def gateway(engine) -> str:
    """Address of this machine in the workers' network."""
    with contextlib.suppress(docker.errors.APIError):  # it exists from an earlier worker
        engine.networks.create("xcor", driver="bridge", check_duplicate=True)
    return engine.networks.get("xcor").attrs["IPAM"]["Config"][0]["Gateway"]


@pytest.fixture
def forward(gateway: str) -> Iterator[Callable[[int], int]]:
    """Opens a port of the gateway that leads to a port of this machine's loopback."""
    servers = []

    def start(port: int) -> int:
        class Forward(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(("127.0.0.1", port)) as there:
                    back = threading.Thread(target=_pour, args=(there, self.request))
                    back.start()
                    _pour(self.request, there)
                    back.join()

        server = socketserver.ThreadingTCPServer((gateway, 0), Forward)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        servers.append(server)
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)


def test_a_container_downloads_from_a_data_centre(
    service, fdsn_server, forward, gateway, sample_job
):
    port = forward(int(fdsn_server.url.rpartition(":")[2]))

    _, manifest, said = service(sample_job, f"fdsn:http://{gateway}:{port}")

    assert manifest["units"] == {"done": 1, "empty": 0, "failed": []}, said
    assert (manifest["summary"]["pairs"], manifest["summary"]["windows_kept"]) == (276, 12696)
