"""How a job is split into units, and which executor it gets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from xcor_daemon.config import Config
from xcor_daemon.errors import RequestError
from xcor_daemon.request.cost import estimate, requirements
from xcor_daemon.request.params import XcorParams
from xcor_daemon.request.parse import XcorRequest
from xcor_daemon.request.stations import Channel
from xcor_daemon.request.units import DayUnit, Units
from xcor_daemon.workers.placement import DASK, PROCESSES, choose_executor, local_limit

START = datetime(2020, 1, 1, tzinfo=UTC)
DAY = START.date()
PARAMS = XcorParams(fs=10, freqmin=0.1, freqmax=1, cc_step=3600, cc_len=3600, maxlag=100)


def request(stations, days=1, letters="Z", **params):
    span = ((START, START + timedelta(days=days)),)
    channels = tuple(
        Channel("XX", f"S{k:04}", "", f"BH{c}", span) for k in range(stations) for c in letters
    )
    return XcorRequest(channels, replace(PARAMS, **params))


def test_a_small_day_is_one_unit_and_one_file():
    units = Units(request(60, days=3))

    unit = units.of(DAY)
    assert isinstance(unit, DayUnit)
    assert unit.name == "2020-01-01"
    assert (units.n_units, units.n_files, units.scratch_bytes) == (3, 3, 0)


def test_a_day_of_many_channels_is_split_into_equal_blocks():
    units = Units(request(1000), max_channels=300, max_bytes=1e18)

    split = units.of(DAY)

    assert [len(units.blocks(DAY)[k]) for k in range(4)] == [250] * 4
    assert [unit.name for unit in split.prepare] == [f"2020-01-01/I{k:03}" for k in range(4)]
    names = [(i, j) for i in range(4) for j in range(i, 4)]
    assert [unit.name for unit in split.correlate] == [
        f"2020-01-01/I{i:03}-J{j:03}" for i, j in names
    ]
    assert units.n_files == 10


def test_no_file_of_a_block_exceeds_the_limit():
    many = request(300, cc_step=450, cc_len=1800, maxlag=60)
    most = 500e6
    units = Units(many, max_bytes=most)

    each = 189 * 1201 * 4
    sizes = [len(members) for members in units.blocks(DAY).values()]
    assert max(sizes) ** 2 * each <= most
    assert max(sizes) - min(sizes) <= max(sizes) / 2
    assert sum(sizes) == 300


def test_components_of_a_station_stay_together():
    units = Units(request(10, letters="ENZ"), max_channels=7, max_bytes=1e18)

    for members in units.blocks(DAY).values():
        assert len(members) <= 7
        assert len(members) % 3 == 0


@pytest.mark.parametrize(
    "params",
    [{}, {"components": ("ZZ", "EN")}, {"same_station": False}, {"autocorrelations": True}],
)
def test_every_pair_is_counted_in_one_unit(params):
    some = request(12, letters="ENZ", whiten=False, **params)
    units = Units(some, max_channels=7, max_bytes=1e18)

    total = sum(unit.cost for unit in units.of(DAY).correlate)
    one = Units(some).of(DAY)
    assert total == pytest.approx(one.cost * (1 - one.prepare_share), rel=1e-9)


def test_blocks_are_the_same_on_days_with_fewer_channels():
    full = request(20, days=2)
    later = ((START + timedelta(days=1), START + timedelta(days=2)),)
    channels = tuple(replace(c, spans=later) if k < 3 else c for k, c in enumerate(full.channels))
    units = Units(XcorRequest(channels, PARAMS), max_channels=5, max_bytes=1e18)

    first, second = units.blocks(DAY), units.blocks(date(2020, 1, 2))

    assert [len(first[k]) for k in sorted(first)] == [2, 5, 5, 5]
    assert all(set(first[k]) <= set(second[k]) for k in first)


def test_a_job_within_the_limit_runs_locally_and_a_larger_one_on_the_cluster():
    job = request(400, days=30)
    price = estimate(job)
    hours = price.core_seconds / 3600
    small, large = Config(local_limit=hours * 0.9), Config(local_limit=hours * 1.1)
    cluster = replace(small, dask_address="tls://10.0.0.1:8786")

    assert choose_executor(job, price, large) == PROCESSES
    assert choose_executor(job, price, cluster) == DASK
    assert choose_executor(job, price, replace(small, executor="processes")) == PROCESSES
    with pytest.raises(RequestError, match=rf"about {hours:,.0f} core-hours, .*docs/scale.md"):
        choose_executor(job, price, small)


def test_the_default_limit_is_processes_times_deadline():
    assert local_limit(Config(processes=4, deadline=7200)) == 8


def test_requirements_equal_those_counted_by_hand():
    job = request(1000, days=10, substack=86400)
    price = estimate(job)
    takes = requirements(job, price)

    assert takes.files == 10 * 10  # four blocks of 250
    assert takes.units == 10 * 14
    assert takes.scratch_bytes == 2 * 1000 * 24 * 36000 * 4
    assert takes.to_json()["bytes_waiting"] == takes.scratch_bytes
    assert takes.days_of_download == pytest.approx(price.bytes_in / 40e6 / 86400, abs=0.01)
