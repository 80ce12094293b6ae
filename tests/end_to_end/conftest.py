"""Real parts around a real daemon: a foreign dataselect server, and the daemon as a process."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dataselect import serve_dataselect

from xcor_daemon.demo.processes import start_child, stop_child
from xcor_daemon.storage.bucket import Bucket


@dataclass(frozen=True)
class Service:
    """A daemon at work, and what its user and its operator see of it."""

    bucket: Any  # tests/conftest.py: RealBucket
    folder: Path
    process: subprocess.Popen[bytes]

    def send(self, files: Mapping[str, bytes]) -> str:
        """Put the files of a job into incoming/, params.csv last; returns the job's id."""
        job_id = str(secrets.randbelow(2**53))
        client = self.bucket.server.client()
        for name in sorted(files, key=lambda name: name == "params.csv"):
            client.put_object(
                Bucket=self.bucket.name, Key=f"incoming/{job_id}/{name}", Body=files[name]
            )
        return job_id

    def store(self) -> Bucket:
        """The bucket of the submit function."""
        return Bucket(self.bucket.server.client(), self.bucket.name)

    def read(self, key: str) -> bytes | None:
        """An object as anybody may read it; None where there is none."""
        try:
            with urllib.request.urlopen(f"{self.bucket.url}/{key}", timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (403, 404):
                    return None
            raise

    def wait_for(self, job_id: str, seconds: float = 180) -> dict[str, Any]:
        """The status of a job once it has ended."""
        end = time.monotonic() + seconds
        status: dict[str, Any] = {}
        while status.get("state") not in ("done", "failed", "rejected", "cancelled"):
            log = self.folder / "daemon.log"
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"{status}\n{log.read_text()}"
            time.sleep(0.1)
            status = json.loads(self.read(f"processed/{job_id}/status.json") or b"{}")
        return status


@pytest.fixture
def serve(bucket, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts a daemon that takes its waveforms from the given source, with further settings."""
    with ExitStack() as stack:

        def start(source: str, **settings: str) -> Service:
            settings = {"source": source, "interval": "0.2", "settle": "1", **settings}
            with (tmp_path / "daemon.log").open("ab") as log:
                process = start_child(
                    [sys.executable, "-m", "xcor_daemon.cli", "run"],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **bucket.environ(tmp_path / "work", **settings)},
                    with_detached=True,
                )
            stack.callback(stop_child, process, 10)
            return Service(bucket, tmp_path, process)

        yield start


@pytest.fixture
def foreign_dataselect(norsar: Path, tmp_path: Path) -> Iterator[str]:
    """URL of EarthScope's own dataselect server over the sample; no line of it is ours."""
    with serve_dataselect(norsar.glob("*.mseed"), tmp_path / "dataselect") as url:
        yield url
