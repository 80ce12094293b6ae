"""The generated pages agree with the settings, the commands and the limits of parameters."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from click.testing import CliRunner

from xcor_daemon.cli import main
from xcor_daemon.config import Config

ROOT = Path(__file__).parents[1]
_LOADER = SourceFileLoader("reference", str(ROOT / "scripts/reference.py"))
reference = importlib.util.module_from_spec(importlib.util.spec_from_loader("reference", _LOADER))
_LOADER.exec_module(reference)

# Variable, option and default of a row of settings.
SETTING = re.compile(r"^\| `(XCOR_\w+)` \| (?:`(--[\w-]+)` )?\| (?:`(.+?)` )?\| .+ \|$", re.M)


@pytest.mark.parametrize("name", ["settings.md", "commands.md", "parameters.md"])
def test_the_generated_part_of_a_page_is_current(name):
    page = (ROOT / "docs" / name).read_text()

    assert reference.replaced(page, reference.pages()[name]) == page, (
        "run .venv/bin/python scripts/reference.py"
    )


def test_every_setting_is_listed_once_with_a_default_that_config_reads():
    rows = SETTING.findall((ROOT / "docs/settings.md").read_text())

    assert sorted(name for name, *_ in rows) == sorted(
        f"XCOR_{setting.name.upper()}" for setting in fields(Config)
    )
    assert Config.from_env({name: default for name, _, default in rows}) == Config()


def test_the_options_of_settings_exist():
    shown = CliRunner().invoke(main, ["--help"]).output
    shown += "".join(CliRunner().invoke(main, [name, "--help"]).output for name in main.commands)

    for name, option, _ in SETTING.findall((ROOT / "docs/settings.md").read_text()):
        assert not option or f"({name})" in " ".join(shown.split()), name
        assert not option or f"  {option}" in shown


def test_no_other_page_has_a_table_of_settings():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]

    assert [page.name for page in pages if "\n| `XCOR_" in page.read_text()] == ["settings.md"]


def test_every_command_has_a_heading():
    headings = re.findall(
        r"^### `xcor-daemon ([\w-]+)", (ROOT / "docs/commands.md").read_text(), re.M
    )

    assert sorted(headings) == sorted(main.commands)
