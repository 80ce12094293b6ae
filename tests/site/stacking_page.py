"""Helpers for the tab Stacking: open a job, point at a plot, read values."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import numpy as np
from playwright.sync_api import Locator, Page, expect

from xcor_daemon.demo.demo import System

YEAR = "8100"  # the number of a stacking job of 365 days, see jobs_of.write_year


def open_results(page: Page, demo: System, job: str, **params: str) -> Locator:
    """The tab with the results of a job."""
    page.goto(f"{demo.page}/#stacking?{urlencode({'id': job, **params})}")
    panel = page.get_by_role("tabpanel", name="Stacking")
    expect(panel.locator(".views")).to_be_visible()
    return panel


def wait_for_plot(page: Page) -> Locator:
    """The canvas of the plot that is shown, once it is drawn."""
    expect(page.locator(".plots[aria-busy=false]")).to_be_visible()
    return page.locator(".plot:visible .sheet")


def point(page: Page, x: float, y: float) -> re.Match:
    """What the read-out says of a place of the plot, as shares of its width and height."""
    canvas = wait_for_plot(page)
    box = canvas.bounding_box()
    canvas.hover(position={"x": box["width"] * x, "y": box["height"] * y})
    said = page.locator(".plot:visible .readout")
    expect(said).to_contain_text(" · lag ")
    return re.match(r"(.*) · lag ([+−]?[\d.]+) s · (\S+|no data)", said.inner_text())


def number(text: str) -> float:
    return float("nan") if text == "no data" else float(text.replace("−", "-"))


def shown_alike(text: str, value: float) -> bool:
    """Whether a value of four digits is that of the file."""
    return bool(np.isclose(number(text), value, rtol=6e-4, atol=0, equal_nan=True))
