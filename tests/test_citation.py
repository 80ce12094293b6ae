"""CITATION.cff has the required keys of its format, and the facts of the package."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import yaml

from xcor_daemon import __version__

ROOT = Path(__file__).parents[1]


def test_the_citation_agrees_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    package = ConfigParser()
    package.read(ROOT / "setup.cfg")

    # https://github.com/citation-file-format/citation-file-format/blob/1.2.0/schema.json
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["title"] == package["metadata"]["name"]
    assert citation["license"] == package["metadata"]["license"]
    assert str(citation["version"]) == __version__
    assert all(author.keys() & {"name", "family-names"} for author in citation["authors"])
    holder = re.search(r"Copyright \(c\) \d+ (.+)", (ROOT / "LICENSE").read_text())[1]
    assert holder in [author.get("name") for author in citation["authors"]]


def test_the_release_is_dated_in_the_changelog():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    title = f"## {citation['version']} ({citation['date-released']})"
    assert title in (ROOT / "CHANGELOG.md").read_text().splitlines()
