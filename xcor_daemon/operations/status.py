"""The command `status`: jobs on this machine and in S3. (status.json is by service.publish.)"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from ..config import Config
from ..errors import UnreachableError, XcorError
from ..request.job_files import LOG_FILE
from ..storage import worker_outputs
from ..storage.bucket import Bucket
from ..storage.jobs import RUNNING, TERMINAL, Job, load_jobs
from ..storage.listing import WaitingJob

log = logging.getLogger(__name__)

_COLUMNS = ("id", "kind", "state", "progress", "age", "reason")


def describe_jobs(config: Config) -> list[dict[str, Any]]:
    """All jobs of this machine and under incoming/, oldest first."""
    rows = {job.id: _local(job) for job in load_jobs(config.work_dir)}
    if config.bucket:
        try:
            bucket = Bucket.connect(config)
            for waiting in bucket.waiting().jobs:
                if waiting.id not in rows:
                    rows[waiting.id] = _remote(waiting, bucket.read_status(waiting.id))
        except UnreachableError as error:
            log.warning("showing only the jobs of this machine: %s", error)
    return sorted(rows.values(), key=lambda row: row["seen"])


def describe_job(config: Config, job_id: str) -> dict[str, Any]:
    """One job: its status.json, and its state on this machine.

    Raises
    ------
    XcorError
        If the job is neither on this machine nor in S3.
    """
    found = next((job for job in load_jobs(config.work_dir) if job.id == job_id), None)
    shown = {}
    if config.bucket:
        try:
            shown = Bucket.connect(config).read_status(job_id) or {}
        except UnreachableError as error:
            log.warning("showing only the state on this machine: %s", error)
    if found is None and not shown:
        raise XcorError(f"job {job_id} was not found on this machine or in S3.")
    if found is None:
        return shown
    here = {"folder": str(found.folder), "failures": found.failures, "killed": found.killed}
    return {**shown, **_local(found), **here, "log_tail": worker_outputs.log_tail(found.folder)}


def read_log(config: Config, job_id: str) -> str:
    """The whole log of a job's worker, from this machine or from S3.

    Raises
    ------
    XcorError
        If there is none.
    """
    for job in load_jobs(config.work_dir):
        if job.id == job_id:
            with worker_outputs.open_output(job.folder, LOG_FILE) as file:
                return file.read().decode("utf-8", "replace")
    if config.bucket:
        bucket = Bucket.connect(config)
        for key in bucket.read_files(job_id):
            found = bucket.find(key) if key.endswith(f"/{LOG_FILE}") else None
            if found is not None:
                return found.content.decode("utf-8", "replace")
    raise XcorError(f"job {job_id} has no log on this machine or in S3.")


def differences(config: Config) -> Iterator[str]:
    """A line for each job under incoming/: whether a pass would copy it, and the reason if not."""
    here = {job.id: job for job in load_jobs(config.work_dir)}
    bucket = Bucket.connect(config)
    listing = bucket.waiting()
    for waiting in listing.jobs:
        names = " ".join(sorted(waiting.files))
        job = here.get(waiting.id)
        if job is not None:
            etags = {file.etag for file in waiting.files.values()}
            is_same = etags == {item.etag for item in job.inputs}
            yield f"{'=' if is_same else '*'} {waiting.id} {names}"
        elif not waiting.is_complete:
            yield f"- {waiting.id} {names}: incomplete, some files are missing"
        elif not waiting.is_settled:
            yield f"- {waiting.id} {names}: written less than {config.settle:g} s ago"
        elif (shown := bucket.read_status(waiting.id) or {}).get("state") in TERMINAL:
            yield f"= {waiting.id} {names}: {shown['state']}"
        else:
            yield f"+ {waiting.id} {names}"
    for key in listing.ignored_keys:
        yield f"! {ascii(key)}"


def format_table(rows: list[dict[str, Any]]) -> str:
    """Rows as a table with aligned columns."""
    now = time.time()
    cells = [_COLUMNS] + [
        (
            row["id"],
            row["kind"],
            row["state"],
            _progress(row),
            _age(now - row["seen"]),
            (row["reason"] or "").partition("\n")[0][:60],
        )
        for row in rows
    ]
    widths = [max(len(row[k]) for row in cells) for k in range(len(_COLUMNS))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return "\n".join(lines)


def _local(job: Job) -> dict[str, Any]:
    progress = worker_outputs.read_progress(job.results)
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "stage": progress.stage if job.state == RUNNING else "",
        "days": list(progress.days) if progress.days else None,
        "seen": job.submitted_at,
        "reason": job.reason or None,
    }


def _remote(waiting: WaitingJob, shown: dict[str, Any] | None) -> dict[str, Any]:
    state = "waiting" if waiting.is_complete else "incomplete"
    row = {"kind": "", "state": state, "stage": "", "days": None, "reason": None}
    row.update({key: value for key, value in (shown or {}).items() if key in row})
    return {"id": waiting.id, **row, "seen": waiting.submitted_at}


def _progress(row: dict[str, Any]) -> str:
    days = "{} of {} days".format(*row["days"]) if row["days"] else ""
    return " ".join(part for part in (days, row["stage"][:40]) if part)


def _age(seconds: float) -> str:
    """A time span in its two largest units."""
    minutes, s = divmod(max(0, round(seconds)), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h} h"
    if hours:
        return f"{h} h {m} min"
    return f"{m} min {s} s" if minutes else f"{s} s"
