"""Settings, read once: a flag beats an ``XCOR_*`` variable, which beats the default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import ConfigError

# A data centre that ObsPy names; EarthScope's is the one that serves the original's TA network.
DEFAULT_SOURCE = "fdsn:EARTHSCOPE"
_LONGEST = 1e9  # s; what waits for infinity, or for NaN, fails only hours later


@dataclass(frozen=True)
class Config:
    """What the host half needs to know; each field is ``XCOR_`` + its name in capitals."""

    bucket: str = ""  # S3 bucket that holds incoming/ and processed/
    endpoint_url: str = ""  # of an S3 server that is not AWS
    work_dir: Path = Path("xcor-work")  # jobs are copied to WORK/YYYYMMDD_HHMMSS/ID/
    interval: float = 0.0  # s between two passes of `run`; 0: 1 s while busy, 5 s while idle
    s3_timeout: float = 20.0  # s that S3 may be silent
    settle: float = 2.0  # s that a job's files must have been unchanged
    max_parallel: int = 1  # workers that run at the same time
    max_attempts: int = 3  # times that a worker is started for one job
    deadline: float = 86400.0  # s after which a worker is stopped
    processes: int = 0  # of one worker; 0 takes every core
    launcher: str = "local"  # workers are processes of this machine; or docker: containers
    image: str = "xcor-daemon"  # that containers run from, better REPOSITORY@sha256:DIGEST
    worker_memory: float = 0.0  # bytes of one container; 0: three quarters of the machine's, shared
    worker_cpus: float = 0.0  # of one container; 0: the machine's, shared
    worker_pids: int = 512  # processes and threads of one container
    worker_network: str = "xcor"  # of containers that download; made where it is missing
    executor: str = ""  # who does jobs: processes or dask; empty: by local_limit
    dask_address: str = ""  # of a Dask scheduler: tls://HOST:PORT
    local_limit: float = 0.0  # core-hours of a job without a cluster; 0: processes x deadline
    source: str = DEFAULT_SOURCE  # where waveforms come from when a job names no source
    # What jobs share: locks of connections, and what is known of archives.
    cache: Path = Path("~/.cache/xcor-daemon")
    earthscope_token: str = ""  # file that holds it, for restricted data; empty: anonymous
    lease: float = 120.0  # s until another daemon takes over from one that is silent; 0: at once
    reserve: float = 1e9  # bytes of the disk that stay free
    quota: float = 0.0  # bytes that the work folder may take; 0 leaves it to the disk
    log_format: str = "text"  # or json, with the figures of metrics.py as EMF lines among them
    metrics_file: str = ""  # where the figures are written for Prometheus; empty: nowhere
    fault: str = ""  # a fault to order, for tests; see storage/fault_injection.py
    # name -> source, for the column `source` of params.csv
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spans = {"interval": 0.0, "lease": 0.0, "settle": 0.0, "deadline": 1.0, "s3_timeout": 0.1}
        for name, low in spans.items():
            if not low <= getattr(self, name) <= _LONGEST:
                need = f"it must be from {low:g} to {_LONGEST:g} s."
                raise ConfigError(f"{name}={getattr(self, name)} s; {need}")
        if 0 < self.interval < 0.05:
            raise ConfigError(f"interval={self.interval} s; it must be from 0.05 s, or 0.")
        units = {"reserve": "bytes", "quota": "bytes", "local_limit": "core-hours"}
        for name, unit in units.items():
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}={getattr(self, name)} {unit}; it must not be negative.")
        if self.launcher == "docker" and (self.executor == "dask" or self.dask_address):
            need = "a container has its own folder, which Dask's workers do not see; set local."
            raise ConfigError(f"launcher=docker with Dask: {need}")
        if self.executor not in ("", "processes", "dask"):
            raise ConfigError(f"executor={self.executor!r}; it must be processes or dask.")
        for name, low in (("max_parallel", 1), ("max_attempts", 1), ("processes", 0)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name}={getattr(self, name)}; it must be at least {low}.")
        self._check_workers()
        if self.log_format not in ("text", "json"):
            raise ConfigError(f"log_format={self.log_format!r}; it must be text or json.")
        for source in (self.source, *self.sources.values()):
            check_source(source)

    def _check_workers(self) -> None:
        if self.launcher not in ("local", "docker"):
            raise ConfigError(f"launcher={self.launcher!r}; it must be local or docker.")
        if not (self.worker_memory == 0 or 2**28 <= self.worker_memory < float("inf")):
            need = "it must be at least 2.7e8, or 0."
            raise ConfigError(f"worker_memory={self.worker_memory} bytes; {need}")
        if not (self.worker_cpus == 0 or 0.01 <= self.worker_cpus < float("inf")):
            raise ConfigError(f"worker_cpus={self.worker_cpus}; it must be at least 0.01, or 0.")
        if self.worker_pids < 16:
            raise ConfigError(f"worker_pids={self.worker_pids}; it must be at least 16.")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", self.worker_network):
            raise ConfigError(f"worker_network={self.worker_network!r} is no name of a network.")
        if self.worker_network in ("host", "bridge", "none", "default"):
            need = "a worker would reach this machine's own services; name a network of its own."
            raise ConfigError(f"worker_network={self.worker_network!r}: {need}")

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **flags: Any) -> Config:
        """The settings of a process.

        Parameters
        ----------
        environ : mapping
            ``os.environ``; only names that begin with ``XCOR_`` matter.
        flags
            Values given on the command line; None where a flag was not given.

        Raises
        ------
        ConfigError
            If a value is not of its kind.
        """
        values: dict[str, Any] = {}
        for setting in fields(cls):
            text = environ.get(f"XCOR_{setting.name.upper()}", "")
            if text:
                values[setting.name] = _parse(setting.name, str(setting.type), text)
        values.update({name: value for name, value in flags.items() if value is not None})
        return cls(**values)

    def need_bucket(self) -> str:
        """The bucket's name; a ConfigError where none is set."""
        if not self.bucket:
            raise ConfigError("no S3 bucket is named; set XCOR_BUCKET or give --bucket NAME.")
        return self.bucket

    @property
    def cache_folder(self) -> Path:
        """``cache`` without a ``~``; a ConfigError where there is no home folder."""
        try:
            return self.cache.expanduser()
        except RuntimeError as error:
            raise ConfigError(f"{self.cache}: {error} Set XCOR_CACHE to a folder.") from error

    def source_named(self, name: str) -> str:
        """The source behind a name that a job gives; empty means the service's own.

        Raises
        ------
        ConfigError
            If the name is not configured.
        """
        if not name:
            return self.source
        if name not in self.sources:
            known = ", ".join(sorted(self.sources)) or "none"
            raise ConfigError(f"source {name!r} is not configured here; configured: {known}.")
        return self.sources[name]


def check_source(source: str) -> None:
    """Refuse what is neither ``archive:PATH`` nor ``fdsn:URL-or-name`` nor ``s3:NAME``."""
    kind, _, place = source.partition(":")
    if kind not in ("archive", "fdsn", "s3") or not place:
        need = "is neither archive:PATH nor fdsn:URL-or-name nor s3:NAME."
        raise ConfigError(f"source {source!r} {need}")


def _parse(name: str, kind: str, text: str) -> Any:
    """The value of a variable, by the type of its field."""
    variable = f"XCOR_{name.upper()}"
    try:
        if kind == "float":
            return float(text)
        if kind == "int":
            return int(text)
    except ValueError:
        raise ConfigError(f"{variable}={text!r} is not a number.") from None
    if kind == "Path":
        return Path(text)
    if name == "sources":
        return _parse_sources(variable, text)
    return text


def _parse_sources(variable: str, text: str) -> dict[str, str]:
    """``demo=fdsn:http://127.0.0.1:8080;local=archive:/data`` -> a mapping."""
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    for name, _, _ in pairs:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name.strip()):
            need = "write NAME=fdsn:URL;NAME=archive:PATH."
            raise ConfigError(f"{variable}: {name!r} is no name; {need}")
    return {name.strip(): source.strip() for name, _, source in pairs}
