"""Every column of params.csv that is optional changes the result, or is refused; none is idle."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import h5py
import numpy as np
import pytest
from truth import DAY, MIDNIGHT, SPAN, utc

from xcor_daemon.errors import RequestError
from xcor_daemon.pipeline.datatypes import NS, Epoch, Metadata, ResponseCurve, Samples, Segment
from xcor_daemon.pipeline.preprocessing import time_normalisation
from xcor_daemon.pipeline.preprocessing.channel import prepare
from xcor_daemon.pipeline.preprocessing.windows import preprocess_windows
from xcor_daemon.pipeline.products.products import correlation_products
from xcor_daemon.pipeline.units import channels
from xcor_daemon.pipeline.units.buffer import ChannelBuffer
from xcor_daemon.pipeline.units.day import correlate_day
from xcor_daemon.pipeline.units.plan import DayPlan
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.request.params import XcorParams
from xcor_daemon.request.stations import Channel

FS, HOURS = 4.0, 5
BASE = XcorParams(fs=2, freqmin=0.1, freqmax=0.5, cc_step=900, cc_len=900, maxlag=60)
SPANS = ((utc("2020-01-01"), utc("2020-01-02")),)
PLACES = {"S00": (0.0, 0.0), "S01": (0.0, 0.3), "S02": (5.0, 5.0)}
CHANNELS = [Channel("XX", station, "", f"BH{c}", SPANS) for station in PLACES for c in "ENZ"]


@dataclass
class Field:
    """Three stations of three components under one wave field; S00 is spoilt in five ways."""

    name = "field"

    def metadata(self, channels, response):
        frequency = np.geomspace(1e-5, 2, 200)
        power = {"displacement": 1, "acceleration": -1}.get(response, 0)
        amplitude = np.log(1e9) + power * np.log(2 * np.pi * frequency)
        curve = ResponseCurve(frequency, amplitude, np.full(200, power * np.pi / 2))
        return Metadata(
            {c.id: (Epoch(0, 1 << 62, *PLACES[c.station], 0.0, curve),) for c in channels}
        )

    def fetch(self, channels, start, end):
        for channel in channels:
            yield channel, self.samples(channel)

    def samples(self, channel):
        component, station = "ENZ".index(channel.channel[-1]), int(channel.station[-1])
        n = round(HOURS * 3600 * FS)
        common = np.random.default_rng(component).normal(0, 500, n + 200)
        own = np.random.default_rng([station, component]).normal(0, 400, n)
        data = common[20 * station : 20 * station + n] + own
        quake = np.exp(-(((np.arange(n) / FS - 4000) / 100) ** 2))
        data += quake * 1e4 * np.sin(2 * np.pi * 0.03 * np.arange(n) / FS)
        if station == 0:
            data[30_000] += 2e5  # a spike
            data[40_000:44_000] *= 30  # a loud quarter of an hour
            data[50_000:50_200] = 7  # 50 s flat
            data[10_000:10_010] = 3e6  # at the limit
        if station == 0 and component == 2:
            data *= 1e-9  # dead
        data = data.astype(np.int32)
        pieces = [(0, 20_000), (20_200, n)] if station == 1 else [(0, n)]
        segments = [Segment(MIDNIGHT + round(a / FS * NS), FS, data[a:b]) for a, b in pieces]
        if station == 2:  # a clock that was set by 0.1 s
            whole = segments.pop()
            late = MIDNIGHT + round((60_000 / FS + 0.1) * NS)
            segments += [replace(whole, data=data[:60_000]), Segment(late, FS, data[60_000:])]
        return Samples(tuple(segments), "field", data.nbytes)


def result(tmp_path, params):
    """The file of a day and its rows."""
    source = Field()
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    metadata = source.metadata(CHANNELS, params.response)
    done = correlate_day(DayPlan(folder, params, source, metadata, "key"), DAY, CHANNELS)
    with h5py.File(folder / done.files[0]) as file:
        names = ("corr", "first", "second", "window", "lag")
        # As text, in which not-a-number equals itself.
        return {name: str(file[name][:].tolist()) for name in names}, done


# column: (what else must be set, its value)
CASES = {
    "response": [({}, "displacement"), ({}, "acceleration"), ({}, "none")],
    "time_norm": [({}, "onebit"), ({}, "clip"), ({}, "mute"), ({}, "ram")],
    "clip_factor": [({"time_norm": "clip"}, 1.0)],
    "clamp": [({"time_norm": "clamp", "clamp": 1.0, "whiten": False}, 1e-7)],
    "mute_factor": [({"time_norm": "mute"}, 1.2)],
    "ram_window": [({"time_norm": "ram"}, 100.0)],
    "ram_freqmin": [({"time_norm": "ram", "ram_freqmax": 0.06, "ram_freqmin": 0.01}, 0.02)],
    "ram_freqmax": [({"time_norm": "ram", "ram_freqmin": 0.02, "ram_freqmax": 0.06}, 0.05)],
    "ram_shared": [({"time_norm": "ram"}, True)],
    "whiten": [({}, False)],
    "skirt_low": [({}, 0.05)],
    "skirt_high": [({}, 0.01)],
    "method": [
        ({"whiten": False}, "coherence"),
        ({"whiten": False}, "deconvolution"),
        ({}, "phase"),
    ],
    "water_level": [
        ({"whiten": False, "method": "coherence"}, 1.0),
        ({"whiten": False, "method": "deconvolution"}, 1.0),
    ],
    "circular": [({}, True)],
    "normalisation": [({}, "coefficient")],
    "autocorrelations": [({}, True)],
    "same_station": [({}, False)],
    "components": [({}, ("ZZ",)), ({}, ("Z?",)), ({}, ("??",))],
    "max_distance": [({}, 100.0)],
    "substack": [({}, 3600.0)],
    "min_coverage": [({}, 0.5)],
    "drop_dead": [({}, True)],
    "max_flat": [({}, 40.0)],
    "drop_clipped": [({}, True)],
    "max_std": [({}, 10.0)],
    "max_median": [({}, 10.0)],
    "max_steps": [({}, 0.0)],
}
PARAMETERS = [(name, *case) for name, cases in CASES.items() for case in cases]


def test_the_table_has_every_optional_column():
    optional = {name for name, limit in LIMITS["params"].items() if not limit.get("required")}

    # Which source a name stands for is known to the host: tests of its settings try it.
    # Rotation makes a file more: a test of its own.
    assert CASES.keys() == optional - {"source", "rotate"}
    assert {field.name for field in fields(XcorParams)} == LIMITS["params"].keys()


@pytest.mark.parametrize(("name", "base", "value"), PARAMETERS, ids=lambda x: str(x)[:40])
def test_every_option_changes_the_result(tmp_path, name, base, value):
    plain, _ = result(tmp_path, replace(BASE, **base))
    changed, done = result(tmp_path, replace(BASE, **{**base, name: value}))

    if value == ("??",):
        assert changed == plain  # every pair, which is what is asked for
        return
    assert changed != plain
    rule = name if name in ("max_flat", "drop_clipped", "max_std", "max_median") else ""
    assert any(rule in row.dropped for row in done.channel_days)
    if name in ("drop_dead", "max_steps"):
        assert "refused" in {row.status for row in done.channel_days}


def test_rotated_stacks_are_a_file_of_nine_components(tmp_path):
    params = replace(BASE, rotate=True)
    _, done = result(tmp_path, params)

    made, _ = correlation_products(tmp_path / "0", [done], params, 1)

    assert made == [
        "CORR/rows.json",
        "STACK/linear.h5",
        "STACK/linear.csv",
        "STACK/linear-RTZ.h5",
        "STACK/linear-RTZ.csv",
    ]
    with h5py.File(tmp_path / "0/STACK/linear-RTZ.h5") as file:
        ends = [name[-1] for name in file["first"].asstr()[:9]]
        assert "".join(ends) == "RRRTTTZZZ"
        # Spoilt S00 keeps some windows with both others.
        assert np.isfinite(file["stack"][:]).all()


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"clip_factor": 2.0}, "clip_factor"),
        ({"clamp": 2.0}, "clamp"),
        ({"time_norm": "clamp"}, "clamp"),
        ({"mute_factor": 2.0, "time_norm": "ram"}, "mute_factor"),
        ({"ram_window": 20.0}, "ram_window"),
        ({"ram_freqmin": 0.02, "ram_freqmax": 0.06}, "ram_freqmin"),
        ({"time_norm": "ram", "ram_freqmin": 0.02}, "ram_freqmax"),
        ({"time_norm": "ram", "ram_freqmax": 0.2}, "ram_freqmin"),
        ({"time_norm": "ram", "ram_freqmin": 0.2, "ram_freqmax": 0.1}, "ram_freqmax"),
        ({"ram_shared": True}, "ram_shared"),
        ({"skirt_low": 0.05, "whiten": False}, "skirt_low"),
        ({"skirt_low": 0.051}, "skirt_low"),
        ({"water_level": 0.1}, "water_level"),
        ({"method": "coherence"}, "method"),
        ({"method": "deconvolution"}, "method"),
        ({"method": "deconvolution", "whiten": False, "normalisation": "coefficient"}, "normal"),
        ({"method": "phase", "normalisation": "coefficient"}, "normalisation"),
        ({"rotate": True, "components": ("ZZ", "Z?", "?Z")}, "rotate"),
        ({"substack": 60.0}, "substack"),
        ({"drop_dead": True, "response": "none"}, "drop_dead"),
    ],
    ids=str,
)
def test_options_that_contradict_each_other_are_rejected(changes, column):
    with pytest.raises(RequestError, match=f"{column}"):
        replace(BASE, **changes)


def motion_of(params, channel, tmp_path):
    """Ground motion of one channel of the field; and of all of its station, normalised."""
    source = Field()
    station = [one for one in CHANNELS if one.station == channel.station]
    plain, days = {}, {}
    with (
        ChannelBuffer(tmp_path, 3, 172800) as buffer,
        ChannelBuffer(tmp_path, 3, 172800) as weights,
    ):
        for k, one in enumerate(station):
            epochs = source.metadata([one], params.response).epochs[one.id]
            samples = source.samples(one)
            covered = prepare(samples, epochs, SPAN, DAY, params)
            series = plain[one.id] = covered.motion()
            weight = time_normalisation.band_weights(samples, epochs, DAY, params)
            weight = time_normalisation.day_weights(series, weight, params)
            if params.ram_shared:
                weights.write(k, weight)
            else:
                series = time_normalisation.normalise_day(
                    series, covered.candidates, weight, params
                )
            buffer.write(k, series)
        if params.ram_shared:
            (indices,) = channels.group_components({one.id: k for k, one in enumerate(station)})
            channels.divide_components(buffer, weights, indices)
        for k, one in enumerate(station):
            days[one.id] = buffer.read(k)
    return plain, days


def test_an_earthquake_outside_the_band_weighs_down_the_data_of_its_time(tmp_path):
    params = replace(BASE, time_norm="ram", ram_freqmin=0.02, ram_freqmax=0.06)
    name = CHANNELS[3].id

    plain, days = motion_of(params, CHANNELS[3], tmp_path)

    ratio = np.abs(days[name]) / np.maximum(np.abs(plain[name]), 1e-30)
    quake, quiet = slice(2 * 3950, 2 * 4050), slice(2 * 12_000, 2 * 12_100)
    assert np.median(ratio[quiet]) > 10 * np.median(ratio[quake])


def test_components_that_share_a_weight_keep_their_ratios(tmp_path):
    params = replace(BASE, time_norm="ram", ram_freqmin=0.02, ram_freqmax=0.06, ram_shared=True)

    plain, days = motion_of(params, CHANNELS[3], tmp_path)

    e, z = CHANNELS[3].id, CHANNELS[5].id
    some = np.abs(plain[z]) > np.abs(plain[z]).max() / 100
    np.testing.assert_allclose(
        days[e][some] / days[z][some], plain[e][some] / plain[z][some], rtol=1e-4
    )


def test_samples_above_the_level_are_muted(tmp_path):
    params = replace(BASE, time_norm="mute", mute_factor=2.0)
    name = CHANNELS[3].id

    plain, days = motion_of(params, CHANNELS[3], tmp_path)

    muted = (days[name] == 0) & (plain[name] != 0)
    assert 0 < muted.mean() < 0.2
    np.testing.assert_array_equal(days[name][~muted], plain[name][~muted])
    assert np.abs(plain[name][muted]).mean() > 3 * np.abs(plain[name][~muted]).mean()


def test_a_clamp_and_a_clip_bound_the_windows():
    motion = np.random.default_rng(0).normal(0, 1, 1800 * 4).astype(np.float32)
    starts = np.arange(4) * 1800

    clamped = preprocess_windows(motion, starts, replace(BASE, time_norm="clamp", clamp=0.7))
    clipped = preprocess_windows(motion, starts, replace(BASE, time_norm="clip", clip_factor=1.5))
    plain = preprocess_windows(motion, starts, BASE)

    assert np.abs(clamped).max() == np.float32(0.7)
    assert np.abs(clipped).max() == pytest.approx(1.5 * plain.std(), rel=0.1)
