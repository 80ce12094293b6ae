#!/usr/bin/env python3
"""Write the licences of the packages in the image: docs/licences.md and the image's label.

Run it on the Python of the image, in an environment with the packages of docker/requirements*.txt:
    .venv-3.13/bin/python scripts/licences.py
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.licenses import canonicalize_license_expression
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("docker/requirements.txt", "docker/requirements-obspy.txt")
DOCKERFILE, TABLE = ROOT / "docker/Dockerfile", ROOT / "docs/licences.md"
BASE = re.compile(r"^ARG BASE=python:(3\.\d+)-", re.MULTILINE)
LABEL = re.compile(r'(org\.opencontainers\.image\.licenses=")([^"]*)(")')

# Metadata that give a licence in words or as its text; read from the licence files of each.
IN_WORDS = {
    "contourpy": "BSD-3-Clause",
    "cycler": "BSD-3-Clause",
    "kiwisolver": "BSD-3-Clause",
    "matplotlib": "PSF-2.0",  # its licence is that of Python 2 with the names changed
    "numba": "BSD-2-Clause",
    "obspy": "LGPL-3.0-only",
    "pandas": "BSD-3-Clause",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "scipy": "BSD-3-Clause",
    "setuptools": "MIT",  # that of a new virtual environment may be an old one, which states none
}
# Libraries of GCC that wheels bring along in a folder NAME.libs.
IN_WHEELS = {
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libquadmath": "LGPL-2.1-or-later",
}
OURS = {"xcor-daemon": "MIT", "Python": "PSF-2.0"}


def image_python() -> str:
    """The version of Python in the image, such as 3.13."""
    found = BASE.search(DOCKERFILE.read_text())
    assert found is not None, "the base image of docker/Dockerfile names no version of Python"
    return found[1]


def pins(version: str) -> dict[str, str]:
    """Package -> the version of it that the locks have for a version of Python, in order."""
    python = {"python_version": version, "python_full_version": f"{version}.0"}
    lines = "".join((ROOT / lock).read_text() for lock in LOCKS).splitlines()
    found = [Requirement(line.rstrip(" \\")) for line in lines if line[:1] not in ("", " ", "#")]
    used = [pin for pin in found if not pin.marker or pin.marker.evaluate(python)]
    return {pin.name: str(pin.specifier) for pin in sorted(used, key=lambda pin: pin.name)}


def locked() -> list[str]:
    """Names of the packages that the image installs on its Python, each once, in order."""
    return list(pins(image_python()))


def licence_of(name: str) -> str:
    """The SPDX expression of an installed package, with the libraries that its wheel brings.

    Raises
    ------
    ValueError
        If its metadata give no expression, and `IN_WORDS` has none.
    """
    package = distribution(name)
    stated = package.metadata.get("License-Expression") or package.metadata.get("License") or ""
    try:
        terms = [canonicalize_license_expression(IN_WORDS.get(name, stated))]
    except ValueError as error:
        need = "read its licence file and add an SPDX expression to IN_WORDS in scripts/licences.py"
        raise ValueError(f"{name}: {stated[:60]!r} is no SPDX expression; {need}") from error
    return join([*terms, *_brought(package)])


def _brought(package: Distribution) -> list[str]:
    """Licences of libraries that lie in NAME.libs of a wheel."""
    names = [path.name for path in package.files or () if path.parts[0].endswith(".libs")]
    return sorted(
        {text for lib, text in IN_WHEELS.items() if any(n.startswith(lib) for n in names)}
    )


def join(expressions: list[str]) -> str:
    """Expressions that hold together, each term once, in order."""
    terms = {term for expression in expressions for term in _terms(expression)}
    return " AND ".join(sorted(terms, key=lambda term: (term.startswith("("), term.lower())))


def _terms(expression: str) -> list[str]:
    """The parts of an expression that AND joins outside of brackets; a choice in brackets."""
    depth, terms, words = 0, [], list[str]()
    for word in expression.split():
        depth += word.count("(") - word.count(")")
        if word == "OR" and not depth:
            return [f"({expression})"]
        if word == "AND" and not depth:
            terms.append(" ".join(words))
            words = []
        else:
            words.append(word)
    return [*terms, " ".join(words)]


def table(licences: dict[str, str]) -> str:
    """docs/licences.md."""
    rows = [f"| {name} | {text} |" for name, text in licences.items()]
    return "\n".join([
        "# Licences of the packages in the image", "",
        "Made by `scripts/licences.py` from the metadata of the packages in",
        "`docker/requirements*.txt`; do not edit. The texts are in the image, in",
        "`/opt/xcor/lib/python3*/site-packages/*.dist-info`; those of Debian's packages of",
        "the base image are in `/usr/share/doc/*/copyright`.", "",
        "| package | licence (SPDX) |", "| --- | --- |", *rows, "",
    ])  # fmt: skip


def main() -> None:
    if f"{sys.version_info.major}.{sys.version_info.minor}" != image_python():
        need = f"scripts/setup --python {image_python()} test,demo makes an environment of it"
        sys.exit(
            f"scripts/licences.py: run it on Python {image_python()}, that of the image; {need}"
        )
    licences = {**OURS, **{name: licence_of(name) for name in locked()}}
    TABLE.write_text(table(licences))
    text = DOCKERFILE.read_text()
    DOCKERFILE.write_text(LABEL.sub(rf"\g<1>{join(list(licences.values()))}\g<3>", text))


if __name__ == "__main__":
    main()
