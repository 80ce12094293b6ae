"""What the page computes, run by Node's own test runner: every ``*.test.mjs`` of this folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_modules_do_what_they_say(node: Path, name: str):
    done = subprocess.run(
        [node, "--test", "--test-reporter=spec", FOLDER / name], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
