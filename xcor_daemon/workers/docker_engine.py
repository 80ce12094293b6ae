"""The container engine, asked in the few ways that workers need; each refusal has its error."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool, LogConfig
from requests.exceptions import RequestException

from ..errors import UnreachableError, XcorError

_TIMEOUT = 30  # s that the engine may be silent
_MOST_LOG = 10_000_000  # bytes of a log that are kept, the last ones
# Link-local addresses: the machine's own metadata and credentials are at 169.254.169.254.
_LINK_LOCAL, _NOWHERE = "169.254.0.0/16", "xcor-nowhere"


class EngineError(UnreachableError):
    """The container engine does not answer, or has trouble of its own; later it may not."""


class LaunchError(XcorError):
    """A worker cannot be started before somebody changes something."""

    exit_code = 78


@contextmanager
def _asking() -> Iterator[None]:
    """Turn what docker-py and the connection under it raise into errors of ours."""
    try:
        yield
    except ImageNotFound as error:
        raise LaunchError(f"{error.explanation}: build it or `docker pull` it.") from error
    except APIError as error:
        if error.is_client_error():
            raise LaunchError(f"the container engine refuses: {error.explanation}") from error
        raise EngineError(f"the container engine has trouble: {error.explanation}") from error
    except (DockerException, RequestException) as error:
        raise EngineError(f"the container engine does not answer: {error}") from error


@dataclass
class Engine:
    """An engine of Docker's kind, found as Docker's own client finds it; asked only when needed.

    Every method raises EngineError where it does not answer, LaunchError where it refuses.
    """

    environ: Mapping[str, str]  # of which DOCKER_HOST and its like matter

    @cached_property
    def client(self) -> docker.DockerClient:
        """docker-py; connecting asks the engine for its version."""
        with _asking():
            return docker.from_env(environment=dict(self.environ), timeout=_TIMEOUT)

    def info(self) -> dict[str, Any]:
        """What the engine says of itself and of its machine."""
        with _asking():
            return dict(self.client.info())

    def image_id(self, name: str) -> str:
        """The digest of an image's content."""
        with _asking():
            return str(self.client.images.get(name).id)

    def find(self, name: str) -> Container | None:
        """A container as it is now; None where there is none of that name."""
        with _asking():
            try:
                return self.client.containers.get(name)
            except NotFound:
                return None

    def labelled(self, label: str) -> list[Container]:
        """Containers with a label, whether they run or not."""
        with _asking():
            return list(
                self.client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
            )

    def create(self, network: str | None, **options: Any) -> Container:
        """Make a container that has not started, logs capped; without a network, or with one
        from which neither the machine's loopback nor its metadata can be reached."""
        logs = LogConfig(type=LogConfig.types.JSON, config={"max-size": "5m", "max-file": "2"})
        with _asking():
            if network is None:
                return self.client.containers.create(
                    log_config=logs, network_mode="none", **options
                )
            nowhere = self._nowhere()
            container = self.client.containers.create(
                log_config=logs, network=self._network(network), **options
            )
            nowhere.connect(container)
            return container

    def start(self, container: Container) -> None:
        """Start what was created."""
        with _asking():
            container.start()

    def signal(self, container: Container, name: str) -> None:
        """Send a signal; nothing happens where the container has ended meanwhile."""
        with _asking():
            try:
                container.kill(name)
            except APIError as error:
                if error.status_code not in (404, 409):
                    raise

    def remove(self, container: Container) -> None:
        """Remove a container, whatever it does; nothing happens where it is gone."""
        with _asking():
            try:
                container.remove(force=True, v=True)
            except NotFound:
                return

    def log(self, container: Container, lines: int | None = None) -> bytes:
        """The last bytes, or lines, of what a container said."""
        kept: deque[bytes] = deque()
        size = 0
        with _asking():
            tail: int | Literal["all"] = "all" if lines is None else lines
            stream = container.logs(stream=True, follow=False, tail=tail)
            for part in stream:
                kept.append(part)
                size += len(part)
                while size - len(kept[0]) > _MOST_LOG:
                    size -= len(kept.popleft())
        return b"".join(kept)[-_MOST_LOG:]

    def _network(self, name: str) -> str:
        """A network of bridges on which containers do not meet, made where it is missing."""
        options = {"com.docker.network.bridge.enable_icc": "false"}
        return str(self._made(name, options=options).name)

    def _nowhere(self) -> Network:
        """A network that takes all link-local addresses and leads nowhere.

        On the machine it has no address, so the machine's own way to its metadata stays.
        """
        options = {
            "com.docker.network.bridge.inhibit_ipv4": "true",
            "com.docker.network.bridge.enable_icc": "false",
        }
        pool = IPAMConfig(pool_configs=[IPAMPool(subnet=_LINK_LOCAL)])
        return self._made(_NOWHERE, options=options, internal=True, ipam=pool)

    def _made(self, name: str, **options: Any) -> Network:
        """A network of this name, made where there is none."""
        try:
            return self.client.networks.get(name)
        except NotFound:
            create = self.client.networks.create
            return create(name, driver="bridge", check_duplicate=True, **options)
