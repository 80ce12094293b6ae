"""Navigation with the keyboard."""

from __future__ import annotations

from playwright.sync_api import Locator, Page


def press(page: Page, key: str, until: Locator) -> None:
    """Press a key until something has the focus."""
    for _ in range(90):
        if until.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not lead to {until}")
