"""A data centre and a cluster: one machine downloads, within the connection limit of a user."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from centre import DATA, DAY, RUSS, WAVEFORMS, WBM, Centre, serving
from synthetic import network_job

from xcor_daemon.demo.fdsn_server import serve_fdsn
from xcor_daemon.pipeline.datatypes import Metadata
from xcor_daemon.pipeline.run import correlate_shard
from xcor_daemon.pipeline.scheduling.prefetch import Downloads
from xcor_daemon.pipeline.sources import Access, open_sources, picklable_for_workers
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.pipeline.sources.connection_limit import ConnectionLimit
from xcor_daemon.pipeline.sources.http_client import CONNECTIONS, PER_SECOND
from xcor_daemon.pipeline.units.plan import DayPlan, fetch_span
from xcor_daemon.request.params import XcorParams
from xcor_daemon.request.parse import XcorRequest

PARAMS = XcorParams(1, 0.05, 0.2, 3600, 3600, 60)


def downloads(folder, source, channels=(RUSS, WBM), lock_folder=None, days=None, **named):
    """Downloads of a request of three days: of ``days``, or of all."""
    access = Access(lock_folder=lock_folder or folder / "gate", download_folder=folder / "kept")
    opened = open_sources(source, channels, named, access)
    request = XcorRequest(tuple(channels), PARAMS)
    plan = DayPlan(folder, PARAMS, opened, Metadata({}), "key")
    return Downloads(plan, request, days or request.days), opened


def dataselect(log: Path) -> int:
    """Number of requests for waveforms that a server has answered."""
    return log.read_text().count('"POST /fdsnws/dataselect/')


@pytest.mark.real
def test_workers_read_downloads_made_within_the_connection_limit(tmp_path):
    log, lock_folder = tmp_path / "asked", tmp_path / "gate"
    with serve_fdsn(DATA, log) as server:
        ahead, source = downloads(
            tmp_path, f"fdsn:{server.url}", lock_folder=lock_folder, days=[DAY]
        )
        host = urlsplit(server.url).netloc.replace(":", "_")
        taken = ConnectionLimit(lock_folder / host, CONNECTIONS, PER_SECOND)
        with ahead:
            with ExitStack() as others:  # jobs of this machine that have all connections
                for _ in range(CONNECTIONS):
                    others.enter_context(taken.acquire())
                assert not ahead.is_ready(DAY, 0.5)
                assert dataselect(log) == 0
            assert ahead.is_ready(DAY, 60)
    span = fetch_span(PARAMS, DAY)

    ((_, read),) = picklable_for_workers(source).fetch([WBM], *span)  # the server is gone
    ((_, absent),) = picklable_for_workers(source).fetch([replace(WBM, station="NONE")], *span)

    ((_, expected),) = Archive(DATA).fetch([WBM], *span)
    assert len(read.segments) == len(expected.segments)
    for ours, theirs in zip(read.segments, expected.segments, strict=True):
        assert ours.start == theirs.start
        np.testing.assert_array_equal(ours.data, theirs.data)
    assert absent.status == "failed"


def test_a_failed_download_is_logged_with_its_reason(tmp_path, caplog):
    with serving(Centre(answers=[403])) as centre:
        ahead, _ = downloads(tmp_path, f"fdsn:{centre.url}", days=[DAY])
        with ahead, caplog.at_level(logging.WARNING):
            assert ahead.is_ready(DAY, 60)

    for channel in (RUSS, WBM):
        said = f"{channel.id}, {DAY}: the download failed: access is forbidden (403)."
        assert said in caplog.messages


def test_workers_read_archives_themselves(tmp_path):
    local = replace(RUSS, data_center="")
    remote = replace(WBM, data_center="CENTRE")
    with serving(Centre(answers=[WAVEFORMS])) as centre:
        named = {"CENTRE": f"fdsn:{centre.url}"}
        asked = (local, remote)
        ahead, source = downloads(tmp_path, f"archive:{DATA}", asked, days=[DAY], **named)
        source.default.fetch = None  # it is not to be asked here
        with ahead:
            assert ahead.is_ready(DAY, 60)

    assert centre.requests
    assert {body.splitlines()[-1].split()[1] for _, _, body in centre.requests} == {"WBM"}


def test_finished_days_are_not_downloaded_again(tmp_path):
    with serving(Centre(answers=[WAVEFORMS])) as centre:
        ahead, _ = downloads(tmp_path, f"fdsn:{centre.url}", days=[DAY])
        with ahead:
            assert ahead.is_ready(DAY, 60)

    (asked,) = {body.split()[-2] for _, _, body in centre.requests}
    first, _ = fetch_span(PARAMS, DAY)
    assert np.datetime64(asked) == np.datetime64(first, "ns")


@pytest.mark.real
def test_shards_count_connections_in_their_shared_folder(tmp_path):
    job = network_job(tmp_path, stations=2, days=1)
    own = tmp_path / "cache"  # of the machine
    with serve_fdsn(Path(job.source.removeprefix("archive:"))) as server:
        lost = correlate_shard(
            job.folder, f"fdsn:{server.url}", (0, 1), 1, access=Access(cache=own)
        )

    host = urlsplit(server.url).netloc.replace(":", "_")
    assert lost == []
    assert list((job.folder / ".connections" / host).glob("*.lock"))
    assert not (own / "connections").exists()
