"""Whether a container engine keeps workers in: what it says, and what a container finds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ..config import Config
from ..workers.docker_engine import Engine
from .checks import FAIL, OK, WARN

Fact = tuple[str, str]  # ok, warn or fail; and why
Look = Callable[[Engine, Config], Fact]

# Limits that an engine may ignore without a word, and what its description calls them.
_LIMITS = {"memory": "MemoryLimit", "swap": "SwapLimit", "cpus": "CpuCfsQuota", "pids": "PidsLimit"}


def _limits(engine: Engine, config: Config) -> Fact:
    about = engine.info()
    name = f"Docker {about['ServerVersion']}, runc {about['RuncCommit']['ID'][:12] or 'unknown'}"
    ignored = [limit for limit, key in _LIMITS.items() if not about.get(key)]
    if ignored:
        need = "workers could take the whole machine; use cgroups v2 and an engine run by root"
        return FAIL, f"{name} keeps no limit of {', '.join(ignored)}: {need}"
    if not any("seccomp" in option for option in about["SecurityOptions"]):
        return FAIL, f"{name} filters no system calls; turn its default seccomp profile on"
    if not about["LiveRestoreEnabled"]:
        need = 'write {"live-restore": true} to /etc/docker/daemon.json and reload it'
        return WARN, f"{name}: workers end when it is restarted; {need}"
    return OK, f"{name}, limits, seccomp and live-restore are on"


def _image(engine: Engine, config: Config) -> Fact:
    digest = engine.image_id(config.image)
    return OK, f"{config.image} is {digest}"


# Whether a worker gets an answer where a cloud has the keys of its machine.
_ASK = """
import socket, sys
try:
    socket.create_connection(("169.254.169.254", 80), 3)
except OSError:
    sys.exit(0)
sys.exit(3)
"""


def _credentials(engine: Engine, config: Config) -> Fact:
    """A container on the workers' network tries to reach the machine's credentials."""
    name = f"xcor-doctor-{os.getpid()}"
    container = engine.create(
        config.worker_network, image=config.image, name=name, entrypoint=["python3", "-c", _ASK],
        read_only=True, cap_drop=["ALL"], security_opt=["no-new-privileges:true"],
        user="10001:10001", mem_limit=2**28, pids_limit=16,
    )  # fmt: skip
    try:
        engine.start(container)
        code = _exit_of(engine, name)
    finally:
        engine.remove(container)
    if code != 0:
        need = "set the instance's metadata options to HttpTokens=required, hop limit 1"
        return FAIL, f"a worker may reach 169.254.169.254 (status {code}); {need}"
    return OK, f"out of a worker's reach on the network {config.worker_network}"


def _exit_of(engine: Engine, name: str) -> int | None:
    """The exit status of a short container; None where it does not end or is gone."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        container = engine.find(name)
        if container is None:
            return None
        if container.status == "exited":
            return int(container.attrs["State"]["ExitCode"])
        time.sleep(0.1)
    return None


ENGINE_FACTS: dict[str, Look] = {"engine": _limits, "image": _image, "credentials": _credentials}
