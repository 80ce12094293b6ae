"""Publishes a job: result files, the views status.json and files.txt, and once manifest.json."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from .. import __version__
from ..request.cost import estimate
from ..request.job_files import LOG_FILE, OUTPUTS_FILE, JobOutputs
from ..request.parse import XcorRequest, read_request
from ..storage import worker_outputs
from ..storage.bucket import Bucket, manifest_key, result_key
from ..storage.jobs import DONE, QUEUED, RUNNING, Job
from ..storage.worker_outputs import BrokenOutputs

SLICE = 10.0  # s of a pass for the files of one job; the next pass continues
_REFRESH = 30.0  # s after which an unchanged status.json is written again


@dataclass(frozen=True)
class _Published:
    """A file that is in S3."""

    stamp: tuple[int, int, int]  # identifies the local file: inode, size, mtime (ns)
    size: int
    sha256: str


@dataclass
class _Cached:
    """Published state of a job; an empty one costs only repeated requests."""

    published: dict[str, _Published] = field(default_factory=dict)  # by name
    lines: list[str] = field(default_factory=list)  # of files.txt
    status: dict[str, Any] = field(default_factory=dict)
    status_written: float = 0.0  # s since 1970
    plan: tuple[int, int] | None = None  # days, pairs


class Publisher:
    """Writes processed/ID/; ``now`` returns the time (s since 1970)."""

    def __init__(self, bucket: Bucket, now: Callable[[], float] = time.time) -> None:
        self.bucket, self.now = bucket, now
        self._by_job: dict[str, _Cached] = {}

    def upload(self, job: Job, expected: Mapping[str, tuple[int, str] | None]) -> bool:
        """Upload files that are not in S3 yet, within a slice of time.

        Parameters
        ----------
        expected : mapping
            Name -> size (bytes) and SHA-256, or None if they need not be checked.

        Returns
        -------
        bool
            Whether all files are in S3.

        Raises
        ------
        BrokenOutputs
            If a file is missing, or has another size or SHA-256.
        """
        stop_at = time.monotonic() + SLICE
        for name, content in expected.items():
            if not self._upload_one(job, name, content, stop_at):
                return False
        return True

    def _upload_one(
        self, job: Job, name: str, expected: tuple[int, str] | None, stop_at: float
    ) -> bool:
        published = self._cached(job).published
        folder = job.folder if name == LOG_FILE else job.results
        with worker_outputs.open_output(folder, name) as file:
            stat = os.fstat(file.fileno())
            stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if expected and expected[0] != stat.st_size:  # before all of it is read
                raise BrokenOutputs(f"{name} is not the file that {OUTPUTS_FILE} describes.")
            upload = published.get(name)
            is_uploaded = upload is not None and upload.stamp == stamp
            if not is_uploaded and time.monotonic() > stop_at:
                return False
            if upload is None or not is_uploaded:
                upload = _Published(stamp, stat.st_size, worker_outputs.sha256_of(file))
            if expected and expected != (upload.size, upload.sha256):
                raise BrokenOutputs(f"{name} is not the file that {OUTPUTS_FILE} describes.")
            if not is_uploaded:
                self.bucket.publish_file(result_key(job.id, job.attempt, name), file, upload.sha256)
                published[name] = upload
        return True

    def write_status(self, job: Job, stage: str, ahead: int | None = None) -> None:
        """Write files.txt and status.json if they changed.

        Parameters
        ----------
        stage : str
            One line for the user, unless the worker reports its own stage.
        ahead : int, optional
            Number of jobs ahead in the queue.
        """
        cached = self._cached(job)
        lines = [result_key(job.id, job.attempt, name) for name in cached.published]
        lines += ["done"] * (not job.is_live)
        if lines != cached.lines:
            self.bucket.put_files(job.id, lines)
            cached.lines = lines
        status = {**self._status(job, stage), "ahead": ahead}
        is_fresh = 0 <= self.now() - cached.status_written <= _REFRESH  # the clock may be set back
        if status != cached.status or not is_fresh:
            self.bucket.put_status(job.id, {**status, "updated": iso(self.now())})
            cached.status, cached.status_written = status, self.now()

    def write_queue_position(
        self, job_id: str, kind: str, ahead: int, etag: str | None
    ) -> str | None:
        """Write status.json of a job that is not admitted yet.

        Parameters
        ----------
        etag : str or None
            ETag of the status.json to be replaced; None if there must be none.

        Returns
        -------
        str or None
            The new ETag; None if another daemon has written status.json meanwhile.
        """
        status = {
            **_blank_status(job_id, kind),
            "stage": queued_stage(ahead),
            "ahead": ahead,
            "updated": iso(self.now()),
        }
        return self.bucket.put_status_if(job_id, status, etag)

    def drop(self, job_id: str) -> None:
        """Drop the cached state of a job that has ended, or that starts again."""
        self._by_job.pop(job_id, None)

    def commit(self, job: Job, outputs: JobOutputs, image: str | None = None) -> dict[str, Any]:
        """Commit the manifest of a job whose files are uploaded; returns the valid manifest.

        The first manifest of a job stays; a later one, of another attempt, is ignored.

        Parameters
        ----------
        outputs : JobOutputs
            Of the worker.
        image : str, optional
            Image of the worker's container.
        """
        published = self._cached(job).published
        arrays = {file.name: list(file.arrays) for file in outputs.files}
        files = [
            {
                "key": result_key(job.id, job.attempt, name),
                "size": published[name].size,
                "sha256": published[name].sha256,
                "arrays": arrays.get(name, []),
            }
            for name in [*arrays, LOG_FILE]
        ]
        manifest = {
            "schema": 1,
            "id": job.id,
            "kind": job.kind,
            "attempt": job.attempt,
            "version": __version__,
            "image": image,
            "request": read_request(job.folder).to_json(),
            "inputs": [asdict(item) for item in job.inputs],
            "started": iso(job.started),
            **{key: value for key, value in outputs.to_json().items() if key != "files"},
            "files": files,
        }
        return self.bucket.commit_manifest(job.id, manifest)

    def write_final_views(self, manifest: Mapping[str, Any], log_tail: list[str]) -> None:
        """Write files.txt and status.json of a published job from its manifest."""
        job_id, units = manifest["id"], manifest["units"]
        days = units["done"] + units["empty"] + len(units["failed"])
        self.bucket.put_files(job_id, [*(file["key"] for file in manifest["files"]), "done"])
        status = {
            "id": job_id,
            "kind": manifest["kind"],
            "state": DONE,
            "stage": _last_stage(manifest),
            "ahead": None,
            "days": [days, days],
            "pairs": manifest["summary"].get("pairs", 0),
            "eta_s": None,
            "started": manifest["started"],
            "updated": iso(self.now()),
            "reason": None,
            "problems": [],
            "warnings": manifest["warnings"],
            "log_tail": log_tail,
            "manifest": manifest_key(job_id),
            "version": manifest["version"],
        }
        self.bucket.put_status(job_id, status)

    def _cached(self, job: Job) -> _Cached:
        return self._by_job.setdefault(job.id, _Cached())

    def _status(self, job: Job, stage: str) -> dict[str, Any]:
        progress = worker_outputs.read_progress(job.results)
        days, pairs = self._plan(job)
        is_running = job.state == RUNNING and not job.final_state
        return {
            **_blank_status(job.id, job.kind),
            "state": job.state,
            "stage": (is_running and progress.stage) or stage,
            "days": list(progress.days or (0, days)),
            "pairs": pairs if progress.pairs is None else progress.pairs,
            "eta_s": progress.eta if is_running else None,
            "started": iso(job.started) if job.started else None,
            "reason": job.reason or None,
            "problems": list(job.problems),
            "warnings": [warning.to_json() for warning in progress.warnings],
            "log_tail": worker_outputs.log_tail(job.folder),
        }

    def _plan(self, job: Job) -> tuple[int, int]:
        """Days and pairs of a request; zeros until the request is checked."""
        cached = self._cached(job)
        if cached.plan is None and job.source:
            request = read_request(job.folder)
            assert isinstance(request, XcorRequest)
            cached.plan = (len(request.days), estimate(request).pairs)
        return cached.plan or (0, 0)


def _last_stage(manifest: Mapping[str, Any]) -> str:
    """The final stage of a job with its failures, which manifests of version 0.1.0 lack."""
    reasons = manifest["summary"].get("reasons")
    counts = [row.get("channel_days") for row in reasons] if _is_table(reasons) else []
    without = sum(count for count in counts if type(count) is int)
    parts = ["finished"]
    if failed := len(manifest["units"]["failed"]):
        parts.append(f"days that failed: {failed}")
    if without:
        parts.append(f"channel-days without a correlation: {without}")
    return "; ".join(parts)


def _is_table(rows: Any) -> bool:
    """Whether a value written by a worker is a list of objects."""
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _blank_status(job_id: str, kind: str) -> dict[str, Any]:
    """status.json of a job that is not admitted yet, without its stage."""
    return {
        "id": job_id,
        "kind": kind,
        "state": QUEUED,
        "stage": "",
        "ahead": None,
        "days": [0, 0],
        "pairs": 0,
        "eta_s": None,
        "started": None,
        "reason": None,
        "problems": [],
        "warnings": [],
        "log_tail": [],
        "manifest": None,
        "version": __version__,
    }


def queued_stage(ahead: int) -> str:
    """The stage of a job in the queue."""
    return f"queued ({ahead} {'job' if ahead == 1 else 'jobs'} ahead)"


def iso(seconds: float) -> str:
    """A time (s since 1970) in ISO 8601: UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
