"""The tab Stacking with results of the demo's daemon and a synthetic year."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from jobs_of import read_pair, wait_for_end
from playwright.sync_api import Locator, Page, expect
from stacking_page import YEAR, number, open_results, point, shown_alike, wait_for_plot

from xcor_daemon.demo.demo import System

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def done(demo, small_job) -> str:
    """The number of the small job, once it is done."""
    assert wait_for_end(demo, small_job)["state"] == "done"
    return small_job


@pytest.fixture(scope="module")
def folder(demo, done) -> Path:
    """The small job's folder on this machine."""
    return next(demo.folder.glob(f"work/*/{done}"))


# --- values ---


def test_windows_under_the_cursor_match_h5py(page, demo, done, folder, shoot, check_access):
    panel = open_results(page, demo, done)
    expect(panel.locator(".pairlist tbody tr")).to_have_count(10)
    title = panel.locator("h3", has_text=" to ").inner_text()
    first, second = title.split(" to ")
    path = folder / "CORR/2019-01-01.h5"
    windows = read_pair(path, "corr", (first, second))
    with h5py.File(path) as file:
        starts, lags = file["window"][:].astype("datetime64[s]"), file["lag"][:]

    for x, y in ((0.3, 0.3), (0.5, 0.5), (0.72, 0.77)):
        what, lag, value = point(page, x, y).groups()
        start = np.datetime64(what.removeprefix("Window ").replace(" ", "T"))
        row, column = np.flatnonzero(starts == start)[0], np.abs(lags - number(lag)).argmin()
        assert lags[column] == pytest.approx(number(lag))
        assert shown_alike(value, windows[row, column])
    check_access(page)
    shoot(page, "stacking_correlogram")


def test_traces_of_a_virtual_source_gather_match_the_file(
    page, demo, done, folder, shoot, check_access
):
    with h5py.File(folder / "STACK/linear.h5") as file:
        channel = file["second"].asstr()[:][-1]  # it is the second of all its pairs
        lags = file["lag"][:]
    panel = open_results(page, demo, done, plot="shot", channel=channel)
    expect(panel.locator("h3", has_text=f"Virtual source gather of {channel}")).to_be_visible()

    what, lag, value = point(page, 0.6, 0.4).groups()
    other, far = what.split(" · ")
    trace = read_pair(folder / "STACK/linear.h5", "stack", (other, channel))[::-1]
    distance = read_pair(folder / "STACK/linear.h5", "distance", (other, channel))

    assert far == f"{distance:.2f} km"
    assert shown_alike(value, trace[np.abs(lags - number(lag)).argmin()])
    check_access(page)
    shoot(page, "stacking_virtual_shot")


def test_year_is_plotted_with_its_gap_and_read_with_the_keyboard(
    page, demo, year, shoot, check_access
):
    page.emulate_media(color_scheme="dark")
    panel = open_results(page, demo, YEAR)
    expect(panel.get_by_role("button", name="A – <b>B</b>")).to_be_visible()
    title = panel.locator("h3", has_text=" to ").inner_text()
    stack = read_pair(year.path, "stack", tuple(title.split(" to ")))
    wait_for_plot(page).focus()
    page.keyboard.press("ArrowRight")  # to the first day and lag zero
    for _ in range(20):
        page.keyboard.press("Shift+ArrowDown")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    said = page.locator(".plot:visible .readout")
    expect(said).to_have_text(re.compile(r"^Interval 2021-07-20 00:00:00 · lag \+0.3 s · no data$"))
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    expect(said).to_contain_text("Interval 2021-08-19")

    value = re.search(r"lag \+0.3 s · (\S+)$", said.inner_text())[1]

    assert shown_alike(value, stack[230, 603])
    check_access(page)
    shoot(page, "stacking_year_dark")


# --- the list ---


def test_pairs_are_sorted_filtered_and_chosen(page, demo, done, folder):
    panel = open_results(page, demo, done)
    cells = panel.locator(".pairlist tbody tr td:nth-child(2)")
    expect(cells).to_have_count(10)
    panel.get_by_role("button", name="Distance km").click()
    with h5py.File(folder / "STACK/linear.h5") as file:
        distance = np.sort(file["distance"][:])
    expect(cells).to_have_text([f"{km:.2f}" for km in distance])
    expect(panel.locator("th[aria-sort=ascending]")).to_have_text(re.compile("Distance"))
    panel.get_by_role("button", name="Distance km").click()
    expect(cells).to_have_text([f"{km:.2f}" for km in distance[::-1]])

    panel.get_by_label("Distance to, km").first.fill(f"{distance[3]:.4f}")
    expect(cells).to_have_count(4)
    panel.get_by_role("searchbox", name="Channels").fill("nao00")
    expect(panel.get_by_text(re.compile(r"^\d of 10 pairs"))).to_be_visible()
    row = panel.locator(".pairlist tbody button").last
    name = row.get_attribute("title").replace(" – ", " to ")
    row.press("Enter")

    expect(panel.get_by_role("heading", name=name)).to_be_visible()
    expect(page).to_have_url(re.compile(r"pair=NO\."))
    page.reload()
    expect(panel.get_by_role("heading", name=name)).to_be_visible()


# --- what is kept ---


def test_trace_is_saved_as_csv_and_the_plot_as_an_image(page, demo, done, folder):
    panel = open_results(page, demo, done)
    first, second = panel.locator("h3", has_text=" to ").inner_text().split(" to ")
    with page.expect_download() as download:
        panel.get_by_role("button", name="Save trace as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    trace = np.array([row["stack"] for row in rows], dtype=np.float32)
    with page.expect_download() as picture:
        panel.get_by_role("button", name="Save image").click()

    assert download.value.suggested_filename == f"linear_{first}_{second}.csv"
    expected = read_pair(folder / "STACK/linear.h5", "stack", (first, second))
    np.testing.assert_array_equal(trace, expected)
    with h5py.File(folder / "STACK/linear.h5") as file:
        np.testing.assert_allclose([float(row["lag"]) for row in rows], file["lag"][:], atol=1e-9)
    assert Path(picture.value.path()).read_bytes().startswith(b"\x89PNG")


def test_files_are_downloaded_by_link_and_by_command(
    page, demo, done, store, tmp_path, shoot, check_access
):
    panel = open_results(page, demo, done, view="files")
    manifest = store.read_json(f"processed/{done}/manifest.json")
    sums = {file["key"]: file["sha256"] for file in manifest["files"]}
    check_access(page)
    shoot(page, "stacking_files")
    with page.expect_download() as download:
        panel.get_by_role("link", name="STACK/linear.h5").click()
    (key,) = (key for key in sums if key.endswith("STACK/linear.h5"))
    assert download.value.suggested_filename == "linear.h5"
    assert sha256(Path(download.value.path())) == sums[key]

    with page.expect_download() as download:
        panel.get_by_role("button", name="Download all as ZIP").click()
    with zipfile.ZipFile(download.value.path()) as whole:
        assert whole.testzip() is None
        packed = {n: hashlib.sha256(whole.read(n)).hexdigest() for n in whole.namelist()}
    below = re.compile(r"^processed/(\d+)/runs/[^/]+")
    assert packed == {below.sub(r"\1", key): value for key, value in sums.items()}

    lines = {
        name: panel.get_by_role("region", name=name, exact=True).inner_text()
        for name in ("With curl", "One file with curl", "One file with the AWS CLI")
    }
    for name, line in lines.items():
        place = tmp_path / name.replace(" ", "_")
        place.mkdir()
        run(line, place)
        if name == "With curl":
            run(line, place)  # a second call finds all there
            found = {f"processed/{path.relative_to(place)}": sha256(path)
                     for path in place.rglob("*") if path.is_file()}  # fmt: skip
            assert found == sums
        else:
            (path,) = place.iterdir()
            assert sha256(path) in sums.values()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(line: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_only_plotted_data_is_loaded(page, demo, year):
    asked = []
    page.on("request", lambda request: asked.append(request))
    open_results(page, demo, YEAR)
    point(page, 0.5, 0.5)

    ranges = [r.headers.get("range") for r in asked if r.url.endswith(".h5")]
    spans = [re.fullmatch(r"bytes=(\d+)-(\d+)", text).groups() for text in ranges]
    one_pair = 365 * 1201 * 4
    assert sum(int(end) - int(start) + 1 for start, end in spans) < one_pair + 30_000


# --- images and provenance ---


def test_images_have_descriptions(page, demo, done, shoot, check_access):
    panel = open_results(page, demo, done, view="images")
    section = panel.get_by_role("img", name=re.compile("^All pairs, 0.12-0.35 Hz"))
    section.scroll_into_view_if_needed()
    expect(section).to_be_visible()
    page.wait_for_function("document.querySelector('.images img').naturalWidth > 500")

    check_access(page)
    shoot(page, "stacking_images")


def test_provenance_of_results(page, demo, done, store, shoot, check_access):
    panel = open_results(page, demo, done, view="about")
    manifest = store.read_json(f"processed/{done}/manifest.json")

    expect(panel).to_contain_text(manifest["attempt"])
    for item in manifest["inputs"]:
        expect(panel).to_contain_text(item["sha256"])
    check_access(page)
    shoot(page, "stacking_provenance")


# --- another stack ---


def open_request(page: Page, demo: System, job: str, method: str) -> Locator:
    """The tab with the form for another stack of a job."""
    panel = open_results(page, demo, job, view="stack")
    panel.get_by_label("Method").select_option(method)
    return panel


def stack(panel: Locator) -> None:
    panel.get_by_role("button", name="Stack", exact=True).click()


def test_stack_is_requested_followed_shown_and_downloaded(
    visitor, page, demo, done, store, shoot, check_access
):
    visitor.expected.append("status of 404")  # until the service has seen the job
    panel = open_request(page, demo, done, "phase-weighted")
    panel.get_by_label("Phase smoothing").fill("-2")
    stack(panel)
    expect(
        panel.get_by_text("-2 s is out of range (at least 0 and at most 3600 s)")
    ).to_be_visible()
    expect(panel.get_by_label("Phase smoothing")).to_be_focused()
    panel.get_by_text("Uncertainty, dv/v and images").click()
    check_access(page)
    shoot(page, "stacking_request")
    panel.get_by_label("Phase smoothing").fill("2")

    stack(panel)
    panel.get_by_role("link", name="View result").click(timeout=120_000)

    page.wait_for_url(lambda url: "id=" in url and done not in url)
    job = re.search(r"id=(\d+)", page.url)[1]
    expect(panel.locator(".pairlist tbody tr")).to_have_count(10)
    point(page, 0.5, 0.4)  # its windows come from the job that was stacked
    panel.get_by_role("button", name="Images").click()
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download record_section.png").click()
    manifest = store.read_json(f"processed/{job}/manifest.json")
    (expected,) = (f for f in manifest["files"] if f["key"].endswith("record_section.png"))
    assert manifest["request"]["params"]["type"] == "phase-weighted"
    assert manifest["request"]["params"]["phase_smooth"] == 2
    assert sha256(Path(download.value.path())) == expected["sha256"]


def test_rejection_is_shown_at_its_field(visitor, page, demo, year):
    visitor.expected.append("status of 422")
    page.route("**/limits.json", loosened)
    panel = open_request(page, demo, YEAR, "nth-root")
    panel.get_by_label("Power").fill("17")
    stack(panel)

    expect(panel.get_by_text("is out of range (at least 0 and at most 16)")).to_be_visible()
    expect(panel.get_by_label("Power")).to_be_focused()


def test_request_with_a_lost_answer_is_retried_as_the_same_launch(visitor, page, demo, year):
    visitor.expected.append("Failed to load")
    sent = []

    def lose_the_first(route) -> None:
        sent.append(route.request.post_data_json)
        route.abort() if len(sent) == 1 else route.fulfill(json={"id": str(8100 + len(sent))})

    page.route(f"{demo.page}/jobs", lose_the_first)
    panel = open_request(page, demo, YEAR, "robust")
    stack(panel)
    expect(panel.get_by_text("Retrying is safe: it cannot create a second job")).to_be_visible()
    for job in ("8102", "8103"):
        stack(panel)
        expect(panel.get_by_role("link", name=f"Job {job}")).to_be_visible()

    first, again, another = (request.pop("launch") for request in sent)
    assert first == again != another
    assert sent[0] == sent[1] == sent[2]


def loosened(route) -> None:
    """limits.json of a page that is older than its service."""
    limits = route.fetch().json()
    limits["stacking"]["power"]["max"] = 99
    route.fulfill(json=limits)


def test_page_without_a_service_offers_the_file(page, demo, year):
    page.route("**/config.json", without_service)
    panel = open_results(page, demo, YEAR, view="stack")
    expect(panel.get_by_text("This page is not connected to a service")).to_be_visible()
    expect(panel.get_by_role("button", name="Stack", exact=True)).to_be_hidden()
    panel.get_by_label("One stack per pair over all days").uncheck()
    panel.get_by_label("Interval", exact=True).fill("7D")
    with page.expect_download() as download:
        panel.get_by_role("button", name="Save stacking_params.csv").click()

    assert Path(download.value.path()).read_text() == (
        "type,phase_smooth,stack_all,job,interval\nlinear,,false,41,7D\n"
    )


def without_service(route) -> None:
    """config.json of a page in a bucket that nothing stands behind."""
    route.fulfill(json={**route.fetch().json(), "submit": ""})


def test_address_opens_a_pair_and_a_plot(page, demo, year):
    panel = open_results(page, demo, YEAR)
    expect(panel.get_by_role("heading", name="XX.A..BHZ to XX.C..BHZ")).to_be_visible()
    page.evaluate(f"location.hash = '#stacking?id={YEAR}&pair=XX.A..BHZ|XX.<b>B</b>..BHZ'")
    expect(panel.get_by_role("heading", name="to XX.<b>B</b>..BHZ")).to_be_visible()
    page.evaluate(f"location.hash = '#stacking?id={YEAR}&plot=all'")

    expect(panel.get_by_role("heading", name="Record section of all pairs")).to_be_visible()


def test_print_has_a_white_plot_and_no_controls(page, demo, year, shoot):
    page.emulate_media(color_scheme="dark")
    panel = open_results(page, demo, YEAR)
    point(page, 0.5, 0.5)
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    expect(panel.get_by_role("button", name="Save image")).to_be_hidden()
    corner = page.evaluate(
        "[...document.querySelector('.plot:not([hidden]) .sheet').getContext('2d')"
        ".getImageData(2, 2, 1, 1).data]"
    )
    assert corner == [255, 255, 255, 255]
    shoot(page, "stacking_paper")


def test_tab_on_a_small_screen(page, demo, year, shoot, check_access):
    page.set_viewport_size({"width": 420, "height": 900})
    panel = open_results(page, demo, YEAR, plot="shot", channel="XX.A..BHZ")
    expect(panel.get_by_role("heading", name="Virtual source gather of XX.A..BHZ")).to_be_visible()
    for view in ("New stack", "Files", "Provenance", "Images", "Explore"):
        panel.get_by_role("button", name=view).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 420, view

    point(page, 0.4, 0.5)
    check_access(page)
    shoot(page, "stacking_small")
