"""The worker's image: its content, and that a job needs nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import docker
import h5py
import numpy as np
import pytest
from container_kit import DOCKERFILE, ROOT

from xcor_daemon.pipeline.run import correlate_job

BIN = Path(sys.executable).parent
MOST = 560e6  # bytes added to the base image


@pytest.fixture
def run(engine, worker_image, tmp_path):
    """Runs a shell command in a container, hardened as a worker's; /job is rw, /archive ro."""
    (tmp_path / "job").mkdir()

    def run(command: str, archive: Path = tmp_path, network: str = "none") -> str:
        os.chown(tmp_path / "job", 10001, 10001)
        volumes = {str(tmp_path / "job"): {"bind": "/job"}, str(archive): {"bind": "/archive"}}
        volumes[str(archive)]["mode"] = "ro"
        try:
            said = engine.containers.run(
                worker_image, ["sh", "-c", command], entrypoint=["container-entry"],
                user="10001:10001", read_only=True, cap_drop=["ALL"], network_mode=network,
                security_opt=["no-new-privileges:true"], volumes=volumes, remove=True,
                tmpfs={"/tmp": "rw,noexec,nosuid,nodev,size=64m,mode=1777"}, stderr=True,
            )  # fmt: skip
        except docker.errors.ContainerError as error:
            pytest.fail(error.stderr.decode())
        return said.decode()

    return run


def test_the_dockerfile_has_no_finding_of_hadolint():
    subprocess.run([BIN / "hadolint", DOCKERFILE], check=True)


def test_the_image_has_labels(engine, worker_image):
    config = engine.images.get(worker_image).attrs["Config"]

    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "xcor-daemon"
    assert labels["org.opencontainers.image.version"] == "0.0.test"
    licences = re.search(r'image\.licenses="([^"]+)"', DOCKERFILE.read_text())
    assert labels["org.opencontainers.image.licenses"] == licences[1]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["container-entry", "xcor-daemon"]
    assert not config.get("Healthcheck")


def test_the_table_of_licences_names_all_that_the_image_installs(run):
    names = "{d.name.lower().replace('_', '-') for d in metadata.distributions()}"
    said = run(f'python -P -c "from importlib import metadata; print(*sorted({names}))"')
    rows = (ROOT / "docs/licences.md").read_text()

    listed = set(re.findall(r"^\| ([a-z][\w.-]*) \|", rows, re.MULTILINE)) - {"package"}
    assert set(said.split()) == {name.replace("_", "-") for name in listed}


def test_the_image_is_small(engine, worker_image):
    image = engine.images.get(worker_image)
    layers = [layer["Size"] for layer in image.history()]
    ours = sum(layers) - max(layers[-1], 0)

    print(f"\nthe image takes {image.attrs['Size'] / 1e6:.0f} MB, {ours / 1e6:.0f} over its base")
    assert ours < MOST


def test_the_image_has_the_python_of_its_base_and_scipys_transforms(run):
    code = "from xcor_daemon.pipeline.numerics.fft import BACKEND; print(BACKEND)"

    said = run(f"python --version; python -c '{code}'; find /opt -iname '*ducc0*'")

    base = re.search(r"^ARG BASE=python:(3\.\d+)-", DOCKERFILE.read_text(), re.MULTILINE)
    assert re.fullmatch(rf"Python {base[1]}\.\d+\nscipy.fft\n", said)


def test_the_image_holds_no_tools_and_no_leftovers(run):
    found = run(
        "cd /opt/xcor && find . -name pip -o -name uv -o -name tests -o -name '*.whl' -o"
        "  -name .lock -o -perm /022 -not -type l; which cc gcc make uv;"
        "ls -A /src /opt/build /root/.cache 2>/dev/null; true"
    )

    assert found == ""


def test_a_job_runs_on_a_read_only_root_compiles_nothing_and_agrees_with_this_machine(
    run, norsar, sample_job, tmp_path
):
    here = tmp_path / "here"
    here.mkdir()
    for folder in (here, tmp_path / "job"):
        for name, content in sample_job.items():
            (folder / name).write_bytes(content)
    compiled = "find /tmp -name '*.nb?' -o -name 'fontlist*'"

    said = run(
        f"{compiled} | wc -l; xcor-daemon correlate /job --source archive:/archive && "
        f"{compiled} | wc -l",
        norsar,
    )
    correlate_job(here, f"archive:{norsar}", images=False)

    lines = said.splitlines()
    counts = [line for line in lines if line.isdecimal()]
    assert "276 pairs, 12696 pair-windows kept, 1 of 1 days with data" in lines
    assert int(counts[0]) > 20
    assert counts[0] == counts[1]
    with (
        h5py.File(tmp_path / "job/CORR/2019-01-01.h5") as there,
        h5py.File(here / "CORR/2019-01-01.h5") as mine,
    ):
        assert list(there["first"]) == list(mine["first"])
        scale = np.nanmax(np.abs(mine["corr"]))
        np.testing.assert_allclose(there["corr"], mine["corr"], rtol=0, atol=1e-5 * scale)


def test_an_invalid_job_ends_as_it_does_without_a_container(run, sample_job, tmp_path):
    (tmp_path / "job/stations.csv").write_bytes(sample_job["stations.csv"])
    (tmp_path / "job/params.csv").write_bytes(b"fs,freqmin\n1,2\n")

    said = run("xcor-daemon correlate /job --source archive:/archive; echo status $?")

    assert "error: params.csv line 1" in said
    assert said.endswith("status 65\n")


def test_the_lock_is_what_scripts_lock_makes_and_names_no_index(tmp_path):
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "xcor_daemon/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/lock", tmp_path / "scripts")
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}

    subprocess.run([tmp_path / "scripts/lock"], env=environ, check=True)

    for lock in sorted((ROOT / "docker").glob("*.txt")):
        text = lock.read_text()
        assert (tmp_path / "docker" / lock.name).read_text() == text, "call scripts/lock"
        assert "://" not in text
        assert "index-url" not in text
        pinned = [line for line in text.splitlines() if line[0] not in " #"]
        assert all("==" in line and line.endswith("\\") for line in pinned)


@pytest.mark.parametrize("platform", ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28"])
@pytest.mark.parametrize("python", ["3.11", "3.13", "3.14"])
def test_both_architectures_find_what_they_install(platform, python, tmp_path):
    """ObsPy alone has no wheel for arm64: the Dockerfile compiles it there."""
    command = [BIN / "uv", "pip", "install", "--dry-run", "--target", tmp_path, "--no-deps"]
    command += ["--python-version", python, "--only-binary", ":all:", "--require-hashes"]
    locks = ["requirements-build", "requirements"]
    locks += ["requirements-obspy"] * platform.startswith("x86")
    for lock in locks:
        done = subprocess.run(
            [*command, "--python-platform", platform, "-r", ROOT / f"docker/{lock}.txt"],
            text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Would install" in done.stderr
