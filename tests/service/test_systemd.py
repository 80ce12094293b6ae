"""Notifications to the service manager, on a socket like that of systemd."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from hosting import FakeLauncher, bucket_of_moto, send

from xcor_daemon.config import Config
from xcor_daemon.errors import UnreachableError
from xcor_daemon.service.daemon import Daemon
from xcor_daemon.service.systemd import Notifier
from xcor_daemon.storage.bucket import Bucket


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0"))
        self.socket.setblocking(False)
        self.notifier = Notifier({"NOTIFY_SOCKET": address})

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path: Path) -> Iterator[Manager]:
    # systemd uses both kinds of addresses; a path has at most 107 bytes.
    address = str(tmp_path / "notify") if request.param == "path" else f"@xcor-{id(request)}"
    made = Manager(address)
    yield made
    made.socket.close()


def test_the_first_completed_pass_makes_the_service_ready(manager):
    manager.notifier.pass_completed("unfinished jobs: 2")
    manager.notifier.pass_completed("unfinished jobs: 1")
    manager.notifier.step_completed()
    manager.notifier.stopping()

    assert manager.heard() == [
        "READY=1\nWATCHDOG=1\nSTATUS=unfinished jobs: 2",
        "WATCHDOG=1\nSTATUS=unfinished jobs: 1",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=stopping; workers continue",
    ]


def test_a_failed_pass_extends_the_start_and_later_only_sets_the_status(manager):
    manager.notifier.pass_failed("S3 is away")
    manager.notifier.pass_completed("unfinished jobs: 0")
    manager.notifier.pass_failed("S3 is away")

    first, _, last = manager.heard()
    assert first == "WATCHDOG=1\nSTATUS=S3 is away\nEXTEND_TIMEOUT_USEC=300000000"
    assert last == "WATCHDOG=1\nSTATUS=S3 is away"


def test_a_message_of_several_lines_sets_no_other_variable(manager):
    manager.notifier.pass_failed("S3 said\nMAINPID=1")

    assert "\nMAINPID" not in manager.heard()[0]


def test_without_a_manager_nothing_is_sent():
    Notifier({}).pass_completed("unfinished jobs: 0")


def test_an_absent_manager_is_only_logged(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).step_completed()

    assert "cannot notify the service manager" in caplog.text


def test_the_loop_reports_completed_and_failed_passes_and_its_end(manager, tmp_path):
    stop = threading.Event()
    outcomes = iter([UnreachableError("S3 is away"), 3])
    config = Config(bucket="xcor", work_dir=tmp_path / "work", interval=0.05)
    store = Bucket(boto3.client("s3", region_name="us-east-1"), "xcor")
    daemon = Daemon(store, FakeLauncher(), config, notifier=manager.notifier)

    def run_pass() -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        stop.set()
        return outcome

    daemon.run_pass = run_pass
    daemon.run_forever(stop)

    heard = manager.heard()
    assert [message.split("\n")[0] for message in heard] == ["WATCHDOG=1", "READY=1", "STOPPING=1"]
    assert "STATUS=unfinished jobs: 3" in heard[1]


def test_a_pass_restarts_the_watchdog_after_each_job(manager, tmp_path):
    with bucket_of_moto() as store:
        for number in range(3):
            send(store, str(100 + number))
        config = Config(bucket="xcor", work_dir=tmp_path / "work", source="archive:/data")
        daemon = Daemon(store, FakeLauncher(), config, notifier=manager.notifier)
        with daemon.locked():
            daemon.run_pass()

    assert manager.heard().count("WATCHDOG=1") >= 3
