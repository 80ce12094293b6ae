"""Health checks of the bucket, this machine and its container engine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import partial

from ..atomic_files import disk_errors, make_folder, remove, write_bytes
from ..config import Config
from ..errors import XcorError
from ..storage import disk_space, jobs
from ..storage.bucket import Bucket
from ..workers.docker_engine import Engine
from .bucket_checks import check_bucket
from .checks import FAIL, OK, WARN, CheckResult
from .engine_checks import ENGINE_CHECKS

_PROBE = "leases/doctor.json"
_SKEW = 60.0  # s
_SLOW_FSYNC = 0.1  # s


def run_checks(config: Config, environ: Mapping[str, str]) -> Iterator[CheckResult]:
    """Run every check, whatever the others found.

    ``environ`` locates the container engine (DOCKER_HOST ...), as for Docker's own client.
    """
    bucket = None
    try:
        bucket = Bucket.connect(config)
        listing = bucket.waiting()
        yield CheckResult("bucket", OK, f"{bucket.name}: {len(listing.jobs)} jobs under incoming/")
    except XcorError as error:
        bucket = None
        yield CheckResult("bucket", FAIL, str(error))
    if bucket is not None:
        yield from _run_check("conditional writes", lambda: _check_conditional_writes(bucket))
        yield from _run_check("clock", lambda: _check_clock(bucket))
        yield from check_bucket(bucket)
    yield from _run_check("work folder", lambda: _check_work_dir(config))
    yield from _run_check("disk", lambda: _check_disk(config))
    if config.launcher == "docker":
        engine = Engine(environ)
        for name, check in ENGINE_CHECKS.items():
            yield from _run_check(name, partial(check, engine, config))


def _run_check(name: str, check: Callable[[], tuple[str, str]]) -> Iterator[CheckResult]:
    try:
        yield CheckResult(name, *check())
    except XcorError as error:
        yield CheckResult(name, FAIL, str(error))


def _check_conditional_writes(bucket: Bucket) -> tuple[str, str]:
    """Write a lease, try two writes whose condition is false, and delete it."""
    before = bucket.find(_PROBE)
    first = bucket.put_if(_PROBE, b"{}", before.etag if before else None)
    if first is None:
        return WARN, "another doctor is running; run it again"
    is_create_checked = bucket.put_if(_PROBE, b"{}", None) is None
    is_match_checked = bucket.put_if(_PROBE, b"{}", '"00000000000000000000000000000000"') is None
    found = bucket.find(_PROBE)
    if found is not None:
        bucket.delete_lease(_PROBE, found.etag)
    if not (is_create_checked and is_match_checked):
        return FAIL, "S3 ignores If-None-Match or If-Match; jobs could be published twice"
    return OK, "If-None-Match and If-Match are respected"


def _check_clock(bucket: Bucket) -> tuple[str, str]:
    before = time.time()
    reply = bucket.client.head_bucket(Bucket=bucket.name)
    date = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None:
        return WARN, "S3 sends no Date"
    off = before - parsedate_to_datetime(date).timestamp()
    if abs(off) > _SKEW:
        remedy = "S3 rejects requests beyond 15 minutes; enable NTP"
        return WARN, f"{off:+.0f} s from S3's clock; {remedy}"
    return OK, f"within {max(1.0, abs(off)):.0f} s of S3's clock"


def _check_work_dir(config: Config) -> tuple[str, str]:
    """Time a durable write, such as that of job.json."""
    probe = config.work_dir / f".doctor-{os.getpid()}"
    make_folder(config.work_dir)
    began = time.perf_counter()
    try:
        write_bytes(probe, b"x" * 4096)
    finally:
        remove(probe)
    took = time.perf_counter() - began
    if took > _SLOW_FSYNC:
        return WARN, f"{config.work_dir}: a durable write takes {took:.2f} s; use a faster disk"
    return OK, f"{config.work_dir}: a durable write takes {took * 1000:.0f} ms"


def _check_disk(config: Config) -> tuple[str, str]:
    disk = disk_space.Disk(config.work_dir, config.reserve, config.quota)
    with disk_errors(config.work_dir):
        available = disk.available(jobs.load_jobs(config.work_dir))
    if available <= 0:
        reserved = f"{disk.free():,} bytes free, {config.reserve:,.0f} reserved"
        remedy = "lower XCOR_RESERVE, raise XCOR_QUOTA or add disk space"
        return FAIL, f"{reserved}: no job is admitted; {remedy}"
    return OK, f"{disk.free():,} bytes free, {available:,.0f} available to jobs"
