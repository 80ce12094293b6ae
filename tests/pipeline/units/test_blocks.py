"""Days in blocks of channels: they have the numbers of unsplit days, and are read as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray
from hosting import wait_until
from synthetic import all_datasets, datasets, network_job

from xcor_daemon.errors import XcorError
from xcor_daemon.pipeline.hdf5.correlation_day import from_folder
from xcor_daemon.pipeline.run import ExecutionOptions, correlate_job, correlate_shard, stack_job
from xcor_daemon.pipeline.scheduling import progress, schedule, unit_progress
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.results import open_results


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    job = network_job(tmp_path_factory.mktemp("whole"), stations=7, days=2)
    outputs = correlate_job(job.folder, job.source, 1, images=False)
    return job, outputs


@pytest.fixture(scope="module")
def blocks(tmp_path_factory, whole):
    """The same job in blocks of at most three channels."""
    job = whole[0].copy(tmp_path_factory.mktemp("blocks") / "job")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LIMITS["channel_blocks"], "max_channels", 3)
        outputs = correlate_job(job.folder, job.source, 1, images=False)
    return job, outputs


def test_days_in_blocks_equal_unsplit_days(whole, blocks):
    job, outputs = whole
    again, made = blocks

    names = [file["name"] for file in made["files"] if file["name"].startswith("CORR/2")]
    assert len(names) == 2 * 5  # blocks of 3, 3 and 1: the last has no pair of its own
    assert names[1] == "CORR/2020-01-01/I000-J001.h5"
    assert made["units"] == outputs["units"] == {"done": 2, "empty": 0, "failed": []}
    assert made["summary"] == outputs["summary"]
    for one, parts in zip(
        from_folder(job.folder / "CORR"), from_folder(again.folder / "CORR"), strict=True
    ):
        assert parts.pairs.names == one.pairs.names
        np.testing.assert_array_equal(parts.starts, one.starts)
        np.testing.assert_array_equal(parts.read(slice(None)), one.read(slice(None)))
        np.testing.assert_array_equal(parts.read(slice(3, 9)), one.read(slice(3, 9)))
    stack = "STACK/linear.h5"
    assert datasets(again.folder / stack) == datasets(job.folder / stack)
    summary = (again.folder / "summary.csv").read_text()
    assert summary == (job.folder / "summary.csv").read_text()


def test_results_of_blocks_open_like_those_of_unsplit_days(whole, blocks):
    job, _ = whole
    again, _ = blocks

    with open_results(job.folder) as one, open_results(again.folder) as parts:
        assert parts.days == one.days
        day, expected = parts.day(one.days[0]), one.day(one.days[0])
        xarray.testing.assert_equal(day, expected)
        for rows in (4, slice(2, 15, 3), [0, 20, 7]):
            np.testing.assert_array_equal(day["corr"][rows], expected["corr"][rows])
        np.testing.assert_array_equal(day["corr"][3, 5:9, ::-2], expected["corr"][3, 5:9, ::-2])
        pair = ("XX.S001..LHZ", "XX.S005..LHZ")
        xarray.testing.assert_equal(parts.pair(*pair), one.pair(*pair))


def test_a_stacking_job_of_blocks_equals_that_of_unsplit_days(tmp_path, whole, blocks):
    job, _ = whole
    again, _ = blocks
    stacks = []
    for name, corr in (("a", job.folder), ("b", again.folder)):
        folder = tmp_path / name
        folder.mkdir()
        row = "type,phase_smooth,stack_all,job\nphase-weighted,,false,1\n"
        (folder / "stacking_params.csv").write_text(row)
        stack_job(folder, corr / "CORR", 1)
        stacks.append(datasets(folder / "STACK/phase-weighted.h5"))

    assert stacks[0] == stacks[1]


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_300_channels_and_3_days_in_blocks_stay_below_4_gb(tmp_path):
    params = "fs,freqmin,freqmax,cc_step,cc_len,maxlag,response\n1,0.05,0.2,3600,3600,60,none\n"
    job = network_job(tmp_path, stations=300, days=3, params=params)
    code = (
        "import resource, sys; from pathlib import Path; "
        "from xcor_daemon.pipeline.run import correlate_job; "
        "made = correlate_job(Path(sys.argv[1]), sys.argv[2], 2, images=False); "
        "sizes = [resource.getrusage(who).ru_maxrss for who in "
        "(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]; "
        "print(made['units']['done'], made['summary']['pairs'], *sizes)"
    )

    output = subprocess.check_output(
        [sys.executable, "-c", code, job.folder, job.source], text=True
    )

    days, pairs, parent, worker = map(int, output.split())
    print(f"parent {parent / 1e6:.2f} GB, the larger of two workers {worker / 1e6:.2f} GB")
    assert (days, pairs) == (3, 300 * 299 / 2)
    assert len(list(job.folder.glob("CORR/*/*.h5"))) == 3 * 3
    assert 1024 * (parent + 2 * worker) < 4e9


def test_combined_shards_equal_the_whole_job(tmp_path, whole, blocks):
    job = whole[0].copy(tmp_path / "shards")
    combine = ExecutionOptions(combine_shards=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LIMITS["channel_blocks"], "max_channels", 3)
        assert correlate_shard(job.folder, job.source, (0, 2), 1) == []
        with pytest.raises(XcorError, match="not processed yet: 1 of 2, such as 2020-01-02"):
            correlate_job(
                job.folder,
                job.source,
                1,
                images=False,
                execution=ExecutionOptions(combine_shards=True),
            )
        assert correlate_shard(job.folder, job.source, (1, 2), 2) == []
        assert correlate_shard(job.folder, job.source, (2, 3), 1) == []  # no day is left for it
        made = correlate_job(job.folder, job.source, 1, images=False, execution=combine)

    assert all_datasets(job.folder) == all_datasets(blocks[0].folder)
    assert made["summary"] == blocks[1]["summary"]


KILLED = """
import os, signal, sys
from pathlib import Path
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.pipeline import run
from xcor_daemon.pipeline.scheduling import schedule
from xcor_daemon.pipeline.units import blocks
LIMITS["channel_blocks"]["max_channels"] = 3
step, name = sys.argv[3].split()
done = getattr(blocks, step)
def run_and_die(plan, units, unit, report):
    record = done(plan, units, unit, report)
    if unit.name == name:
        os.kill(os.getpid(), signal.SIGKILL)
    return record
setattr(schedule, step, run_and_die)
run.correlate_job(Path(sys.argv[1]), sys.argv[2], 1, images=False)
"""


@pytest.mark.parametrize(
    "where", ["prepare_block 2020-01-01/I001", "correlate_blocks 2020-01-02/I000-J002"]
)
def test_a_killed_day_in_blocks_is_continued(tmp_path, whole, blocks, where):
    job = whole[0].copy(tmp_path / "killed")

    command = [sys.executable, "-c", KILLED, job.folder, job.source, where]
    died = subprocess.run(command, check=False)
    before = {path: path.stat().st_mtime_ns for path in job.folder.glob("CORR/*/*.h5")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LIMITS["channel_blocks"], "max_channels", 3)
        correlate_job(job.folder, job.source, 1, images=False)

    assert died.returncode == -signal.SIGKILL
    assert len(before) == (0 if "prepare" in where else 5 + 3)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert all_datasets(job.folder) == all_datasets(blocks[0].folder)


def test_a_block_that_kills_its_worker_is_reported_and_the_rest_finishes(
    tmp_path, whole, blocks, monkeypatch
):
    job = whole[0].copy(tmp_path / "poison")
    monkeypatch.setitem(LIMITS["channel_blocks"], "max_channels", 3)
    done = schedule.correlate_blocks

    def poisoned(plan, units, unit, report):
        if unit.name == "2020-01-02/I000-J001":
            os.kill(os.getpid(), signal.SIGKILL)
        return done(plan, units, unit, report)

    monkeypatch.setattr(schedule, "correlate_blocks", poisoned)
    made = correlate_job(job.folder, job.source, 2, images=False)

    assert made["units"]["done"] == 1
    (lost,) = made["units"]["failed"]
    assert lost["day"] == "2020-01-02"
    assert lost["reason"].startswith("2020-01-02/I000-J001: WorkerKilledError: ")
    expected = all_datasets(blocks[0].folder)
    made_files = {n: d for n, d in all_datasets(job.folder).items() if n.startswith("CORR")}
    assert len(made_files) == 2 * 5 - 1
    assert all(expected[name] == data for name, data in made_files.items())


def test_progress_of_several_processes_is_within_the_day_and_ends_complete(
    tmp_path, whole, monkeypatch
):
    job = whole[0].copy(tmp_path / "job")
    monkeypatch.setitem(LIMITS["channel_blocks"], "max_channels", 3)
    monkeypatch.setattr(unit_progress, "_WRITE_INTERVAL", 0.0)
    monkeypatch.setattr(schedule, "_POLL_INTERVAL", 0.0)
    monkeypatch.setattr(progress, "_REPORT_INTERVAL", 0.0)
    monkeypatch.setattr(progress, "_MIN_TIME", 0.0)
    seen, polls, write = [], tmp_path / "polls", unit_progress.ProgressWriter.__call__
    polls.touch()

    def report(progress):
        seen.append((progress.stage, progress.days_done + progress.part, progress.eta))
        with polls.open("ab") as file:
            file.write(b".")

    def write_and_wait(self, *progress):  # or the unit may end before its progress is read
        write(self, *progress)
        before = polls.stat().st_size  # the poll in progress may have missed it
        wait_until(lambda: polls.stat().st_size >= before + 2)

    monkeypatch.setattr(unit_progress.ProgressWriter, "__call__", write_and_wait)
    correlate_job(job.folder, job.source, 2, report, images=False)

    inside = [
        (done, eta) for stage, done, eta in seen if stage.startswith("2020") and " of " in stage
    ]
    assert inside
    assert all(0 <= done <= 2 for done, _ in inside)
    assert [eta for _, eta in inside if eta is not None]
    assert seen[-1] == ("finished", pytest.approx(2), None)
