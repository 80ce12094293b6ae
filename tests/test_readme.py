"""The commands and programs of README.md and docs/formats.md run and print the output shown."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"<!-- run(?:: fails with (\d+))? -->\n```(console|python)\n(.*?)```", re.DOTALL)


def blocks():
    text = "".join((ROOT / name).read_text() for name in ("README.md", "docs/formats.md"))
    return [(int(code or 0), kind, body) for code, kind, body in BLOCK.findall(text)]


def steps(body):
    """The commands of a console block, each with the output shown below it."""
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader stands: a checkout whose project is installed."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "xcor_daemon").symlink_to(ROOT / "xcor_daemon")
    return folder


def run(command, folder):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": path}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_link_between_the_pages_leads_to_a_file():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_file_that_a_page_names_exists():
    folders = "tests|scripts|xcor_daemon|site|docs|docker|systemd"
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text()
        # With a wildcard, a page names at least one file; /TAB/ stands for a folder.
        for name in re.findall(rf"(?<![\w./-])((?:{folders})/[\w./*-]*\w)", text):
            if "TAB" not in name:
                assert list(ROOT.glob(name)), f"{page.name}: {name}"


def test_the_commands_of_the_docs_print_the_output_they_show(folder):
    same = doctest.OutputChecker().check_output
    assert len(blocks()) >= 4
    for code, kind, body in blocks():
        if kind == "python":
            done = subprocess.run([sys.executable, "-c", body], cwd=folder, check=True,
                                  capture_output=True, text=True)  # fmt: skip
            shown = re.findall(r"# (\{.*\})$", body, flags=re.MULTILINE)
            assert all(line in done.stdout for line in shown), done.stdout
            continue
        *_, last = steps(body)
        for command, shown in steps(body):
            done = run(command, folder)
            assert done.returncode == (code if command == last[0] else 0), done.stderr
            if not code:
                assert same(shown, done.stdout, doctest.ELLIPSIS), f"{command}\n{done.stdout}"
            elif command == last[0]:
                assert shown.strip() in done.stderr
    assert (folder / "pair.png").read_bytes().startswith(b"\x89PNG")  # of README's program
    assert "NB200 - NBO00" in (folder / "pair.txt").read_text()
