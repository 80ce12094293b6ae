"""The demo: the whole system on one machine, with real data, offline.

Starts S3 server, FDSN server, page and daemon, submits a job as the page does, and follows it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..atomic_files import disk_errors, make_folder, open_log, require_space
from ..config import Config
from ..errors import ConfigError, DiskError, UnreachableError, XcorError
from ..report import published_job_report
from ..storage.bucket import Bucket
from ..web.page import Page, Services
from ..web.submit import handle, handle_cancel
from .fdsn_server import serve_fdsn
from .page_server import PageServer
from .processes import start_child, stop_child
from .s3_server import S3Server, start_s3

SAMPLE = Path(__file__).with_name("data")
ARCHIVE, JOB = SAMPLE / "norsar_2019_001", SAMPLE / "job"
BUCKET = "xcor"
CENTRE = {
    "name": "SAMPLE",
    "title": "NORSAR sample, on this machine",
    "example": {
        "network": "NO",
        "channel": "BHZ",
        "start": "2019-01-01",
        "end": "2019-01-01T04:00",
    },
}
_POLL = 0.25  # s
_NEEDED = 100_000_000  # bytes of the sample job, its copy in S3, and all servers
_LEAST_FREE = 1_000_000  # bytes without which the servers stop working
_NUMBERS = re.compile(r"(, )?[0-9][0-9.,e-]*(/s)?")  # of a stage, which change with every report
_GRACE = 8.0  # s for the daemon to stop, with its workers
_ENDS = ("done", "failed", "rejected", "cancelled")


@dataclass(frozen=True)
class System:
    """The running system, seen from outside."""

    folder: Path
    page: str  # URL of the page
    results: str  # URL of the bucket
    daemon: subprocess.Popen[bytes]


def run(once: bool, port: int, folder: Path | None) -> None:
    """Run the demo; see `xcor_daemon.demo.run_demo`."""
    folder = _prepare(folder)
    with _ended_by_sigterm(), _disk_checked(folder), running(folder, port) as system:
        job_id = submit_sample(system.page)
        _print(f"Job {job_id}: 24 channels, 276 pairs, 4 hours; submitted as the page does.")
        status = _follow(system, job_id)
        if status["state"] != "done":
            raise XcorError(_failure_text(system, status))
        manifest = fetch_json(f"{system.results}/{status['manifest']}")
        assert manifest is not None  # written before status.json names it
        local = next(folder.glob(f"work/*/{job_id}"))
        print("\n".join(published_job_report(manifest, local, system.results)), flush=True)
        if not once:
            _serve(system, job_id)
    _print(f"All processes have stopped. Results and logs are in {folder}")


@contextmanager
def _disk_checked(folder: Path) -> Iterator[None]:
    """Raise a DiskError where a full disk is the cause: the S3 server's errors do not name it."""
    try:
        yield
    except (XcorError, OSError):
        require_space(folder, _LEAST_FREE)
        raise


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[System]:
    """Run the S3 server, the FDSN server, the page and the daemon during the block.

    ``port`` is that of the page; 0: any free port.
    """
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder / "s3", ignore_errors=True)
        _print("Starting an S3 server (SeaweedFS) ...")
        s3 = stack.enter_context(start_s3(folder / "s3"))
        _print("Starting an FDSN server over 24 stations of the NORSAR array ...")
        fdsn = stack.enter_context(serve_fdsn(ARCHIVE, folder / "fdsn.log"))
        results = f"{s3.endpoint}/{BUCKET}"
        centre = {**CENTRE, "url": fdsn.url}
        services = Services(results, "/jobs", [centre], cores=os.cpu_count() or 0)
        bucket = Bucket(s3.client(), BUCKET)
        handlers = partial(handle, bucket), partial(handle_cancel, bucket)
        page = stack.enter_context(PageServer(Page(services), *handlers, port))
        s3.make_bucket(BUCKET, page.origins)
        _print("Starting the daemon ...")
        with open_log(folder / "daemon.log") as log:
            daemon = start_child(
                [sys.executable, "-m", "xcor_daemon.cli", "run"],
                stdout=log,
                stderr=log,
                env=_daemon_environ(s3, fdsn.url, folder),
                with_detached=True,
            )
        stack.callback(stop_child, daemon, _GRACE)
        yield System(folder, page.url, results, daemon)


def submit_sample(page: str) -> str:
    """Submit the sample job to a page server; returns the job's id."""
    body = {path.stem: path.read_text() for path in sorted(JOB.iterdir())}
    request = urllib.request.Request(
        f"{page}/jobs",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with _opener().open(request, timeout=30) as answer:
        return str(json.load(answer)["id"])


def fetch_json(url: str) -> dict[str, Any] | None:
    """A public JSON object; None while it does not exist."""
    try:
        with _opener().open(url, timeout=30) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        if error.code in (403, 404):
            return None
        raise


def _opener() -> urllib.request.OpenerDirector:
    """An opener for URLs of this machine, without a proxy."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _prepare(folder: Path | None) -> Path:
    if folder is None:
        try:
            above = Path(tempfile.gettempdir())
        except OSError as error:
            remedy = "set TMPDIR to a folder on a disk with free space"
            raise DiskError(
                f"cannot create a temporary folder: {error.strerror}; {remedy}."
            ) from error
        require_space(above, _NEEDED, round(Config.reserve))
        with disk_errors(above):
            folder = Path(tempfile.mkdtemp(prefix="xcor-demo-"))
    make_folder(folder)
    require_space(folder, _NEEDED, round(Config.reserve))
    if any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; name a new folder.")
    return folder.resolve()


def _daemon_environ(s3: S3Server, fdsn: str, folder: Path) -> dict[str, str]:
    """The environment of the daemon, without settings or credentials of other services."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "XCOR_"))}
    return {
        **kept,
        **s3.environ,
        "XCOR_BUCKET": BUCKET,
        "XCOR_ENDPOINT_URL": s3.endpoint,
        "XCOR_WORK_DIR": str(folder / "work"),
        "XCOR_SOURCE": f"fdsn:{fdsn}",
        "XCOR_SOURCES": f"{CENTRE['name']}=fdsn:{fdsn}",
        "XCOR_INTERVAL": "0.3",
        "XCOR_SETTLE": "1",
    }


def _follow(system: System, job_id: str) -> dict[str, Any]:
    """Poll the status of a job until it ends, with a bar on a terminal and lines elsewhere."""
    show, close = _bar() if sys.stderr.isatty() else (_Lines(), lambda: None)
    url = f"{system.results}/processed/{job_id}/status.json"
    try:
        while True:
            status = fetch_json(url)
            if status:
                show(status)
                if status["state"] in _ENDS:
                    return status
            _check_daemon(system)
            time.sleep(_POLL)
    finally:
        close()


def _bar() -> tuple[Callable[[Mapping[str, Any]], None], Callable[[], None]]:
    """A progress bar over the days of a job, which moves between them by the remaining time."""
    bar = tqdm(total=100, unit="%", bar_format="{percentage:3.0f} %|{bar:30}| {elapsed} {desc}")
    began = time.monotonic()

    def show(status: Mapping[str, Any]) -> None:
        done, days = status.get("days") or (0, 0)
        eta, elapsed = status.get("eta_s"), time.monotonic() - began
        part = 100 * elapsed / (elapsed + eta) if eta else 100 * done / max(days, 1)
        bar.n = 100 if status["state"] == "done" else max(bar.n, min(99, round(part)))
        bar.set_description_str(f"{status['state']}: {status.get('stage') or ''}"[:70])

    return show, bar.close


class _Lines:
    """Progress without a terminal: a line when the stage changes by more than its numbers."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, status: Mapping[str, Any]) -> None:
        line = f"{status['state']}: {status.get('stage') or ''}"
        kind = _NUMBERS.sub("", line)
        if kind != self._last:
            self._last = kind
            _print(f"  {line}")


def _check_daemon(system: System) -> None:
    require_space(system.folder, _LEAST_FREE)  # a daemon on a full disk would never finish
    if system.daemon.poll() is not None:
        log = (system.folder / "daemon.log").read_text(errors="replace")[-2000:]
        raise UnreachableError(
            f"the daemon ended with status {system.daemon.returncode}; its log ends:\n{log}"
        )


def _failure_text(system: System, status: Mapping[str, Any]) -> str:
    tail = "\n".join(status.get("log_tail") or ())
    logs = f"logs: {system.folder}"
    return f"the job ended as {status['state']}: {status.get('reason')}\n{tail}\n{logs}"


def _serve(system: System, job_id: str) -> None:
    """Serve until Ctrl-C."""
    _print(f"\nThe page:  {system.page}/#jobs?id={job_id}\nPress Ctrl-C to stop.")
    try:
        while True:
            _check_daemon(system)
            time.sleep(_POLL)
    except KeyboardInterrupt:
        _print("")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM and SIGHUP unwind the stack, so that all processes are stopped in order."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {s: signal.signal(s, leave) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
