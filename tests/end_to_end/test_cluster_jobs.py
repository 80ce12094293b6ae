"""Jobs that are too large for the daemon's machine: a Dask cluster does them, or nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dask_processes import DaskProcesses

from xcor_daemon.request.cost import estimate
from xcor_daemon.request.parse import parse_request

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory):
    cluster = DaskProcesses(tmp_path_factory.mktemp("dask"))
    cluster.start_scheduler()
    cluster.start_workers(1)
    cluster.wait_for(1)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def small_job(sample_job):
    """The first two of the sample's stations."""
    return of_stations(sample_job, 2)


@pytest.fixture(scope="module")
def large_job(sample_job):
    """The first five."""
    return of_stations(sample_job, 5)


def of_stations(files, n):
    lines = files["stations.csv"].splitlines(keepends=True)
    return {**files, "stations.csv": b"".join(lines[: n + 1])}


def core_hours(files):
    return estimate(parse_request(files)).core_seconds / 3600


def test_the_cluster_runs_jobs_that_are_too_large_for_the_daemon(
    serve, fdsn_server, large_job, small_job, dask_cluster, monkeypatch
):
    for name, value in dask_cluster.environ.items():
        monkeypatch.setenv(name, value)
    limit = (core_hours(small_job) + core_hours(large_job)) / 2
    service = serve(
        f"fdsn:{fdsn_server.url}", dask_address=dask_cluster.address, local_limit=str(limit)
    )

    small, large = service.send(small_job), service.send(large_job)
    ends = [service.wait_for(job_id) for job_id in (small, large)]

    assert [end["state"] for end in ends] == ["done", "done"], ends
    assert executors(service) == {small: "processes", large: "dask"}
    manifest = json.loads(service.read(ends[1]["manifest"]))
    assert manifest["units"] == {"done": 1, "empty": 0, "failed": []}
    assert dask_cluster.clients() == 1


def test_a_daemon_with_executor_dask_runs_all_jobs_on_the_cluster(
    serve, fdsn_server, small_job, dask_cluster, monkeypatch
):
    for name, value in dask_cluster.environ.items():
        monkeypatch.setenv(name, value)
    before = dask_cluster.clients()
    service = serve(f"fdsn:{fdsn_server.url}", dask_address=dask_cluster.address, executor="dask")

    job_id = service.send(small_job)

    assert service.wait_for(job_id)["state"] == "done"
    assert executors(service) == {job_id: "dask"}
    assert dask_cluster.clients() == before + 1


def test_without_a_cluster_a_job_that_is_too_large_is_rejected_with_its_requirements(
    serve, fdsn_server, sample_job
):
    hours = core_hours(sample_job)
    service = serve(f"fdsn:{fdsn_server.url}", local_limit=str(hours / 2))

    status = service.wait_for(service.send(sample_job), 60)

    assert status["state"] == "rejected"
    assert "core-hours, " in status["reason"]
    assert "configure a Dask cluster (--executor dask, XCOR_DASK_ADDRESS" in status["reason"]


def executors(service) -> dict[str, str]:
    """The executor of each job, by its number."""
    found = [json.loads(path.read_text()) for path in Path(service.folder).glob("work/**/job.json")]
    return {job["id"]: job["executor"] for job in found}
