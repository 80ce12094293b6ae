"""A whole visit: from a query to a stacked image in the download folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


def test_whole_visit_from_query_to_image(visitor, page, demo, shoot):
    visitor.expected.append("status of 404")  # a job's status, until the service has seen it
    page.goto(demo.page)
    page.get_by_role("button", name="Fill in an example").click()
    page.get_by_role("button", name="Query").click()
    expect(page.get_by_text("24 channels of 24 stations in 1 network")).to_be_visible()
    for station in ("NAO00", "NAO01", "NB200"):
        page.get_by_role("checkbox", name=f"Select NO.{station}..BHZ").check()
    page.get_by_role("button", name="Save 3 selected channels").click()

    page.get_by_role("link", name="Continue to XCor").click()
    params = {"fs": "4", "freqmin": "0.12", "freqmax": "0.35", "cc_step": "300", "cc_len": "600"}
    for name, value in params.items():
        page.locator(f"#xcor-{name}").fill(value)
    shoot(page, "visit-xcor")
    page.get_by_role("button", name="Save and Launch").click()
    page.get_by_role("dialog").get_by_role("button", name="Launch").click()

    jobs = page.get_by_role("tabpanel", name="Jobs")
    expect(jobs.get_by_text("3 channels, 0.12 to 0.35 Hz").first).to_be_visible()
    shoot(page, "visit-jobs")
    jobs.get_by_role("link", name="View results").click(timeout=180_000)

    stacking = page.get_by_role("tabpanel", name="Stacking")
    expect(stacking.locator(".pairlist tbody tr")).to_have_count(3)
    stacking.get_by_role("button", name="New stack").click()
    stacking.get_by_label("Method").select_option("phase-weighted")
    stacking.get_by_role("button", name="Stack", exact=True).click()
    first = re.search(r"id=(\d+)", page.url)[1]
    stacking.get_by_role("link", name="View result").click(timeout=180_000)
    page.wait_for_url(lambda url: "id=" in url and first not in url)
    stacking.get_by_role("button", name="Images").click()
    with page.expect_download() as download:
        stacking.get_by_role("button", name="Download record_section.png").click()

    assert download.value.suggested_filename.endswith("record_section.png")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    shoot(page, "visit-stacked")
