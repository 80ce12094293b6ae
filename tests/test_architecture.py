"""The walks of docs/architecture.md name functions that exist, each called on the way down."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from test_layers import MAY_IMPORT, PACKAGE, PIPELINE_MAY_IMPORT
from test_site_layers import MAY_IMPORT as PAGE_MAY_IMPORT
from test_site_layers import folder_of

ROOT = Path(__file__).parents[1]
WALKS = ("A job", "A channel-day", "A parameter", "A progress report")
STOP = re.compile(r"^( *)- `([\w/.]+): ([\w.]+)`", re.MULTILINE)


class Stop(NamedTuple):
    depth: int
    file: str
    name: str

    @property
    def path(self) -> Path:
        return (ROOT if self.file.startswith("site/") else PACKAGE) / self.file

    @property
    def package(self) -> str:
        """The row of the table of imports: a package, or a module beside the packages."""
        if self.file.startswith("site/"):
            return folder_of(self.file.removeprefix("site/"))
        parts = self.file.removesuffix(".py").split("/")
        return parts[1] if parts[0] == "pipeline" else parts[0]

    def may_call(self, other: Stop) -> bool:
        if self.file.startswith("site/"):
            allowed = PAGE_MAY_IMPORT[self.package]
        elif self.file.startswith("pipeline/"):
            own, below = PIPELINE_MAY_IMPORT[self.package], MAY_IMPORT["pipeline"]
            allowed = own if other.file.startswith("pipeline/") else below
        else:
            allowed = MAY_IMPORT[self.package]
            if other.file.startswith("pipeline/"):
                return "pipeline" in allowed
        return other.package in allowed | {self.package}


def stops(walk: str) -> list[list[Stop]]:
    """The stops of a walk, by the processes between which its data are handed over."""
    text = (ROOT / "docs/architecture.md").read_text().split(f"### {walk}\n")[1].split("\n#")[0]
    return [
        [Stop(len(indent) // 2, file, name) for indent, file, name in STOP.findall(part)]
        for part in text.split("*Hand-over: ")
    ]


def calls(walk: str) -> list[tuple[Stop, Stop]]:
    """Caller and called of every indented line."""
    found = []
    for process in stops(walk):
        above: list[Stop] = []
        for stop in process:
            del above[stop.depth :]
            assert len(above) == stop.depth, f"{stop.file}: {stop.name} is indented too far"
            found += [(above[-1], stop)] if above else []
            above.append(stop)
    return found


def names_in(path: Path) -> set[str]:
    """Functions, classes and Class.method of a module."""
    if path.suffix == ".js":
        pattern = r"^export (?:async )?(?:function|class|const) (\w+)"
        return set(re.findall(pattern, path.read_text(), re.M))
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            found |= {f"{node.name}.{method.name}" for method in methods}
    return found


def test_the_page_has_the_four_walks_and_every_line_of_a_list_is_a_stop():
    text = (ROOT / "docs/architecture.md").read_text().split("\n## Walks\n")[1]

    assert tuple(re.findall(r"^### (.+)$", text, re.MULTILINE)) == WALKS
    assert len(re.findall(r"^ *- ", text, re.MULTILINE)) == len(STOP.findall(text)) > 50


@pytest.mark.parametrize("walk", WALKS)
def test_every_function_of_a_walk_exists(walk):
    for process in stops(walk):
        assert process
        for stop in process:
            assert stop.name in names_in(stop.path), f"{stop.file} has no {stop.name}"


@pytest.mark.parametrize("walk", WALKS)
def test_no_call_of_a_walk_goes_back_up(walk):
    for caller, called in calls(walk):
        assert caller.may_call(called), f"{caller.file} must not call {called.file}"


@pytest.mark.parametrize("walk", WALKS)
def test_the_callers_module_uses_the_function_that_it_calls(walk):
    for caller, called in calls(walk):
        name = called.name.rpartition(".")[2]
        assert re.search(rf"\b{name}\b", caller.path.read_text()), f"{caller.file}: {called.name}"


def test_the_list_of_packages_is_complete_and_imports_go_down_it():
    text = (ROOT / "docs/architecture.md").read_text().split("\n## Packages\n")[1]
    rows = re.findall(r"^\| (`.*?) \| ", text.split("`pipeline/` in the order")[0], re.MULTILINE)
    listed = [re.findall(r"`(\w+)[./]", row) for row in rows]
    place = {name: k for k, names in enumerate(listed) for name in names}

    assert place.keys() - {"site"} == MAY_IMPORT.keys()
    for name, allowed in MAY_IMPORT.items():
        above = {other for other in allowed - {name} if place[other] < place[name]}
        assert not above, f"{name} may import {above}, which are listed above it"


def test_the_list_of_the_pipelines_packages_is_complete():
    text = (ROOT / "docs/architecture.md").read_text().split("`pipeline/` in the order")[1]
    rows = re.findall(r"^\| (`.*?) \| ", text.split("\n## Walks")[0], re.MULTILINE)

    assert {name for row in rows for name in re.findall(r"`(\w+)[./]", row)} == {
        *PIPELINE_MAY_IMPORT
    }
