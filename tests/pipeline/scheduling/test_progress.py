"""The progress of a running job: rates, shares and the time left."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import SimpleNamespace

import pytest
import tqdm

from xcor_daemon import cli
from xcor_daemon.demo import demo
from xcor_daemon.pipeline.datatypes import Progress
from xcor_daemon.pipeline.scheduling import progress, unit_progress
from xcor_daemon.pipeline.scheduling.progress import ProgressReporter
from xcor_daemon.pipeline.scheduling.unit_progress import (
    ProgressWriter,
    Rate,
    UnitProgress,
    read_progress,
)
from xcor_daemon.request.units import DayUnit

DAY = DayUnit(date(2019, 1, 1))


@dataclass
class Clock:
    """Gives the times of a list, then the last of them forever."""

    times: list[float] = field(default_factory=lambda: [0.0])

    def __call__(self) -> float:
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]


def rates(times, items):
    rate = Rate(Clock(list(times)))
    return [rate(done) for done in items]


def test_a_steady_rate_is_measured_exactly():
    # 4 items a second, from the first report on, after 2.5 s in which the first item was made
    found = rates([2.5 + k / 4 for k in range(9)], range(1, 10))
    assert found[:2] == [None, None]  # 0.25 s mean nothing
    assert found[2:] == pytest.approx([4.0] * 7)


def test_a_clock_that_stands_still_gives_no_rate():
    assert rates([7.0], range(1, 2000)) == [None] * 1999


@pytest.mark.parametrize("first", [0.0, 1e-9, 5e9])
def test_one_item_gives_no_rate(first):
    assert rates([first, first + 1e6], [1, 2]) == [None, None]


def test_a_clock_that_is_set_back_restarts_the_rate():
    times = [100.0, 101.0, 102.0, 50.0, 51.0, 52.0]
    found = rates(times, [0, 10, 20, 25, 30, 35])
    assert found == [None, 10.0, 10.0, None, 5.0, 5.0]


def test_a_clock_that_is_set_forward_gives_a_small_positive_rate():
    found = rates([0.0, 1.0, 1e9, 1e9 + 1], [0, 10, 20, 30])
    assert found == pytest.approx([None, 10.0, 20 / 1e9, 30 / (1e9 + 1)])


def test_items_that_start_again_restart_the_rate():
    assert rates([0.0, 1.0, 2.0, 3.0], [0, 10, 2, 5]) == [None, 10.0, None, 3.0]


@pytest.mark.parametrize(
    ("units", "sentence"),
    [
        ([UnitProgress(2, 24, "channels", None)], "2019-01-01: 2 of 24 channels"),
        ([UnitProgress(3, 24, "channels", 0.25)], "2019-01-01: 3 of 24 channels, 0.25/s"),
        ([UnitProgress(2000, 9000, "pair-windows", 1234.5)],
         "2019-01-01: 2,000 of 9,000 pair-windows, 1,234/s"),
        ([UnitProgress(3, 24, "channels", 4e-9)], "2019-01-01: 3 of 24 channels"),
        ([UnitProgress(3, 24, "channels", 2.0), UnitProgress(5, 24, "channels", 3.5)],
         "2019-01-01 and 1 more: 8 of 48 channels, 5.5/s"),
        ([UnitProgress(3, 24, "channels", 2.0), UnitProgress(1, 24, "channels", None)],
         "2019-01-01 and 1 more: 4 of 48 channels"),
        ([UnitProgress(3, 24, "channels", 2.0), UnitProgress(70, 90, "pair-windows", 30.0)],
         "2019-01-01 and 1 more: 3 of 24 channels, 2/s and 70 of 90 pair-windows, 30/s"),
    ],
)  # fmt: skip
def test_a_rate_is_shown_only_if_it_is_known_for_all_units(units, sentence):
    days = [DayUnit(DAY.day + timedelta(days=k)) for k in range(len(units))]
    assert progress._describe(dict(zip(days, units, strict=True))) == sentence


@pytest.mark.parametrize(
    "times",
    [[5.0], [k * 0.7 for k in range(200)], [0.0, 9.0, 1e9, 3.0, -1e9, 4.0, 5.0, 5.0, 6.0, 1e12]],
    ids=["still", "steady", "jumping"],
)
def test_progress_json_has_valid_numbers_for_any_clock(tmp_path, monkeypatch, times):
    monkeypatch.setattr(progress, "monotonic", Clock(list(times)))
    monkeypatch.setattr(unit_progress, "monotonic", Clock(list(times)))
    shown = []
    reporter = ProgressReporter(
        tmp_path, lambda p: shown.append((p.stage, p.eta, p.days_done + p.part))
    )
    meter = unit_progress.ProgressMeter()

    reporter.begin(4, 0)
    for day in range(4):
        for done in range(1, 25):
            unit = DayUnit(DAY.day + timedelta(days=day))
            progress_of_unit = meter.measure(done, 24, "channels")
            share = (day + progress_of_unit.share(unit)) / 4
            reporter.update(share, {unit: progress_of_unit})
        reporter.day_done(
            (day + 1) / 4, SimpleNamespace(day=str(unit.day), pairs=276, seconds=1.5, warnings=[])
        )
    reporter.stage("stacking")

    assert all("-1" not in stage.replace("2019-01-", "") for stage, _, _ in shown)
    assert not any(word in stage for stage, _, _ in shown for word in ("inf", "nan", "-,"))
    assert all(eta is None or 0 <= eta < 1e13 for _, eta, _ in shown)
    assert [part for _, _, part in shown] == sorted(part for _, _, part in shown)
    assert shown[-1] == ("stacking", None, pytest.approx(4))
    assert json.loads((tmp_path / "progress.json").read_text())["eta_s"] is None


def test_progress_is_written_after_the_clock_is_set_back(tmp_path, monkeypatch):
    clock = Clock([100.0])
    monkeypatch.setattr(unit_progress, "monotonic", clock)
    write = ProgressWriter(tmp_path, DAY)
    for seconds, done in ((101.0, 1), (40.0, 2), (41.0, 12), (42.0, 22)):
        clock.times = [seconds]
        write(done, 24, "channels")
        assert read_progress(tmp_path, DAY).done == done
    assert read_progress(tmp_path, DAY).rate == pytest.approx(10.0)


def test_the_progress_bar_shows_no_rate_of_its_own(monkeypatch, tmp_path):
    """The rate of tqdm would include days of an earlier run, and depend on the wall clock."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(tqdm.std, "time", Clock([1e9, 1e9 - 3600.0, 0.0]))
    with cli._progress_of(tmp_path) as show:
        show(Progress(stage="looking up stations and responses"))
        show(Progress("2019-01-05: 2 of 24 channels", 4, 8, 0.25, eta=1234.4))

    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith(f"{tmp_path.name}:  53% |")
    assert "| 4.25 of 8 days, 2019-01-05: 2 of 24 channels, about 1,234 s left" in last
    assert "/s" not in terminal.getvalue()
    assert "day/" not in terminal.getvalue()


def test_the_demo_does_not_repeat_a_stage_when_only_its_numbers_change(monkeypatch):
    printed = []
    monkeypatch.setattr(demo, "_print", printed.append)
    lines = demo._Lines()
    for stage in (
        "2019-01-01: 1 of 24 channels",
        "2019-01-01: 7 of 24 channels, 0.25/s",
        "2019-01-01: 24 of 24 channels, 1,234/s",
        "2019-01-01: 5 of 12,696 pair-windows",
    ):
        lines({"state": "running", "stage": stage})
    assert printed == [
        "  running: 2019-01-01: 1 of 24 channels",
        "  running: 2019-01-01: 5 of 12,696 pair-windows",
    ]
