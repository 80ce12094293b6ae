"""Where a job is done: by the processes of one machine, by a Dask cluster, or nowhere here."""

from __future__ import annotations

import os

from ..config import Config
from ..errors import ConfigError, Problem, RequestError
from ..request.cost import Estimate, requirements
from ..request.parse import XcorRequest
from ..request.stations import STATIONS

PROCESSES, DASK = "processes", "dask"


def local_limit(config: Config) -> float:
    """Core-hours of the largest job that this machine does by itself."""
    cores = config.processes or len(os.sched_getaffinity(0))
    return config.local_limit or cores * config.deadline / 3600


def choose_executor(request: XcorRequest, estimate: Estimate, config: Config) -> str:
    """Choose who does a job: ``processes`` or ``dask``.

    What ``config.executor`` names is taken; without it, this machine does what is within its
    limit, and the cluster the rest.

    Raises
    ------
    RequestError
        If the job is too large for this machine and there is no cluster.
    """
    if config.executor:
        return config.executor
    limit, hours = local_limit(config), estimate.core_seconds / 3600
    if hours <= limit:
        return PROCESSES
    if config.dask_address:
        return DASK
    takes = requirements(request, estimate)
    need = (
        f"with params.csv needs about {hours:,.0f} core-hours, {estimate.bytes_out / 1e9:,.0f} GB "
        f"for its results and {takes.scratch_bytes / 1e9:,.0f} GB besides; this installation does "
        f"up to {limit:,.0f} core-hours: take fewer channels or days, or a longer cc_step, or "
        "give it a cluster (--executor dask, XCOR_DASK_ADDRESS; docs/scale.md)"
    )
    raise RequestError([Problem(STATIONS, 0, "", "", need)])


def check_address(address: str) -> None:
    """Refuse the address of a Dask scheduler that is none, or that others could listen to.

    Raises
    ------
    ConfigError
        With what to write.
    """
    kind, _, place = address.partition("://")
    host = place.rpartition(":")[0].strip("[]")
    if kind == "tls" and host:
        return
    if kind == "tcp" and host in ("127.0.0.1", "::1", "localhost"):
        return
    need = "write tls://HOST:PORT; tcp://127.0.0.1:PORT will do on one machine only"
    raise ConfigError(f"the address {address!r} of a Dask scheduler: {need}.")
