"""Calls that the code must not contain, searched in its syntax trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted([*ROOT.glob("xcor_daemon/**/*.py"), *ROOT.glob("scripts/**/*.py")])
SHELL = [
    path
    for path in sorted(ROOT.glob("scripts/**/*"))
    if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/usr/bin/env bash"))
]
# Modules that execute their input.
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "torch"}
# Calls by the last part of their name, whatever stands before it.
FORBIDDEN = {
    "eval", "exec", "compile", "__import__",
    "read_pickle", "load_source", "MassDownloader",
    "system", "popen", "getoutput", "getstatusoutput",
    "mktemp", "extractall", "unpack_archive", "read_csv",
}  # fmt: skip
# Whose method of such a name is harmless.
HARMLESS = {("re", "compile"), ("platform", "system")}


def trouble(tree: ast.AST) -> Iterator[str]:
    """Forbidden nodes of a syntax tree, with their places."""
    for node in ast.walk(tree):
        where = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if name.partition(".")[0] in LOADERS or name == "read_pickle":
                    yield f"{where}: imports {name}"
        elif isinstance(node, ast.Call):
            yield from (f"{where}: {what}" for what in _call(node))


def _call(node: ast.Call) -> Iterator[str]:
    owner, name = _name(node.func)
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in FORBIDDEN and (owner, name) not in HARMLESS:
        yield f"calls {name}"
    if _is(given.get("shell"), True) or ("shell" in given and not _is(given["shell"], False)):
        yield "shell=True"
    # ObsPy guesses a format by unpickling, and unpacks archives, unless that is disabled.
    if name == "read" and owner in ("", "obspy"):
        if "format" not in given:
            yield "read() without a format"
        if not _is(given.get("check_compression"), False):
            yield "read() that unpacks archives"
    if name == "read_inventory" and (node.args or given) and "format" not in given:
        yield "read_inventory() without a format"
    if name == "load" and owner in ("np", "numpy") and not _is(given.get("allow_pickle"), False):
        yield "np.load() without allow_pickle=False"


def _name(called: ast.expr) -> tuple[str, str]:
    """``np.load`` -> ("np", "load"), ``load`` -> ("", "load")."""
    if isinstance(called, ast.Attribute):
        return ast.unparse(called.value), called.attr
    return "", called.id if isinstance(called, ast.Name) else ""


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_program_loads_pickles_guesses_formats_or_starts_a_shell(path):
    assert list(trouble(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.memory",
        "read(path)",
        "obspy.read(path, format='MSEED')",
        "obspy.read(path, check_compression=False)",
        "read(path, format='MSEED', check_compression=flag)",
        "read_inventory(path)",
        "obspy.read_inventory(io.BytesIO(content))",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "pandas.read_pickle(path)",
        "from pandas import read_pickle",
        "pandas.read_csv(url)",
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=flag)",
        "os.system(text)",
        "eval(text)",
        "exec(text)",
        "compile(text, '', 'exec')",
        "tarfile.open(x).extractall()",
        "MassDownloader()",
    ],
)
def test_the_rule_finds_violations(code):
    assert list(trouble(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "file.read()",
        "obspy.read(path, format='MSEED', check_compression=False)",
        "read_inventory(path, format='STATIONXML')",
        "obspy.read_inventory()",  # ObsPy's own example
        "np.load(file, allow_pickle=False)",
        "re.compile('x')",
        "subprocess.run(command, shell=False)",
    ],
)
def test_the_rule_accepts_other_calls(code):
    assert list(trouble(ast.parse(code))) == []


@pytest.mark.parametrize("path", SHELL, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_shell_script_evaluates_text(path):
    code = re.sub(r"(?m)^\s*#.*$", "", path.read_text())

    assert not re.search(r"(?m)(^|[;&|(\s])(eval|source /dev/stdin)\s", code)
    assert not re.search(r"\b(curl|wget)\b[^\n]*\|\s*(ba|z)?sh\b", code)
