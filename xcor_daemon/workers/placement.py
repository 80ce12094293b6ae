"""Choice of the executor of a job: processes of this machine, a Dask cluster, or a rejection."""

from __future__ import annotations

import os

from ..config import Config
from ..errors import ConfigError, Problem, RequestError
from ..request.cost import Estimate, requirements
from ..request.parse import XcorRequest
from ..request.stations import STATIONS

PROCESSES, DASK = "processes", "dask"


def local_limit(config: Config) -> float:
    """Core-hours of the largest job that runs on this machine without a cluster."""
    cores = config.processes or len(os.sched_getaffinity(0))
    return config.local_limit or cores * config.deadline / 3600


def choose_executor(request: XcorRequest, estimate: Estimate, config: Config) -> str:
    """Choose the executor of a job: ``processes`` or ``dask``.

    Without ``config.executor``, jobs within the limit of this machine run here and larger ones on
    the cluster.

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
    required = requirements(request, estimate)
    need = (
        f"with params.csv needs about {hours:,.0f} core-hours, {estimate.bytes_out / 1e9:,.0f} GB "
        f"for its results and {required.scratch_bytes / 1e9:,.0f} GB of scratch space; this "
        f"installation accepts up to {limit:,.0f} core-hours: request fewer channels or days or a "
        "longer cc_step, or configure a Dask cluster (--executor dask, XCOR_DASK_ADDRESS; "
        "docs/scale.md)"
    )
    raise RequestError([Problem(STATIONS, 0, "", "", need)])


def check_address(address: str) -> None:
    """Check the address of a Dask scheduler: TLS, or unencrypted on the loopback interface.

    Raises
    ------
    ConfigError
        If the address is invalid, or others could read the connection.
    """
    protocol, _, host_and_port = address.partition("://")
    host = host_and_port.rpartition(":")[0].strip("[]")
    if protocol == "tls" and host:
        return
    if protocol == "tcp" and host in ("127.0.0.1", "::1", "localhost"):
        return
    need = "write tls://HOST:PORT, or tcp://127.0.0.1:PORT for a scheduler on this machine"
    raise ConfigError(f"the Dask scheduler address {address!r} is not valid; {need}.")
