"""Several daemons on one bucket, and one that was suspended."""

from __future__ import annotations

import json
import signal

import pytest
from hosting import keys, wait_until

pytestmark = pytest.mark.real


def runs_of(service, job_id: str) -> int:
    """Number of attempts with objects in S3."""
    found = keys(service.store, f"processed/{job_id}/runs/")
    return len({key.split("/")[3] for key in found})


def test_two_daemons_share_fifty_jobs_and_run_none_twice(service):
    def shares() -> list[int]:
        return [len(list(service.work_dir(host).glob("*/*"))) for host in ("one", "two")]

    for number in range(50):
        service.send(str(100 + number))
    (service.witness / "wait").touch()
    daemons = [service.start("wait", host, max_parallel=4) for host in ("one", "two")]
    wait_until(lambda: min(shares()) > 5)  # even if one of them has started much later
    (service.witness / "wait").unlink()
    for daemon in daemons:
        assert daemon.wait(150) == 0
    for host in ("one", "two"):  # each ends when its own jobs have ended
        service.run_until_idle(host)

    service.check(faults=1)
    assert sum(shares()) == 50, "the lease prevents a second worker"
    assert all(runs_of(service, str(100 + k)) == 1 for k in range(50))


def test_a_suspended_owner_publishes_nothing_after_it_resumes(service):
    (service.witness / "wait").touch()
    service.send("41")
    owner = service.start(host="one", lease=1)
    service.wait_for_worker("41", "one")
    owner.send_signal(signal.SIGSTOP)
    other = service.start(host="two", lease=1)
    service.wait_for_worker("41", "two")

    (service.witness / "wait").unlink()
    wait_until(lambda: service.is_done("41"))
    owner.send_signal(signal.SIGCONT)
    wait_until(lambda: json.loads(job_of(service, "one"))["state"] in ("done", "left"))

    assert owner.poll() is None
    assert other.poll() is None
    service.check(faults=1)
    assert len(list(service.work_dir("two").glob("*/41"))) == 1


def job_of(service, host: str) -> bytes:
    (path,) = service.work_dir(host).glob("*/41/job.json")
    return path.read_bytes()


def test_an_empty_state_folder_with_the_same_bucket(service):
    for number in range(4):
        service.send(str(100 + number))
    service.run_until_idle("first")
    (service.witness / "wait").touch()
    service.send("41")
    lost = service.start(host="first", lease=1)
    service.wait_for_worker("41", "first")
    lost.kill()
    (service.witness / "wait").unlink()

    service.run_until_idle("new", lease=1)
    wait_until(lambda: service.run_until_idle("new", lease=1) or service.is_done("41"))

    service.check(faults=1)
    assert [path.name for path in service.work_dir("new").glob("*/*")] == ["41"]


def test_a_deleted_lease_is_claimed_again(service):
    (service.witness / "wait").touch()
    service.send("41")
    service.start(lease=1)
    service.wait_for_worker("41")
    service.store.client.delete_object(Bucket=service.store.name, Key="leases/41.json")

    wait_until(lambda: keys(service.store, "leases/") == ["leases/41.json"])

    (service.witness / "wait").unlink()
    wait_until(lambda: service.is_done("41"))
    service.end(service.processes[-1])
    service.check(faults=1)


def test_an_unreadable_lease_expires_too(service):
    put = service.store.client.put_object
    put(Bucket=service.store.name, Key="leases/41.json", Body=b"\0garbage")
    service.send("41")
    daemon = service.start(lease=1)

    wait_until(lambda: service.is_done("41"))

    service.end(daemon)
    service.check(faults=1)


def test_leases_are_released_at_the_end(service):
    service.send("41")
    service.run_until_idle()

    assert keys(service.store, "leases/") == []
