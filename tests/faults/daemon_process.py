"""Daemons as processes of their own, with the tests' workers.

Run as a program, this file loads what a daemon needs and forks one for every line of JSON that
it reads, so that a daemon starts in milliseconds: `{"start": {...}}` answers its pid, `{"poll":
pid}` its exit status or null.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import boto3

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from working import requested_content, work

from xcor_daemon.config import Config
from xcor_daemon.request.job_files import LOG_FILE
from xcor_daemon.service.daemon import Daemon
from xcor_daemon.service.signals import stop_on_signals
from xcor_daemon.storage import fault_injection
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.storage.jobs import Job
from xcor_daemon.workers.launcher import ENDED, NOT_STARTED, WorkerState
from xcor_daemon.workers.local_launcher import LocalLauncher

WORKER = Path(__file__).with_name("worker.py")
NEED = Path(__file__).parents[2] / "scripts/need"


class Forks:
    """The program, seen from the tests."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._program = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, **question: Any) -> Any:
        with self._one_at_a_time:  # the proxy's threads may kill a daemon too
            self._program.stdin.write(json.dumps(question).encode() + b"\n")
            self._program.stdin.flush()
            return json.loads(self._program.stdout.readline())

    def close(self) -> None:
        self._program.communicate()


class DaemonProcess:
    """One daemon; like `subprocess.Popen` as far as the tests need it."""

    def __init__(self, forks: Forks, **order: Any) -> None:
        self._forks, self.returncode = forks, None
        # A reaped process must not be waited for again, nor its PID be sent a signal.
        self._one_at_a_time = threading.RLock()
        self.pid = forks.ask(start=order)

    def poll(self) -> int | None:
        with self._one_at_a_time:
            if self.returncode is None:
                self.returncode = self._forks.ask(poll=self.pid)
            return self.returncode

    def wait(self, seconds: float) -> int:
        end = time.monotonic() + seconds
        while self.poll() is None:
            assert time.monotonic() < end, "the daemon did not end"
            time.sleep(0.005)
        return self.returncode

    def send_signal(self, number: int) -> None:
        with self._one_at_a_time:
            if self.poll() is None:
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ClockedDaemon:
    """A daemon whose machine's clock is off by ``clock``; a process of its own for libfaketime."""

    def __init__(self, clock: str, order: dict[str, Any]) -> None:
        faked = {"LD_PRELOAD": str(find_libfaketime()), "FAKETIME": clock}
        self._process = subprocess.Popen(
            [sys.executable, __file__, "alone", json.dumps(order)],
            env={**os.environ, **faked, "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        )
        self.pid, self.poll = self._process.pid, self._process.poll
        self.wait, self.kill = self._process.wait, self._process.kill
        self.send_signal = self._process.send_signal


def find_libfaketime() -> Path:
    """libfaketime of Debian, installed where it is missing and that is possible."""
    subprocess.run([NEED, "faketime:faketime"], check=True)
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


class InstantLauncher:
    """Workers that end as soon as they are started."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def start(self, job: Job) -> None:
        (job.folder / LOG_FILE).write_text("up\n")
        work(job.folder, requested_content(self.witness))
        self._end(job).touch()

    def inspect(self, job: Job) -> WorkerState:
        return WorkerState(ENDED, 0) if self._end(job).exists() else WorkerState(NOT_STARTED)

    def _end(self, job: Job) -> Path:
        return job.folder / f"ended.{job.run}"

    def stop(self, job: Job) -> None:
        raise AssertionError("nothing runs that could be stopped")


def run(
    environ: dict[str, str],
    log: str,
    witness: str,
    mode: str,
    backoff: float,
    worker: str,
    multipart_from: int,
) -> None:
    """Be a daemon."""
    os.environ |= environ
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    config = Config.from_env(os.environ)
    fault_injection.enable(config.fault)
    stop = stop_on_signals()
    command = [sys.executable, "-I", "-S", str(WORKER)]
    launcher = LocalLauncher(lambda job: [*command, str(job.folder), witness], os.environ)
    if worker == "instant":
        launcher = InstantLauncher(Path(witness))
    bucket = Bucket.connect(config)
    bucket.multipart_from = multipart_from
    daemon = Daemon(bucket, launcher, config, backoff=backoff)
    with daemon.locked():
        if mode == "wait":
            daemon.run_once(wait=True, stop=stop)
        else:
            daemon.run_forever(stop)


def start(order: dict[str, Any]) -> int:
    """Fork a daemon; gives its pid."""
    if pid := os.fork():
        return pid
    os.close(0)
    status = 1
    try:
        run(**order)
        status = 0
    except BaseException:
        logging.exception("the daemon failed")
        raise
    finally:
        logging.shutdown()
        os._exit(status)


def poll(pid: int) -> int | None:
    """The exit status of a daemon, if it has ended."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def main() -> None:
    if sys.argv[1:2] == ["alone"]:
        run(**json.loads(sys.argv[2]))
        return
    # The first client of a session loads the service model of S3.
    boto3.client("s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:1")
    for line in sys.stdin:
        question = json.loads(line)
        answer = start(question["start"]) if "start" in question else poll(question["poll"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
