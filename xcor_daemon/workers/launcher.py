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

# A worker needs no more of the environment; it must not see AWS_* and any other XCOR_*: names of
# sources it needs, for the column DataCenter of stations.csv, and what sources need themselves.
_PASSED = re.compile(
    r"XCOR_(SOURCES|CACHE|EARTHSCOPE_TOKEN)|PATH|HOME|LANG|LC_ALL|TZ|TMPDIR|MPLCONFIGDIR|XDG_CACHE_HOME|(DASK|NUMBA|OMP|MKL|OPENBLAS|NUMEXPR)_[A-Z_]+"
)


@dataclass(frozen=True)
class WorkerState:
    """How a job's worker is; ``exit_code`` is None where somebody killed it."""

    state: str
    exit_code: int | None = None
    is_out_of_memory: bool = False  # it, or a process of it, was killed for want of memory
    image: str | None = None  # that it ran from


class Launcher(Protocol):
    """Who runs workers. The number of the run is the job's: a worker of an earlier run is none."""

    def start(self, job: Job) -> None:
        """Start the worker of this run; nothing happens where it runs already."""
        ...

    def inspect(self, job: Job) -> WorkerState:
        """Look at the worker of this run."""
        ...

    def stop(self, job: Job) -> None:
        """Ask the worker to end, and after a grace make it; call again until it has ended."""
        ...


def worker_command(job: Job, config: Config) -> list[str]:
    """What a worker runs."""
    words = worker_arguments(job, str(job.results), job.source, job.corr, config.processes)
    if job.executor == DASK and config.dask_address:
        words += ["--dask-address", config.dask_address]
    # -P: the folder in which it starts must not offer modules.
    return [sys.executable, "-P", "-m", "xcor_daemon.cli", *words]


def worker_arguments(job: Job, folder: str, source: str, corr: str, processes: int) -> list[str]:
    """What a worker is asked to do, with the paths as it sees them."""
    if job.kind == "stack":
        what = ["stack", folder, "--corr", corr]
    else:
        what = ["correlate", folder, "--source", source, "--executor", job.executor or PROCESSES]
    return [*what, "--processes", str(processes)]


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker sees of the environment."""
    return {name: value for name, value in environ.items() if _PASSED.fullmatch(name)}
