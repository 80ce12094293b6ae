"""Shared by the tests of the host half: a small job, a bucket and a fake launcher."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import boto3
from moto import mock_aws
from working import work as work

from xcor_daemon.request.job_files import LOG_FILE
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.storage.jobs import Job
from xcor_daemon.workers.launcher import ENDED, NOT_STARTED, RUNNING, WorkerState

STATIONS = b"""Network,Station,Location,Channel,StartDate,EndDate
NO,NAO00,,BHZ,2019-01-01T00:00:00,2019-01-02T00:00:00
NO,NAO01,,BHZ,2019-01-01T00:00:00,2019-01-02T00:00:00
"""
PARAMS = b"fs,freqmin,freqmax,cc_step,cc_len,maxlag\n4,0.12,0.35,300,600,60\n"
STACKING = b"type,phase_smooth,stack_all,job\nlinear,,true,41\n"


@contextmanager
def bucket_of_moto() -> Iterator[Bucket]:
    """An empty bucket without settle time, on moto."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="xcor")
        yield Bucket(client, "xcor", settle=0)


def send(bucket: Bucket, job_id: str, **files: bytes) -> None:
    """Put the files of a job under incoming/, by default those of a valid job."""
    files = files or {"stations": STATIONS, "params": PARAMS}
    for name, content in files.items():
        key = f"incoming/{job_id}/{name}{'' if name == 'cancel' else '.csv'}"
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=content)


def read(bucket: Bucket, key: str) -> bytes:
    return bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()


def keys(bucket: Bucket, prefix: str = "") -> list[str]:
    page = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=prefix)
    return [item["Key"] for item in page.get("Contents", ())]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not hold in time"
        time.sleep(0.02)


def free_port() -> int:
    """A port for a server that starts later, outside the range of ephemeral ports."""
    for port in random.sample(range(15000, 21000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port between 15000 and 21000")


class FakeLauncher:
    """A launcher without processes; the test ends its workers."""

    def __init__(self) -> None:
        self.workers: dict[tuple[str, int], WorkerState] = {}
        self.jobs: dict[str, Job] = {}
        self.stopped: list[str] = []

    def start(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.workers[job.id, job.run] = WorkerState(RUNNING)

    def inspect(self, job: Job) -> WorkerState:
        return self.workers.get((job.id, job.run), WorkerState(NOT_STARTED))

    def stop(self, job: Job) -> None:
        self.stopped.append(job.id)
        self.workers[job.id, job.run] = WorkerState(ENDED, None)

    def end(self, job_id: str, exit_code: int | None = 0, said: str = "the end") -> None:
        job = self.jobs[job_id]
        (job.folder / LOG_FILE).write_text(f"one line\n{said}\n")
        self.workers[job_id, job.run] = WorkerState(ENDED, exit_code)

    @property
    def running(self) -> list[str]:
        return [job_id for (job_id, _), worker in self.workers.items() if worker.state == RUNNING]
