"""Windows inside the requested times and all figures that follow, against an enumeration."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import combinations_with_replacement
from pathlib import Path

import h5py
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import network_job

from xcor_daemon import demo
from xcor_daemon.pipeline.run import correlate_job
from xcor_daemon.request.cost import estimate
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.request.params import XcorParams
from xcor_daemon.request.parse import XcorRequest, read_request
from xcor_daemon.request.stations import Channel
from xcor_daemon.request.units import Units
from xcor_daemon.request.windows import WindowGrid

SAMPLE = Path(demo.__file__).parent / "data"
FIRST = datetime(2019, 12, 30, tzinfo=UTC)
N_DAYS = 4
# Samples are 100 s apart, so that all of them can be enumerated.
PARAMS = XcorParams(
    fs=0.01, freqmin=0.001, freqmax=0.004, cc_step=1800, cc_len=3600, maxlag=300, whiten=False
)


@dataclass
class Counted:
    """A request, counted by an enumeration of its samples, windows and pairs."""

    kept: dict[tuple[date, str], set[int]]  # windows of a channel-day
    pairs: dict[date, list[tuple[Channel, Channel]]]  # of channels with a window
    shared: dict[date, int]  # windows of pairs
    rows: dict[date, int]  # output windows


def count(request: XcorRequest) -> Counted:
    p = request.params
    n_samples, n_step = round(p.cc_len * p.fs), round(p.cc_step * p.fs)
    starts = [k * n_step for k in range(864) if k * n_step + n_samples <= 864]
    out = Counted({}, {}, {}, {})
    for k in range(N_DAYS):
        midnight = FIRST + timedelta(days=k)
        day = midnight.date()
        times = [midnight + timedelta(seconds=100 * n) for n in range(864)]
        for c in request.channels:
            real = [any(start <= time < end for start, end in c.spans) for time in times]
            least = p.min_coverage * n_samples - 1e-9
            kept = {w for w, a in enumerate(starts) if sum(real[a : a + n_samples]) >= least}
            out.kept[day, c.id] = kept
        present = [c for c in request.channels if out.kept[day, c.id]]
        both = combinations_with_replacement(present, 2)
        named = [{*row} for row in request.pairs]
        pairs = [
            (a, b) for a, b in both
            if p.selects(a, b) and (not named or any({a.id, b.id} == one for one in named))
        ]  # fmt: skip
        out.pairs[day] = pairs
        out.shared[day] = sum(
            len(out.kept[day, a.id] & out.kept[day, b.id]) for a, b in pairs
        )  # fmt: skip
        least = 1 if p.autocorrelations else 2
        used = [w for w in range(len(starts))
                if sum(w in out.kept[day, c.id] for c in present) >= least]  # fmt: skip
        length = p.substack or p.cc_step
        out.rows[day] = len({int(w * p.cc_step // length) for w in used})
    return out


@st.composite
def spans(draw):
    """One to three spans of the week, to the minute, disjoint, in order; most end at odd times."""
    most = N_DAYS * 1440
    some = st.integers(0, most) | st.sampled_from([k * 1440 for k in range(N_DAYS + 1)])
    size = draw(st.sampled_from([2, 2, 4, 6]))
    edges = sorted(draw(st.lists(some, min_size=size, max_size=size, unique=True)))
    times = [FIRST + timedelta(minutes=edge) for edge in edges]
    return tuple(zip(times[::2], times[1::2], strict=True))


@st.composite
def requests(draw):
    kinds = draw(st.lists(spans(), min_size=1, max_size=4))
    made = {}
    for k in range(draw(st.integers(1, 6))):
        one = Channel(
            "XX", draw(st.sampled_from("ABC")), f"{k:02d}",
            "BH" + draw(st.sampled_from("ZN1")), draw(st.sampled_from(kinds)),
            sample_rate=draw(st.sampled_from([None, 20.0])),
        )  # fmt: skip
        made[one.id] = one
    channels = tuple(made[key] for key in sorted(made))
    cc_step = draw(st.sampled_from([600, 1800, 3600, 7000, 86400]))
    params = replace(
        PARAMS,
        cc_step=cc_step,
        cc_len=draw(st.sampled_from([1000, 3600, 10000, 86400])),
        min_coverage=draw(st.sampled_from([1.0, 0.9, 0.5, 0.05])),
        substack=draw(st.sampled_from([0, 0, max(cc_step, 21600), 86400])),
        autocorrelations=draw(st.booleans()),
        same_station=draw(st.booleans()),
        components=draw(st.sampled_from([(), ("ZZ",), ("ZN", "NN"), ("Z?",), ("?N", "NZ")])),
    )
    ids = [c.id for c in channels]
    names = st.lists(st.tuples(st.sampled_from(ids), st.sampled_from(ids)), min_size=1, max_size=4)
    return XcorRequest(channels, params, tuple(draw(st.just([]) | names)))


@settings(max_examples=150, deadline=None)
@given(request=requests())
def test_the_estimate_equals_an_enumeration(request):
    slow, p = count(request), request.params
    days = [day for day in slow.pairs if slow.shared[day]]
    present = {day: {i for (d, i), kept in slow.kept.items() if d == day and kept} for day in days}
    rates = {c.id: c.sample_rate or LIMITS["cost"]["fs_unknown"] for c in request.channels}

    got = estimate(request)

    assert request.days == tuple(days)
    for day in slow.pairs:
        asked = {c.id for c in request.on(day)}
        assert asked == {i for (d, i), kept in slow.kept.items() if d == day and kept}
    assert got.days == len(days)
    assert got.pair_windows == sum(slow.shared.values())
    assert got.pair_days == sum(len(slow.pairs[day]) for day in days)
    output = sum(len(slow.pairs[day]) * slow.rows[day] for day in days)
    assert got.bytes_out == output * (2 * p.n_lags + 1) * 4
    downloaded = sum(rates[i] * 86400 for day in days for i in present[day])
    assert got.bytes_in == round(downloaded * LIMITS["cost"]["bytes_per_sample"])
    seconds = LIMITS["cost"]
    windows = sum(len(slow.kept[day, i]) for day in days for i in present[day])
    assert got.core_seconds == pytest.approx(
        sum(map(len, present.values())) * seconds["per_channel_day"]
        + windows * seconds["per_channel_window"]
        + got.pair_windows * seconds["per_pair_window"],
        abs=0.051,
    )  # fmt: skip
    different = {
        (a.id, b.id) for day in days for a, b in slow.pairs[day]
        if slow.kept[day, a.id] & slow.kept[day, b.id]
    }  # fmt: skip
    assert len(different) <= got.pairs <= max(got.pair_days, len(different))
    if all(len(c.spans) == 1 for c in request.channels) and p.min_coverage == 1:
        assert got.pairs == len(different)


@settings(max_examples=100, deadline=None)
@given(request=requests())
def test_the_cost_of_all_units_is_that_of_the_estimate(request):
    units = Units(request)
    whole = sum(units.cost(day) for day in request.days)

    assert whole == pytest.approx(estimate(request).core_seconds, abs=0.051)
    blocks = Units(request, max_channels=2)
    split = sum(blocks.cost(day) for day in request.days)
    assert split == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(
    ("hours", "min_coverage", "n"),
    [
        ([(0, 24)], 1, 47),  # cc_len 1 h, cc_step 0.5 h
        ([(-30, 50)], 1, 47),
        ([(0, 4)], 1, 7),
        ([(0, 4 - 0.1 / 3600)], 1, 6),  # without its last sample
        ([(0.1, 4)], 1, 6),
        ([(0.1, 4)], 0.5, 8),
        ([(0, 2), (3, 5)], 1, 6),
        ([(0, 0.6), (0.65, 1)], 0.9, 1),  # no span alone holds that much of a window
        ([(24, 30)], 0.1, 0),
    ],
)
def test_the_windows_of_a_day_inside_spans(hours, min_coverage, n):
    grid = WindowGrid(fs=10, cc_step=1800, cc_len=3600, min_coverage=min_coverage)
    times = [tuple(FIRST + timedelta(hours=hour) for hour in span) for span in hours]

    assert sum(b - a for a, b in grid.on(FIRST.toordinal(), times)) == n


def test_windows_of_one_sample_are_counted_without_enumeration():
    # A day of 86,400,000 windows; the answer is arithmetic.
    grid = WindowGrid(fs=1000, cc_step=0.001, cc_len=0.001, min_coverage=0.5)
    noon = FIRST + timedelta(hours=12)
    spans = ((FIRST, noon), (noon + timedelta(seconds=1), FIRST + timedelta(days=2)))

    runs = grid.runs(spans)

    assert sum(b - a for a, b in runs) == 2 * 86_400_000 - 1000


def test_an_hour_of_five_thousand_channels_is_not_a_day_of_them():
    hour = ((FIRST, FIRST + timedelta(hours=1)),)
    channels = tuple(Channel("XX", f"S{k:04d}", "", "BHZ", hour) for k in range(5000))
    params = XcorParams(fs=10, freqmin=0.1, freqmax=2, cc_step=900, cc_len=1800, maxlag=60)

    got = estimate(XcorRequest(channels, params))

    assert got.pairs == got.pair_days == 5000 * 4999 // 2
    assert got.pair_windows == 3 * got.pairs  # from 0, 15 and 30 minutes on
    assert got.bytes_out == 3 * got.pairs * 1201 * 4


HEADER = "Network,Station,Location,Channel,StartDate,EndDate"
ODD = "2020-01-01T03:20:10,2020-01-02T21:07:00"
TWICE = ("2020-01-01T00:10:00,2020-01-01T04:59:59", "2020-01-01T22:30:00,2020-01-03T00:00:00")
BRIEF = "2020-01-01T23:40:00,2020-01-02T00:30:00"  # no whole window of an hour


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Three days of stations with all samples, except the third day, which is not used."""
    return network_job(tmp_path_factory.mktemp("whole"), 6, 3).source


@pytest.mark.parametrize(
    ("params", "pairs"),
    [
        ({}, ""),
        ({"autocorrelations": True, "substack": 21600}, ""),
        ({"min_coverage": 0.5, "cc_len": 5000, "cc_step": 3000}, ""),
        ({}, "First,Second\nXX.S000,XX.S001\nXX.S003,XX.S001\n"),
        ({"cc_step": 86400, "cc_len": 80000, "substack": 86400, "min_coverage": 0.2}, ""),
    ],
)
@pytest.mark.parametrize("max_channels", [250, 2])
def test_the_pipeline_makes_the_estimated_windows_of_complete_data(
    archive, params, pairs, max_channels, tmp_path, monkeypatch
):
    monkeypatch.setitem(LIMITS["channel_blocks"], "max_channels", max_channels)
    rows = [(0, ODD), (1, TWICE[0]), (1, TWICE[1]), (3, ODD), (4, BRIEF), (5, TWICE[1])]
    lines = [f"XX,S{station:03},,LHZ,{span}" for station, span in rows]
    (tmp_path / "stations.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    values = {"fs": 1, "freqmin": 0.05, "freqmax": 0.2, "cc_step": 1800, "cc_len": 3600,
              "maxlag": 60, "response": "none", **params}  # fmt: skip
    texts = ",".join(values), ",".join(map(str, values.values()))
    (tmp_path / "params.csv").write_text("\n".join(texts))
    if pairs:
        (tmp_path / "pairs.csv").write_text(pairs)
    request = read_request(tmp_path)
    expected = estimate(request)

    outputs = correlate_job(tmp_path, archive, 1, images=False)

    records = [json.loads(path.read_text()) for path in (tmp_path / ".units").glob("*.json")]
    assert sum(record["windows_kept"] for record in records) == expected.pair_windows
    assert outputs["units"]["done"] == expected.days == len(request.days)
    assert outputs["units"]["empty"] == 0
    sizes, n_pairs = 0, 0
    for path in (tmp_path / "CORR").rglob("*.h5"):
        with h5py.File(path) as file:
            sizes += file["corr"].id.get_storage_size()
            n_pairs += file["corr"].shape[0]
    if max_channels == 250:
        assert (sizes, n_pairs) == (expected.bytes_out, expected.pair_days)
    else:  # a file of two blocks that share no window is not written
        assert sizes <= expected.bytes_out
    with (tmp_path / "summary.csv").open() as file:
        summary = list(csv.DictReader(file))
    assert all(row["windows"] == row["windows_kept"] != "0" for row in summary)
    assert {(row["day"], row["channel"]) for row in summary} == {
        (str(day), channel.id) for day in request.days for channel in request.on(day)
    }


def test_the_sample_job_is_estimated_as_its_channels_keep_it(tmp_path):
    """Its four hours have 47 windows; the data of all channels end within the last."""
    shutil.copytree(SAMPLE / "job", tmp_path, dirs_exist_ok=True)
    expected = estimate(read_request(tmp_path))

    outputs = correlate_job(tmp_path, f"archive:{SAMPLE / 'norsar_2019_001'}", images=False)

    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["windows"], row["windows_kept"]) for row in rows} == {("47", "46")}
    assert expected.pair_windows == 276 * 47
    assert outputs["summary"]["windows_kept"] == 276 * 46 == 12696
