"""Settings, read once: a flag beats an ``XCOR_*`` variable, which beats the default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import ConfigError

DEFAULT_SOURCE = "fdsn:EARTHSCOPE"
_LONGEST = 1e9  # s; what waits for infinity, or for NaN, fails only hours later
# Groups of the table of settings, in its order.
SERVICE, WORKERS, CONTAINERS, DATA, LOGS = "Service", "Workers", "Containers", "Data", "Logs"


def _setting(default: Any, group: str, text: str) -> Any:
    """A field with its text for --help and docs/settings.md."""
    return field(default=default, metadata={"group": group, "text": text})


@dataclass(frozen=True)
class Config:
    """Settings of the host half; the variable of a field is ``XCOR_`` and its name in capitals."""

    bucket: str = _setting("", SERVICE, "S3 bucket with incoming/ and processed/")
    endpoint_url: str = _setting("", SERVICE, "URL of an S3 server other than AWS")
    work_dir: Path = _setting(
        Path("xcor-work"), SERVICE, "Work folder; jobs run in WORK/YYYYMMDD_HHMMSS/ID/"
    )
    interval: float = _setting(
        0.0, SERVICE, "Polling interval of `run` in seconds; 0: 1 s while busy, 5 s while idle"
    )
    settle: float = _setting(
        2.0, SERVICE, "Seconds that a job's files must be unchanged before it is admitted"
    )
    s3_timeout: float = _setting(20.0, SERVICE, "Time limit for an answer of S3, in seconds")
    lease: float = _setting(
        120.0,
        SERVICE,
        "Seconds after which a lease expires that is not renewed; 0: no leases",
    )
    reserve: float = _setting(1e9, SERVICE, "Disk space that stays free, in bytes")
    quota: float = _setting(
        0.0, SERVICE, "Maximum size of the work folder in bytes; 0: limited by the disk only"
    )
    max_parallel: int = _setting(1, WORKERS, "Maximum number of workers at the same time")
    processes: int = _setting(0, WORKERS, "Number of processes of a worker; 0: one per core")
    max_attempts: int = _setting(3, WORKERS, "Maximum number of attempts for a job")
    deadline: float = _setting(86400.0, WORKERS, "Time limit of a worker in seconds")
    launcher: str = _setting(
        "local", WORKERS, "How workers run: local (processes) or docker (containers)"
    )
    executor: str = _setting(
        "", WORKERS, "Executor of jobs: processes or dask; empty: by the size of the job"
    )
    dask_address: str = _setting("", WORKERS, "Address of a Dask scheduler, tls://HOST:PORT")
    local_limit: float = _setting(
        0.0, WORKERS, "Largest job without a cluster, in core-hours; 0: processes x deadline"
    )
    image: str = _setting(
        "xcor-daemon",
        CONTAINERS,
        "Container image for workers, preferably REPOSITORY@sha256:DIGEST",
    )
    worker_memory: float = _setting(
        0.0,
        CONTAINERS,
        "Memory of a container in bytes, without swap; 0: three quarters of the machine's, "
        "divided by XCOR_MAX_PARALLEL",
    )
    worker_cpus: float = _setting(
        0.0, CONTAINERS, "Cores of a container; 0: the machine's, divided by XCOR_MAX_PARALLEL"
    )
    worker_pids: int = _setting(
        512, CONTAINERS, "Maximum number of processes and threads of a container"
    )
    worker_network: str = _setting(
        "xcor", CONTAINERS, "Docker network of containers that download; created if missing"
    )
    # EarthScope's data centre serves the original's TA network.
    source: str = _setting(DEFAULT_SOURCE, DATA, "Source of waveforms when a job names none")
    # name -> source, for the column `source` of params.csv
    sources: Mapping[str, str] = field(
        default_factory=dict,
        metadata={
            "group": DATA,
            "text": "Named sources, such as local=archive:/data;scedc=fdsn:SCEDC",
        },
    )
    cache: Path = _setting(
        Path("~/.cache/xcor-daemon"),
        DATA,
        "Folder that jobs share: locks of connections to data centres, indexes of archives",
    )
    earthscope_token: str = _setting(
        "", DATA, "File with an EarthScope access token, for restricted data; empty: anonymous"
    )
    log_format: str = _setting(
        "text", LOGS, "Format of log lines: text or json (with metrics as EMF lines for CloudWatch)"
    )
    metrics_file: str = _setting(
        "", LOGS, "File for metrics in the format of Prometheus' textfile collector; empty: none"
    )
    fault: str = _setting(
        "", LOGS, "Injected fault, POINT:ACTION, for tests; see storage/fault_injection.py"
    )

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


def option_help(name: str) -> str:
    """Help of the option that overrides a setting: its text and its variable."""
    text = next(setting.metadata["text"] for setting in fields(Config) if setting.name == name)
    return f"{text} (XCOR_{name.upper()})."
