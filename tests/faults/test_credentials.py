"""The service for credentials is unreachable: at the start, and later for a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from hosting import wait_until

pytestmark = pytest.mark.real

IMDS = "/latest/meta-data/iam/security-credentials/"


class Role:
    """A role's credentials, as a machine's metadata service or a container's gives them."""

    def __init__(self, service) -> None:
        self.is_up, self.refused = Event(), 0
        role = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers = {IMDS: "xcor", f"{IMDS}xcor": role.document(), "/role": role.document()}
                if not role.is_up.is_set():
                    role.refused += 1
                    return self.answer(503, "")
                return self.answer(200, answers[self.path])

            def do_PUT(self) -> None:
                self.answer(200 if role.is_up.is_set() else 503, "token")

            def answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._keys = service.server

    def document(self) -> str:
        # Credentials that expire this soon are requested again at every call.
        until = datetime.now(UTC) + timedelta(minutes=1)
        return json.dumps(
            {
                "Code": "Success",
                "AccessKeyId": self._keys.access_key,
                "SecretAccessKey": self._keys.secret_key,
                "Token": "",
                "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def role(service) -> Iterator[Role]:
    """The source of a daemon's credentials, without any in its environment."""
    made = Role(service)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del service.environ[name]
    yield made
    made.close()


def test_a_daemon_that_starts_before_its_credentials_are_available_is_restarted(service, role):
    """By the service manager, which gives up only after a wrong setting."""
    service.environ |= {"AWS_EC2_METADATA_DISABLED": "false"}
    service.environ |= {"AWS_EC2_METADATA_SERVICE_ENDPOINT": role.url}
    service.environ |= {
        "AWS_METADATA_SERVICE_TIMEOUT": "60"
    }  # s; the default is 1, with a single attempt
    service.send("41")

    assert service.start().wait(60) != 0
    assert "CredentialsError: no credentials for S3" in service.log
    role.is_up.set()
    service.run_until_idle()

    service.check(faults=1)


def test_credentials_that_cannot_be_renewed_for_a_while_only_delay_jobs(service, role):
    def go_down(ask):
        role.is_up.clear()
        return ask()

    service.environ |= {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{role.url}/role"}
    role.is_up.set()
    service.send("41")
    service.proxy.on("PUT", "processed/41/runs/.*", go_down)  # during an upload
    daemon = service.start()
    wait_until(lambda: "could not be renewed" in service.log)
    service.send("42")
    wait_until(lambda: "pass failed, retrying" in service.log)
    assert daemon.poll() is None
    assert not service.is_done("41")

    role.is_up.set()

    wait_until(lambda: service.is_done("41") and service.is_done("42"))
    daemon.send_signal(15)
    assert daemon.wait(10) == 0
    assert role.refused > 2
    service.check(faults=role.refused)
