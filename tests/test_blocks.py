"""Days in blocks of channels: the same numbers as whole days, and read as one."""

from __future__ import annotations

import numpy as np
import pytest
import xarray
from synthetic import datasets, network_job

from xcor_daemon.csvtable import LIMITS
from xcor_daemon.pipeline.corrday import in_folder
from xcor_daemon.pipeline.run import correlate_job, stack_job
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
        patch.setitem(LIMITS["units"], "max_channels", 3)
        outputs = correlate_job(job.folder, job.source, 1, images=False)
    return job, outputs


def test_days_in_blocks_read_as_one_are_the_whole_days(whole, blocks):
    job, outputs = whole
    again, made = blocks

    names = [file["name"] for file in made["files"] if file["name"].startswith("CORR/2")]
    assert len(names) == 2 * 5  # blocks of 3, 3 and 1: the last has no pair of its own
    assert names[1] == "CORR/2020-01-01/I000-J001.h5"
    assert made["units"] == outputs["units"] == {"done": 2, "empty": 0, "failed": []}
    assert made["summary"] == outputs["summary"]
    for one, parts in zip(
        in_folder(job.folder / "CORR"), in_folder(again.folder / "CORR"), strict=True
    ):
        assert parts.pairs.names == one.pairs.names
        np.testing.assert_array_equal(parts.starts, one.starts)
        np.testing.assert_array_equal(parts.read(slice(None)), one.read(slice(None)))
        np.testing.assert_array_equal(parts.read(slice(3, 9)), one.read(slice(3, 9)))
    stack = "STACK/linear.h5"
    assert datasets(again.folder / stack) == datasets(job.folder / stack)
    summary = (again.folder / "summary.csv").read_text()
    assert summary == (job.folder / "summary.csv").read_text()


def test_results_of_blocks_open_as_those_of_whole_days(whole, blocks):
    job, _ = whole
    again, _ = blocks

    with open_results(job.folder) as one, open_results(again.folder) as parts:
        assert parts.days == one.days
        day, expected = parts.day(one.days[0]), one.day(one.days[0])
        xarray.testing.assert_equal(day, expected)
        for rows in (4, slice(2, 15, 3), [0, 20, 7]):
            np.testing.assert_array_equal(day["corr"][rows], expected["corr"][rows])
        np.testing.assert_array_equal(
            day["corr"][3, 5:9, ::-2], expected["corr"][3, 5:9, ::-2]
        )
        pair = ("XX.S001..LHZ", "XX.S005..LHZ")
        xarray.testing.assert_equal(parts.pair(*pair), one.pair(*pair))


def test_a_stacking_job_reads_blocks_as_whole_days(tmp_path, whole, blocks):
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
