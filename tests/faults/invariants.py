"""Invariants after every fault, in S3, the work folders and the log of the proxy."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from proxy import MANIFEST, Proxy, Seen
from working import CORRELATIONS

from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.storage.jobs import TERMINAL, load_jobs

_IN_WORK = re.compile(r"[0-9]{8}_[0-9]{6}(_[0-9]+)?(/[0-9]{1,16}(/.*)?)?|\.[a-z]+(/.*)?")


def check_all(
    store: Bucket,
    proxy: Proxy,
    work_dirs: list[Path],
    witness: Path,
    valid: set[str],
    secrets: tuple[str, ...] = (),
) -> None:
    """Check every invariant of the service but I2; ``valid`` are jobs with a good request."""
    objects = _read_all(store, "processed/")
    manifests = {
        match[1]: json.loads(body)
        for key, body in objects.items()
        if (match := MANIFEST.fullmatch(key))
    }
    for job_id, manifest in manifests.items():
        _check_manifest(job_id, manifest, objects)
    _check_order(proxy.seen)
    _check_ends(valid, objects, manifests)
    _check_inputs_untouched(proxy)
    for work_dir in work_dirs:
        _check_work_dir(work_dir)
    violations = [path.read_text() for path in witness.glob("violation-*")]
    assert not violations, violations  # I7
    _check_secrets(secrets, objects, work_dirs, witness)


def _check_manifest(job_id: str, manifest: dict, objects: dict[str, bytes]) -> None:
    """I1: all listed files exist, complete and of one attempt. I12: with the expected bytes."""
    assert manifest["id"] == job_id
    prefix = f"processed/{job_id}/runs/{manifest['attempt']}/"
    for file in manifest["files"]:
        assert file["key"].startswith(prefix), file["key"]
        body = objects[file["key"]]
        if not file["key"].endswith("xcor_log.txt"):
            assert file["size"] == len(body)
            assert file["sha256"] == hashlib.sha256(body).hexdigest()
        if file["key"].endswith(".h5"):
            assert body == CORRELATIONS.ljust(file["size"], b"\0")


def _check_order(seen: list[Seen]) -> None:
    """I3: no view reports a job as done before its manifest exists."""
    published = set()
    for event in seen:
        if event.status != 200 or event.method != "PUT":
            continue
        if match := MANIFEST.fullmatch(event.key):
            published.add(match[1])
        elif event.key.endswith("/status.json") and _state(event.body) == "done":
            assert event.key.split("/")[1] in published, "done before it was published"


def _check_ends(valid: set[str], objects: dict[str, bytes], manifests: dict[str, dict]) -> None:
    """I3, I4: every job has ended, and its views show its final state."""
    for job_id in valid:
        state = _state(objects[f"processed/{job_id}/status.json"])
        assert state in TERMINAL, f"job {job_id} is left {state}"
        assert (state == "done") == (job_id in manifests), (job_id, state)
        lines = objects[f"processed/{job_id}/files.txt"].decode().splitlines()
        assert lines[-1] == "done"
        assert all(line in objects for line in lines[:-1])
        if job_id in manifests:
            assert lines[:-1] == [file["key"] for file in manifests[job_id]["files"]]


def _check_inputs_untouched(proxy: Proxy) -> None:
    """I5: no daemon writes under incoming/, and it deletes nothing but leases."""
    for event in proxy.seen:
        assert not event.key.startswith("incoming/"), event
        assert event.method != "DELETE" or event.key.startswith("leases/"), event


def _check_work_dir(work_dir: Path) -> None:
    """I6, I8: inputs are unchanged. I9: the number of attempts is bounded. I10: no other paths."""
    for path in work_dir.rglob("*"):
        assert _IN_WORK.fullmatch(str(path.relative_to(work_dir))), path
    for job in load_jobs(work_dir):
        for item in job.inputs:
            content = (job.folder / Path(item.key).name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == item.sha256
            assert hashlib.md5(content).hexdigest() == item.etag.strip('"')  # noqa: S324
        assert job.failures <= 8
        assert job.killed <= 5
        assert not job.failures or job.reason or job.state == "done"


def _check_secrets(
    secrets: tuple[str, ...], objects: dict[str, bytes], work_dirs: list[Path], witness: Path
) -> None:
    """I16: no secret key in public objects, logs or the environment of a worker."""
    texts = list(objects.values())
    for folder in (*work_dirs, witness):
        texts += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for secret in secrets:
        assert not any(secret.encode() in text for text in texts), "a secret leaked"


def _read_all(store: Bucket, prefix: str) -> dict[str, bytes]:
    pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=store.name, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    return {key: store.client.get_object(Bucket=store.name, Key=key)["Body"].read() for key in keys}


def _state(body: bytes) -> str:
    return json.loads(body)["state"]
