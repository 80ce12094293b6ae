"""The page around its tabs, opened by address, mouse and keyboard."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.real


def test_tabs_open_by_address_mouse_and_keyboard(visitor, page, demo):
    visitor.expected.append("status of 404")  # no service has written that it lives, yet
    page.goto(f"{demo.page}/#xcor")
    expect(page.get_by_role("tabpanel", name="XCor")).to_be_visible()

    page.get_by_role("tab", name="Jobs").click()
    expect(page.get_by_role("tabpanel", name="Jobs")).to_be_visible()
    expect(page).to_have_url(re.compile("#jobs$"))

    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Stacking")).to_be_focused()
    page.keyboard.press("Home")
    expect(page.get_by_role("tabpanel", name="Map")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("tabpanel", name="Stacking")).to_be_visible()


def test_skip_link_leads_to_the_open_panel(visitor, page, demo):
    visitor.expected.append("status of 404")
    page.goto(f"{demo.page}/#jobs")
    expect(page.get_by_role("tabpanel", name="Jobs")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("tabpanel", name="Jobs")).to_be_focused()


def test_theme_is_stored_and_shared_between_windows(visitor, demo):
    one, other = visitor.open(demo.page), visitor.open(demo.page)
    one.get_by_label("Colours").select_option("Dark")

    expect(other.locator("html")).to_have_attribute("data-theme", "dark")
    one.reload()
    expect(one.locator("html")).to_have_attribute("data-theme", "dark")


def test_wrong_clock_is_reported_and_the_server_clock_used(visitor, demo):
    page = visitor.open()
    page.clock.install(time="2001-02-03T04:05:06")
    page.goto(demo.page)

    told = re.compile(r"The clock of this computer is \d+ days behind")
    expect(page.get_by_text(told)).to_be_visible()


@pytest.mark.parametrize("folder", ["site/vendor", "tests/site/vendor"])
def test_third_party_code_matches_its_hashes_and_has_its_licence(folder):
    root = ROOT / folder
    table = re.compile(r"^\| (\S+@\S+) \| (\S+) \| (\w{64}) \|$", re.MULTILINE)
    rows = table.findall((root / "README.md").read_text())
    files = {path for path in root.rglob("*") if path.is_file()}

    assert {root / name for name, *_ in rows} == {
        path for path in files if path.suffix not in (".md", ".txt")
    }
    for name, _, sha256 in rows:
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == sha256
        assert (root / name).with_name("LICENSE.txt").is_file()
