"""The demo as a user starts it: it shows results, needs no network and leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hosting import wait_until

pytestmark = pytest.mark.real

COMMAND = [sys.executable, "-m", "xcor_daemon.cli", "demo"]


def environ(folder: Path) -> dict[str, str]:
    """The demo's folder goes below ``folder``; whatever asks for the network meets a dead end."""
    dead = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    return {**os.environ, **dead, "TMPDIR": str(folder)}


def test_the_demo_runs_the_sample_to_the_end_and_stops(tmp_path: Path, processes_in):
    demo = subprocess.run(
        [*COMMAND, "--once"], env=environ(tmp_path), capture_output=True, text=True, timeout=280
    )

    assert demo.returncode == 0, demo.stderr
    assert "is done: 24 channels, 276 pairs" in demo.stdout
    # A pair with its distance, SNR, lag and speed.
    pair = r"NO\.N\w+\.\.BHZ - NO\.N\w+\.\.BHZ +[\d.]+ km +[\d.]+ +[+-][\d.]+ s +[\d.]+ km/s"
    assert len(re.findall(pair, demo.stdout)) == 10
    assert re.search(r"Files in S3 +http://127\.0\.0\.1:\d+/xcor/processed/\d+/runs/", demo.stdout)
    images = re.findall(r"^ +(/.*\.png)$", demo.stdout, re.MULTILINE)
    assert images
    for image in images:
        assert Path(image).read_bytes().startswith(b"\x89PNG")
    (folder,) = tmp_path.glob("xcor-demo-*")
    assert str(folder) in demo.stderr
    assert not (folder / "s3").exists()
    assert not processes_in(tmp_path)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_ended_in_the_middle_leaves_nothing_running(
    tmp_path: Path, processes_in, end
):
    with (tmp_path / "log").open("wb") as log:
        demo = subprocess.Popen(COMMAND, env=environ(tmp_path), stdout=log, stderr=log)
    try:
        # The worker runs as soon as it has a record.
        wait_until(lambda: list(tmp_path.glob("xcor-demo-*/work/*/*/worker.json")), 120)
        # The demo, both servers, the daemon and its guard, the supervisor.
        assert len(processes_in(tmp_path)) >= 6
        demo.send_signal(end)
        demo.wait(30)
    finally:
        demo.kill()
        demo.wait()

    wait_until(lambda: not processes_in(tmp_path))
    assert demo.returncode != 0
