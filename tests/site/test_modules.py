"""Unit tests of the JavaScript modules: every ``*.test.mjs`` of this folder, run by Node."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_javascript_modules(node: Path, name: str):
    done = subprocess.run(
        [node, "--test", "--test-reporter=spec", FOLDER / name], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
