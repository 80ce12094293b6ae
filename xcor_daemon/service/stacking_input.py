"""The input of a stacking job: correlations on this machine, or downloaded from S3."""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import Problem, RequestError
from ..request.stacking_params import STACKING
from ..storage import jobs
from ..storage.bucket import Bucket, result_key
from ..storage.jobs import Job
from .publish import SLICE


def find_corr(bucket: Bucket, job: Job, corr_id: str, other: Job | None) -> Path | None:
    """Locate the folder CORR of a finished correlation job, downloading it if necessary.

    Parameters
    ----------
    other : Job or None
        The correlation job, if it is on this machine.

    Returns
    -------
    Path or None
        None while files remain to be downloaded; call again.

    Raises
    ------
    RequestError
        If the job has no correlations to stack.
    """
    if other is not None and other.state == jobs.DONE:
        corr = other.results / "CORR"
        # A worker may have replaced it by a link to files that it must not read.
        if corr.is_dir() and not corr.is_symlink():
            return corr
    manifest = bucket.read_manifest(corr_id)
    if manifest is None:
        status = bucket.read_status(corr_id) or {}
        state = other.state if other is not None else status.get("state", "unknown")
        need = {
            jobs.QUEUED: "has not started yet; submit the stacking job when it is done",
            jobs.RUNNING: "is still running; submit the stacking job when it is done",
            "unknown": "is not a job of this service; check the number",
        }.get(state, f"was {state} and has no correlations to stack")
        raise _wrong_job(corr_id, need)
    files = [f for f in manifest["files"] if f["key"].endswith(".h5") and "/CORR/" in f["key"]]
    if not files:
        raise _wrong_job(corr_id, "has no correlations to stack")
    stop_at = time.monotonic() + SLICE
    prefix = result_key(corr_id, manifest["attempt"], "")
    for file in files:
        path = job.folder / "input" / file["key"].removeprefix(prefix)
        if path.is_file():
            continue
        if time.monotonic() > stop_at:
            return None
        bucket.download(file["key"], path, file["sha256"])
    return job.folder / "input" / "CORR"


def _wrong_job(corr_id: str, need: str) -> RequestError:
    return RequestError([Problem(STACKING, 2, "job", corr_id, need)])
