"""A correct FDSN data centre: the requests, their number and the connections at a time."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from centre import DATA, END, RUSS, SPANS, START, STATIONXML, WAVEFORMS, WBM, Centre, serving
from paths import SUPPORT

from xcor_daemon.demo.fdsn_server import serve_fdsn
from xcor_daemon.errors import ConfigError, UnreachableError
from xcor_daemon.pipeline.datatypes import NS, Samples
from xcor_daemon.pipeline.sources import Access, open_source
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.pipeline.sources.fdsn import Fdsn
from xcor_daemon.pipeline.sources.http_client import Client
from xcor_daemon.request.stations import Channel


@pytest.fixture
def centre():
    with serving(Centre()) as running:
        yield running


def test_one_request_asks_for_all_channels_and_a_blank_location_is_no_wildcard(centre):
    centre.answers = [WAVEFORMS]

    found, missing = centre.fetch([WBM, RUSS])

    assert isinstance(found, Samples)
    assert (found.n_samples, found.source) == (86400, f"fdsn:{centre.url}")
    assert (missing.status, str(missing)) == (
        "nodata",
        "the data centre has no samples at this time.",
    )
    ((path, headers, body),) = centre.requests
    assert path == "/fdsnws/dataselect/1/query"
    assert headers["User-Agent"].startswith("xcor-daemon/")
    assert body.splitlines()[-2:] == [
        "CI WBM -- LHZ 2022-01-02T00:00:00.000000 2022-01-03T00:00:00.000000",
        "BK RUSS 00 LHZ 2022-01-02T00:00:00.000000 2022-01-03T00:00:00.000000",
    ]


def test_no_more_than_the_budget_of_requests_begin_in_a_second(centre, tmp_path):
    centre.answers = [204]
    sources = [centre.source(lock_folder=tmp_path / "gate", per_second=4) for _ in range(3)]
    began = time.monotonic()

    for _ in range(3):
        for source in sources:
            list(source.fetch([WBM], START, END))

    assert len(centre.requests) == 9
    assert time.monotonic() - began > 2.0  # the fifth waits for the first, the ninth for the fifth


def test_a_day_of_many_fast_channels_is_requested_in_parts(centre):
    channels = [Channel("XX", f"S{k:02d}", "", "HHZ", SPANS, sample_rate=100.0) for k in range(20)]
    centre.answers = [204]

    assert len(centre.fetch(channels)) == 20

    assert [body.count("HHZ") for _, _, body in centre.requests] == [7, 7, 6]


def test_metadata_come_in_one_request_at_the_level_that_is_needed(centre):
    centre.answers = [STATIONXML]

    found = centre.source().metadata([WBM, RUSS], "velocity")
    bare = centre.source().metadata([WBM, RUSS], "none")

    assert list(found.epochs) == list(bare.epochs) == [WBM.id]
    assert found.epochs[WBM.id][0].response is not None
    assert bare.epochs[WBM.id][0].response is None
    first, second = (body for _, _, body in centre.requests)
    assert "level=response" in first
    assert "level=channel" in second
    assert first.splitlines()[-2] == (
        "CI WBM -- LHZ 2022-01-01T00:00:00.000000 2022-01-04T00:00:00.000000"
    )


def test_metadata_may_come_from_elsewhere(centre):
    with serving(Centre(answers=[STATIONXML])) as other:
        centre.answers = [WAVEFORMS]
        source = open_source(f"fdsn:{centre.url}|{other.url}")

        assert list(source.metadata([WBM], "none").epochs) == [WBM.id]
        ((_, result),) = source.fetch([WBM], START, END)

    assert result.n_samples == 86400
    assert [path for path, _, _ in other.requests] == ["/fdsnws/station/1/query"]


def test_a_centre_without_the_channels_gives_no_metadata(centre):
    centre.answers = [204]

    assert centre.source().metadata([WBM], "velocity").epochs == {}


def test_a_centre_that_does_not_listen_is_unreachable():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        source = Fdsn(url, Client(sleep=lambda _: None))

        with pytest.raises(UnreachableError, match="refused"):
            source.metadata([WBM], "velocity")
        ((_, result),) = source.fetch([WBM], START, END)

    assert result.status == "failed"


def test_processes_that_share_a_gate_share_its_connections(centre, tmp_path):
    arrived = threading.Semaphore(0)
    leave = threading.Event()

    def answer(_):
        arrived.release()
        leave.wait(10)
        return 204

    centre.answers = [answer]
    sources = [centre.source(connections=2, lock_folder=tmp_path / "gate") for _ in range(6)]
    threads = [
        threading.Thread(target=lambda s=s: list(s.fetch([WBM], START, END))) for s in sources
    ]
    for thread in threads:
        thread.start()
    both_came = arrived.acquire(timeout=10) and arrived.acquire(timeout=10)
    a_third_came = arrived.acquire(timeout=0.5)
    leave.set()
    for thread in threads:
        thread.join()

    assert both_came
    assert not a_third_came
    assert (centre.most, len(centre.requests)) == (2, 6)


def test_jobs_and_processes_of_a_machine_share_the_budget_of_a_centre(centre, tmp_path):
    """Each job opens its own sources; all share the cache folder."""
    arrived, leave = threading.Semaphore(0), threading.Event()

    def answer(_):
        arrived.release()
        leave.wait(30)
        return 204

    centre.answers = [answer]
    code = (
        "import sys; from pathlib import Path; from centre import START, END, WBM\n"
        "from xcor_daemon.pipeline.sources import Access, open_source\n"
        "source = open_source(sys.argv[1], Access(Path(sys.argv[2])))\n"
        "list(source.fetch([WBM], START, END))"
    )
    here = str(SUPPORT)
    # The same centre, named in two ways.
    names = [f"fdsn:{centre.url}", f"fdsn:{centre.url}/fdsnws/dataselect/1"]
    processes = [
        subprocess.Popen([sys.executable, "-c", code, name, str(tmp_path)], cwd=here)
        for name in names
    ]
    threads = [
        threading.Thread(
            target=lambda: list(open_source(names[0], Access(tmp_path)).fetch([WBM], START, END))
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    five_came = all(arrived.acquire(timeout=60) for _ in range(5))
    a_sixth_came = arrived.acquire(timeout=0.5)
    leave.set()
    for thread in threads:
        thread.join()

    assert [process.wait(60) for process in processes] == [0, 0]
    assert five_came
    assert not a_sixth_came
    assert (centre.most, len(centre.requests)) == (5, 8)


def test_a_source_that_was_used_can_be_pickled(centre):
    centre.answers = [WAVEFORMS]
    source = Fdsn(centre.url)
    list(source.fetch([WBM], START, END))

    again = pickle.loads(pickle.dumps(source))  # noqa: S301

    ((_, result),) = again.fetch([WBM], START, END)
    assert result.n_samples == 86400


def test_creating_a_source_sends_no_request():
    assert open_source("fdsn:EARTHSCOPE").name == "fdsn:EARTHSCOPE"


def test_a_url_that_is_none_is_a_wrong_setting():
    with pytest.raises(ConfigError, match="not a valid URL"):
        list(Fdsn("http://not a url".replace(" ", "!")).fetch([WBM], START, END))


@pytest.mark.real
def test_a_served_archive_gives_the_samples_of_the_archive():
    archive = Archive(DATA)
    unknown = Channel("XX", "NONE", "", "LHZ", SPANS)
    start, end = START - 600 * NS, END + 600 * NS

    with serve_fdsn(DATA) as server:
        source = open_source(f"fdsn:{server.url}")
        remote = dict(source.fetch([WBM, RUSS, unknown], start, end))
        metadata = source.metadata([WBM, RUSS], "velocity")

    for channel, local in archive.fetch([WBM, RUSS], start, end):
        (ours,), (theirs,) = local.segments, remote[channel].segments
        assert ours.start == theirs.start
        np.testing.assert_array_equal(ours.data, theirs.data)
    assert remote[unknown].status == "nodata"
    expected = archive.metadata([WBM, RUSS], "velocity")
    assert metadata.epochs.keys() == expected.epochs.keys()
    assert metadata.epochs[WBM.id][0].latitude == expected.epochs[WBM.id][0].latitude
