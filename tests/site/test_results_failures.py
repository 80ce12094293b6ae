"""The tab Stacking with results that are late, damaged, expired or empty."""

from __future__ import annotations

from functools import partial

import pytest
from jobs_of import publish
from playwright.sync_api import expect
from stacking_page import YEAR, open_results, point

pytestmark = pytest.mark.real

CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Content-Range"}
MANIFEST, FILE, TABLE = "**/manifest.json", "**/linear.h5", "**/linear.csv"
FAILURES = {
    "no manifest": (MANIFEST, {"status": 404}, "it has not finished, or its results have expired"),
    "forbidden": (MANIFEST, {"status": 403}, "it has not finished, or its results have expired"),
    "half a manifest": (MANIFEST, {"body": '{"schema": 1, "fil'}, "returned invalid JSON"),
    "later manifest": (MANIFEST, {"body": '{"schema": 2, "files": []}'}, "page supports schema 1"),
    "half a table": (TABLE, {"body": "first,sec"}, "was cut off after 9 of"),
    "half a part": (FILE, {"status": 206, "body": b"12345"}, "was cut off after 5 of"),
    "no ranges": (
        FILE,
        {"status": 200, "body": b"x" * 9000},
        "does not support HTTP range requests",
    ),
    "shorter file": (FILE, {"status": 416}, "is shorter than the manifest states"),
    "file gone": (FILE, {"status": 403}, "no longer exists"),
    "slow down": (FILE, {"status": 503}, "is limiting requests"),
    "an error": (FILE, {"status": 500, "body": "<html>"}, "responded with status 500"),
    "away": (FILE, None, "cannot be reached from this page"),
}


def go_wrong(answer, route) -> None:
    """Answer in the way of a table's row; nothing: the connection breaks."""
    if answer is None:
        route.abort()
    else:
        route.fulfill(headers=CORS, **answer)


def test_failure_is_reported_and_retried(visitor, page, demo, year, shoot, check_access):
    visitor.expected += ["Failed to load", "CORS"]
    panel = page.get_by_role("tabpanel", name="Stacking")
    pairs = panel.locator(".pairlist tbody button")
    for name, (url, answer, words) in FAILURES.items():
        page.route(url, partial(go_wrong, answer))
        if url == FILE and pairs.count():
            panel.locator(".pairlist [aria-pressed=false]").first.click()
        else:
            page.goto("about:blank")
            page.goto(f"{demo.page}/#stacking?id={YEAR}")
        expect(panel).to_contain_text(words)
        if name in ("no manifest", "half a table", "half a part"):
            check_access(page)
            shoot(page, f"stacking_{name.replace(' ', '_')}")

        page.unroute(url)
        panel.get_by_role("button", name="Try again").click()

        expect(panel.locator(".readout:visible")).to_be_visible()
        expect(panel).not_to_contain_text(words)


def test_stack_is_shown_if_its_windows_have_expired(
    visitor, page, demo, year, store, tmp_path, shoot
):
    visitor.expected.append("status of 404")  # the job whose windows these are
    panel = open_results(page, demo, YEAR)
    panel.get_by_label("Rows").select_option("Correlation windows")

    expect(panel).to_contain_text("they belong to job 41, and it has not finished")
    point(page, 0.5, 0.1)
    shoot(page, "stacking_windows_gone")


def test_job_without_data_shows_its_files(page, demo, store, tmp_path):
    note = tmp_path / "summary.csv"
    note.write_text("day,channel\n")
    publish(store, "8101", {"summary.csv": note}, {"kind": "xcor", "params": {"fs": 4}})
    panel = open_results(page, demo, "8101")

    expect(panel).to_contain_text("No day of this job had data")
    expect(panel.get_by_role("button", name="Explore")).to_be_disabled()
    panel.get_by_role("button", name="Files").click()
    expect(panel.get_by_role("link", name="summary.csv")).to_be_visible()


def test_browser_without_jobs_shows_instructions(page, demo, shoot):
    page.goto(f"{demo.page}/#stacking")

    expect(page.get_by_text("No finished jobs in this browser.")).to_be_visible()
    shoot(page, "stacking_none")
