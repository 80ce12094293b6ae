"""Fixtures: a real Chromium, and the real services of the demo."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import playwright
import pytest
from fake_data_centres import FakeDataCentres
from jobs_of import Store, YearLong, send, write_year
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)
from stacking_page import YEAR

from xcor_daemon.demo.demo import System, running
from xcor_daemon.demo.page_server import PageServer
from xcor_daemon.web.page import Page as Files
from xcor_daemon.web.page import Services, write_page

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "build/screenshots"  # of every run, to be looked at
AXE = next((Path(__file__).parent / "vendor").glob("axe-core@*/axe.min.js"))
expect.set_options(timeout=15_000)  # ms; a machine may be busy
_FLAGS = [
    "--no-sandbox",  # tests may run as root, in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # Chromium itself asks nobody.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, installed where it is missing."""
    found = subprocess.run([ROOT / "scripts/browser"], stdout=subprocess.PIPE, text=True)
    assert found.returncode == 0, "no Chromium; see above"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found.stdout.strip(), args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The demo's S3 server, FDSN server, page and daemon, without a job."""
    with running(tmp_path_factory.mktemp("demo")) as system:
        yield system


@pytest.fixture(scope="session")
def small_job(demo: System) -> str:
    """The number of a job of five channels that was just sent, or sent by an earlier test."""
    return send(demo, 5)


@pytest.fixture(scope="session")
def data_centres() -> Iterator[FakeDataCentres]:
    """Fake data centres with every kind of failure."""
    data_centres = FakeDataCentres()
    yield data_centres
    data_centres.stop()


@dataclass
class Site:
    """A page with fake data centres, without S3 and daemon."""

    url: str
    # What POST /jobs answers from now on, one after another, the last again and again.
    answers: list[tuple[int, dict[str, Any]]]
    sent: list[dict[str, str]]


@pytest.fixture
def site(data_centres: FakeDataCentres, visitor: Visitor) -> Iterator[Site]:
    """The page with fake services; the test sets the answers to submitted jobs."""
    visitor.expected.append("ERR_UNSAFE_PORT")  # who launches a job looks for it in the bucket
    site = Site("", [(201, {"id": "41"})], [])

    def submit(body: bytes) -> tuple[int, dict[str, Any]]:
        site.sent.append(json.loads(body))
        return site.answers.pop(0) if len(site.answers) > 1 else site.answers[0]

    data_centres.asked.clear()
    data_centres.queries.clear()
    tiles = {
        "title": "Tiles",
        "url": f"{data_centres.url}/tiles/{{z}}/{{x}}/{{y}}",
        "attribution": "us",
    }
    lost = {
        "title": "Lost tiles",
        "url": f"{data_centres.url}/404/{{z}}/{{x}}/{{y}}",
        "attribution": "",
    }
    services = Services("http://127.0.0.1:9/none", "/jobs", data_centres.centres, [tiles, lost])
    with PageServer(Files(services), submit, lambda _: (202, {})) as server:
        site.url = server.url
        yield site


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[str]:
    """The page as files, without any service, from a web server that knows nothing of it."""
    write_page(Services("", "", []), tmp_path / "page")
    command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", "page"]
    process = subprocess.Popen(
        [*command[:1], "-u", *command[1:]],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        port = process.stdout.readline().split("port ")[1].split()[0]
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def store(demo: System) -> Store:
    """The demo's bucket, to be written as the service writes it."""
    return Store(demo)


@pytest.fixture(scope="session")
def year(store: Store, tmp_path_factory: pytest.TempPathFactory) -> YearLong:
    """Published daily stacks of a year with 1201 lags; one channel has markup for a name."""
    names = ("XX.A..BHZ", "XX.<b>B</b>..BHZ", "XX.C..BHZ")
    return write_year(store, tmp_path_factory.mktemp("year"), YEAR, names)


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """A person with a new browser, who notices whatever the page should not do."""
    visitor = Visitor(browser)
    yield visitor
    visitor.leave()


@pytest.fixture
def page(visitor: Visitor) -> Page:
    """The visitor's first window."""
    return visitor.open()


class Visitor:
    """Windows of one browser profile, watched: nothing leaves the machine and nothing breaks."""

    def __init__(self, browser: Browser) -> None:
        self._context = browser.new_context(
            viewport={"width": 1360, "height": 860}, accept_downloads=True, reduced_motion="reduce"
        )
        self._context.set_default_timeout(15_000)
        self._context.on("request", self._saw_request)
        self._context.route(lambda url: not _is_here(url), lambda route: route.abort())
        self._context.on("console", self._heard)
        self._context.on("weberror", lambda error: self.troubles.append(str(error.error)))
        self.troubles: list[str] = []
        self.expected: list[str] = []  # parts of what the console may say in this test

    def open(self, url: str | None = None) -> Page:
        """A new window, on ``url`` if one is given."""
        page = self._context.new_page()
        if url:
            page.goto(url)
        return page

    @property
    def context(self) -> BrowserContext:
        """All windows, for what goes for them all."""
        return self._context

    def leave(self) -> None:
        """Close all windows; whatever was not expected fails the test."""
        self._context.close()
        assert not [t for t in self.troubles if not any(part in t for part in self.expected)]

    def _saw_request(self, request: Request) -> None:
        if not _is_here(request.url):
            self.troubles.append(f"asked {request.url}, which is not on this machine")

    def _heard(self, message: ConsoleMessage) -> None:
        # Among them: whatever the Content-Security-Policy stops.
        if message.type in ("error", "warning"):
            self.troubles.append(f"{message.type}: {message.text}")


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob", "about") or parts.hostname in ("127.0.0.1", "localhost")


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a picture of a window, named after what it shows."""
    SHOTS.mkdir(parents=True, exist_ok=True)

    def shoot(page: Page, name: str) -> None:
        page.screenshot(path=SHOTS / f"{name}.png", animations="disabled")

    return shoot


@pytest.fixture
def check_access() -> Callable[[Page], None]:
    """Fails where axe finds something that keeps a person from using what is shown."""

    def check(page: Page) -> None:
        # Through the DevTools protocol, so that the page's policy need not allow it.
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        told = [
            f"{rule['id']}: {rule['help']}: " + "; ".join(node["html"] for node in rule["nodes"])
            for rule in found
        ]
        assert not told, "\n".join(told)

    return check


@pytest.fixture(scope="session")
def node() -> Path:
    """The Node.js that Playwright brings, so that none need be installed."""
    return Path(playwright.__file__).parent / "driver/node"
