"""A job: a folder WORK/YYYYMMDD_HHMMSS/ID/ and its job.json.

job.json holds only what cannot be observed; the daemon observes the rest on every pass.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..atomic_files import disk_errors, make_folder, remove, write_bytes, write_json, write_text
from ..errors import BusyError, Problem, XcorError
from ..request.job_files import JOB_ID
from ..request.stacking_params import STACKING
from . import fault_injection

JOB_FILE = "job.json"
RESULTS = "job"  # in a job's folder: the only part that a container may write
QUEUED, RUNNING = "queued", "running"
DONE, FAILED, REJECTED, CANCELLED = "done", "failed", "rejected", "cancelled"
TERMINAL = (DONE, FAILED, REJECTED, CANCELLED)
# Another daemon has taken the job over. A state of job.json only, never of status.json.
RELINQUISHED = "left"

_STAMP = re.compile(r"[0-9]{8}_[0-9]{6}")
_ID = re.compile(JOB_ID)
_REBUILD = "run `xcor-daemon rebuild-state` to set its folder aside and stage the job again"
# Attribute of `Job` -> its key in job.json, where they differ.
_KEYS = {
    "submitted_at": "seen",
    "final_state": "verdict",
    "out_of_memory": "starved",
    "disk_estimate": "needed",
    "previous_runs": "past",
}
_MAX_LISTED = 200  # problems in status.json


@dataclass(frozen=True)
class Input:
    """A file of the request, as it was staged from S3."""

    key: str
    etag: str
    size: int
    sha256: str

    @classmethod
    def of(cls, key: str, etag: str, content: bytes) -> Input:
        """The record of a file with this content."""
        return cls(key, etag, len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Job:
    """A job on this machine; every change goes through `changed`, which writes job.json."""

    folder: Path
    id: str
    kind: str  # xcor | stack
    attempt: str  # the folder's time stamp and random hex: the prefix of its results in S3
    inputs: tuple[Input, ...]
    submitted_at: float  # when the last input was written, by S3's clock (s since 1970)
    state: str = QUEUED
    final_state: str = ""  # decided, but not published yet
    reason: str = ""  # for the user
    problems: tuple[dict[str, Any], ...] = ()  # of a rejected request
    source: str = ""  # of waveforms; empty until the request was checked
    executor: str = ""  # processes or dask; empty as ``source``
    corr: str = ""  # folder of the correlations that a stacking job reads
    failures: int = 0  # workers that failed
    killed: int = 0  # workers that were killed from outside, which is not the job's fault
    out_of_memory: int = 0  # workers that ran out of memory; the next uses fewer processes
    not_before: float = 0.0  # earliest start of the next worker (s since 1970)
    started: float = 0.0  # start of its first worker (s since 1970)
    launched: float = 0.0  # start of its latest worker (s since 1970)
    disk_estimate: int = 0  # bytes that its folder may grow to
    previous_runs: int = 0  # workers that had ended when an operator retried the job
    is_held: bool = False  # by an operator: no worker is started

    def __str__(self) -> str:
        """The start of every log line about the job."""
        return f"job {self.id} attempt {self.attempt}"

    @property
    def run(self) -> int:
        """The number of workers that have ended, which is that of the current or next worker."""
        return self.previous_runs + self.failures + self.killed + self.out_of_memory

    @property
    def results(self) -> Path:
        """The folder in which its worker reads and writes: its own, or a container's part of it."""
        inner = self.folder / RESULTS
        return inner if inner.is_dir() else self.folder

    @property
    def is_live(self) -> bool:
        """Whether the job has not ended yet."""
        return self.state not in (*TERMINAL, RELINQUISHED)

    def changed(self, **changes: Any) -> Job:
        """Write job.json and return the job with other values."""
        job = replace(self, **changes) if changes else self
        content = {_KEYS.get(name, name): value for name, value in asdict(job).items()}
        del content["folder"]
        with disk_errors(self.folder), fault_injection.fault_point(_step(self, job)):
            write_json(self.folder / JOB_FILE, content)
        return job

    @classmethod
    def load(cls, folder: Path) -> Job:
        """Read a folder's job.json."""
        try:
            content = json.loads((folder / JOB_FILE).read_bytes())
            content["inputs"] = tuple(Input(**item) for item in content["inputs"])
            # Older versions lack some fields, which then have their defaults.
            content["problems"] = tuple(content.get("problems", ()))
            names = {_KEYS.get(name, name): name for name in cls.__dataclass_fields__}
            newer = content.keys() - names.keys()
            known = {names[key]: value for key, value in content.items() if key not in newer}
            job = cls(folder=folder, **known)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedError(f"{folder / JOB_FILE} is damaged ({error}); {_REBUILD}.") from error
        if newer:
            fields = ", ".join(sorted(newer))
            cause = f"was written by a newer version of xcor-daemon (unknown fields: {fields})"
            remedy = f"install that version, or {_REBUILD}"
            raise DamagedError(f"{folder / JOB_FILE} {cause}; {remedy}.")
        return job


class DamagedError(XcorError):
    """A job.json that cannot be read."""

    exit_code = 78


def owner_name(work_dir: Path) -> str:
    """The random name of a work folder's daemons in leases; made by the first of them."""
    path = work_dir / ".owner"
    if not path.exists():
        write_text(path, secrets.token_hex(8))
    return path.read_text()


def _step(before: Job, after: Job) -> str:
    """The fault point of a change of a job."""
    if before is after:
        return "stage.record"
    if not after.is_live:
        return "record.ended"
    if after.final_state:
        return "record.verdict"
    if after.run > before.run:
        return "record.retry"
    return "record.running" if after.state == RUNNING else "record.queued"


def create_job(
    work_dir: Path,
    job_id: str,
    contents: Mapping[str, bytes],
    inputs: Sequence[Input],
    submitted_at: float,
    disk_estimate: int = 0,
) -> Job:
    """Create the folder of a job with its inputs; job.json last, so that it marks completeness."""
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    folder = work_dir / stamp / job_id
    with disk_errors(folder), fault_injection.fault_point("stage.folder"):
        make_folder(folder)
    kind = "stack" if STACKING in contents else "xcor"
    attempt = f"{stamp}-{secrets.token_hex(3)}"
    try:
        for name, content in contents.items():
            with disk_errors(folder / name), fault_injection.fault_point("stage.input"):
                write_bytes(folder / name, content)
        job = Job(
            folder,
            job_id,
            kind,
            attempt,
            tuple(inputs),
            submitted_at,
            disk_estimate=disk_estimate,
        )
        return job.changed()
    except XcorError:
        # The next process must not load a job that this one does not have.
        shutil.rmtree(folder, ignore_errors=True)
        raise


def load_jobs(work_dir: Path) -> list[Job]:
    """All jobs of a work folder, oldest folder first, without incomplete stagings."""
    return [Job.load(folder) for folder in job_folders(work_dir) if (folder / JOB_FILE).is_file()]


def sweep_unfinished(work_dir: Path) -> list[Path]:
    """Remove the folders of stagings that a crash interrupted; the jobs are staged again."""
    incomplete = [folder for folder in job_folders(work_dir) if not (folder / JOB_FILE).is_file()]
    for folder in incomplete:
        remove(folder)
    return incomplete


def job_folders(work_dir: Path) -> Iterator[Path]:
    """All folders with the name of a job's folder, oldest first."""
    for stamp in _folders_named(work_dir, _STAMP):
        yield from _folders_named(stamp, _ID)


def _folders_named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    return sorted(path for path in paths if path.is_dir() and not path.is_symlink())


@contextmanager
def lock_work_dir(work_dir: Path) -> Iterator[None]:
    """Lock a work folder for this process; the kernel releases the lock when the process ends.

    Raises
    ------
    BusyError
        If another process has the lock.
    """
    with disk_errors(work_dir):
        make_folder(work_dir)
        # Read-only: a lock file open for writing would prevent remounting the disk.
        lock = os.fdopen(os.open(work_dir / ".lock", os.O_RDONLY | os.O_CREAT, 0o600))
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "stop it or set XCOR_WORK_DIR"
            raise BusyError(f"another xcor-daemon is using {work_dir}; {remedy}.") from None
        yield


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem as in status.json, its value shortened for display."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column[:80],
        "value": problem.value[:80],
        "text": str(problem)[:500],
    }


def problems_json(problems: Sequence[Problem]) -> tuple[dict[str, Any], ...]:
    """The first problems of a request, as in status.json."""
    return tuple(problem_json(problem) for problem in problems[:_MAX_LISTED])
