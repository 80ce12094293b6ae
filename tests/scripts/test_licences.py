"""The image's label and the table of licences agree with the metadata of its packages."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.machinery import SourceFileLoader
from importlib.metadata import distribution

import pytest
from packaging.licenses import canonicalize_license_expression
from paths import ROOT

_LOADER = SourceFileLoader("licences", str(ROOT / "scripts/licences.py"))
licences = importlib.util.module_from_spec(importlib.util.spec_from_loader("licences", _LOADER))
_LOADER.exec_module(licences)

AGAIN = f"run .venv-{licences.image_python()}/bin/python scripts/licences.py"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
# Text of a classifier -> part of the expression that it requires.
SIGNS = {
    "GPLv2+": "GPL-2.0-or-later",
    "LGPLv3": "LGPL-3.0",
    "MPL 2.0": "MPL-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Apache": "Apache-2.0",
}


def label() -> str:
    return licences.LABEL.search((ROOT / "docker/Dockerfile").read_text())[2]


def rows() -> dict[str, str]:
    found = re.findall(
        r"^\| ([A-Za-z][\w.-]*) \| (.+) \|$", (ROOT / "docs/licences.md").read_text(), re.M
    )
    return {name: text for name, text in found if name != "package"}


def test_the_table_has_every_package_of_the_locks_with_its_licence():
    """A package that has another version on the image's Python may have another licence there."""
    here, image = licences.pins(HERE), licences.pins(licences.image_python())
    same = [name for name, version in image.items() if here.get(name) == version]
    expected = {name: licences.licence_of(name) for name in same}

    assert rows().keys() == {*licences.OURS, *image}, AGAIN
    assert {name: rows()[name] for name in [*licences.OURS, *same]} == {
        **licences.OURS,
        **expected,
    }, AGAIN
    assert len(same) > 0.8 * len(image)


def test_the_label_is_an_spdx_expression_of_all_of_them():
    assert label() == licences.join(list(rows().values())), AGAIN
    assert canonicalize_license_expression(label()) == label()
    parts = set(licences._terms(label()))
    for name, text in rows().items():
        assert set(licences._terms(text)) <= parts, name


def test_our_own_licence_is_that_of_the_package():
    assert distribution("xcor-daemon").metadata.get("License-Expression") in ("MIT", None)
    assert "license = MIT" in (ROOT / "setup.cfg").read_text()
    assert rows()["xcor-daemon"] == "MIT"


@pytest.mark.parametrize("name", licences.locked())
def test_an_expression_agrees_with_the_classifiers_of_its_package(name):
    """Another source than the one that the table is made from, most of all for `IN_WORDS`."""
    said = " ".join(
        line
        for line in distribution(name).metadata.get_all("Classifier", [])
        if "License ::" in line
    )
    wanted = [spdx for sign, spdx in SIGNS.items() if sign in said]

    assert all(spdx in rows()[name] for spdx in wanted), said
    assert ("GPL" in rows()[name]) or "GNU" not in said


@pytest.mark.parametrize(
    ("expressions", "joined"),
    [
        (["MIT", "MIT"], "MIT"),
        (["MIT AND Zlib", "0BSD"], "0BSD AND MIT AND Zlib"),
        (["Apache-2.0 OR MIT", "MIT"], "MIT AND (Apache-2.0 OR MIT)"),
        (["(Apache-2.0 OR MIT)"], "(Apache-2.0 OR MIT)"),
        (["MPL-2.0 AND (Apache-2.0 OR MIT)"], "MPL-2.0 AND (Apache-2.0 OR MIT)"),
        (["(MIT AND Zlib) OR 0BSD"], "((MIT AND Zlib) OR 0BSD)"),
        (["Apache-2.0 WITH LLVM-exception AND MIT"], "Apache-2.0 WITH LLVM-exception AND MIT"),
    ],
)
def test_expressions_are_joined_term_by_term(expressions, joined):
    assert licences.join(expressions) == joined


def test_a_licence_in_words_is_asked_for(monkeypatch):
    monkeypatch.setattr(licences, "IN_WORDS", {})
    with pytest.raises(ValueError, match="add an SPDX expression to IN_WORDS"):
        licences.licence_of("obspy")
