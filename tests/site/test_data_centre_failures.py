"""Failures of data centres: each is reported with its cause and remedy."""

from __future__ import annotations

import re

import pytest
from fake_data_centres import NASTY
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.real


def query(page: Page, site, behaviour: str) -> None:
    """Query a data centre with some behaviour for network XX."""
    if not page.url.startswith(site.url):
        page.goto(site.url)
    page.get_by_label("Data centre").select_option(behaviour)
    page.get_by_label("Network", exact=True).first.fill("XX")
    page.get_by_role("button", name="Query").click()


def status(page: Page):
    return page.locator("#map-status")


def test_failed_query_is_reported_with_a_remedy(visitor, page, site):
    visitor.expected += ["Failed to load resource", "CORS"]
    for behaviour, words in {
        "204": "No channels match. Widen the codes",
        "400": "rejected the query as invalid",
        "404": "No channels match. Widen the codes",
        "403": "denied access",
        "413": "name networks or stations, take fewer channels, or draw a smaller area",
        "414": "name fewer codes, or use wildcards",
        "500": "had an internal error (status 500): try again, or choose another",
        "web page": "returned a web page instead of a list of channels",
        "no list": "is not a list of channels",
        "half": "was cut off",
        "no CORS": "does not allow cross-origin requests (CORS)",
    }.items():
        query(page, site, behaviour)
        expect(status(page), behaviour).to_contain_text(words)
        expect(page.get_by_role("button", name="Query")).to_be_enabled()


def test_response_of_the_service_is_shown_as_text(visitor, page, site, shoot, check_access):
    visitor.expected.append("400")
    query(page, site, "400")

    expect(status(page).locator("pre")).to_contain_text("Unknown network code <XX>")
    check_access(page)
    shoot(page, "map-refused")


def test_failed_query_keeps_previous_results(visitor, page, site):
    visitor.expected.append("500")
    query(page, site, "fair")
    expect(status(page)).to_contain_text("Found 2 channels")
    query(page, site, "500")

    expect(status(page)).to_contain_text("status 500")
    expect(page.get_by_role("button", name="Show XX.AAA on the map")).to_be_visible()


def test_busy_service_is_retried_after_its_delay(visitor, page, site, data_centres):
    visitor.expected.append("429")
    query(page, site, "busy once")

    expect(status(page)).to_contain_text("Found 2 channels")
    assert data_centres.asked["busy once"] == 2


def test_service_that_stays_busy_is_reported_after_retries(visitor, page, site, data_centres):
    visitor.expected.append("429")
    page.clock.install()
    query(page, site, "busy")
    # Each answer has come before the page's clock goes on: it would have been given up else.
    for seconds, told in ((5, "[1-5]"), (15, "1[0-5]"), (45, "4[0-5]")):
        waits = re.compile(f"busy; retrying in {told} second")
        expect(status(page)).to_contain_text(waits)
        page.clock.run_for(1000 * seconds)

    given_up = "try again in a few minutes, or choose another data centre"
    expect(status(page)).to_contain_text(given_up)
    assert data_centres.asked["busy"] == 4


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [("silent", "has not responded for 60 s"), ("stalled", "has sent no more data for 60 s")],
)
def test_unresponsive_service_times_out(visitor, page, site, data_centres, behaviour, words):
    page.clock.install()
    query(page, site, behaviour)
    expect(status(page)).to_contain_text(
        "kB so far" if behaviour == "stalled" else f"Querying {behaviour}"
    )
    page.clock.run_for(61_000)

    expect(status(page)).to_contain_text(words)


def test_a_query_can_be_cancelled(page, site):
    query(page, site, "silent")
    page.get_by_role("button", name="Cancel").click()

    expect(status(page)).to_contain_text("Cancelled")
    expect(page.get_by_role("button", name="Query")).to_be_enabled()


def test_invalid_lines_are_counted_and_skipped(page, site):
    query(page, site, "damaged")

    expect(status(page)).to_contain_text("Found 2 channels")
    expect(status(page)).to_contain_text("1 line of the response could not be read")
    expect(status(page)).to_contain_text("line 4 has 4 fields instead of 17")


def test_markup_and_bars_of_a_response_are_shown_as_text(page, site):
    query(page, site, "nasty")
    page.get_by_role("button", name="Show XX.AAA on the map").click()

    popup = page.locator(".leaflet-popup-content")
    expect(popup).to_contain_text(NASTY)
    assert popup.locator("img, b, script").count() == 0


def test_rows_beyond_fifty_thousand_are_reported_as_truncated(page, site):
    query(page, site, "60,000 rows")

    expect(status(page)).to_contain_text("only the first 50,000 rows were read")
    expect(page.get_by_text("50,000 channels of 5,000 stations in 1 network")).to_be_visible()
    expect(page.get_by_text("Rows 1 to 100 of 50,000")).to_be_visible()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Station", exact=True).click()
    expect(page.get_by_text("Rows 1 to 100 of 50,000")).to_be_visible()


def test_two_windows_share_saved_channels(visitor, site):
    one, other = visitor.open(site.url), visitor.open(site.url)
    for page, station in ((one, "AAA"), (other, "BBB")):
        query(page, site, "fair")
        page.get_by_label("Start").fill("2019-01-01")
        page.get_by_label("End").fill("2019-01-03")
        page.get_by_role("button", name="Query").click()
        expect(status(page)).to_contain_text("Found 2 channels")
        page.get_by_role("checkbox", name=f"Select XX.{station}..BHZ").check()
        page.get_by_role("button", name="Save 1 selected channel").click()

    for page in (one, other):
        saved = page.get_by_role("region", name="Saved channels")
        expect(saved).to_contain_text("2 channels of 2 stations, 2 days")
    one.get_by_role("button", name="Clear").click()
    expect(other.get_by_role("region", name="Saved channels")).to_contain_text("No channels yet")
    one.get_by_role("button", name="Undo").click()
    expect(other.get_by_role("region", name="Saved channels")).to_contain_text("2 channels")


def test_browser_without_storage_is_reported(visitor, site):
    visitor.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no') }})"
    )
    page = visitor.open(site.url)
    page.get_by_label("Colours").select_option("Dark")

    expect(page.get_by_text("This browser cannot store data")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_open_epoch_ends_at_the_server_time(visitor, site):
    page = visitor.open()
    page.clock.install(time="2040-02-03T04:05:06")
    query(page, site, "fair")
    expect(status(page)).to_contain_text("Found 2 channels")
    page.get_by_label("Start").fill("2024-01-01")
    page.get_by_role("button", name="Query").click()
    expect(status(page)).to_contain_text("Found 2 channels")
    page.get_by_role("checkbox", name="Select XX.AAA..BHZ").check()
    page.get_by_role("button", name="Save 1 selected channel").click()

    expect(page.get_by_text(re.compile("2024-01-01 00:00 to 20(?!40)"))).to_be_visible()
