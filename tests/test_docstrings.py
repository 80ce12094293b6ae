"""Docstrings of functions on arrays: shapes, and units of bare numbers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "xcor_daemon"
MODULES = sorted(
    path for name in ("pipeline", "results") for path in (PACKAGE / name).rglob("*.py")
)
# A shape in words, or as a tuple of sizes: "shape (n_pairs, n_lags)", "float32 (..., n)".
SHAPE = re.compile(
    r"\bshape|\((?:\.\.\.|n|rows|size|n_\w+|grid\.n_\w+|\d+)\b,?|\(\.\.\.", re.IGNORECASE
)
# Parameters that are numbers with a unit, under names that do not show it.
WITH_UNIT = {"fs", "fs_raw", "frequency", "frequencies", "lags", "distances", "distance", "lag"}
UNIT = re.compile(r"\b(Hz|s|ns|km|samples|seconds)\b")


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    """Public functions, and public methods of public classes."""

    def walk(node: ast.AST) -> Iterator[ast.FunctionDef]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
                yield from walk(child)
            elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
                yield child

    return walk(ast.parse(path.read_text()))


def annotations(function: ast.FunctionDef) -> dict[str, str]:
    arguments = [*function.args.args, *function.args.kwonlyargs]
    found = {one.arg: ast.unparse(one.annotation) for one in arguments if one.annotation}
    return found | {"return": ast.unparse(function.returns) if function.returns else ""}


def on_arrays(path: Path) -> Iterator[tuple[ast.FunctionDef, str]]:
    for function in functions(path):
        if any("ndarray" in one for one in annotations(function).values()):
            yield function, ast.get_docstring(function) or ""


def test_there_are_functions_on_arrays_to_check():
    assert sum(1 for path in MODULES for _ in on_arrays(path)) > 100


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_function_on_arrays_names_their_shapes(path):
    assert [f.name for f, text in on_arrays(path) if not SHAPE.search(text)] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_function_on_arrays_names_the_units_of_rates_lags_and_distances(path):
    missing = [
        function.name
        for function, text in on_arrays(path)
        if WITH_UNIT & annotations(function).keys() and not UNIT.search(text)
    ]

    assert missing == []
