"""A real Docker engine for the tests: one that answers, or one of scripts/docker-engine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from paths import ROOT

SCRIPT = ROOT / "scripts/docker-engine"
_OWN = Path(f"/tmp/xcor-docker.{os.getuid()}")


def engine_script(*arguments: str | Path, seconds: float = 600, **environ: str) -> str:
    """Output of a command of scripts/docker-engine; its messages are shown if it fails."""
    done = subprocess.run(
        [SCRIPT, *arguments], env={**os.environ, **environ}, text=True, timeout=seconds,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"scripts/docker-engine {arguments}: {done.stderr}"
    return done.stdout.strip()


@contextlib.contextmanager
def some_engine() -> Iterator[str]:
    """DOCKER_HOST of an engine for as long as the block lasts.

    Test processes that run side by side share one. The process that starts it writes a file beside
    it, and the last user then stops it. An engine that ran before is left alone.
    """
    mark, here = _OWN.with_suffix(".tests"), bool(os.environ.get("DOCKER_HOST"))
    with _OWN.with_suffix(".users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        if not here and not _OWN.exists():
            mark.touch()
        yield engine_script("up")
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if mark.exists():
            engine_script("down")
            mark.unlink()
