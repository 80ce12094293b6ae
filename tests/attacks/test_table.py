"""The table of attacks names tests that are there, and every test of this folder stands in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
TABLE = (Path(__file__).parent / "README.md").read_text()
NAMED = set(re.findall(r"((?:[a-z_]+/)*test_\w+\.py)::(\w+)", TABLE))
OURS = ("test_data.py", "test_requests.py", "test_endpoint.py", "test_outputs.py")


def names_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {name for name in names if name.startswith("test_")}


def test_every_test_of_the_table_exists():
    assert [row for row in sorted(NAMED) if row[1] not in names_in(row[0])] == []


def test_every_attack_of_this_folder_is_in_the_table():
    ours = {(f"attacks/{file}", name) for file in OURS for name in names_in(f"attacks/{file}")}

    assert ours - NAMED == set()


def test_every_threat_has_its_row():
    assert set(re.findall(r"\bS\d+\b", TABLE)) == {f"S{k}" for k in range(1, 19)}
