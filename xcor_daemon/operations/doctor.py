"""Whether this machine and its bucket are fit for the service: a line for each thing looked at."""

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
from .bucket_checks import bucket_facts
from .checks import FAIL, OK, WARN, Finding
from .engine_checks import ENGINE_FACTS

_PROBE = "leases/doctor.json"
_SKEW = 60.0  # s
_SLOW_FSYNC = 0.1  # s


def examine(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at everything; nothing that is wrong keeps the rest from being looked at.

    ``environ`` says where the container engine is, as it does to Docker's own client.
    """
    bucket = None
    try:
        bucket = Bucket.connect(config)
        listing = bucket.waiting()
        yield Finding("bucket", OK, f"{bucket.name}: {len(listing.jobs)} jobs under incoming/")
    except XcorError as error:
        bucket = None
        yield Finding("bucket", FAIL, str(error))
    if bucket is not None:
        yield from _guard("conditional writes", lambda: _conditions(bucket))
        yield from _guard("clock", lambda: _clock(bucket))
        yield from bucket_facts(bucket)
    yield from _guard("work folder", lambda: _work_dir(config))
    yield from _guard("disk", lambda: _disk(config))
    if config.launcher == "docker":
        engine = Engine(environ)
        for name, look in ENGINE_FACTS.items():
            yield from _guard(name, partial(look, engine, config))


def _guard(name: str, look: Callable[[], tuple[str, str]]) -> Iterator[Finding]:
    try:
        yield Finding(name, *look())
    except XcorError as error:
        yield Finding(name, FAIL, str(error))


def _conditions(bucket: Bucket) -> tuple[str, str]:
    """A lease is written, refused twice and deleted."""
    before = bucket.find(_PROBE)
    first = bucket.put_if(_PROBE, b"{}", before.etag if before else None)
    if first is None:
        return WARN, "another doctor is at work; call again"
    is_kept = bucket.put_if(_PROBE, b"{}", None) is None
    is_compared = bucket.put_if(_PROBE, b"{}", '"00000000000000000000000000000000"') is None
    found = bucket.find(_PROBE)
    if found is not None:
        bucket.delete_lease(_PROBE, found.etag)
    if not (is_kept and is_compared):
        return FAIL, "S3 takes a write whose condition is false; jobs could be published twice"
    return OK, "If-None-Match and If-Match are kept"


def _clock(bucket: Bucket) -> tuple[str, str]:
    before = time.time()
    reply = bucket.client.head_bucket(Bucket=bucket.name)
    date = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None:
        return WARN, "S3 does not say what time it is"
    off = before - parsedate_to_datetime(date).timestamp()
    if abs(off) > _SKEW:
        need = "S3 refuses requests beyond 15 minutes; turn on NTP"
        return WARN, f"this machine is {off:+.0f} s off S3's clock; {need}"
    return OK, f"within {max(1.0, abs(off)):.0f} s of S3's"


def _work_dir(config: Config) -> tuple[str, str]:
    """Something is written there as job.json is."""
    probe = config.work_dir / f".doctor-{os.getpid()}"
    make_folder(config.work_dir)
    began = time.perf_counter()
    try:
        write_bytes(probe, b"x" * 4096)
    finally:
        remove(probe)
    took = time.perf_counter() - began
    if took > _SLOW_FSYNC:
        return WARN, f"{config.work_dir}: a safe write takes {took:.2f} s; take a faster disk"
    return OK, f"{config.work_dir}: a safe write takes {took * 1000:.0f} ms"


def _disk(config: Config) -> tuple[str, str]:
    here = disk_space.Disk(config.work_dir, config.reserve, config.quota)
    with disk_errors(config.work_dir):
        room = here.available(jobs.load_jobs(config.work_dir))
    if room <= 0:
        need = "no job is taken until there is more; see XCOR_RESERVE and XCOR_QUOTA, or add disk"
        return FAIL, f"{here.free():,} bytes free, {config.reserve:,.0f} to stay free; {need}"
    return OK, f"{here.free():,} bytes free, {room:,.0f} of them for jobs"
