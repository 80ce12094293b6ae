"""Which folder of the page's JavaScript may import which (its Python half: test_layers.py)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "site"
SCRIPTS = ROOT / "js"

# Folder of site/js -> the others that it may import; a tab never imports another tab.
MAY_IMPORT = {
    "lib": set(),
    "request": {"lib"},
    "results": {"lib"},
    "plot": {"lib"},
    "tabs/map": {"results", "request", "plot", "lib"},
    "tabs/xcor": {"results", "request", "plot", "lib"},
    "tabs/jobs": {"results", "request", "plot", "lib"},
    "tabs/stacking": {"results", "request", "plot", "lib"},
    "main.js": {"lib"},  # and each tab when it is first opened
}

# import ... from "...", import "...", export ... from "..."; import("...") and import(`...`).
STATIC = re.compile(
    r"""^(?:import|export[^;"'`(]*?\bfrom)\b[^;"'`(]*["']([^"']+)["']""", re.MULTILINE
)
DYNAMIC = re.compile(r"""(?<![#.\w])import\(\s*["'`]([^"'`]+)["'`]""")


def code_of(text: str) -> str:
    """JavaScript without its comments, in which JSDoc names the types of other modules."""
    return re.sub(r"/\*[\s\S]*?\*/|^\s*//.*$", "", text, flags=re.MULTILINE)


def imports_of(path: Path) -> list[str]:
    """Paths below site of the modules that a module imports."""
    found = []
    code = code_of(path.read_text())
    for name in [*STATIC.findall(code), *DYNAMIC.findall(code)]:
        assert name.startswith("."), f"{path}: {name}"
        found.append((path.parent / name).resolve().relative_to(ROOT).as_posix())
    return found


def types_of(path: Path) -> list[str]:
    """Paths below site of the modules whose types a module names in comments."""
    names = re.findall(r'\{?import\("(\.[^"]+)"\)\.', path.read_text())
    return [(path.parent / name).resolve().relative_to(ROOT).as_posix() for name in names]


def folder_of(path: str) -> str:
    """The row of a path below site/js: js/tabs/map/box.js -> tabs/map."""
    parts = path.split("/")[1:]
    return "/".join(parts[:2] if parts[0] == "tabs" else parts[:1])


def modules_of(name: str) -> list[Path]:
    folder = SCRIPTS / name
    return sorted(folder.rglob("*.js")) if folder.is_dir() else [folder]


def test_every_folder_has_its_row():
    found = {folder_of(path.relative_to(ROOT).as_posix()) for path in SCRIPTS.rglob("*.js")}

    assert found == MAY_IMPORT.keys()


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_folder_names_types_of_the_same_folders_only(name: str):
    """In JSDoc; main.js has the type of the services that it passes to the tabs."""
    for path in modules_of(name):
        types = {folder_of(found) for found in types_of(path)} - {name, "main.js"}

        assert types <= MAY_IMPORT[name], path


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_folder_imports_only_what_its_row_allows(name: str):
    for path in modules_of(name):
        ours = [found for found in imports_of(path) if found.startswith("js/")]
        others = {folder_of(found) for found in ours if "$" not in found} - {name}

        assert others <= MAY_IMPORT[name], path


def test_imports_name_modules_that_exist():
    imports = {path: imports_of(path) for path in SCRIPTS.rglob("*.js")}

    assert sum(len(found) for found in imports.values()) > 100
    for path, found in imports.items():
        assert all((ROOT / name).is_file() for name in found if "$" not in name), path


def test_main_opens_tabs_by_their_index():
    assert "js/tabs/${name}/index.js" in imports_of(SCRIPTS / "main.js")
    tabs = {path.name for path in (SCRIPTS / "tabs").iterdir()}
    assert {f"tabs/{tab}" for tab in tabs} == {row for row in MAY_IMPORT if row[:5] == "tabs/"}
    for tab in tabs:
        assert "export function mount(panel, app)" in (SCRIPTS / f"tabs/{tab}/index.js").read_text()
