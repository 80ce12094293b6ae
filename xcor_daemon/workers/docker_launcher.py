"""Workers as hardened Docker containers: one for each run of a job, identified by its name.

The engine never removes a container itself. After it has exited, its log is written to
xcor_log.txt, then its exit code to worker.json, and only then is it removed; a daemon that dies in
between is followed by one that repeats these steps.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from docker.models.containers import Container
from docker.types import Mount, Ulimit

from ..atomic_files import disk_errors, make_folder, open_atomic, write_bytes
from ..config import Config
from ..request.job_files import LOG_FILE
from ..request.parse import XcorRequest, read_request
from ..storage import fault_injection
from ..storage.jobs import JOB_FILE, RESULTS, Job
from .docker_engine import Engine, LaunchError
from .launcher import ENDED, NOT_STARTED, RUNNING, WorkerState, worker_arguments
from .supervisor import read_record, write_record

log = logging.getLogger(__name__)

LABEL = "org.xcor-daemon"
_MEMORY_SHARE = 0.75  # of the machine's memory, for all workers together
_TMP = "rw,noexec,nosuid,nodev,size=256m,mode=1777"
_COPY_LOG_EVERY = 5.0  # s between two copies of the log of a running container
_LOG_LINES = 100  # in such a copy
# Exit codes caused from outside: SIGHUP, SIGINT, SIGKILL, SIGTERM, and a restarted engine that has
# lost the process.
_ENDED_FROM_OUTSIDE = {129, 130, 137, 143, 255}
_SHARED, _TOKEN = "/shared", "/earthscope-token"  # in the container
_IMAGE_USER = (10001, 10001)  # user and group in the image


@dataclass(frozen=True)
class Limits:
    """Resource limits of one worker."""

    memory: int  # bytes, without swap
    cpus: float
    pids: int
    processes: int  # of the worker program


@dataclass
class DockerLauncher:
    """Workers as containers; see `launcher.Launcher`."""

    engine: Engine
    config: Config
    grace: float = 10.0  # s from SIGTERM to SIGKILL
    _terminated: dict[str, float] = field(default_factory=dict)  # when SIGTERM was sent, by name
    _log_copied: dict[str, float] = field(default_factory=dict)  # when, by name

    @cached_property
    def limits(self) -> Limits:
        """Limits of a worker: the settings, and by default a share of the machine."""
        config, info = self.config, self.engine.info()
        memory = config.worker_memory or _MEMORY_SHARE * info["MemTotal"] / config.max_parallel
        cpus = config.worker_cpus or info["NCPU"] / config.max_parallel
        processes = config.processes or max(1, int(cpus))
        return Limits(int(memory), cpus, config.worker_pids, processes)

    def start(self, job: Job) -> None:
        """Start the worker of this run, unless it is running already.

        Raises
        ------
        EngineError
            If the engine does not answer; the next pass retries.
        LaunchError
            If there is no such image, or another container has the name.
        """
        if self.inspect(job).state != NOT_STARTED:
            return
        self._remove_orphans()
        if (stale := self._find(job)) is not None:
            self.engine.remove(stale)  # created but not started, possibly with other settings
        name = container_name(job)
        self._terminated.pop(name, None)
        image = self.engine.image_id(self.config.image)
        options = self._options(job, image)
        size = _size(job.folder / LOG_FILE)
        record = {"run": job.run, "container": name, "image": image, "log_from": size}
        _prepare(job)
        write_record(job.folder, record)
        with fault_injection.fault_point("worker.start"):
            container = self.engine.create(self._network(job), name=name, **options)
            self.engine.start(container)
        write_record(job.folder, {**record, "is_started": True})

    def inspect(self, job: Job) -> WorkerState:
        """Return the state of the worker of this run; a container that has exited is removed."""
        record = read_record(job.folder)
        is_known = record.get("run") == job.run
        container = self._find(job)
        if is_known and "exit" in record:
            if container is not None:
                self.engine.remove(container)
            return WorkerState(ENDED, record["exit"], record["is_starved"], record["image"])
        if container is None:
            is_gone = is_known and record.get("is_started", False)
            return WorkerState(ENDED, None) if is_gone else WorkerState(NOT_STARTED)
        status = container.attrs["State"]["Status"]
        if status == "created":
            return WorkerState(NOT_STARTED)
        if status not in ("exited", "dead"):
            self._copy_log(job, container)
            return WorkerState(RUNNING)
        return self._record_end(job, container)

    def stop(self, job: Job) -> None:
        """Send SIGTERM, and SIGKILL after a grace period; call again until the worker has ended."""
        container = self._find(job)
        if container is None or container.attrs["State"]["Status"] in ("created", "exited"):
            return
        terminated = self._terminated.setdefault(container_name(job), time.monotonic())
        late = time.monotonic() - terminated >= self.grace
        with fault_injection.fault_point("worker.stop"):
            self.engine.signal(container, "SIGKILL" if late else "SIGTERM")

    def _find(self, job: Job) -> Container | None:
        """The container of this run.

        Raises
        ------
        LaunchError
            If a container of another job has the name.
        """
        container = self.engine.find(container_name(job))
        if container is not None and container.labels != {**container.labels, **_labels(job)}:
            name = container_name(job)
            need = "does not belong to this job; remove or rename it"
            raise LaunchError(f"job {job.id}: the container {name} {need}.")
        return container

    def _record_end(self, job: Job, container: Container) -> WorkerState:
        """Record the log, then the exit code of a container that has exited; then remove it."""
        state = container.attrs["State"]
        is_out_of_memory = bool(state["OOMKilled"])
        code: int | None = state["ExitCode"]
        if code in _ENDED_FROM_OUTSIDE and not is_out_of_memory:
            code = None
        self._write_log(job, self.engine.log(container))
        name, image = container_name(job), container.attrs["Image"]
        record = {"run": job.run, "container": name, "image": image}
        write_record(job.folder, {**record, "exit": code, "is_starved": is_out_of_memory})
        self.engine.remove(container)
        self._terminated.pop(name, None)
        self._log_copied.pop(name, None)
        return WorkerState(ENDED, code, is_out_of_memory, image)

    def _copy_log(self, job: Job, container: Container) -> None:
        """Copy the last lines of a running container into the log of the job, now and then."""
        name = container_name(job)
        if time.monotonic() - self._log_copied.get(name, -_COPY_LOG_EVERY) >= _COPY_LOG_EVERY:
            self._log_copied[name] = time.monotonic()
            self._write_log(job, self.engine.log(container, _LOG_LINES))

    def _write_log(self, job: Job, output: bytes) -> None:
        """Write the output of a container behind that of earlier workers of the job."""
        path = job.folder / LOG_FILE
        with disk_errors(path):
            earlier = path.read_bytes() if path.exists() else b""
            write_bytes(path, earlier[: read_record(job.folder).get("log_from", 0)] + output)

    def _remove_orphans(self) -> None:
        """Remove containers of jobs whose folders no longer exist."""
        for container in self.engine.find_labelled(f"{LABEL}.work={self._work_dir}"):
            folder = Path(container.labels[f"{LABEL}.folder"])
            if not (folder / JOB_FILE).exists():
                log.warning(
                    "container %s: removed, since the folder of its job no longer exists",
                    container.name,
                )
                self.engine.remove(container)

    @property
    def _work_dir(self) -> Path:
        return self.config.work_dir.absolute()

    def _network(self, job: Job) -> str | None:
        """The network for the downloads of a job; None if it downloads nothing."""
        return self.config.worker_network if _downloads(job, self.config) else None

    def _options(self, job: Job, image: str) -> dict[str, Any]:
        """Options with which the container of a worker is created."""
        limits = self.limits
        processes = max(1, limits.processes >> 2 * job.out_of_memory)
        archives = _ArchiveMounts()
        arguments = worker_arguments(job, "/job", archives.source(job.source), "/corr", processes)
        sources = {name: archives.source(text) for name, text in self.config.sources.items()}
        user, group = worker_user()
        return {
            "image": image,
            "command": arguments,
            "labels": {**_labels(job), f"{LABEL}.work": str(self._work_dir)},
            "user": f"{user}:{group}",
            "environment": {
                "XCOR_SOURCES": ";".join(f"{k}={v}" for k, v in sources.items()),
                "XCOR_CACHE": _SHARED,
                "XCOR_EARTHSCOPE_TOKEN": _TOKEN if self.config.earthscope_token else "",
            },
            "working_dir": "/job",
            "mounts": [*_job_mounts(job), *archives.mounts(), *self._shared(job)],
            "tmpfs": {"/tmp": _TMP},  # noqa: S108  inside the container
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "ipc_mode": "private",
            "init": True,
            "pids_limit": limits.pids,
            "mem_limit": limits.memory,
            "memswap_limit": limits.memory,
            "nano_cpus": int(limits.cpus * 1e9),
            "ulimits": [Ulimit(name="core", soft=0, hard=0)],
        }

    def _shared(self, job: Job) -> list[Mount]:
        """Folders shared by jobs; a worker with downloads cannot write the archive index."""
        if job.kind == "stack":
            return []
        downloads = _downloads(job, self.config)
        folder = self.config.cache_folder.absolute()
        with disk_errors(folder):
            for name in ("connections", "archives"):
                make_folder(folder / name, mode=0o700)
                if os.geteuid() == 0:
                    os.chown(folder / name, *worker_user())
        archives = Mount(
            f"{_SHARED}/archives", str(folder / "archives"), type="bind", read_only=downloads
        )
        if not downloads:
            return [archives]
        token = self.config.earthscope_token
        tokens = [_read_only(_TOKEN, Path(token).absolute())] if token else []
        connections = Mount(f"{_SHARED}/connections", str(folder / "connections"), type="bind")
        return [archives, connections, *tokens]


def container_name(job: Job) -> str:
    """Name of a run's container; being unique, it keeps a worker from being started twice."""
    return f"xcor-{job.id}-{job.attempt}-{job.run}"


def worker_user() -> tuple[int, int]:
    """User and group of workers: those of the daemon, but never root."""
    user, group = os.geteuid(), os.getegid()
    return _IMAGE_USER if user == 0 or group == 0 else (user, group)


def _labels(job: Job) -> dict[str, str]:
    values = {"job": job.id, "attempt": job.attempt, "run": str(job.run)}
    values["folder"] = str(job.folder.absolute())
    return {f"{LABEL}.{name}": value for name, value in values.items()}


def _prepare(job: Job) -> None:
    """Create the folder that is writable for a worker, with the files of the request in it.

    job.json and the log stay outside of it, inaccessible to the worker.
    """
    results = job.folder / RESULTS
    with disk_errors(results):
        make_folder(results)
        for name in _inputs(job):
            if not (results / name).exists():
                with open_atomic(results / name) as file:
                    file.write((job.folder / name).read_bytes())
                    os.fchmod(file.fileno(), 0o444)
        if os.geteuid() == 0:
            os.chown(results, *worker_user())


def _inputs(job: Job) -> list[str]:
    return [Path(item.key).name for item in job.inputs]


def _job_mounts(job: Job) -> list[Mount]:
    results = job.folder.absolute() / RESULTS
    mounts = [Mount("/job", str(results), type="bind")]
    mounts += [_read_only(f"/job/{name}", results / name) for name in _inputs(job)]
    return mounts + ([_read_only("/corr", Path(job.corr))] if job.corr else [])


def _read_only(target: str, source: Path) -> Mount:
    return Mount(target, str(source), type="bind", read_only=True)


def _downloads(job: Job, config: Config) -> bool:
    """Whether a job needs waveforms from outside the archives of this machine."""
    if job.kind == "stack":
        return False
    request = read_request(job.folder)
    assert isinstance(request, XcorRequest)
    names = {channel.data_center for channel in request.channels}
    sources = [config.sources.get(name, "") if name else job.source for name in names]
    return not all(source.startswith("archive:") for source in sources)


class _ArchiveMounts:
    """Archives mounted under paths of their own, so that none hides a folder of the image."""

    def __init__(self) -> None:
        self._targets: dict[str, str] = {}

    def source(self, text: str) -> str:
        """A source with the path as the worker sees it."""
        kind, _, folder = text.partition(":")
        if kind != "archive":
            return text
        path = str(Path(folder).absolute())
        self._targets[path] = f"/archives/{hashlib.sha256(path.encode()).hexdigest()[:8]}"
        return f"archive:{self._targets[path]}"

    def mounts(self) -> list[Mount]:
        """The mounts of all archives."""
        return [_read_only(target, Path(path)) for path, target in self._targets.items()]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
