"""The network of a worker: data sources are reachable, the machine is not.

On an engine of the test's own in a network namespace, where bridges and firewall rules are as on
a real machine and the machine's own are left alone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from container_kit import import_image
from engine import SCRIPT, engine_script
from hosting import PARAMS, STATIONS, wait_until

from xcor_daemon.config import Config
from xcor_daemon.storage.jobs import Input, create_job
from xcor_daemon.workers.docker_engine import Engine
from xcor_daemon.workers.docker_launcher import DockerLauncher, container_name

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

METADATA = "169.254.169.254"  # the metadata service, with the machine's credentials
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"it")
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""
# Requests each address in /job/ask and writes which ones responded.
WORKER = """
while [ ! -e /job/ask ]; do sleep 0.1; done
for address in $(cat /job/ask); do
    timeout 3 bash -c "exec 3<>/dev/tcp/$address && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 &&
        read -r line <&3 && echo answered $address" 2>/dev/null
done
echo end
"""


@dataclass
class Machine:
    """A network namespace with an engine in it."""

    host: str
    client: docker.DockerClient
    image: str
    name: str

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["nsenter", f"--net=/run/netns/{self.name}", *command])

    def call(self, *command: str) -> None:
        assert self.run(*command).wait(60) == 0, command

    @contextlib.contextmanager
    def serving(self, address: str, port: int) -> Iterator[None]:
        """A web server on the machine, ready when the block begins."""
        server = self.run(sys.executable, "-c", SERVER, address, str(port))
        probe = ["bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
        try:
            wait_until(lambda: self.run(*probe).wait(10) == 0)
            yield
        finally:
            server.kill()
            server.wait(10)


@pytest.fixture
def machine() -> Iterator[Machine]:
    name = f"xcor{os.getpid()}"
    folder = Path(f"/tmp/xcor-net-{os.getpid()}")
    subprocess.run(["ip", "netns", "add", name], check=True)
    enter = ["nsenter", f"--net=/run/netns/{name}"]
    try:
        subprocess.run([*enter, "ip", "link", "set", "lo", "up"], check=True)
        options = ["--iptables=true", "--ip-forward=true", "--ip-masq=true"]
        host = subprocess.check_output([*enter, SCRIPT, "up", folder, *options], text=True).strip()
        client = docker.DockerClient(host)
        image = import_image(client, ["/bin/bash", "-c", WORKER])
        yield Machine(host, client, image, name)
        client.close()
    finally:
        engine_script("down", folder)
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_a_worker_that_downloads_reaches_servers_but_neither_the_machine_nor_its_credentials(
    machine, tmp_path
):
    contents = {"stations.csv": STATIONS, "params.csv": PARAMS}
    inputs = [Input.of(f"incoming/41/{name}", "e", body) for name, body in contents.items()]
    config = Config(work_dir=tmp_path, worker_memory=2**28, worker_cpus=1, image=machine.image)
    launcher = DockerLauncher(Engine({"DOCKER_HOST": machine.host}), config)
    jobs = [
        create_job(tmp_path, job_id, contents, inputs, 0.0).changed(source=source)
        for job_id, source in (("41", "fdsn:IRIS"), ("42", "s3:SCEDC"), ("43", "archive:/srv"))
    ]
    for job in jobs:
        launcher.start(job)
    first, second, third = (
        machine.client.containers.get(container_name(job)).attrs["NetworkSettings"]["Networks"]
        for job in jobs
    )
    assert set(first) == set(second) == {"xcor", "xcor-nowhere"}
    assert set(third) == {"none"}
    gateway, neighbour = first["xcor"]["Gateway"], second["xcor"]["IPAddress"]
    # Here the metadata address belongs to the machine itself, the hardest case.
    machine.call("ip", "address", "add", f"{METADATA}/32", "dev", "lo")
    asked = [f"{gateway}/8000", "127.0.0.1/8001", f"{METADATA}/80", f"{neighbour}/8000"]
    with (
        machine.serving(gateway, 8000),
        machine.serving("127.0.0.1", 8001),
        machine.serving(METADATA, 80),
    ):
        for job in jobs:
            (job.results / "ask").write_text("\n".join(asked))
            wait_until(lambda job=job: launcher.inspect(job).state == "ended", 60)

    said = [(job.folder / "xcor_log.txt").read_text() for job in jobs]
    assert said == [f"answered {gateway}/8000\nend\n"] * 2 + ["end\n"]
    launcher.engine.client.close()
    gc.collect()
