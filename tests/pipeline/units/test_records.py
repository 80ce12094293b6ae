"""Records of days and units: the JSON of version 0.1.0 is read, and written unchanged."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from xcor_daemon.pipeline.datatypes import ChannelDay, Metadata
from xcor_daemon.pipeline.units import blocks
from xcor_daemon.pipeline.units.plan import DayPlan
from xcor_daemon.pipeline.units.records import (
    CorrelatedBlocks,
    DayResult,
    PreparedBlock,
    delete_records,
    load_finished,
    read_record,
    save_record,
)
from xcor_daemon.request.params import XcorParams
from xcor_daemon.request.units import CorrelateUnit, PrepareUnit

OF_A_DAY = Path(__file__).parents[2] / "data/version_0_1_0/job/.units/2017-05-01.json"
DAY = date(2020, 1, 1)
# As version 0.1.0 wrote them for a block of one channel and for a pair of blocks.
ROW = {
    "day": "2020-01-01", "channel": "XX.A..LHZ", "status": "kept", "source": "archive:sds",
    "n_bytes": 512, "fs_raw": 1.0, "samples": 86400, "gaps": 0, "coverage": 1.0, "windows": 24,
    "windows_kept": 24, "dropped": "", "reason": "2 overlaps disagree",
}  # fmt: skip
WARNING = {
    "code": "kept", "channel": "XX.A..LHZ", "day": "2020-01-01", "text": "2 overlaps disagree",
}  # fmt: skip
OF_A_BLOCK = {"key": "k", "rows": [ROW], "warnings": [WARNING], "seconds": 1.5}
OF_TWO_BLOCKS = {"key": "k", "file": None, "pairs": 0, "windows_kept": 0, "seconds": 0.25}


def plan(folder, key="k"):
    params = XcorParams(1, 0.05, 0.2, 3600, 3600, 60)
    return DayPlan(folder, params, source=None, metadata=Metadata({}), key=key)


def write(folder, name, content):
    path = folder / ".units" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_the_record_of_a_day_of_version_0_1_0_is_read_and_written_unchanged():
    content = json.loads(OF_A_DAY.read_text())

    result = DayResult.from_json(content)

    assert (result.day, result.pairs, result.pair_windows) == ("2017-05-01", 1, 47)
    assert [row.channel for row in result.channel_days] == ["TA.N16K..LHZ", "TA.N19K..LHZ"]
    assert not result.failed
    assert result.to_json() == content


def test_the_records_of_blocks_of_version_0_1_0_are_read_and_written_unchanged():
    block = PreparedBlock.from_json(OF_A_BLOCK)
    pairs = CorrelatedBlocks.from_json(OF_TWO_BLOCKS)

    assert block.channel_days == [ChannelDay(**ROW)]
    assert block.to_json() == OF_A_BLOCK
    assert (pairs.file, pairs.pair_windows) == (None, 0)
    assert pairs.to_json() == OF_TWO_BLOCKS


def test_a_finished_block_is_restored_only_with_its_files_and_without_a_failed_channel(tmp_path):
    unit = PrepareUnit(DAY, 0)
    write(tmp_path, unit.name, OF_A_BLOCK)
    assert blocks.load_prepared(plan(tmp_path), unit) is None

    for name in ("I000.f4", "I000.npz"):
        (tmp_path / ".shelf/2020-01-01").mkdir(parents=True, exist_ok=True)
        (tmp_path / ".shelf/2020-01-01" / name).touch()
    assert blocks.load_prepared(plan(tmp_path), unit) == PreparedBlock.from_json(OF_A_BLOCK)
    assert blocks.load_prepared(plan(tmp_path, key="other"), unit) is None

    write(tmp_path, unit.name, OF_A_BLOCK | {"rows": [ROW | {"status": "failed"}]})
    assert blocks.load_prepared(plan(tmp_path), unit) is None


def test_correlated_blocks_are_restored_only_with_their_file(tmp_path):
    unit = CorrelateUnit(DAY, 0, 1)
    write(tmp_path, unit.name, OF_TWO_BLOCKS)
    record = blocks.load_correlated(plan(tmp_path), unit)
    assert record == CorrelatedBlocks.from_json(OF_TWO_BLOCKS)

    write(tmp_path, unit.name, OF_TWO_BLOCKS | {"file": f"CORR/{unit.name}.h5"})
    assert blocks.load_correlated(plan(tmp_path), unit) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": "k"}', '{"key": "k", "rows": [{}]}'])
def test_a_malformed_record_counts_as_missing(tmp_path, content):
    for name in ("2020-01-01", "2020-01-01/I000", "2020-01-01/I000-J001"):
        path = tmp_path / ".units" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    assert load_finished(plan(tmp_path), DAY) is None
    assert blocks.load_prepared(plan(tmp_path), PrepareUnit(DAY, 0)) is None
    assert blocks.load_correlated(plan(tmp_path), CorrelateUnit(DAY, 0, 1)) is None


def test_a_record_of_another_request_is_not_used(tmp_path):
    save_record(tmp_path, "2020-01-01/I000", PreparedBlock.from_json(OF_A_BLOCK))

    assert read_record(tmp_path, "2020-01-01/I000", "k") == OF_A_BLOCK
    assert read_record(tmp_path, "2020-01-01/I000", "other") == {}


def test_records_are_deleted_by_pattern(tmp_path):
    for name in ("2020-01-01/I000", "2020-01-01/I000-J001", "2020-01-02/I000-J001"):
        write(tmp_path, name, OF_TWO_BLOCKS)

    delete_records(tmp_path, "2020-01-01/*-J*")

    left = sorted(path.relative_to(tmp_path / ".units") for path in tmp_path.rglob("*.json"))
    assert [str(path) for path in left] == ["2020-01-01/I000.json", "2020-01-02/I000-J001.json"]
