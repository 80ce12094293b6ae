"""Real parts around a real daemon: a foreign dataselect server, and the daemon as a process."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sqlite3
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

from xcor_daemon.demo.children import start_child, stop_child

_BIN = Path(sys.executable).parent


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
        for name in sorted(files, reverse=True):  # stations.csv, then params.csv
            client.put_object(
                Bucket=self.bucket.name, Key=f"incoming/{job_id}/{name}", Body=files[name]
            )
        return job_id

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
def serve(bucket, tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    """Starts a daemon that takes its waveforms from the given source."""
    with ExitStack() as stack:

        def start(source: str) -> Service:
            settings = {
                "XCOR_BUCKET": bucket.name,
                "XCOR_ENDPOINT_URL": bucket.server.endpoint,
                "XCOR_WORK_DIR": str(tmp_path / "work"),
                "XCOR_SOURCE": source,
                "XCOR_INTERVAL": "0.2",
                "XCOR_SETTLE": "1",
            }
            with (tmp_path / "daemon.log").open("ab") as log:
                process = start_child(
                    [sys.executable, "-m", "xcor_daemon.cli", "run"],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **bucket.server.environ, **settings},
                    with_detached=True,
                )
            stack.callback(stop_child, process, 10)
            return Service(bucket, tmp_path, process)

        yield start


@pytest.fixture
def foreign_dataselect(norsar: Path, tmp_path: Path) -> Iterator[str]:
    """URL of EarthScope's own dataselect server over the sample; no line of it is ours."""
    database = tmp_path / "index.sqlite"
    files = sorted(norsar.glob("*.mseed"))
    subprocess.run([_BIN / "mseedindex", "-sqlite", database, *files], check=True)
    with sqlite3.connect(database) as index:
        # Server 2.0.2 takes the flag `latest=>1` of this column for a byte offset and loses the
        # end of every segment; without it, it reads whole segments.
        index.execute("UPDATE tsindex SET timeindex=NULL")
    index.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "server.ini"
    config.write_text(
        f"[index_db]\npath = {database}\ntable = tsindex\nsummary_table = tsindex_summary\n"
        f"[server]\ninterface = 127.0.0.1\nport = {port}\nrequest_limit = 0\nmaxsectiondays = 10\n"
        f"[logging]\npath = {tmp_path}/log\nlevel = INFO\n"
    )
    program = _BIN / "portable-fdsnws-dataselect"
    with (tmp_path / "dataselect.log").open("wb") as log:
        subprocess.run([program, "-i", config], check=True, stdout=log, stderr=log)
        process = start_child([program, config], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/fdsnws/dataselect/1/version", process)
        yield url
    finally:
        stop_child(process)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")
