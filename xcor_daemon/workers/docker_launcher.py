"""Workers as containers of Docker: one for each run of a job, hardened, found again by its name.

A container is never removed by the engine itself. When it has ended, its log goes to xcor_log.txt,
then its end to worker.json, and only then it is removed; a daemon that dies in between is
followed by one that does the same again.
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
_SHARE = 0.75  # of the machine's memory that all workers together may take
_TMP = "rw,noexec,nosuid,nodev,size=256m,mode=1777"
_SHOW_EVERY = 5.0  # s between two looks at the log of a container that runs
_SHOWN = 100  # lines of it
# Exits that somebody caused: SIGHUP, SIGINT, SIGKILL, SIGTERM, and an engine that came back
# without the container.
_SENT = {129, 130, 137, 143, 255}
_SHARED, _TOKEN = "/shared", "/earthscope-token"  # in the container
_NOBODY = (10001, 10001)  # whom the image runs as


@dataclass(frozen=True)
class Limits:
    """What one worker may take."""

    memory: int  # bytes, with no swap beside it
    cpus: float
    pids: int
    processes: int  # that it is told to work in


@dataclass
class DockerLauncher:
    """Workers as containers; see `launcher.Launcher` for what its methods promise."""

    engine: Engine
    config: Config
    grace: float = 10.0  # s from SIGTERM to SIGKILL
    _asked: dict[str, float] = field(default_factory=dict)  # when SIGTERM was sent, by name
    _shown: dict[str, float] = field(default_factory=dict)  # when a log was looked at, by name

    @cached_property
    def limits(self) -> Limits:
        """What a worker may take; what the settings leave open is a share of the machine."""
        config, info = self.config, self.engine.info()
        memory = config.worker_memory or _SHARE * info["MemTotal"] / config.max_parallel
        cpus = config.worker_cpus or info["NCPU"] / config.max_parallel
        processes = config.processes or max(1, int(cpus))
        return Limits(int(memory), cpus, config.worker_pids, processes)

    def start(self, job: Job) -> None:
        """Start the worker of this run; nothing happens where it runs already.

        Raises
        ------
        EngineError
            If the engine does not answer; the next pass tries again.
        LaunchError
            If there is no such image, or something else has the container's name.
        """
        if self.inspect(job).state != NOT_STARTED:
            return
        self._sweep()
        if (stale := self._find(job)) is not None:
            self.engine.remove(stale)  # created, never started, perhaps with other settings
        name = container_name(job)
        self._asked.pop(name, None)
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
        """Look at the worker of this run; one that has ended is cleared away."""
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
            self._show_log(job, container)
            return WorkerState(RUNNING)
        return self._settle(job, container)

    def stop(self, job: Job) -> None:
        """Ask the worker to end, and after a grace make it; call again until it has ended."""
        container = self._find(job)
        if container is None or container.attrs["State"]["Status"] in ("created", "exited"):
            return
        asked = self._asked.setdefault(container_name(job), time.monotonic())
        late = time.monotonic() - asked >= self.grace
        with fault_injection.fault_point("worker.stop"):
            self.engine.signal(container, "SIGKILL" if late else "SIGTERM")

    def _find(self, job: Job) -> Container | None:
        """The container of this run; what else has its name is refused."""
        container = self.engine.find(container_name(job))
        if container is not None and container.labels != {**container.labels, **_labels(job)}:
            name = container_name(job)
            need = "is not of this job: remove it, or rename it"
            raise LaunchError(f"job {job.id}: the container {name} {need}.")
        return container

    def _settle(self, job: Job, container: Container) -> WorkerState:
        """Keep the log, then the end, of a container that has ended; then remove it."""
        state = container.attrs["State"]
        is_out_of_memory = bool(state["OOMKilled"])
        code: int | None = state["ExitCode"]
        if code in _SENT and not is_out_of_memory:
            code = None
        self._keep_log(job, self.engine.log(container))
        name, image = container_name(job), container.attrs["Image"]
        record = {"run": job.run, "container": name, "image": image}
        write_record(job.folder, {**record, "exit": code, "is_starved": is_out_of_memory})
        self.engine.remove(container)
        self._asked.pop(name, None)
        self._shown.pop(name, None)
        return WorkerState(ENDED, code, is_out_of_memory, image)

    def _show_log(self, job: Job, container: Container) -> None:
        """Let the user see the last lines while the worker runs."""
        name = container_name(job)
        if time.monotonic() - self._shown.get(name, -_SHOW_EVERY) >= _SHOW_EVERY:
            self._shown[name] = time.monotonic()
            self._keep_log(job, self.engine.log(container, _SHOWN))

    def _keep_log(self, job: Job, said: bytes) -> None:
        """Put what a container said behind what earlier workers of the job did."""
        path = job.folder / LOG_FILE
        with disk_errors(path):
            earlier = path.read_bytes() if path.exists() else b""
            write_bytes(path, earlier[: read_record(job.folder).get("log_from", 0)] + said)

    def _sweep(self) -> None:
        """Remove the containers of jobs whose folders are gone."""
        for container in self.engine.labelled(f"{LABEL}.work={self._work_dir}"):
            folder = Path(container.labels[f"{LABEL}.folder"])
            if not (folder / JOB_FILE).exists():
                log.warning("container %s: its job's folder is gone; removed", container.name)
                self.engine.remove(container)

    @property
    def _work_dir(self) -> Path:
        return self.config.work_dir.absolute()

    def _network(self, job: Job) -> str | None:
        """The network that a job's downloads need; None where nothing is downloaded."""
        return self.config.worker_network if _downloads(job, self.config) else None

    def _options(self, job: Job, image: str) -> dict[str, Any]:
        """How a worker's container is made."""
        limits = self.limits
        processes = max(1, limits.processes >> 2 * job.out_of_memory)
        paths = _Paths()
        words = worker_arguments(job, "/job", paths.source(job.source), "/corr", processes)
        sources = {name: paths.source(text) for name, text in self.config.sources.items()}
        user, group = worker_user()
        return {
            "image": image,
            "command": words,
            "labels": {**_labels(job), f"{LABEL}.work": str(self._work_dir)},
            "user": f"{user}:{group}",
            "environment": {
                "XCOR_SOURCES": ";".join(f"{k}={v}" for k, v in sources.items()),
                "XCOR_CACHE": _SHARED,
                "XCOR_EARTHSCOPE_TOKEN": _TOKEN if self.config.earthscope_token else "",
            },
            "working_dir": "/job",
            "mounts": [*_job_mounts(job), *paths.mounts(), *self._shared(job)],
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
        """What jobs share; who reads strangers' data does not say what is in archives."""
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
    """What the worker of a run is called; nothing else starts it twice."""
    return f"xcor-{job.id}-{job.attempt}-{job.run}"


def worker_user() -> tuple[int, int]:
    """Whom workers run as: the daemon's own user and group, and never root."""
    user, group = os.geteuid(), os.getegid()
    return _NOBODY if user == 0 or group == 0 else (user, group)


def _labels(job: Job) -> dict[str, str]:
    about = {"job": job.id, "attempt": job.attempt, "run": str(job.run)}
    about["folder"] = str(job.folder.absolute())
    return {f"{LABEL}.{name}": value for name, value in about.items()}


def _prepare(job: Job) -> None:
    """Make the folder that a worker may write, with the files of the request in it.

    job.json and the log stay beside it, where no worker gets.
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
    """Whether a job takes waveforms from anywhere but archives of this machine."""
    if job.kind == "stack":
        return False
    request = read_request(job.folder)
    assert isinstance(request, XcorRequest)
    names = {channel.data_center for channel in request.channels}
    sources = [config.sources.get(name, "") if name else job.source for name in names]
    return not all(source.startswith("archive:") for source in sources)


class _Paths:
    """Archives of this machine under other names, so that none covers a folder of the image."""

    def __init__(self) -> None:
        self._targets: dict[str, str] = {}

    def source(self, text: str) -> str:
        """A source as the worker knows it."""
        kind, _, place = text.partition(":")
        if kind != "archive":
            return text
        path = str(Path(place).absolute())
        self._targets[path] = f"/archives/{hashlib.sha256(path.encode()).hexdigest()[:8]}"
        return f"archive:{self._targets[path]}"

    def mounts(self) -> list[Mount]:
        """The folders behind the archives."""
        return [_read_only(target, Path(path)) for path, target in self._targets.items()]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
