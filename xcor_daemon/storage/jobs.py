"""A job: a folder WORK/YYYYMMDD_HHMMSS/ID/ and its job.json.

job.json holds only what the world cannot tell; the rest is looked at again on every pass.
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
from ..request.stacking_params import STACKING
from . import fault_injection

JOB_FILE, LOG_FILE = "job.json", "xcor_log.txt"
RESULTS = "job"  # in a job's folder: all that a container may write
QUEUED, RUNNING = "queued", "running"
DONE, FAILED, REJECTED, CANCELLED = "done", "failed", "rejected", "cancelled"
TERMINAL = (DONE, FAILED, REJECTED, CANCELLED)
LEFT = "left"  # to another daemon, which has taken it over; nobody is shown this state

_STAMP = re.compile(r"[0-9]{8}_[0-9]{6}")
_ID = re.compile(r"[0-9]{1,16}")
_ASIDE = "`xcor-daemon rebuild-state` sets it aside and takes the job from S3 again"
_MAX_LISTED = 200  # problems that a page can use


@dataclass(frozen=True)
class Input:
    """A file of the request, as it was staged."""

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
    """One job on this machine; every change goes through `changed`, which writes job.json."""

    folder: Path
    id: str
    kind: str  # xcor | stack
    attempt: str  # the time-stamped folder's name and random hex: where results go in S3
    inputs: tuple[Input, ...]
    seen: float  # when the last input was written, by S3's clock (s since 1970)
    state: str = QUEUED
    verdict: str = ""  # the state that is decided but not published yet
    reason: str = ""  # for the user
    problems: tuple[dict[str, Any], ...] = ()  # of a request that was refused
    source: str = ""  # where waveforms come from; empty until the request was checked
    executor: str = ""  # who does its units, as ``source``
    corr: str = ""  # folder of the correlation job that is to be stacked
    failures: int = 0  # workers that ended badly
    killed: int = 0  # workers that somebody killed; not the job's fault
    starved: int = 0  # workers that ran out of memory; the next works in fewer processes
    not_before: float = 0.0  # no new worker earlier (s since 1970)
    started: float = 0.0  # when its first worker was started
    launched: float = 0.0  # when its latest worker was started
    needed: int = 0  # bytes that its folder may grow to
    past: int = 0  # workers that had ended when an operator asked for another try
    is_held: bool = False  # by an operator: no new worker is started

    def __str__(self) -> str:
        """As every line of the log begins that is about a job."""
        return f"job {self.id} attempt {self.attempt}"

    @property
    def run(self) -> int:
        """How many workers have ended: the number of the one that runs or comes next."""
        return self.past + self.failures + self.killed + self.starved

    @property
    def results(self) -> Path:
        """Where its worker reads and writes: the folder itself, or a container's part of it."""
        inner = self.folder / RESULTS
        return inner if inner.is_dir() else self.folder

    @property
    def is_live(self) -> bool:
        """Whether something is left to do."""
        return self.state not in (*TERMINAL, LEFT)

    def changed(self, **changes: Any) -> Job:
        """The job with other values, once job.json holds them."""
        job = replace(self, **changes) if changes else self
        content = asdict(job)
        del content["folder"]
        with disk_errors(self.folder), fault_injection.step(_step(self, job)):
            write_json(self.folder / JOB_FILE, content)
        return job

    @classmethod
    def load(cls, folder: Path) -> Job:
        """Read a folder's job.json."""
        try:
            content = json.loads((folder / JOB_FILE).read_bytes())
            content["inputs"] = tuple(Input(**item) for item in content["inputs"])
            # An older version did not know all fields: those have their defaults.
            content["problems"] = tuple(content.get("problems", ()))
            newer = content.keys() - cls.__dataclass_fields__.keys()
            job = cls(folder=folder, **{k: v for k, v in content.items() if k not in newer})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedError(f"{folder / JOB_FILE} is damaged ({error}); {_ASIDE}.") from error
        if newer:
            what = f"is of a newer version of xcor-daemon, which knows {', '.join(sorted(newer))}"
            need = f"install that one again, or: {_ASIDE}"
            raise DamagedError(f"{folder / JOB_FILE} {what}; {need}.")
        return job


class DamagedError(XcorError):
    """A job.json that cannot be read."""

    exit_code = 78


def owner_name(work_dir: Path) -> str:
    """What the daemons of a work folder are known by; drawn by the first of them."""
    path = work_dir / ".owner"
    if not path.exists():
        write_text(path, secrets.token_hex(8))
    return path.read_text()


def _step(before: Job, after: Job) -> str:
    """Which step of fault_injection.py the change of a job is."""
    if before is after:
        return "stage.record"
    if not after.is_live:
        return "record.ended"
    if after.verdict:
        return "record.verdict"
    if after.run > before.run:
        return "record.retry"
    return "record.running" if after.state == RUNNING else "record.queued"


def create_job(
    work_dir: Path,
    job_id: str,
    contents: Mapping[str, bytes],
    inputs: Sequence[Input],
    seen: float,
    needed: int = 0,
) -> Job:
    """Make the folder of a job and its inputs; job.json comes last, so half a folder shows."""
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    folder = work_dir / stamp / job_id
    with disk_errors(folder), fault_injection.step("stage.folder"):
        make_folder(folder)
    kind = "stack" if STACKING in contents else "xcor"
    attempt = f"{stamp}-{secrets.token_hex(3)}"
    try:
        for name, content in contents.items():
            with disk_errors(folder / name), fault_injection.step("stage.input"):
                write_bytes(folder / name, content)
        job = Job(folder, job_id, kind, attempt, tuple(inputs), seen, needed=needed)
        return job.changed()
    except XcorError:
        # What is not known to this process must not be found by the next one.
        shutil.rmtree(folder, ignore_errors=True)
        raise


def load_jobs(work_dir: Path) -> list[Job]:
    """Every job of a work folder, oldest folder first; unfinished stagings are left out."""
    return [Job.load(folder) for folder in job_folders(work_dir) if (folder / JOB_FILE).is_file()]


def sweep_unfinished(work_dir: Path) -> list[Path]:
    """Remove stagings that a crash cut short; their jobs wait in S3 and are staged again."""
    halves = [folder for folder in job_folders(work_dir) if not (folder / JOB_FILE).is_file()]
    for folder in halves:
        remove(folder)
    return halves


def job_folders(work_dir: Path) -> Iterator[Path]:
    """Every folder that is named as a job's is, oldest first."""
    for stamp in _folders_named(work_dir, _STAMP):
        yield from _folders_named(stamp, _ID)


def _folders_named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    return sorted(path for path in paths if path.is_dir() and not path.is_symlink())


@contextmanager
def hold(work_dir: Path) -> Iterator[None]:
    """Keep a work folder to this process; the kernel lets go when it dies.

    Raises
    ------
    BusyError
        If another process holds it.
    """
    with disk_errors(work_dir):
        make_folder(work_dir)
        # For reading: a lock that is open for writing would keep the disk from being remounted.
        lock = os.fdopen(os.open(work_dir / ".lock", os.O_RDONLY | os.O_CREAT, 0o600))
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            need = "stop it or set XCOR_WORK_DIR"
            raise BusyError(f"another xcor-daemon works in {work_dir}; {need}.") from None
        yield


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem as the page gets it, its value cut to what can be shown."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column[:80],
        "value": problem.value[:80],
        "text": str(problem)[:500],
    }


def problems_json(problems: Sequence[Problem]) -> tuple[dict[str, Any], ...]:
    """The first problems of a request, as many as a page can use."""
    return tuple(problem_json(problem) for problem in problems[:_MAX_LISTED])
