"""scripts/xcor-cron, started as cron starts it, with real daemons on a real bucket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hosting import keys, send, wait_until

from xcor_daemon.storage.bucket import Bucket

pytestmark = pytest.mark.real
CRON = Path(__file__).parents[2] / "scripts/xcor-cron"

# Writes when it starts and when SIGTERM ends it.
STAND_IN = """#!/bin/sh
echo "start $*" >> "$LOG"
trap 'echo end >> "$LOG"; exit 0' TERM
while :; do sleep 0.02; done
"""


def worker_of(folder: Path) -> int | None:
    """PID of the job's worker."""
    for record in folder.glob("work/*/41/worker.json"):
        return json.loads(record.read_bytes()).get("worker", {}).get("pid")
    return None


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts runs of cron that end with the test."""
    started = []

    def start_one(daemon: Path, seconds: float, **environ: str) -> subprocess.Popen:
        command = [CRON, daemon, str(seconds)]
        started.append(subprocess.Popen(command, env={**os.environ, **environ}))
        return started[-1]

    yield start_one
    for minute in started:
        stop(minute)


def stop(minute: subprocess.Popen) -> None:
    """End a run early, as its own SIGTERM does."""
    if minute.poll() is None:
        # flock does not pass a signal on to its command.
        children = Path(f"/proc/{minute.pid}/task/{minute.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGTERM)
    minute.wait(30)


def test_overlapping_minutes_run_one_after_the_other(start, tmp_path):
    daemon, log = tmp_path / "daemon", tmp_path / "log"
    daemon.write_text(STAND_IN)
    daemon.chmod(0o755)
    settings = {"XCOR_WORK_DIR": str(tmp_path / "work"), "LOG": str(log)}

    # Long enough for a shell to install its handler of SIGTERM.
    minutes = [start(daemon, 1.5, **settings) for _ in range(3)]

    assert [minute.wait(60) for minute in minutes] == [0, 0, 0]
    assert log.read_text().splitlines() == ["start --interval 1 run", "end"] * 3


def test_a_worker_survives_its_minute_and_the_next_one_publishes(start, bucket, norsar, tmp_path):
    store = Bucket(bucket.server.client(), bucket.name, settle=0)
    settings = bucket.environ(tmp_path / "work", source=f"archive:{norsar}", settle="0")
    send(store, "41")
    program = Path(sys.executable).with_name("xcor-daemon")

    first = start(program, 60, **settings)
    wait_until(lambda: (store.read_status("41") or {}).get("state") == "running", 60)
    wait_until(lambda: worker_of(tmp_path))
    worker = worker_of(tmp_path)
    os.kill(worker, signal.SIGSTOP)
    stop(first)

    wait_until(lambda: "State:\tT" in Path(f"/proc/{worker}/status").read_text())
    os.kill(worker, signal.SIGCONT)
    second = start(program, 60, **settings)
    wait_until(lambda: "processed/41/manifest.json" in keys(store), 240)  # kernels are compiled
    stop(second)
    assert worker_of(tmp_path) == worker
