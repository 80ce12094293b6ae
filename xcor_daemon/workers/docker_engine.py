"""The Docker API as far as workers need it, with the errors of this project."""

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

_TIMEOUT = 30  # s without a response of the engine
_MAX_LOG = 10_000_000  # bytes at the end of a log that are kept
# Link-local addresses: the machine's own metadata and credentials are at 169.254.169.254.
_LINK_LOCAL, _LINK_LOCAL_NETWORK = "169.254.0.0/16", "xcor-nowhere"


class EngineError(UnreachableError):
    """The container engine does not answer or has an internal error; a later call may succeed."""


class LaunchError(XcorError):
    """A worker cannot be started until the image, a container or a setting is changed."""

    exit_code = 78


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Turn errors of docker-py and of its connection into errors of this project."""
    try:
        yield
    except ImageNotFound as error:
        raise LaunchError(f"{error.explanation}; build it or run `docker pull`.") from error
    except APIError as error:
        if error.is_client_error():
            raise LaunchError(
                f"the container engine rejects the request: {error.explanation}"
            ) from error
        raise EngineError(
            f"the container engine reports an internal error: {error.explanation}"
        ) from error
    except (DockerException, RequestException) as error:
        raise EngineError(f"the container engine does not answer: {error}") from error


@dataclass
class Engine:
    """A Docker-compatible engine, located as by Docker's own client; connected on first use.

    Every method raises EngineError if the engine does not answer, LaunchError if it rejects.
    """

    environ: Mapping[str, str]  # DOCKER_HOST and the like are read

    @cached_property
    def client(self) -> docker.DockerClient:
        """The client of docker-py; connecting requests the version of the engine."""
        with _translate_errors():
            return docker.from_env(environment=dict(self.environ), timeout=_TIMEOUT)

    def info(self) -> dict[str, Any]:
        """Properties of the engine and its machine."""
        with _translate_errors():
            return dict(self.client.info())

    def image_id(self, name: str) -> str:
        """The digest of an image."""
        with _translate_errors():
            return str(self.client.images.get(name).id)

    def find(self, name: str) -> Container | None:
        """The current state of a container; None if there is no container of that name."""
        with _translate_errors():
            try:
                return self.client.containers.get(name)
            except NotFound:
                return None

    def find_labelled(self, label: str) -> list[Container]:
        """All containers with a label, running or not."""
        with _translate_errors():
            return list(
                self.client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
            )

    def create(self, network: str | None, **options: Any) -> Container:
        """Create a container with a log of limited size, without starting it.

        Its network, if any, reaches neither the loopback interface of the machine nor its metadata.
        """
        logs = LogConfig(type=LogConfig.types.JSON, config={"max-size": "5m", "max-file": "2"})
        with _translate_errors():
            if network is None:
                return self.client.containers.create(
                    log_config=logs, network_mode="none", **options
                )
            blackhole = self._link_local_network()
            container = self.client.containers.create(
                log_config=logs, network=self._network(network), **options
            )
            blackhole.connect(container)
            return container

    def start(self, container: Container) -> None:
        """Start a container."""
        with _translate_errors():
            container.start()

    def signal(self, container: Container, name: str) -> None:
        """Send a signal, unless the container has ended meanwhile."""
        with _translate_errors():
            try:
                container.kill(name)
            except APIError as error:
                if error.status_code not in (404, 409):
                    raise

    def remove(self, container: Container) -> None:
        """Remove a container, running or not, unless it is removed already."""
        with _translate_errors():
            try:
                container.remove(force=True, v=True)
            except NotFound:
                return

    def log(self, container: Container, lines: int | None = None) -> bytes:
        """The last bytes of a container's output, or its last lines."""
        parts: deque[bytes] = deque()
        size = 0
        with _translate_errors():
            tail: int | Literal["all"] = "all" if lines is None else lines
            stream = container.logs(stream=True, follow=False, tail=tail)
            for part in stream:
                parts.append(part)
                size += len(part)
                while size - len(parts[0]) > _MAX_LOG:
                    size -= len(parts.popleft())
        return b"".join(parts)[-_MAX_LOG:]

    def _network(self, name: str) -> str:
        """A bridge network without traffic between containers, created if missing."""
        options = {"com.docker.network.bridge.enable_icc": "false"}
        return str(self._get_or_create_network(name, options=options).name)

    def _link_local_network(self) -> Network:
        """An internal network with the range of all link-local addresses.

        It keeps containers from the machine's metadata service. The machine itself has no address
        in it, so its own route to the metadata is unchanged.
        """
        options = {
            "com.docker.network.bridge.inhibit_ipv4": "true",
            "com.docker.network.bridge.enable_icc": "false",
        }
        pool = IPAMConfig(pool_configs=[IPAMPool(subnet=_LINK_LOCAL)])
        return self._get_or_create_network(
            _LINK_LOCAL_NETWORK, options=options, internal=True, ipam=pool
        )

    def _get_or_create_network(self, name: str, **options: Any) -> Network:
        """The network of this name, created if missing."""
        try:
            return self.client.networks.get(name)
        except NotFound:
            create = self.client.networks.create
            return create(name, driver="bridge", check_duplicate=True, **options)
