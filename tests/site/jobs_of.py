"""Jobs in the demo: submitted as the page does, or written into the bucket as the service does."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import h5py
import numpy as np
from botocore.config import Config

from xcor_daemon.demo.demo import JOB, System
from xcor_daemon.pipeline.datatypes import PairTable
from xcor_daemon.pipeline.hdf5 import correlation_file, stack_file
from xcor_daemon.pipeline.products import pair_tables
from xcor_daemon.pipeline.stack import snr
from xcor_daemon.pipeline.stack.files import Stacked
from xcor_daemon.request.parse import XcorParams

ENDS = ("done", "failed", "rejected", "cancelled")


def send(system: System, channels: int) -> str:
    """Send the sample job with its first channels only; returns its id."""
    stations = (JOB / "stations.csv").read_text().splitlines(keepends=True)
    body = {
        "stations": "".join(stations[: channels + 1]),
        "params": (JOB / "params.csv").read_text(),
    }
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{system.page}/jobs", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["id"])


def wait_for_end(system: System, job_id: str, seconds: float = 200) -> dict[str, Any]:
    """The status of a job once it has ended."""
    end = time.monotonic() + seconds
    store = Store(system)
    status: dict[str, Any] = {}
    while status.get("state") not in ENDS:
        assert time.monotonic() < end, status
        time.sleep(0.1)
        status = store.read_json(f"processed/{job_id}/status.json") or {}
    return status


def ago(**span: float) -> str:
    """A time as status.json writes it."""
    return (datetime.now(UTC) - timedelta(**span)).isoformat(timespec="seconds")


class Store:
    """The demo's bucket, with the keys of its server."""

    def __init__(self, system: System) -> None:
        endpoint, _, self.bucket = system.results.rpartition("/")
        said = json.loads((system.folder / "s3/identities.json").read_text())
        keys = said["identities"][0]["credentials"][0]
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=keys["accessKey"],
            aws_secret_access_key=keys["secretKey"],
            region_name="us-east-1",
            config=Config(proxies={}, s3={"addressing_style": "path"}),
        )

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def read(self, key: str) -> bytes:
        with self.client.get_object(Bucket=self.bucket, Key=key)["Body"] as body:
            return body.read()

    def read_json(self, key: str) -> dict[str, Any] | None:
        try:
            return json.loads(self.read(key))
        except self.client.exceptions.NoSuchKey:
            return None

    def sent(self) -> set[str]:
        """The numbers of the jobs that were sent."""
        answer = self.client.list_objects_v2(Bucket=self.bucket, Prefix="incoming/")
        return {item["Key"].split("/")[1] for item in answer.get("Contents", ())}

    def put_status(self, job_id: str, **changes: object) -> None:
        """A status as the service writes it, but for some fields."""
        status = {
            "id": job_id, "kind": "xcor", "state": "running", "stage": "", "ahead": None,
            "days": [0, 0], "pairs": 0, "eta_s": None, "started": ago(minutes=3), "updated": ago(),
            "reason": None, "problems": [], "warnings": [], "log_tail": [], "manifest": None,
            "version": "0.1.0",
        }  # fmt: skip
        self.put(f"processed/{job_id}/status.json", json.dumps({**status, **changes}).encode())


@dataclass(frozen=True)
class YearLong:
    """A stacking job of 365 days and 1201 lags that was written without computing it."""

    job_id: str
    path: Path  # of its stack file
    pairs: PairTable


def write_year(store: Store, folder: Path, job_id: str, names: tuple[str, ...]) -> YearLong:
    """Publish daily stacks of every pair of some channels, with a gap of 20 days."""
    params = XcorParams(10, 0.1, 0.4, 450, 1800, 60)
    first, second = np.triu_indices(len(names), 1)
    place = np.zeros(len(names))
    distance = 12.5 * (second - first) + first
    zero = np.zeros(first.size)
    pairs = PairTable(names, first, second, distance, zero, zero, place, place, place)
    lags = correlation_file.lags(params)
    random = np.random.default_rng(5)
    away = lags - distance[:, None, None] / 3
    pulse = np.exp(-((away / 3) ** 2)) * np.cos(2 * np.pi * 0.25 * away)
    season = 0.6 + 0.4 * np.cos(2 * np.pi * np.arange(365) / 365)[:, None]
    noise = 0.25 * random.standard_normal((first.size, 365, lags.size))
    stack = (pulse * season + noise).astype(np.float32)
    stack[:, 200:220] = np.nan
    days = np.datetime64("2021-01-01", "s").astype(float) + 86400 * np.arange(366)
    path = folder / "STACK/linear.h5"
    path.parent.mkdir(parents=True)
    variables = {
        "stack": ("pair day lag", "1", "linear stack"),
        "n_windows": ("pair day", "1", "windows"),
        "snr": ("pair day", "1", "signal-to-noise ratio"),
        "mean": ("pair lag", "1", "mean of the stacks"),
    }
    intervals = np.column_stack([days[:-1], days[1:]])
    mean = np.nanmean(stack, axis=1)
    counts = np.where(np.isnan(stack[..., 0]), 0, 190).astype(np.int32)
    with stack_file.create_stack(path, pairs, params, {}, intervals, variables) as file:
        file.write("stack", 0, stack)
        file.write("n_windows", 0, counts)
        file.write("snr", 0, snr(stack, lags, np.broadcast_to(distance[:, None], counts.shape)))
        file.write("mean", 0, mean)
    stacked = Stacked(path, pairs, mean, snr(mean, lags, distance), counts)
    table = pair_tables.write_pair_table(stacked, lags)
    request = {"kind": "stack", "params": {"type": "linear", "stack_all": False, "job": "41"}}
    publish(store, job_id, {"STACK/linear.h5": path, "STACK/linear.csv": table}, request)
    return YearLong(job_id, path, pairs)


def publish(
    store: Store, job_id: str, files: Mapping[str, Path], request: Mapping[str, Any]
) -> None:
    """Put files and their manifest where a finished job has them."""
    entries = []
    for name, path in files.items():
        key = f"processed/{job_id}/runs/20210101_000000-abcdef/{name}"
        store.put(key, path.read_bytes())
        entries.append({"key": key, **correlation_file.describe(path)})
    manifest = {
        "schema": 1, "id": job_id, "kind": request["kind"], "attempt": "20210101_000000-abcdef",
        "version": "0.1.0", "image": None, "request": request, "inputs": [],
        "started": "2021-01-01T00:00:00Z", "units": {"done": 365, "empty": 0, "failed": []},
        "warnings": [], "summary": {}, "files": entries,
    }  # fmt: skip
    store.put(f"processed/{job_id}/manifest.json", json.dumps(manifest).encode())
    store.put_status(job_id, kind=request["kind"], state="done", stage="finished",
                     manifest=f"processed/{job_id}/manifest.json")  # fmt: skip


def read_pair(path: Path, name: str, pair: tuple[str, str]) -> np.ndarray:
    """One pair's part of an array, by h5py."""
    with h5py.File(path) as file:
        names = list(zip(file["first"].asstr()[:], file["second"].asstr()[:], strict=True))
        return file[name][names.index(pair)]
