"""The order of units, and the results of days, with units that compute nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from xcor_daemon.errors import DiskError
from xcor_daemon.pipeline.datatypes import ChannelDay, Metadata
from xcor_daemon.pipeline.executors import InProcessExecutor
from xcor_daemon.pipeline.scheduling.schedule import Schedule, UnitRunner, run_schedule
from xcor_daemon.pipeline.scheduling.unit_progress import UnitProgress
from xcor_daemon.pipeline.units.plan import DayPlan
from xcor_daemon.pipeline.units.records import (
    CorrelatedBlocks,
    DayResult,
    PreparedBlock,
    save_record,
)
from xcor_daemon.request.params import XcorParams
from xcor_daemon.request.parse import XcorRequest
from xcor_daemon.request.stations import Channel
from xcor_daemon.request.units import DayUnit, PrepareUnit, Units

START = datetime(2020, 1, 1, tzinfo=UTC)
DAYS = [date(2020, 1, 1), date(2020, 1, 2)]
PARAMS = XcorParams(1, 0.05, 0.2, 3600, 3600, 60)


def channels(n):
    span = ((START, START + timedelta(days=len(DAYS))),)
    return tuple(Channel("XX", f"S{k}", "", "LHZ", span) for k in range(n))


def runner(folder, max_channels):
    """A runner for four channels on two days; its plan has no source, for nothing is fetched."""
    request = XcorRequest(channels(4), PARAMS)
    plan = DayPlan(folder, PARAMS, source=None, metadata=Metadata({}), key="k")
    return UnitRunner(plan, Units(request, max_channels=max_channels, max_bytes=1e18))


def rows_of(units, unit):
    members = units.blocks(unit.day)[unit.block]
    return [ChannelDay(str(unit.day), channel.id, "kept") for channel in members]


def run(schedule, fails=(), error=None):
    """Run all units; gives those that were run and the days in the order in which they ended."""
    ran, days = [], []

    def work(unit):
        ran.append(unit)
        if unit.name in fails:
            raise error or ValueError("broken")
        if isinstance(unit, DayUnit):
            return DayResult(str(unit.day), "k", [], 0, 0, [])
        if isinstance(unit, PrepareUnit):
            return PreparedBlock("k", rows_of(schedule.runner.units, unit), [], 1.0)
        return CorrelatedBlocks("k", None, 2, 48, 0.5)

    run_schedule(schedule, InProcessExecutor(work), lambda running: None, days.append)
    return ran, days


def test_unsplit_days_are_run_in_their_order(tmp_path):
    schedule = Schedule(runner(tmp_path, max_channels=4), DAYS)

    ran, days = run(schedule)

    assert [unit.name for unit in ran] == ["2020-01-01", "2020-01-02"]
    assert [result.day for result in days] == ["2020-01-01", "2020-01-02"]
    assert list(schedule.results) == DAYS


def test_pairs_of_blocks_are_run_after_all_blocks_of_their_day(tmp_path):
    schedule = Schedule(runner(tmp_path, max_channels=2), DAYS[:1])

    ran, (result,) = run(schedule)

    names = ["I000", "I001", "I000-J000", "I000-J001", "I001-J001"]
    assert [unit.name for unit in ran] == [f"2020-01-01/{name}" for name in names]
    assert (result.pairs, result.pair_windows, result.seconds) == (6, 144, 3.5)
    assert [row.channel for row in result.channel_days] == [c.id for c in channels(4)]


def test_a_block_that_fails_is_left_out_of_the_pairs_and_its_channels_are_failed(tmp_path):
    schedule = Schedule(runner(tmp_path, max_channels=2), DAYS[:1])

    ran, (result,) = run(schedule, fails={"2020-01-01/I000"})

    assert [unit.name for unit in ran[2:]] == ["2020-01-01/I001-J001"]
    assert ran[2].failed_blocks == (0,)
    assert [row.status for row in result.channel_days] == ["failed", "failed", "kept", "kept"]
    assert result.failed_units == ["2020-01-01/I000: ValueError: broken"]
    assert schedule.failed_days == [
        {"day": "2020-01-01", "reason": "2020-01-01/I000: ValueError: broken"}
    ]


def test_a_day_that_fails_is_reported_and_the_next_is_run(tmp_path):
    schedule = Schedule(runner(tmp_path, max_channels=4), DAYS)

    _, days = run(schedule, fails={"2020-01-01"})

    assert [result.day for result in days] == ["2020-01-02"]
    assert schedule.failed_days == [{"day": "2020-01-01", "reason": "ValueError: broken"}]


def test_a_full_disk_ends_the_run(tmp_path):
    schedule = Schedule(runner(tmp_path, max_channels=4), DAYS)

    with pytest.raises(DiskError, match="full"):
        run(schedule, fails={"2020-01-01"}, error=DiskError("full"))


def test_finished_days_are_not_run_again(tmp_path):
    save_record(tmp_path, "2020-01-01", DayResult("2020-01-01", "k", [], 0, 0, []))
    schedule = Schedule(runner(tmp_path, max_channels=4), DAYS)

    ran, _ = run(schedule)

    assert (schedule.restored, schedule.todo) == (1, DAYS[1:])
    assert [unit.name for unit in ran] == ["2020-01-02"]


def test_finished_units_of_a_split_day_are_not_run_again_and_not_part_of_its_share(tmp_path):
    work = runner(tmp_path, max_channels=2)
    first, second = work.units.of(DAYS[0]).prepare
    save_record(tmp_path, first.name, PreparedBlock("k", rows_of(work.units, first), [], 1.0))
    (tmp_path / ".shelf/2020-01-01").mkdir(parents=True)
    for name in ("I000.f4", "I000.npz"):
        (tmp_path / ".shelf/2020-01-01" / name).touch()
    schedule = Schedule(work, DAYS[:1])

    assert schedule.next() == second
    pairs = work.units.of(DAYS[0]).correlate
    left = second.cost + sum(unit.cost for unit in pairs)
    running = {second: UnitProgress(1, 2, "channels", None)}
    assert schedule.share(running) == pytest.approx(0.5 * second.cost / left)


def test_the_share_of_a_day_counts_its_channels_and_then_its_pair_windows(tmp_path):
    schedule = Schedule(runner(tmp_path, max_channels=4), DAYS)
    unit = schedule.next()
    prepare = unit.prepare_share

    assert 0 < prepare < 1
    assert schedule.share() == 0
    channels_done = schedule.share({unit: UnitProgress(4, 4, "channels", None)})
    assert channels_done == pytest.approx(prepare / 2)
    half_of_the_windows = schedule.share({unit: UnitProgress(5, 10, "pair-windows", None)})
    assert half_of_the_windows == pytest.approx((prepare + (1 - prepare) / 2) / 2)


class SlowDownloads:
    """Downloads of which each day is ready only when it is asked for the second time."""

    def __init__(self):
        self.calls = []

    def is_ready(self, day, timeout=0.0):
        self.calls.append(day)
        return self.calls.count(day) > 1


def test_a_day_is_run_only_when_its_download_is_ready(tmp_path):
    schedule = Schedule(runner(tmp_path, max_channels=4), DAYS)
    schedule.downloads = SlowDownloads()

    assert schedule.next() is None
    assert schedule.downloading == DAYS[0]
    unit = schedule.next()
    assert unit == schedule.runner.units.of(DAYS[0])
    assert schedule.downloading is None
    schedule.downloads.calls.clear()

    ran, _ = run(schedule)

    assert [one.name for one in ran] == ["2020-01-02"]
    assert replace(unit, day=DAYS[1]) == ran[0]
