"""Stacking jobs as the page sends them: all original methods, on real servers and a real daemon."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from itertools import cycle, product
from pathlib import Path

import numpy as np
import pytest

from xcor_daemon.demo.page_server import PageServer
from xcor_daemon.results import open_results
from xcor_daemon.storage.bucket import Bucket
from xcor_daemon.web import page as webpage
from xcor_daemon.web.submit import handle, handle_cancel

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

TA = Path(__file__).parents[1] / "data/ta_2017_05"
TA_JOB = {
    "stations": "Network,Station,Location,Channel,StartDate,EndDate\n"
    "TA,N16K,,LHZ,2017-05-01T00:00:00,2017-05-09T00:00:00\n"
    "TA,N19K,,LHZ,2017-05-01T00:00:00,2017-05-09T00:00:00\n",
    "params": "fs,freqmin,freqmax,cc_step,cc_len,maxlag\n1,0.05,0.1,900,1800,200\n",
}
HEAD = "type,phase_smooth,stack_all,job"


class Page:
    """As the page: POST /jobs, then read the public files."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, **files: str) -> tuple[int, dict]:
        body = json.dumps(files).encode()
        headers = {"Content-Type": "application/json", "Origin": self.url}
        request = urllib.request.Request(f"{self.url}/jobs", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def send(self, **files: str) -> str:
        status, answer = self.post(**files)
        assert status == 201, answer
        return answer["id"]

    def stack(self, row: str, head: str = HEAD) -> str:
        return self.send(stacking_params=f"{head}\n{row}\n")


@pytest.fixture
def page(bucket) -> Iterator[Page]:
    store = Bucket(bucket.server.client(), bucket.name)
    asks = partial(handle, store), partial(handle_cancel, store)
    services = webpage.Services(bucket.url, "/jobs", [])
    with PageServer(webpage.Page(services), *asks) as server:
        yield Page(server.url)


@pytest.fixture
def archive(norsar, tmp_path) -> Path:
    """Both the NORSAR and the TA sample."""
    made = tmp_path / "archive"
    made.mkdir()
    (made / "norsar").symlink_to(norsar)
    (made / "ta").symlink_to(TA)
    return made


def test_stacks_of_all_original_methods_appear_and_bad_requests_are_refused(
    serve, archive, page, sample_job
):
    sample = {name.removesuffix(".csv"): body.decode() for name, body in sample_job.items()}
    norsar = page.send(**sample)
    early = page.stack(f"linear,,true,{norsar}")
    ta = page.send(**TA_JOB)
    unknown = page.stack("linear,,true,1234567890123456")
    refused_before_they_are_jobs(page, norsar)

    # All at once, so that the correlation job is running or still to come.
    service = serve(f"archive:{archive}", settle="0")
    status = service.wait_for(early)
    assert status["state"] == "rejected"
    assert "submit the stacking job when it is done" in status["reason"]
    status = service.wait_for(unknown)
    assert status["state"] == "rejected"
    assert "1234567890123456 is not a job of this service; check the number" in status["reason"]
    for job in (norsar, ta):
        assert service.wait_for(job)["state"] == "done"

    asked = {}
    methods = product(("linear", "phase-weighted", "robust"), ("true", "false"))
    # Both correlation jobs in turn: all twelve take three minutes and show nothing more.
    for corr, (method, stack_all) in zip(cycle((norsar, ta, ta, norsar)), methods, strict=False):
        smooth = "2" if method == "phase-weighted" else ""
        asked[page.stack(f"{method},{smooth},{stack_all},{corr}")] = (corr, method, stack_all)
    nothing = page.stack(f"linear,,true,{ta},TA.N16K..LHZ|TA.X..LHZ", f"{HEAD},pairs")
    change = page.stack(f"linear,,false,{ta},cross-spectrum,50", f"{HEAD},dvv,dvv_min_lag")

    for job, (corr, method, stack_all) in asked.items():
        assert service.wait_for(job)["state"] == "done"
        assert_results(service, job, corr == norsar, method, stack_all == "true")
    status = service.wait_for(nothing)
    assert status["state"] == "rejected"
    assert f"TA.N16K..LHZ|TA.X..LHZ is not in job {ta}; it has 1" in status["reason"]
    assert service.wait_for(change)["state"] == "done"
    with open_results(f"{service.bucket.url}/processed/{change}") as results:
        assert np.isfinite(results.stack()["dvv"].values).sum() >= 4
    assert "dvv.png" in (service.read(f"processed/{change}/files.txt") or b"").decode()


def refused_before_they_are_jobs(page: Page, corr: str) -> None:
    """Errors that the page gets at once, with the column and the remedy."""
    for row, reason in (
        (f"mean,,true,{corr}", "type = mean is not one of linear, phase-weighted, robust"),
        (f"linear,2,true,{corr}", "phase_smooth = 2 applies only with type=phase-weighted"),
        ("linear,,true,", "job is not a job id"),
    ):
        status, answer = page.post(stacking_params=f"{HEAD}\n{row}\n")
        assert status == 422
        said = [f"{p['column']} '{p['value']}' {p['text']}" for p in answer["problems"]]
        assert any(reason in text for text in said), said


def assert_results(service, job: str, of_array: bool, method: str, stack_all: bool) -> None:
    """Stacks, images and their texts are published, whole, and the list ends with done."""
    *listed, last = service.read(f"processed/{job}/files.txt").decode().splitlines()
    assert last == "done"
    manifest = json.loads(service.read(f"processed/{job}/manifest.json"))
    assert listed == [file["key"] for file in manifest["files"]]
    prefix = f"processed/{job}/runs/{manifest['attempt']}/"
    names = {key.removeprefix(prefix) for key in listed}
    images = ("record_section", "overview", "spectrum", "station_map", "virtual_shot")
    for image in (*images, "correlogram"):
        assert {f"PLOT/{image}.png", f"PLOT/{image}.txt"} <= names
    for file in manifest["files"]:
        if file["key"].endswith((".png", ".txt")):
            content = service.read(file["key"])
            assert hashlib.sha256(content).hexdigest() == file["sha256"]
    with open_results(f"{service.bucket.url}/processed/{job}") as results:
        data = results.stack(method)
        assert data.attrs["method"] == method
        n_pairs, n_days, n_lags = (276, 1, 601) if of_array else (1, 8, 401)
        shape = (n_pairs, n_lags) if stack_all else (n_pairs, n_days, n_lags)
        assert data["stack"].shape == shape
        assert (data["n_windows"].values > 40).all()
        trace = (data["stack"] if stack_all else data["mean"]).values
        lag = data["lag"].values[np.abs(trace).argmax(axis=-1)]
        if of_array:  # microseisms faster than 2 km/s in nearly every pair, whatever the method
            assert np.mean(np.abs(lag) <= data["distance"].values / 2 + 2) > 0.97
        else:
            assert np.abs(np.abs(lag) - 68) < 20  # Rayleigh waves at -80 and +55 s
