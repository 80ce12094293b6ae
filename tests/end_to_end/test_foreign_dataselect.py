"""The data centre of others: EarthScope's portable-fdsnws-dataselect, over odd real data."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from centre import DATA, END, RUSS, SPANS, START, WBM
from dataselect import serve_dataselect

from xcor_daemon.pipeline.datatypes import NS, Samples, day_start
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.pipeline.sources.fdsn import Fdsn
from xcor_daemon.pipeline.sources.http_client import Client
from xcor_daemon.request.stations import Channel

pytestmark = pytest.mark.real

THIS = Channel("BK", "THIS", "00", "LHZ", SPANS, sample_rate=1.0)
CCA = Channel("CI", "CCA", "", "BHN", SPANS, sample_rate=40.0)
ABSENT = Channel("XX", "NONE", "", "LHZ", SPANS)
WRONG_LOCATION = Channel("CI", "WBM", "00", "LHZ", SPANS)
FILES = [path for path in DATA.iterdir() if path.suffix == ".ms" or ".LHZ." in path.name]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Two networks, blank and other locations, 1 and 40 Hz, three days of one channel."""
    with serve_dataselect(FILES, tmp_path_factory.mktemp("data") / "centre") as running:
        yield running


def counted(source):
    """Every channel count of a request from now on."""
    asked, plain = [], source.client.request
    source.client.request = lambda url, body=None, headers=None: (
        asked.append(body.count(b"\n")) or plain(url, body, headers)
    )
    return asked


def assert_like_the_archive(fetched, start, end):
    local = dict(Archive(DATA).fetch(list(fetched), start, end))
    for channel, result in fetched.items():
        assert isinstance(result, Samples), (channel.id, result)
        assert [s.start for s in result.segments] == [s.start for s in local[channel].segments]
        for ours, theirs in zip(result.segments, local[channel].segments, strict=True):
            np.testing.assert_array_equal(ours.data, theirs.data)


def test_a_day_with_margins_is_what_the_archive_on_disk_has(url):
    start, end = START - 900 * NS, END + 900 * NS
    source = Fdsn(url)
    asked = counted(source)

    fetched = dict(source.fetch([WBM, RUSS, THIS, CCA, ABSENT, WRONG_LOCATION], start, end))

    for missing in (ABSENT, WRONG_LOCATION):  # a blank location is not a wildcard
        assert fetched.pop(missing).status == "nodata"
    assert_like_the_archive(fetched, start, end)
    assert asked == [6]


def test_a_piece_of_a_day_is_cut_out_of_whole_records(url):
    start = START + 12_345 * NS
    fetched = dict(Fdsn(url).fetch([WBM, CCA], start, start + 100 * NS))

    assert [result.n_samples for result in fetched.values()] == [100, 4000]
    assert_like_the_archive(fetched, start, start + 100 * NS)


def test_a_day_that_the_centre_does_not_have_is_not_a_failure(url):
    start = day_start(date(2022, 1, 20))

    results = [result for _, result in Fdsn(url).fetch([WBM, CCA], start, start + 86400 * NS)]

    assert [result.status for result in results] == ["nodata", "nodata"]


def test_its_413_is_answered_with_smaller_requests(tmp_path):
    channels = [WBM, RUSS, THIS]  # 111, 156 and 66 kB a day
    with serve_dataselect(FILES, tmp_path / "centre", limit=240_000) as url:
        source = Fdsn(url, Client(sleep=lambda _: None))
        asked = counted(source)

        fetched = dict(source.fetch(channels, START, END))
        too_large = [result for _, result in source.fetch([CCA], START, END)]

    assert_like_the_archive(fetched, START, END)
    assert asked == [3, 1, 2, 1]
    assert (too_large[0].status, "too large (413)" in str(too_large[0])) == ("failed", True)
