"""The unit files under systemd-analyze, and the files around them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from xcor_daemon.config import Config
from xcor_daemon.errors import ConfigError, CredentialsError, DiskError, UnreachableError

ROOT = Path(__file__).parents[2]
UNITS = ("xcor-daemon.service", "xcor-poll.service", "xcor-poll.timer")
EXPOSURE = 1.5  # of 10; a unit without any sandbox has 9.2


@pytest.fixture(scope="module", autouse=True)
def analyze() -> None:
    subprocess.run([ROOT / "scripts/need", "systemd-analyze:systemd"], check=True)


@pytest.fixture(params=["containers", "local workers"])
def units(request, tmp_path: Path) -> Path:
    """The installed units, with an existing program."""
    folder = tmp_path / "systemd"
    shutil.copytree(ROOT / "systemd", folder)
    if request.param == "local workers":
        (folder / "local-workers.conf").rename(folder / "xcor-.service.d/20-local-workers.conf")
    for path in folder.glob("*.service"):
        path.write_text(path.read_text().replace("/opt/xcor/bin/xcor-daemon", "/bin/true"))
    return folder


def complaints(folder: Path) -> str:
    """Output of `systemd-analyze verify`, which exits with 0 for many errors."""
    command = ["systemd-analyze", "verify", *(folder / name for name in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + f"exit {done.returncode}" * bool(done.returncode)


def test_systemd_analyze_finds_no_error(units):
    assert complaints(units) == ""


@pytest.mark.parametrize(
    "name", ["xcor-daemon.service", "xcor-poll.timer", "xcor-.service.d/10-common.conf"]
)
def test_the_checker_reads_every_file(units, name):
    with (units / name).open("a") as file:
        file.write("\n[Service]\nNoSuchKey=1\n" if "service" in name else "\nNoSuchKey=1\n")

    assert "NoSuchKey" in complaints(units)


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_a_service_is_little_exposed(units, name):
    command = ["systemd-analyze", "security", "--offline=true"]
    command += [f"--threshold={EXPOSURE * 10:.0f}", str(units / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    level = re.search(r"exposure level for \S+ ([0-9.]+)", done.stdout)
    assert 0 < float(level[1]) <= EXPOSURE


def test_the_exposure_of_a_service_without_sandbox_is_high(units):
    (units / "xcor-.service.d/10-common.conf").unlink()
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}"]
    done = subprocess.run(
        [*command, units / "xcor-daemon.service"], capture_output=True, check=False
    )

    assert done.returncode != 0


def test_the_example_of_settings_holds_only_settings_that_exist():
    text = (ROOT / "systemd/xcor.env.example").read_text()
    values = dict(re.findall(r"^#?([A-Z_0-9]+)=(.*)$", text, flags=re.MULTILINE))

    ours = {name.removeprefix("XCOR_").lower() for name in values if name.startswith("XCOR_")}
    assert ours <= Config.__dataclass_fields__.keys()
    assert Config.from_env(values).bucket == "my-bucket"


def test_the_service_restarts_except_after_a_wrong_setting():
    text = (ROOT / "systemd/xcor-daemon.service").read_text()
    prevented = re.search(r"^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)[1].split()

    assert str(ConfigError.exit_code) in prevented
    for error in (CredentialsError, UnreachableError, DiskError):  # these may be temporary
        assert str(error.exit_code) not in prevented


def test_all_three_ways_make_the_same_passes():
    daemon = (ROOT / "systemd/xcor-daemon.service").read_text()
    poll = (ROOT / "systemd/xcor-poll.service").read_text()
    cron = (ROOT / "scripts/xcor-cron").read_text()

    assert "ExecStart=/opt/xcor/bin/xcor-daemon run\n" in daemon
    assert "ExecStart=/opt/xcor/bin/xcor-daemon run-once\n" in poll
    assert cron.rstrip().endswith('"$daemon" --interval 1 run')
