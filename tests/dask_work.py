"""Work for workers of another process, which import it from here."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def step(unit: tuple[str, str, float]) -> str:
    """Note in a folder that a unit was begun, then do what it says."""
    folder, name, seconds = unit
    with (Path(folder) / "begun").open("a") as file:
        file.write(f"{name}\n")
    if name.startswith("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("greedy"):
        held = [bytearray(os.urandom(1 << 20)) for _ in range(1500)]
        time.sleep(60)
        return str(len(held))
    if name.startswith("wrong"):
        raise ValueError(name)
    time.sleep(seconds)
    return name.upper()


def begun(folder: Path) -> list[str]:
    """Names of units in the order in which they were begun."""
    path = folder / "begun"
    return path.read_text().split() if path.exists() else []
