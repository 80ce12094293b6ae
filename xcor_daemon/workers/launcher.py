"""The interface of a launcher, the state of a worker, its command and its environment."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..config import Config
from ..storage.jobs import Job
from .placement import DASK, PROCESSES

NOT_STARTED, RUNNING, ENDED = "not-started", "running", "ended"

# The variables that a worker gets. It must not see AWS_*, nor other XCOR_* than the configured
# sources (for the column DataCenter of stations.csv), their cache and their token.
_PASSED_ON = re.compile(
    r"XCOR_(SOURCES|CACHE|EARTHSCOPE_TOKEN)|PATH|HOME|LANG|LC_ALL|TZ|TMPDIR|MPLCONFIGDIR|XDG_CACHE_HOME|(DASK|NUMBA|OMP|MKL|OPENBLAS|NUMEXPR)_[A-Z_]+"
)


@dataclass(frozen=True)
class WorkerState:
    """State of a job's worker; ``exit_code`` is None if it was killed from outside."""

    state: str
    exit_code: int | None = None
    is_out_of_memory: bool = False  # the kernel killed it, or a process of it
    image: str | None = None  # of its container


class Launcher(Protocol):
    """Starts, inspects and stops workers: one for each run of a job, numbered by ``job.run``."""

    def start(self, job: Job) -> None:
        """Start the worker of this run, unless it is running already."""
        ...

    def inspect(self, job: Job) -> WorkerState:
        """Return the state of the worker of this run."""
        ...

    def stop(self, job: Job) -> None:
        """Send SIGTERM, and SIGKILL after a grace period; call again until the worker has ended."""
        ...


def worker_command(job: Job, config: Config) -> list[str]:
    """The command line of a local worker."""
    arguments = worker_arguments(job, str(job.results), job.source, job.corr, config.processes)
    if job.executor == DASK and config.dask_address:
        arguments += ["--dask-address", config.dask_address]
    # -P: no modules are imported from the current folder.
    return [sys.executable, "-P", "-m", "xcor_daemon.cli", *arguments]


def worker_arguments(job: Job, folder: str, source: str, corr: str, processes: int) -> list[str]:
    """Arguments of `xcor-daemon` for a job, with the paths as the worker sees them."""
    if job.kind == "stack":
        command = ["stack", folder, "--corr", corr]
    else:
        command = ["correlate", folder, "--source", source, "--executor", job.executor or PROCESSES]
    return [*command, "--processes", str(processes)]


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the environment that is passed on to a worker."""
    return {name: value for name, value in environ.items() if _PASSED_ON.fullmatch(name)}
