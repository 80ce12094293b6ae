"""Data centres that fail, cut, stall and lie: each answer costs its channels and nothing else.

The expected results are written by hand, from FDSN-WS 1.2 and RFC 9110.
"""

from __future__ import annotations

import io
import pickle
from http import HTTPStatus

import numpy as np
import pytest
from centre import DATA, END, RUSS, SPANS, START, STATIONXML, WAVEFORMS, WBM, Bad, Centre, serving
from hosting import wait_until
from obspy import Stream, Trace, UTCDateTime

from xcor_daemon.errors import NoDataError, UnreachableError
from xcor_daemon.pipeline.datatypes import Samples
from xcor_daemon.pipeline.sources.fdsn import Fdsn
from xcor_daemon.pipeline.sources.http_client import Client, WebError
from xcor_daemon.request.stations import Channel

NO_DATA = {204, 404}  # the service's own words for it
PASSES = {408, 429, 500, 502, 503, 504}  # asked four times
# 1xx is not an answer, and 200 is tested everywhere else.
STATUSES = sorted({int(status) for status in HTTPStatus} - {100, 101, 102, 103, 200, 413})


@pytest.fixture
def centre():
    with serving(Centre()) as running:
        yield running


@pytest.mark.parametrize("status", [*STATUSES, 299, 399, 499, 599])
def test_every_status_is_no_data_or_a_failure_with_its_number(centre, status):
    centre.answers = [status]

    results = centre.fetch([WBM, RUSS])

    assert {result.status for result in results} == {"nodata" if status in NO_DATA else "failed"}
    if status not in NO_DATA:
        assert str(status) in str(results[0]) or status in (429, 500, 503)
    assert len(centre.requests) == (4 if status in PASSES else 1)


@pytest.mark.parametrize("status", [201, 202, 203, 205, 206])
def test_success_of_another_kind_is_not_taken_for_the_data(centre, status):
    centre.answers = [(status, {}, WAVEFORMS)]

    (result,) = centre.fetch()

    assert (result.status, str(status) in str(result)) == ("failed", True)


# Reply -> text of the reason, time-out (s). On a busy machine this server is late too: only replies
# without an end have a short time-out.
BAD = {
    "reset": ("the download failed", 60),
    "reset_within": ("the download failed", 60),
    "cut": ("ended too early", 60),
    "cut_chunk": ("ended too early", 60),
    "trickle": ("was too slow", 1.0),
    "trickle_head": ("no reply in time", 0.2),
    "silent": ("no reply in time", 0.2),
    "silent_within": ("no reply in time", 0.2),
    "no_http": ("SSH-2.0\\x1b[31m", 60),
    "endless_head": ("100 headers", 60),
}


@pytest.mark.parametrize("how", BAD)
def test_a_connection_in_bad_faith_ends_and_is_a_failure_in_words(centre, how):
    centre.answers = [Bad(how)]
    words, timeout = BAD[how]

    (result,) = centre.fetch(timeout=timeout)

    assert result.status == "failed"
    assert words in str(result)
    assert len(centre.slept) == 3
    wait_until(
        lambda: len(centre.requests) == 4
    )  # the last may be read after the client has aborted it


@pytest.mark.parametrize("trouble", [429, 500, 502, 503, *map(Bad, ("reset", "cut", "cut_chunk"))])
def test_trouble_that_passes_is_waited_for(centre, trouble):
    centre.answers = [trouble, trouble, WAVEFORMS]

    (result,) = centre.fetch()

    assert result.n_samples == 86400
    assert len(centre.slept) == 2
    assert 0.5 <= centre.slept[0] <= centre.slept[1] * 2


LIES = {
    b"<html><body>Down for maintenance</body></html>": "not miniSEED: '<html><body>Down",
    b"MS\x03" + bytes(200): "miniSEED 3",
    b"\x1f\x8b" + WAVEFORMS: "compressed",
    pickle.dumps(print): "a pickle, which is never loaded",
    b"=cmd|'/c calc'!A0\r\nERROR: \x1b[31m": "not miniSEED",
    WAVEFORMS[:40]: "not miniSEED",
    STATIONXML: "not miniSEED",
}


@pytest.mark.parametrize("body", LIES, ids=lambda body: repr(body[:12]))
def test_a_reply_that_is_no_miniseed_fails_with_words_of_one_line(centre, body):
    centre.answers = [body]

    (result,) = centre.fetch()

    assert result.status == "failed"
    assert LIES[body] in str(result)
    assert str(result).isprintable()


def test_data_behind_a_page_of_html_are_found(centre):
    centre.answers = [b"<p>Warning: old TLS</p>".ljust(512) + WAVEFORMS]

    (result,) = centre.fetch()

    assert result.n_samples == 86400


@pytest.mark.parametrize("nothing", [204, 404, b"", (200, {"Content-Type": "text/html"})])
def test_no_data_is_no_failure(centre, nothing):
    centre.answers = [nothing]

    (result,) = centre.fetch()

    assert (result.status, len(centre.requests)) == ("nodata", 1)


def test_nothing_of_one_channel_among_many_costs_that_one(centre):
    """A reply to many is one 200; that of a channel which has nothing is merely absent in it."""
    centre.answers = [WAVEFORMS]
    channels = [Channel("XX", f"S{k}", "", "LHZ", SPANS) for k in range(3)]

    results = centre.fetch([*channels, WBM, RUSS])

    assert [isinstance(result, Samples) for result in results] == [False] * 3 + [True, False]
    assert {result.status for result in results if isinstance(result, NoDataError)} == {"nodata"}


def test_a_reply_with_other_channels_is_not_mistaken(centre):
    centre.answers = [(DATA / "RUSS.BK.LHZ.00.D.2022.002").read_bytes()]

    found, missing = reversed(centre.fetch([WBM, RUSS]))

    assert found.n_samples == 86400
    assert isinstance(missing, NoDataError)


def test_a_reply_of_another_day_is_no_data_of_this_one(centre):
    centre.answers = [(DATA / "CIWBM__LHZ___2022001.ms").read_bytes()]

    (result,) = centre.fetch()

    assert (result.status, str(result)) == ("nodata", "no samples at this time.")


def test_a_record_that_promises_more_than_it_holds_costs_itself(centre):
    spoilt = bytearray(WAVEFORMS)
    spoilt[512 * 40 + 30 : 512 * 40 + 32] = (65_000).to_bytes(2, "big")
    centre.answers = [bytes(spoilt)]

    (result,) = centre.fetch()

    assert 80_000 < result.n_samples < 86_400


def test_samples_beyond_the_requested_day_are_trimmed(centre):
    written = io.BytesIO()
    header = {"network": "CI", "station": "WBM", "channel": "LHZ", "sampling_rate": 1.0}
    for year in (1970, 2021, 2022, 2599):
        data = np.arange(90_000, dtype=np.int32)
        trace = Trace(data, {**header, "starttime": UTCDateTime(year, 1, 2)})
        Stream([trace]).write(written, format="MSEED", reclen=512)
    centre.answers = [written.getvalue()]

    (result,) = centre.fetch()

    assert (result.segments[0].start, result.n_samples) == (START, 86400)
    assert result.segments[-1].end <= END


def test_a_request_that_is_too_large_is_halved_down_to_one_channel(centre):
    channels = [Channel("XX", f"S{k}", "", "LHZ", SPANS) for k in range(4)] + [WBM]
    centre.answers = [lambda body: 413 if body.count("LHZ") > 2 else WAVEFORMS]

    results = centre.fetch(channels)

    assert [isinstance(result, Samples) for result in results] == [False] * 4 + [True]
    assert [body.count("LHZ") for _, _, body in centre.requests] == [5, 2, 3, 1, 2]


def test_a_centre_for_which_one_channel_is_too_large_fails_each(centre):
    centre.answers = [413]

    results = centre.fetch([WBM, RUSS])

    assert [(r.status, "too large (413)" in str(r)) for r in results] == [("failed", True)] * 2
    assert len(centre.requests) == 3


def test_a_reply_larger_than_the_limit_is_not_read_to_its_end(centre, monkeypatch):
    monkeypatch.setattr("xcor_daemon.pipeline.sources.http_client._MAX_BYTES", 100_000)
    centre.answers = [WAVEFORMS]

    (result,) = centre.fetch()

    assert (result.status, len(centre.requests)) == ("failed", 1)
    assert "larger than" in str(result)


@pytest.mark.parametrize("status", [429, 503, 502])
def test_retry_after_of_a_data_centre_is_applied(centre, status):
    centre.answers = [(status, {"Retry-After": "77"}), (503, {"Retry-After": "33"}), WAVEFORMS]

    (result,) = centre.fetch()

    assert result.n_samples == 86400
    assert centre.slept == [77, 33]


def test_a_date_to_come_back_at_is_obeyed_and_nonsense_is_not(centre):
    past = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    nonsense = {"Retry-After": "in a while"}
    centre.answers = [(503, past), (503, nonsense), (503, {"Retry-After": "-5"}), WAVEFORMS]

    (result,) = centre.fetch()

    assert result.n_samples == 86400
    assert all(0.5 <= wait <= 10 for wait in centre.slept)


def test_a_centre_that_wants_an_hour_is_not_waited_for(centre):
    centre.answers = [(503, {"Retry-After": "3600"})]

    (result,) = centre.fetch()

    assert (result.status, len(centre.requests), centre.slept) == ("failed", 1, [])


# --- being sent elsewhere ---

ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:1/",
    "http://localhost/",
    "http://[::1]/",
    "https://example.org/fdsnws/dataselect/1/query",
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "data:text/plain,MS",
    "gopher://127.0.0.1:11211/_stats",
    "//127.0.0.2/x",
    "http://user@127.0.0.2/x",
]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ELSEWHERE)
def test_redirects_to_unknown_servers_are_not_followed(centre, status, where):
    centre.answers = [(status, {"Location": where})]

    (result,) = centre.fetch()

    assert result.status == "failed"
    assert str(status) in str(result)
    assert len(centre.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_centre_that_moved_within_itself_gets_the_same_request(centre, status):
    centre.answers = [(status, {"Location": "/moved/query"}), WAVEFORMS]

    (result,) = centre.fetch()

    assert result.n_samples == 86400
    (first, _, asked), (second, headers, again) = centre.requests
    assert (first, second) == ("/fdsnws/dataselect/1/query", "/moved/query")
    assert asked == again
    assert headers["User-Agent"].startswith("xcor-daemon/")


def test_circles_end(centre):
    centre.answers = [(302, {"Location": "/again"})]

    (result,) = centre.fetch()

    assert result.status == "failed"
    assert len(centre.requests) <= 5


def test_a_token_is_shown_to_its_own_server_only_and_read_anew(centre, tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    with serving(Centre(answers=[WAVEFORMS])) as other:
        centre.answers = [WAVEFORMS]
        tokens = {centre.url: token}
        for source in (centre.source(tokens=tokens), other.source(tokens=tokens)):
            list(source.fetch([WBM], START, END))
        token.write_text("second")
        centre.fetch(tokens=tokens)

    shown = [headers.get("Authorization") for _, headers, _ in centre.requests]
    assert shown == ["Bearer first", "Bearer second"]
    assert "Authorization" not in other.requests[0][1]


@pytest.mark.parametrize("content", [b"", b"two words\n", b"\xff\xfe", b"evil\r\nX-Header: 1"])
def test_a_file_without_a_token_is_reported(centre, tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    centre.answers = [WAVEFORMS]

    (result,) = centre.fetch(tokens={centre.url: tmp_path / "token"})

    assert (result.status, centre.requests) == ("failed", [])
    assert str(tmp_path) in str(result)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "data:,x"])
def test_only_http_is_ever_opened(url):
    with pytest.raises(WebError, match="unknown url type"):
        Client(sleep=lambda _: None).request(url)


# --- metadata ---


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (503, "temporarily unavailable"),
        (404, "no station service at this address"),  # nor a version of it: not "no data"
        (401, "authentication"),
        (b"<!DOCTYPE x []><FDSNStationXML/>", "document type"),
        (b"<html>", "not valid StationXML"),
        (WAVEFORMS, "not XML in UTF-8"),
        (STATIONXML[: len(STATIONXML) // 2], "not valid StationXML"),
        (Bad("cut"), "ended too early"),
        (Bad("trickle_head"), "no reply in time"),
    ],
    ids=str,
)
def test_a_centre_that_gives_no_metadata_is_unreachable(centre, answer, words):
    centre.answers = [answer]
    timeout = 0.3 if answer == Bad("trickle_head") else 60  # s

    with pytest.raises(UnreachableError, match=words):
        centre.source(timeout=timeout).metadata([WBM], "velocity")


def test_a_metadata_request_that_is_too_large_is_divided(centre):
    centre.answers = [lambda body: 413 if body.count("LHZ") > 1 else STATIONXML]

    found = centre.source().metadata([WBM, RUSS], "none")

    assert list(found.epochs) == [WBM.id]
    assert [body.count("LHZ") for _, _, body in centre.requests] == [2, 1, 1]


def test_the_old_name_and_host_of_earthscope_is_its_new_one(monkeypatch):
    asked = []

    def request(self, url, body=None, headers=None):
        asked.append(url)
        raise WebError("not here", 400)

    monkeypatch.setattr(Client, "request", request)
    old = "service.iris.edu"
    for place in ("EARTHSCOPE", "IRIS", "iris", f"http://{old}", f"https://{old}/"):
        list(Fdsn(place).fetch([WBM], START, END))

    assert set(asked) == {"https://service.earthscope.org/fdsnws/dataselect/1/query"}
    assert len(asked) == 5
