"""Settings: an option overrides an ``XCOR_*`` variable, which overrides the default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import ConfigError

DEFAULT_SOURCE = "fdsn:EARTHSCOPE"
_LONGEST = 1e9  # s; a wait for infinity, or for NaN, would fail only hours later
_CHOICES = {
    "launcher": ("local", "docker"),
    "executor": ("", "processes", "dask"),
    "log_format": ("text", "json"),
}
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
    processes: int = _setting(0, WORKERS, "Processes of a worker; 0: one per core")
    max_attempts: int = _setting(3, WORKERS, "Maximum number of attempts for a job")
    deadline: float = _setting(86400.0, WORKERS, "Time limit of a worker in seconds")
    launcher: str = _setting(
        "local", WORKERS, "How workers run: local (processes) or docker (containers)"
    )
    executor: str = _setting(
        "", WORKERS, "Executor of jobs: processes or dask; default: chosen by the size of the job"
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
            self._require(
                low <= getattr(self, name) <= _LONGEST, name, f"from {low:g} to {_LONGEST:g} s"
            )
        self._require(not 0 < self.interval < 0.05, "interval", "0, or at least 0.05 s")
        for name, unit in (("reserve", "bytes"), ("quota", "bytes"), ("local_limit", "core-hours")):
            self._require(0 <= getattr(self, name) < float("inf"), name, f"at least 0 {unit}")
        for name, low in (("max_parallel", 1), ("max_attempts", 1), ("processes", 0)):
            self._require(getattr(self, name) >= low, name, f"at least {low}")
        for name, values in _CHOICES.items():
            self._require(getattr(self, name) in values, name, " or ".join(filter(None, values)))
        if self.launcher == "docker" and (self.executor == "dask" or self.dask_address):
            need = (
                "Dask's workers cannot access the folder of a container; set XCOR_LAUNCHER=local."
            )
            raise ConfigError(f"launcher = docker with Dask: {need}")
        self._check_containers()
        for source in (self.source, *self.sources.values()):
            check_source(source)

    def _check_containers(self) -> None:
        memory, cpus, network = self.worker_memory, self.worker_cpus, self.worker_network
        is_enough = memory == 0 or 2**28 <= memory < float("inf")
        self._require(is_enough, "worker_memory", "0, or at least 2.7e8 bytes")
        self._require(
            cpus == 0 or 0.01 <= cpus < float("inf"), "worker_cpus", "0, or at least 0.01"
        )
        self._require(self.worker_pids >= 16, "worker_pids", "at least 16")
        is_name = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", network)
        need = "1 to 64 letters, digits, _, . and -, beginning with a letter or digit"
        self._require(is_name is not None, "worker_network", need)
        if network in ("host", "bridge", "none", "default"):
            need = "it would give workers access to this machine's services; name another network."
            raise ConfigError(f"worker_network = {network!r}: {need}")

    def _require(self, is_valid: bool, name: str, need: str) -> None:
        """Raise a ConfigError with the value of a setting and the values that it may have."""
        if not is_valid:
            value = getattr(self, name)
            raise ConfigError(f"{name} = {value!r} is invalid; XCOR_{name.upper()} must be {need}.")

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **flags: Any) -> Config:
        """The settings of a process.

        Parameters
        ----------
        environ : mapping
            ``os.environ``; only names that begin with ``XCOR_`` are read.
        flags
            Values of command-line options; None for an option that was not given.

        Raises
        ------
        ConfigError
            If a value is not a number where one is needed, or out of its limits.
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
            raise ConfigError("no S3 bucket is configured; set XCOR_BUCKET or pass --bucket NAME.")
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
            names = ", ".join(sorted(self.sources)) or "none"
            raise ConfigError(f"source {name!r} is not configured; XCOR_SOURCES has: {names}.")
        return self.sources[name]


def check_source(source: str) -> None:
    """Raise a ConfigError unless a source is an archive, a data centre or open data on S3."""
    kind, _, address = source.partition(":")
    if kind not in ("archive", "fdsn", "s3") or not address:
        need = "write archive:PATH, fdsn:NAME-or-URL or s3:NAME"
        raise ConfigError(f"source {source!r} is not valid; {need}.")


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
            need = "write NAME=SOURCE;NAME=SOURCE with names of 1 to 32 letters, digits, _ and -"
            raise ConfigError(f"{variable}: {name!r} is not a valid name; {need}.")
    return {name.strip(): source.strip() for name, _, source in pairs}


def option_help(name: str) -> str:
    """Help of the option that overrides a setting: its text and its variable."""
    text = next(setting.metadata["text"] for setting in fields(Config) if setting.name == name)
    return f"{text} (XCOR_{name.upper()})."
