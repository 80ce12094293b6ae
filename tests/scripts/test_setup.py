"""scripts/setup and scripts/test: environments of several Pythons, and missing ones."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def call(command, **environ):
    return subprocess.run(
        [str(part) for part in command], env=environ or None, text=True, capture_output=True,
        check=False,
    )  # fmt: skip


@pytest.fixture
def bare(tmp_path):
    """A PATH without any Python, and a home without pyenv."""
    for name in ("bash", "cat", "cut", "dirname", "flock", "grep", "head", "sha256sum"):
        (tmp_path / name).symlink_to(shutil.which(name))
    return {"PATH": str(tmp_path), "HOME": str(tmp_path)}


@pytest.fixture
def checkout(tmp_path):
    """A project that needs nothing, with this one's scripts/setup."""
    root = tmp_path / "checkout"
    (root / "scripts").mkdir(parents=True)
    (root / "xcor_daemon").mkdir()
    shutil.copy(ROOT / "scripts/setup", root / "scripts")
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "xcor_daemon/__init__.py").write_text('def main():\n    print("here")\n')
    (root / "setup.cfg").write_text(
        "[metadata]\nname = xcor-daemon\nversion = 1\n[options]\npackages = xcor_daemon\n"
        "[options.entry_points]\nconsole_scripts =\n    xcor-daemon = xcor_daemon:main\n"
        "[options.extras_require]\ndemo =\n"
    )
    return root


@pytest.mark.parametrize("script", [["scripts/setup"], ["scripts/test"]], ids=["setup", "test"])
def test_a_python_that_is_not_there_is_named_with_ways_to_get_it(bare, script):
    done = call([ROOT / script[0], "--python", "3.14", "demo"], **bare)

    assert done.returncode == 1
    assert "needs Python 3.14, and found no python3.14 on PATH, in pyenv or in uv" in done.stderr
    assert "uv python install 3.14" in done.stderr
    assert not (ROOT / ".venv-3.14/bin").exists() or HERE == "3.14"


def test_without_any_python_the_versions_are_listed(bare, checkout):
    done = call([checkout / "scripts/setup", "demo"], **bare)

    assert done.returncode == 1
    assert "needs Python 3.11, 3.12, 3.13 or 3.14" in done.stderr


@pytest.mark.parametrize("version", ["3.10", "3", "3.1", "4"])
def test_a_version_that_the_project_does_not_run_on_is_refused(version):
    done = call([ROOT / "scripts/setup", "--python", version, "demo"])

    assert done.returncode == 1
    assert f"--python {version}: this project runs on 3.11 3.12 3.13 3.14" in done.stderr


def test_an_option_without_its_version_and_a_call_without_extras_are_usage_errors():
    for script in ("setup", "test"):
        done = call([ROOT / "scripts" / script, "--python"])
        assert done.returncode != 0
        assert "--python needs a version, such as 3.14" in done.stderr

    done = call([ROOT / "scripts/setup"])
    assert done.returncode == 1
    assert "name the extras" in done.stderr


def test_an_environment_of_a_version_lies_beside_the_usual_one(checkout):
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    setup = [checkout / "scripts/setup", "--python", HERE, "demo"]

    first = call(setup, **environ)
    assert first.returncode == 0, first.stderr
    again = call(setup, **environ)

    venv = checkout / f".venv-{HERE}"
    assert f"creating {venv.name} with Python {HERE}" in first.stderr
    assert not (checkout / ".venv").exists()
    assert (again.returncode, again.stderr) == (0, "")
    assert call([venv / "bin/xcor-daemon"]).stdout == "here\n"
    assert call([venv / "bin/python", "-c", "import sys; print(sys.version)"]).stdout[:4] == HERE


def test_git_ignores_it():
    done = call(["git", "-C", ROOT, "check-ignore", ".venv/x", ".venv-3.14/x", ".venv-peers/x"])

    assert len(done.stdout.split()) == 3


def test_the_classifiers_are_the_versions_of_setup():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    mark = "Programming Language :: Python :: "
    lines = config["metadata"]["classifiers"].split("\n")
    versions = [line.removeprefix(mark) for line in lines if line.startswith(mark)]

    assert f"versions=({' '.join(versions)})\n" in (ROOT / "scripts/setup").read_text()
    assert config["options"]["python_requires"] == f">={versions[0]}"
