"""Folders that tests read from, wherever they stand."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
SUPPORT = TESTS / "support"
DATA = TESTS / "data"
ROOT = TESTS.parent
