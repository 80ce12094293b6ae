"""Fixtures of several tests: real servers, and no skipped test where all must run."""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from engine import engine_script, some_engine
from hosting import bucket_of_moto

from xcor_daemon.demo.fdsn_server import FdsnServer, serve_fdsn
from xcor_daemon.demo.s3_server import S3Server, start_s3
from xcor_daemon.storage.bucket import Bucket

SAMPLE = Path(__file__).parents[1] / "xcor_daemon/demo/data"
# Suites whose files take minutes: they start engines, browsers, clusters and many daemons.
LONG_SUITES = ("faults", "docker", "systemd", "site", "end_to_end", "aws")

# A run in the background of a shell ignores Ctrl-C, and so would every program that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# No test may find the user's credentials, configuration or proxy.
for name in [name for name in os.environ if name.startswith(("AWS_", "XCOR_"))]:
    del os.environ[name]
os.environ |= {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1,localhost"}
os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Jobs of a test run share a cache of their own, not the user's."""
    os.environ["XCOR_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@dataclass(frozen=True)
class RealBucket:
    """An empty bucket of a test's own on the real S3 server."""

    name: str
    server: S3Server

    @property
    def url(self) -> str:
        """Where anonymous readers find it."""
        return f"{self.server.endpoint}/{self.name}"

    def environ(self, work_dir: Path, **settings: str) -> dict[str, str]:
        """The environment of a daemon that serves this bucket; ``source`` is XCOR_SOURCE."""
        settings = {"bucket": self.name, "endpoint_url": self.server.endpoint, **settings}
        settings |= {"work_dir": str(work_dir)}
        return {**self.server.environ, **{f"XCOR_{k.upper()}": v for k, v in settings.items()}}


@pytest.fixture
def store() -> Iterator[Bucket]:
    """A bucket on a stand-in for S3."""
    with bucket_of_moto() as made:
        yield made


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server; 3 s for the first test that asks for it."""
    with start_s3(tmp_path_factory.mktemp("s3") / "server") as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server) -> RealBucket:
    """A new bucket, set up as the service expects it."""
    name = f"xcor-{uuid.uuid4().hex[:12]}"
    s3_server.make_bucket(name)
    return RealBucket(name, s3_server)


@pytest.fixture(scope="session")
def norsar() -> Path:
    """The sample archive: 24 stations, four hours, station.xml."""
    return SAMPLE / "norsar_2019_001"


@pytest.fixture(scope="session")
def sample_job() -> dict[str, bytes]:
    """The files of the job that correlates all of the sample."""
    return {path.name: path.read_bytes() for path in sorted((SAMPLE / "job").iterdir())}


@pytest.fixture(scope="session")
def fdsn_server(norsar: Path) -> Iterator[FdsnServer]:
    """Station and dataselect services over the NORSAR sample."""
    with serve_fdsn(norsar) as server:
        yield server


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """DOCKER_HOST of a real engine; it is installed and started where there is none."""
    with some_engine() as host:
        yield host


@pytest.fixture(scope="session")
def engine(docker_host: str) -> Iterator[docker.DockerClient]:
    """docker-py on that engine."""
    client = docker.DockerClient(docker_host)
    yield client
    client.close()


@pytest.fixture(scope="session")
def base_image(docker_host: str) -> str:
    """A small Linux with Python; made of Debian's packages where no registry answers."""
    return engine_script("base", DOCKER_HOST=docker_host)


@pytest.fixture(scope="session")
def processes_in() -> Callable[[Path], list[int]]:
    """Finds what still runs for a test that keeps to a folder."""
    return find_processes


def find_processes(folder: Path) -> list[int]:
    """Processes that work in a folder, or have it in their arguments or their environment."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal() or int(entry) == os.getpid():
            continue
        process = Path("/proc", entry)
        try:
            cwd = os.readlink(process / "cwd")
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:  # it has ended
            continue
        if Path(cwd).is_relative_to(folder) or bytes(folder) in words:
            found.append(int(entry))
    return found


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long suites, so that a run in several processes ends with short files."""
    root = Path(__file__).parent
    items.sort(
        key=lambda item: not any(item.path.is_relative_to(root / name) for name in LONG_SUITES)
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator:
    """With CI=true a test that is skipped has failed."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CI=true forbids to leave out a test: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    """Report the measurements of tests and the count of faults, from all processes of a run."""
    found = [
        measured
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for measured in report.user_properties
    ]
    for line in (value for name, value in found if name == "report"):
        terminalreporter.write_line(line)
    faults = Counter()
    for counts in (value for name, value in found if name == "faults"):
        faults.update(counts)
    if faults:
        words = "faults tried: {tried}, survived: {survived}; jobs: {jobs}, lost: {lost}, "
        words += "published twice: {doubled}"
        terminalreporter.write_line(words.format_map(faults))
