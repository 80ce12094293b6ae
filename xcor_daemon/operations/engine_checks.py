"""Checks of the container engine: limits, image, and access to the machine's credentials."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ..config import Config
from ..workers.docker_engine import Engine
from .checks import FAIL, OK, WARN

Result = tuple[str, str]  # ok, warn or fail; and the text
Check = Callable[[Engine, Config], Result]

# Limits that an engine may ignore silently -> their keys in its description.
_LIMITS = {"memory": "MemoryLimit", "swap": "SwapLimit", "cpus": "CpuCfsQuota", "pids": "PidsLimit"}


def _limits(engine: Engine, config: Config) -> Result:
    about = engine.info()
    name = f"Docker {about['ServerVersion']}, runc {about['RuncCommit']['ID'][:12] or 'unknown'}"
    ignored = [limit for limit, key in _LIMITS.items() if not about.get(key)]
    if ignored:
        remedy = "use cgroups v2 and an engine that runs as root"
        return FAIL, f"{name} does not limit {', '.join(ignored)} of workers; {remedy}"
    if not any("seccomp" in option for option in about["SecurityOptions"]):
        return FAIL, f"{name} does not filter system calls; enable its default seccomp profile"
    if not about["LiveRestoreEnabled"]:
        remedy = 'write {"live-restore": true} to /etc/docker/daemon.json and reload it'
        return WARN, f"{name}: a restart of the engine ends workers; {remedy}"
    return OK, f"{name}, limits, seccomp and live-restore are on"


def _image(engine: Engine, config: Config) -> Result:
    digest = engine.image_id(config.image)
    return OK, f"{config.image} is {digest}"


# Connects to the address from which cloud machines get their credentials.
_PROBE = """
import socket, sys
try:
    socket.create_connection(("169.254.169.254", 80), 3)
except OSError:
    sys.exit(0)
sys.exit(3)
"""


def _credentials(engine: Engine, config: Config) -> Result:
    """Run a container on the workers' network that tries to reach cloud credentials."""
    name = f"xcor-doctor-{os.getpid()}"
    container = engine.create(
        config.worker_network, image=config.image, name=name, entrypoint=["python3", "-c", _PROBE],
        read_only=True, cap_drop=["ALL"], security_opt=["no-new-privileges:true"],
        user="10001:10001", mem_limit=2**28, pids_limit=16,
    )  # fmt: skip
    try:
        engine.start(container)
        code = _exit_of(engine, name)
    finally:
        engine.remove(container)
    if code != 0:
        remedy = "set the instance's metadata options to HttpTokens=required, hop limit 1"
        return FAIL, f"a worker may reach 169.254.169.254 (status {code}); {remedy}"
    return OK, f"not reachable from workers on the network {config.worker_network}"


def _exit_of(engine: Engine, name: str) -> int | None:
    """The exit status of a container; None where it does not end in 20 s or was removed."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        container = engine.find(name)
        if container is None:
            return None
        if container.status == "exited":
            return int(container.attrs["State"]["ExitCode"])
        time.sleep(0.1)
    return None


ENGINE_CHECKS: dict[str, Check] = {"engine": _limits, "image": _image, "credentials": _credentials}
