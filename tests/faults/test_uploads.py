"""Uploads of results: interrupted multipart uploads, and files that change meanwhile."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

import pytest
from proxy import Answer, after, answer, apply_then, cut

pytestmark = pytest.mark.real

CORR = r"processed/41/runs/.*\.h5"
IN_PARTS = 9 * 2**20  # bytes: a part of 8 MiB and another one
# Its worker has ended before the first pass, so there is only one upload.
AT_ONCE = {"worker": "instant"}
PARTS = {**AT_ONCE, "multipart_from": 2**20}


@pytest.fixture
def large(service):
    """A service with one job, whose correlations need a multipart upload."""
    (service.witness / "size").write_text(str(IN_PARTS))
    service.send("41")
    return service


def unfinished(service) -> list[dict]:
    """Multipart uploads that were neither completed nor aborted."""
    answer = service.store.client.list_multipart_uploads(Bucket=service.store.name)
    return answer.get("Uploads", [])


@pytest.mark.parametrize(
    ("method", "action", "times"),
    [
        pytest.param("PUT", after(1, answer(500, "InternalError")), 5, id="parts-500"),
        pytest.param("PUT", after(1, answer(400, "ExpiredToken")), 2, id="expired-midway"),
        pytest.param("POST", after(1, answer(500, "InternalError")), 4, id="it-is-not-completed"),
        pytest.param("POST", after(1, apply_then(500, "InternalError")), 4, id="completed-but-500"),
        pytest.param("POST", after(1, cut), 2, id="completed-but-cut"),
    ],
)
def test_a_failed_multipart_upload_is_aborted_and_repeated(large, method, action, times):
    large.proxy.on(method, CORR, action, times)

    large.run_until_idle(**PARTS)

    assert large.proxy.fired
    if method == "PUT":
        assert unfinished(large) == []
    large.check(faults=large.proxy.fired)


def test_a_multipart_upload_aborted_by_s3_is_repeated(large):
    """As by the lifecycle rule for incomplete multipart uploads."""

    begun = []

    def note_it(ask: Callable) -> Answer:
        given = ask()
        begun.append({n: _inside(n, given.body) for n in ("Key", "UploadId")})
        return given

    def abort_it(ask: Callable) -> Answer:
        large.store.client.abort_multipart_upload(Bucket=large.store.name, **begun[0])
        return ask()

    large.proxy.on("POST", CORR, note_it)
    large.proxy.on("PUT", CORR, after(1, abort_it), 2)

    large.run_until_idle(**PARTS)

    large.check(faults=1)


def _inside(name: str, xml: bytes) -> str:
    return re.search(rf"<{name}>([^<]*)</", xml.decode())[1]


@pytest.mark.parametrize(("method", "through"), [("PUT", 1), ("POST", 1)])
def test_a_kill_during_a_multipart_upload(large, method, through):
    def die(ask: Callable) -> None:
        large.processes[0].kill()

    large.proxy.on(method, CORR, after(through, die), 10**6)
    daemon = large.start("wait", **PARTS)
    assert daemon.wait(60) == -signal.SIGKILL
    large.proxy.calm()

    large.run_until_idle(**PARTS)

    large.check(faults=1)
    assert len(unfinished(large)) <= 1, "what the bucket's rule aborts"


# --- files that change ---


@pytest.mark.parametrize(
    ("change", "settings"),
    [("other bytes", AT_ONCE), ("other bytes", PARTS), ("longer", PARTS), ("cut", PARTS)],
)
def test_a_result_that_changes_while_it_is_uploaded_is_not_published(large, change, settings):
    """Its worker has ended, so no process may write there."""
    changes = {
        "other bytes": lambda path: overwrite(path, b"\x00HDF"),
        "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
        "cut": lambda path: path.write_bytes(b"\x89HDF"),
    }

    def change_it(ask: Callable) -> Answer:
        (path,) = large.work_dir().glob("*/41/CORR/*.h5")
        changes[change](path)
        return ask()

    # Between its hash and its first byte the daemon checks whether the object exists already.
    large.proxy.on("HEAD", CORR, change_it)

    large.run_until_idle(**settings)

    large.check(faults=1)
    manifest = large.store.read_manifest("41")
    assert IN_PARTS in {file["size"] for file in manifest["files"]}


def overwrite(path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
