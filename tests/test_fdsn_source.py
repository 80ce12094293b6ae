import contextlib
import pickle
import socket
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from xcor_daemon.demo.fdsn_server import serve_fdsn
from xcor_daemon.errors import ConfigError, NoDataError, UnreachableError
from xcor_daemon.pipeline.datatypes import NS, Samples, day_start
from xcor_daemon.pipeline.sources import open_source
from xcor_daemon.pipeline.sources.archive import Archive
from xcor_daemon.pipeline.sources.fdsn import Fdsn
from xcor_daemon.stations import Channel

DATA = Path(__file__).parent / "data"
DAY = date(2022, 1, 2)
START, END = day_start(DAY), day_start(DAY + timedelta(days=1))
SPANS = ((datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 1, 4, tzinfo=UTC)),)
WBM = Channel("CI", "WBM", "", "LHZ", SPANS, sample_rate=1.0)
RUSS = Channel("BK", "RUSS", "00", "LHZ", SPANS, sample_rate=1.0)
WAVEFORMS = (DATA / "ci_bk_2022/CIWBM__LHZ___2022002.ms").read_bytes()
STATIONXML = (DATA / "ci_bk_2022/CI_WBM.xml").read_bytes()


@dataclass
class Centre:
    """A data centre that answers as it is told, one answer a request; the last one for ever."""

    answers: list = field(default_factory=list)  # bytes | status | a name of a fault
    requests: list = field(default_factory=list)  # (path, headers, body)
    url: str = ""
    slept: list = field(default_factory=list)
    leave: threading.Event = field(default_factory=threading.Event)
    now: int = 0  # requests being answered
    most: int = 0

    def source(self, **options) -> Fdsn:
        return Fdsn(self.url, sleep=self.slept.append, timeout=5, **options)


@contextmanager
def serving(centre: Centre):
    """Serve ``centre`` on loopback."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # only the version is asked for so
            self.respond(b"1.1.1" if "dataselect" in self.path else 404)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                centre.requests.append((self.path, dict(self.headers), body.decode()))
                answers = centre.answers
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                centre.now += 1
                centre.most = max(centre.most, centre.now)
            try:
                self.respond(answer(body.decode()) if callable(answer) else answer)
            finally:
                with lock:
                    centre.now -= 1

        def respond(self, answer):
            if answer == "reset":
                linger = struct.pack("ii", 1, 0)  # close with RST
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                return
            if answer == b"trickle":
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):  # until the other side has had enough
                    while not centre.leave.wait(0.02):
                        self.wfile.write(b"0")
                return
            status, wait = answer if isinstance(answer, tuple) else (answer, "")
            status, body = (status, b"") if isinstance(status, int) else (200, answer)
            cut = body == b"cut"
            body = WAVEFORMS if cut else body
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if wait:
                self.send_header("Retry-After", wait)
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # the other side has had enough
                self.wfile.write(body[: len(body) // 2] if cut else body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        centre.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield centre
        centre.leave.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def centre():
    with serving(Centre()) as running:
        yield running


def fetch(centre, channels=(WBM,), **options):
    return [result for _, result in centre.source(**options).fetch(channels, START, END)]


def test_one_request_asks_for_all_channels_and_a_blank_location_is_no_wildcard(centre):
    centre.answers = [WAVEFORMS]

    found, missing = fetch(centre, [WBM, RUSS])

    assert isinstance(found, Samples)
    assert (found.n_samples, found.source) == (86400, f"fdsn:{centre.url}")
    assert (missing.status, str(missing)) == (
        "nodata",
        "the data centre has no samples of this time.",
    )
    ((path, headers, body),) = centre.requests
    assert path == "/fdsnws/dataselect/1/query"
    assert headers["User-Agent"].startswith("xcor-daemon/")
    assert body.splitlines()[-2:] == [
        "CI WBM -- LHZ 2022-01-02T00:00:00.000000 2022-01-03T00:00:00.000000",
        "BK RUSS 00 LHZ 2022-01-02T00:00:00.000000 2022-01-03T00:00:00.000000",
    ]


@pytest.mark.parametrize("trouble", [429, 500, 502, 503, "reset", b"cut"])
def test_trouble_that_passes_is_waited_for(centre, trouble):
    centre.answers = [trouble, trouble, WAVEFORMS]

    (result,) = fetch(centre)

    assert result.n_samples == 86400
    assert len(centre.slept) == 2
    assert 0.5 <= centre.slept[0] <= centre.slept[1] * 2


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (429, "too busy"),
        (503, "temporarily unavailable"),
        ("reset", "the download failed"),
        (b"cut", "ended too early"),
    ],
)
def test_trouble_that_stays_fails_after_four_attempts(centre, trouble, words):
    centre.answers = [trouble]

    results = fetch(centre, [WBM, RUSS])

    assert [result.status for result in results] == ["failed", "failed"]
    assert words in str(results[0])
    assert len(centre.requests) == 4


@pytest.mark.parametrize("refusal", [400, 401, 403])
def test_a_refusal_is_not_repeated(centre, refusal):
    centre.answers = [refusal]

    (result,) = fetch(centre)

    assert result.status == "failed"
    assert len(centre.requests) == 1


@pytest.mark.parametrize("status", [301, 305, 402, 405, 408, 410, 418, 451, 501, 504, 507, 599])
def test_any_other_status_is_a_failure_with_its_number(centre, status):
    centre.answers = [status]

    (result,) = fetch(centre)

    assert result.status == "failed"
    assert str(status) in str(result)
    assert len(centre.requests) == (4 if status in (408, 504) else 1)


def test_a_centre_that_says_when_to_come_back_is_obeyed(centre):
    centre.answers = [(429, "77"), (503, "33"), WAVEFORMS]

    (result,) = fetch(centre)

    assert result.n_samples == 86400
    assert centre.slept == [77, 33]


def test_a_centre_that_wants_an_hour_is_not_waited_for(centre):
    centre.answers = [(503, "3600")]

    (result,) = fetch(centre)

    assert (result.status, len(centre.requests), centre.slept) == ("failed", 1, [])


def test_a_reply_that_trickles_is_given_up(centre):
    centre.answers = [b"trickle"]

    source = Fdsn(centre.url, sleep=centre.slept.append, timeout=0.2)
    ((_, result),) = source.fetch([WBM], START, END)

    assert result.status == "failed"
    assert "came too slowly" in str(result)


def test_no_more_than_the_budget_of_requests_begin_in_a_second(centre, tmp_path):
    centre.answers = [204]
    sources = [centre.source(gate=tmp_path / "gate") for _ in range(3)]
    for source in sources:
        source.budget.per_second = 4
    began = time.monotonic()

    for _ in range(3):
        for source in sources:
            list(source.fetch([WBM], START, END))

    assert len(centre.requests) == 9
    assert time.monotonic() - began > 2.0  # the fifth waits for the first, the ninth for the fifth


@pytest.mark.parametrize("nothing", [204, 404, b""])
def test_no_data_is_no_failure(centre, nothing):
    centre.answers = [nothing]

    (result,) = fetch(centre)

    assert (result.status, len(centre.requests)) == ("nodata", 1)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"<html><body>Down for maintenance</body></html>", "not miniSEED: '<html><body>Down"),
        (b"MS\x03" + bytes(200), "miniSEED 3"),
    ],
)
def test_a_reply_that_is_no_miniseed_fails_with_words(centre, reply, words):
    centre.answers = [reply]

    (result,) = fetch(centre)

    assert result.status == "failed"
    assert words in str(result)


def test_a_request_that_is_too_large_is_halved(centre):
    channels = [Channel("XX", f"S{k}", "", "LHZ", SPANS) for k in range(4)] + [WBM]
    centre.answers = [lambda body: 413 if body.count("LHZ") > 2 else WAVEFORMS]

    results = fetch(centre, channels)

    assert [isinstance(result, Samples) for result in results] == [False] * 4 + [True]
    assert [body.count("LHZ") for _, _, body in centre.requests] == [5, 2, 3, 1, 2]


def test_a_day_of_many_fast_channels_is_asked_for_in_parts(centre):
    channels = [Channel("XX", f"S{k:02d}", "", "HHZ", SPANS, sample_rate=100.0) for k in range(20)]
    centre.answers = [204]

    assert len(fetch(centre, channels)) == 20

    assert [body.count("HHZ") for _, _, body in centre.requests] == [7, 7, 6]


def test_a_reply_with_other_channels_is_not_mistaken(centre):
    centre.answers = [(DATA / "ci_bk_2022/RUSS.BK.LHZ.00.D.2022.002").read_bytes()]

    found, missing = reversed(fetch(centre, [WBM, RUSS]))

    assert found.n_samples == 86400
    assert isinstance(missing, NoDataError)


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


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (503, "temporarily unavailable"),
        (404, "no station service at this address"),  # nor a version of it: not "no data"
        (b"<!DOCTYPE x []><FDSNStationXML/>", "document type"),
        (b"<html>", "not StationXML"),
    ],
)
def test_a_centre_that_gives_no_metadata_is_unreachable(centre, answer, words):
    centre.answers = [answer]

    with pytest.raises(UnreachableError, match=words):
        centre.source().metadata([WBM], "velocity")


def test_a_centre_that_does_not_listen_is_unreachable():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        source = Fdsn(f"http://127.0.0.1:{closed.getsockname()[1]}", sleep=lambda _: None)

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
    sources = [centre.source(connections=2, gate=tmp_path / "gate") for _ in range(6)]
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


def test_a_source_that_was_used_can_be_pickled(centre):
    centre.answers = [WAVEFORMS]
    source = Fdsn(centre.url)
    list(source.fetch([WBM], START, END))

    again = pickle.loads(pickle.dumps(source))  # noqa: S301

    ((_, result),) = again.fetch([WBM], START, END)
    assert result.n_samples == 86400


def test_making_a_source_asks_nobody():
    assert open_source("fdsn:EARTHSCOPE").name == "fdsn:EARTHSCOPE"


def test_a_url_that_is_none_is_a_wrong_setting():
    with pytest.raises(ConfigError, match="not a valid URL"):
        list(Fdsn("http://not a url".replace(" ", "!")).fetch([WBM], START, END))


@pytest.mark.real
def test_a_served_archive_gives_what_the_archive_itself_gives():
    archive = Archive(DATA / "ci_bk_2022")
    unknown = Channel("XX", "NONE", "", "LHZ", SPANS)
    start, end = START - 600 * NS, END + 600 * NS

    with serve_fdsn(DATA / "ci_bk_2022") as server:
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


def test_a_centre_that_is_silent_is_not_waited_for_for_ever(centre):
    leave = threading.Event()
    centre.answers = [lambda _: 204 if leave.wait(10) else 204]
    source = Fdsn(centre.url, sleep=centre.slept.append, timeout=0.1)

    ((_, result),) = source.fetch([WBM], START, END)
    leave.set()

    assert (result.status, len(centre.slept)) == ("failed", 3)
    assert "no answer in time" in str(result)
