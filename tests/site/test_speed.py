"""The size of the page and, with ``-m long``, its speed against its limits."""

from __future__ import annotations

import gzip

import pytest
from playwright.sync_api import Page, Response, expect

pytestmark = pytest.mark.real

FIRST_LOAD = 150_000  # bytes, compressed
INTERACTIVE, DRAWN = 1000, 500  # ms

# From the press of Query to the frame after which the table and the map show the answer.
WATCH = """
() => new Promise(resolve => {
  const counts = document.querySelector(".counts");
  const began = performance.now();
  let arrived = 0;
  const entries = new PerformanceObserver(list => {
    for (const entry of list.getEntries())
      if (entry.name.includes("/query?")) arrived = entry.responseEnd;
  });
  entries.observe({type: "resource"});
  new MutationObserver(() => {
    if (counts.textContent.includes("10,000 channels"))
      requestAnimationFrame(() => setTimeout(() =>
        resolve({all: performance.now() - began, drawn: performance.now() - arrived})));
  }).observe(counts, {childList: true, subtree: true});
  document.querySelector(".filters button[type=submit]").click();
})
"""


def load(page: Page, url: str) -> int:
    """Open the page; gives the bytes that came, as a server that compresses would send them."""
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(url)
    page.wait_for_load_state("networkidle")
    return sum(len(gzip.compress(answer.body(), 9)) for answer in answers)


def test_the_first_load_is_light(page, site):
    assert load(page, site.url) <= FIRST_LOAD


@pytest.mark.long
def test_page_meets_its_speed_limits(page, site):
    size = load(page, site.url)
    page.reload()
    page.get_by_role("button", name="Query").wait_for()
    ready = page.evaluate(
        "performance.getEntriesByName('ready')[0]?.startTime ?? performance.now()"
    )
    page.get_by_label("Data centre").select_option("10,000 stations")
    page.get_by_label("Network", exact=True).first.fill("XX")
    took = page.evaluate(WATCH)
    expect(page.get_by_text("Rows 1 to 100 of 10,000")).to_be_visible()

    print(f"\nfirst load {size / 1000:.0f} kB, interactive after {ready:.0f} ms")
    print(f"10,000 stations drawn {took['drawn']:.0f} ms after the answer has come")
    assert size <= FIRST_LOAD
    assert ready <= INTERACTIVE
    assert took["drawn"] <= DRAWN
