"""A machine with systemd on which a release is installed: a container that boots."""

from __future__ import annotations

import io
import shlex
import shutil
import sys
import sysconfig
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from hosting import wait_until

HERE = Path(__file__).parent
SOCKET = "/opt/engine.sock"  # of the engine that runs the machine, for its daemon
_ETC = "/etc/xcor/xcor.env"
_PRINTED = "/opt/printed"  # output of commands


class Machine:
    """A booted container; a command that fails fails the test."""

    def __init__(self, container: Any, printed: Path) -> None:
        self.container, self._printed = container, printed
        self._settings: dict[str, str] = {}

    def sh(self, command: str, check: bool = True) -> str:
        """The output of a command."""
        code, output = self._run(command)
        assert not check or code == 0, f"{command}: {code}\n{output}\n{self.journal()}"
        return output.strip()

    def _run(self, command: str) -> tuple[int, str]:
        """The exit status and the output of a command.

        The output goes through a file: on a busy machine the engine loses that of two commands in
        a thousand (docker.io 20.10.24, 1000 times `echo`).
        """
        name = uuid.uuid4().hex
        code, _ = self.container.exec_run(
            ["bash", "-c", f"exec >{_PRINTED}/{name} 2>&1\n{command}"]
        )
        return code, (self._printed / name).read_text()

    def show(self, name: str, unit: str = "xcor-daemon") -> str:
        """A property of a unit."""
        return self.sh(f"systemctl show --value --property={name} {unit}")

    def journal(self, unit: str = "xcor-daemon") -> str:
        code, output = self._run(f"journalctl --no-pager --output=cat --unit {unit}")
        return output if code == 0 else ""

    def wait_for_words(self, words: str) -> None:
        """Wait until a text is in the service's journal, which is written asynchronously."""
        wait_until(lambda: words in self.journal())

    def write(self, path: str, text: str) -> None:
        self.sh(f"mkdir -p {Path(path).parent}; printf %s {shlex.quote(text)} >{path}")

    def set(self, **settings: str) -> None:
        """Add settings of the service; an empty one is removed."""
        self._settings |= settings
        lines = (f"{name}={value}\n" for name, value in self._settings.items() if value)
        self.write(_ETC, "".join(lines))

    def drop_in(self, text: str) -> None:
        """Change the service's unit, in place of the change before."""
        self.write("/etc/systemd/system/xcor-daemon.service.d/test.conf", text)
        self.sh("systemctl daemon-reload")

    def wait_for(self, name: str, value: str, seconds: float = 60) -> None:
        wait_until(lambda: self.show(name) == value, seconds)

    def worker_of(self, job_id: str) -> int | None:
        """PID of a job's worker on the machine."""
        code = (
            "import glob, json\n"
            f"for p in glob.glob('/var/lib/xcor/work/*/{job_id}/worker.json'):\n"
            "    print(json.load(open(p)).get('worker', {}).get('pid', ''))"
        )
        return int(self.sh(f"python3 -c {shlex.quote(code)}") or 0) or None

    def state_of(self, process: int) -> str:
        """State of a process, such as S or T; empty if there is none."""
        return self.sh(f"sed -n 's/^State:[[:space:]]*\\(.\\).*/\\1/p' /proc/{process}/status",
                       check=False)[:1]  # fmt: skip


@contextmanager
def boot(docker_host: str, base: str, bundle: Path, folders: dict[Path, str]) -> Iterator[Machine]:
    """A machine with a release of ``bundle``, which runs its workers as processes.

    Its Python is that of the tests and brings what workers need; what the daemon needs is
    installed from the release's lock. ``folders`` are seen on it under other names. The engine that
    it runs on is the engine that its daemon may ask.
    """
    engine = docker.DockerClient(docker_host)
    image, _ = engine.images.build(
        path=str(HERE), buildargs={"BASE": base}, tag="xcor-systemd-test", network_mode="host",
        rm=True,
    )  # fmt: skip
    shown = {
        Path(sys.base_prefix): "/opt/python",
        Path(sysconfig.get_path("purelib")): "/opt/site-packages",
        Path(docker_host.removeprefix("unix://")): SOCKET,
        **folders,
    }
    printed = Path(tempfile.mkdtemp())
    volumes = {str(here): {"bind": there, "mode": "ro"} for here, there in shown.items()}
    container = engine.containers.run(
        image, detach=True, network_mode="host", cgroupns="private", cap_add=["SYS_ADMIN"],
        security_opt=["seccomp=unconfined"], environment={"container": "docker"},
        tmpfs={"/run": "", "/run/lock": "", "/tmp": ""},
        volumes={**volumes, str(printed): {"bind": _PRINTED, "mode": "rw"}},
    )  # fmt: skip
    try:
        machine = Machine(container, printed)
        wait_until(lambda: machine.sh("systemctl is-system-running", False) in
                   ("running", "degraded"), 60)  # fmt: skip
        install(machine, bundle)
        yield machine
    finally:
        container.remove(force=True)
        shutil.rmtree(printed)
        engine.close()


def install(machine: Machine, bundle: Path) -> None:
    """As docs/operations.md says, but for the workers' dependencies, which are there."""
    machine.sh("mkdir -p /opt/xcor; echo /opt/python/lib >/etc/ld.so.conf.d/python.conf; ldconfig")
    with tarfile.open(bundle) as tar:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as plain:
            for member in tar:
                plain.addfile(member, tar.extractfile(member))
    machine.container.put_archive("/opt/xcor", packed.getvalue())
    trusted = "PIP_CERT=/etc/ssl/certs/ca-certificates.crt"
    machine.sh(f"groupadd --system --non-unique --gid $(stat --format=%g {SOCKET}) docker")
    machine.sh(f"{trusted} PYTHON=/opt/python/bin/python3 /opt/xcor/install")
    machine.sh("/opt/xcor/systemd/install --local-workers /opt/xcor/venv")
    machine.sh("echo /opt/site-packages >$(echo /opt/xcor/venv/lib/python3*/site-packages)/w.pth")
