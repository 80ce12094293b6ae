"""Units on a Dask cluster, whose scheduler and workers are started and killed by the tests."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import dask
import pytest
from dask_processes import DaskProcesses
from dask_work import Ordered, begun, order, step, who_began
from hosting import wait_until
from paths import SUPPORT
from synthetic import all_datasets, network_job

from xcor_daemon.demo.fdsn_server import serve_fdsn
from xcor_daemon.errors import ConfigError, UnreachableError
from xcor_daemon.pipeline import run
from xcor_daemon.pipeline.executors import WorkerKilledError
from xcor_daemon.pipeline.run import ExecutionOptions, correlate_job
from xcor_daemon.pipeline.scheduling import progress
from xcor_daemon.pipeline.scheduling.dask_cluster import DaskExecutor
from xcor_daemon.pipeline.scheduling.prefetch import Downloads
from xcor_daemon.pipeline.units.records import DayResult, save_record
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.request.parse import read_request
from xcor_daemon.request.units import Units
from xcor_daemon.workers.placement import check_address

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),  # processes that start and end many times, on a busy machine
    # Dask's own threads and processes, as they come and go.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory):
    """Two workers that can import `dask_work`."""
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        cluster = DaskProcesses(tmp_path_factory.mktemp("dask"))
        cluster.start_scheduler()
        cluster.start_workers()
        cluster.wait_for(2)
        with dask.config.set(cluster.settings):
            yield cluster
        cluster.stop()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The results of one process for five stations and three days in blocks of two channels."""
    job = network_job(tmp_path_factory.mktemp("reference"), stations=5, days=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LIMITS["channel_blocks"], "max_channels", 2)
        correlate_job(job.folder, job.source, 1, images=False)
    return job, all_datasets(job.folder)


@pytest.fixture
def blocks_of_two(monkeypatch):
    monkeypatch.setitem(LIMITS["channel_blocks"], "max_channels", 2)


def outcomes(executor, n):
    found = {}
    while len(found) < n:
        found |= {outcome.unit[1]: outcome for outcome in executor.results(1.0)}
    return found


@pytest.mark.parametrize("executor", ["processes", "local", "scheduler"])
def test_the_same_plan_gives_the_same_bytes(
    tmp_path, reference, blocks_of_two, dask_cluster, executor
):
    job, expected = reference
    again = job.copy(tmp_path / "again")
    execution = {"processes": ExecutionOptions(), "local": ExecutionOptions("dask"),
                 "scheduler": ExecutionOptions("dask", dask_cluster.address)}[executor]  # fmt: skip
    stages = []

    made = correlate_job(
        again.folder, job.source, 2, lambda p: stages.append((p.days_done, p.stage)),
        images=False, execution=execution,
    )  # fmt: skip

    assert all_datasets(again.folder) == expected
    assert len([name for name in expected if name.startswith("CORR")]) == 3 * 5
    assert made["units"] == {"done": 3, "empty": 0, "failed": []}
    assert [days for days, _ in stages] == sorted(days for days, _ in stages)
    assert stages[-1] == (3, "finished")
    assert not (again.folder / ".shelf").exists()


def test_only_one_machine_downloads_from_the_data_centre(
    tmp_path, reference, blocks_of_two, dask_cluster, monkeypatch
):
    job, expected = reference
    again = job.copy(tmp_path / "again")
    log, stages = tmp_path / "asked", []
    execution = ExecutionOptions("dask", dask_cluster.address)
    fetch, is_reported = Downloads._fetch, threading.Event()

    def fetch_when_reported(self, day):  # a download of less than 0.1 s is not reported
        assert is_reported.wait(60)
        fetch(self, day)

    def report(progress):
        stages.append(progress.stage)
        if progress.stage.endswith(": downloading"):
            is_reported.set()

    monkeypatch.setattr(Downloads, "_fetch", fetch_when_reported)
    with serve_fdsn(Path(job.source.removeprefix("archive:")), log) as server:
        correlate_job(
            again.folder, f"fdsn:{server.url}", 2, report, images=False, execution=execution
        )

    assert all_datasets(again.folder) == expected
    # All channels of a day at a time; workers would download for each of three blocks.
    assert log.read_text().count('"POST /fdsnws/dataselect/') == 3
    assert "2020-01-01: downloading" in stages
    assert not list(again.folder.glob(".downloads/*/*-*/"))


def test_progress_and_time_left_are_those_of_a_known_rate(
    tmp_path, reference, dask_cluster, monkeypatch
):
    """Three days, one of an earlier run; the two others run together for 1000 s of a test clock."""
    job, _ = reference
    again = job.copy(tmp_path / "again")
    request = read_request(again.folder)
    first, *days = request.days
    unit = Units(request).of(first)
    key = run._request_key(request, job.source)
    save_record(again.folder, str(first), DayResult(str(first), key, [], 0, 0, []))
    prepare = unit.prepare_share
    shares = (prepare / 2, prepare + (1 - prepare) / 4, 1.0)  # of a day
    steps = iter([(day, step) for step in (1, 2, 3) for day in days])
    done, clock, seen, shown = dict.fromkeys(days, 0.0), [0.0], [], []

    def report(progress):
        shown.append(progress.days_done + progress.part)
        share = sum(done.values()) / 2
        if progress.days != 3 or shown[-1] != pytest.approx(1 + 2 * share, abs=1e-9):
            return
        if share:
            seen.append((progress.eta, 1000 * (1 - share)))
        if (ordered := next(steps, None)) is not None:
            day, step = ordered
            done[day] = shares[step - 1]
            clock[0] = 1000 * sum(done.values()) / 2
            order(again.folder, day, step)

    monkeypatch.setattr(run, "UnitRunner", Ordered)
    monkeypatch.setattr(run, "_write_results", lambda *_: {})
    monkeypatch.setattr(progress, "_REPORT_INTERVAL", 0.0)
    monkeypatch.setattr(progress, "monotonic", lambda: clock[0])
    execution = ExecutionOptions("dask", dask_cluster.address)
    correlate_job(again.folder, job.source, 1, report, execution=execution)

    assert len({expected for _, expected in seen}) == 6
    assert [eta for eta, _ in seen] == pytest.approx([expected for _, expected in seen], abs=0.1)
    assert shown == sorted(shown)


def test_units_that_kill_their_worker_are_reported_and_the_others_finish(tmp_path, dask_cluster):
    names = ["a", "poison", "b", "greedy", "c", "wrong", "d", "e"]
    cluster = DaskExecutor(step, tmp_path, dask_cluster.address)
    try:
        for name in names:
            cluster.submit((str(tmp_path), name, 0.2))
        found = outcomes(cluster, len(names))
    finally:
        cluster.close()

    assert {n: found[n].result for n in "abcde"} == {n: n.upper() for n in "abcde"}
    assert isinstance(found["poison"].error, WorkerKilledError)
    assert isinstance(found["greedy"].error, WorkerKilledError)
    assert str(found["wrong"].error) == "wrong"


def test_a_lost_scheduler_repeats_only_the_running_units(tmp_path, dask_cluster):
    names = [f"u{k}" for k in range(40)]
    cluster = DaskExecutor(step, tmp_path, dask_cluster.address)
    try:
        waiting, found, submitted = iter(names), {}, 0
        killed_at = None
        while len(found) < len(names):
            while submitted - len(found) < cluster.slots and (name := next(waiting, None)):
                cluster.submit((str(tmp_path), name, 0.1))
                submitted += 1
            found |= {outcome.unit[1]: outcome for outcome in cluster.results(1.0)}
            if killed_at is None and len(found) >= 10:
                dask_cluster.kill_scheduler()
                killed_at = submitted - len(found)
                dask_cluster.start_scheduler()
                dask_cluster.start_workers()
    finally:
        cluster.close()

    assert {n: found[n].result for n in names} == {n: n.upper() for n in names}
    twice = [n for n in names if begun(tmp_path).count(n) > 1]
    assert len(twice) <= killed_at
    assert cluster.redone <= killed_at


def test_a_scheduler_that_stays_lost_ends_the_run_and_the_next_run_continues(
    tmp_path, reference, blocks_of_two, monkeypatch
):
    job, expected = reference
    again = job.copy(tmp_path / "again")
    own = DaskProcesses(tmp_path / "dask")
    own.start_scheduler()
    own.start_workers(1)
    own.wait_for(1)

    def report(progress):
        if progress.days_done == 1:
            own.stop()

    monkeypatch.setattr(DaskExecutor.__init__, "__defaults__", ("", 1, 20.0))
    execution = ExecutionOptions("dask", own.address)
    with (
        dask.config.set(own.settings),
        pytest.raises(UnreachableError, match="start it again, then run the job again"),
    ):
        correlate_job(again.folder, job.source, 1, report, images=False, execution=execution)
    first = sorted(again.folder.glob("CORR/2020-01-01/*.h5"))
    before = [path.stat().st_mtime_ns for path in first]
    correlate_job(again.folder, job.source, 1, images=False)

    assert len(first) == 5
    assert [path.stat().st_mtime_ns for path in first] == before
    assert all_datasets(again.folder) == expected


def test_a_cancelled_run_leaves_complete_files_and_the_next_run_continues(
    tmp_path, reference, blocks_of_two, dask_cluster
):
    job, expected = reference
    again = job.copy(tmp_path / "again")

    def report(progress):
        if progress.days_done == 1:
            raise KeyboardInterrupt

    execution = ExecutionOptions("dask", dask_cluster.address)
    with pytest.raises(KeyboardInterrupt):
        correlate_job(again.folder, job.source, 1, report, images=False, execution=execution)
    correlate_job(again.folder, job.source, 1, images=False, execution=execution)

    assert all_datasets(again.folder) == expected


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_workers_killed_at_random_do_not_change_results(tmp_path, dask_cluster, kills):
    names = [f"u{k}" for k in range(30 * kills)]
    cluster = DaskExecutor(step, tmp_path, dask_cluster.address)
    killed = [0]

    def kill():
        while len(killed) <= kills:
            wait_until(lambda: len(begun(tmp_path)) > killed[-1] + 10, 120)
            os.kill(who_began(tmp_path)[-1], signal.SIGKILL)  # while it runs a unit
            killed.append(len(begun(tmp_path)))

    window = cluster.slots
    killer = threading.Thread(target=kill)
    killer.start()
    found, waiting = {}, list(names)
    try:
        while len(found) < len(names):
            while waiting and len(names) - len(waiting) - len(found) < window:
                cluster.submit((str(tmp_path), waiting.pop(0), 0.1))
            found |= {outcome.unit[1]: outcome for outcome in cluster.results(1.0)}
    finally:
        killer.join()
        cluster.close()

    assert {n: found[n].result for n in names} == {n: n.upper() for n in names}
    redone = len(begun(tmp_path)) - len(names)
    assert len(killed) == 1 + kills
    # Running units and records not yet sent, once by Dask and once by us if both see the loss.
    assert 1 <= redone <= 2 * window * kills
    print(f"{kills} workers killed: {redone} of {len(names)} units run again")


def test_a_worker_that_does_not_mount_the_folder_is_named(tmp_path, dask_cluster, monkeypatch):
    monkeypatch.setattr(
        "xcor_daemon.pipeline.scheduling.dask_cluster._MARKER", "nothing-writes-this"
    )

    with pytest.raises(ConfigError, match="does not mount the job folder; mount it as "):
        DaskExecutor(step, tmp_path, dask_cluster.address)


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.1:8786", "10.0.0.1:8786", "tls://", "http://a:1"]
)
def test_unencrypted_addresses_are_rejected(address):
    with pytest.raises(ConfigError, match="write tls://HOST:PORT"):
        check_address(address)


def test_an_address_without_a_scheduler_is_an_error(tmp_path):
    with pytest.raises(UnreachableError, match="does not answer"):
        DaskExecutor(step, tmp_path, "tcp://127.0.0.1:9", timeout=1.0)


def test_without_dask_the_error_names_the_package_to_install(tmp_path, reference, monkeypatch):
    job = reference[0].copy(tmp_path / "job")
    monkeypatch.setitem(sys.modules, "xcor_daemon.pipeline.scheduling.dask_cluster", None)

    with pytest.raises(ConfigError, match=r"pip install 'xcor-daemon\[dask\]'"):
        correlate_job(job.folder, job.source, 1, images=False, execution=ExecutionOptions("dask"))
