"""Work that Dask workers in other processes import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from xcor_daemon.pipeline.scheduling import schedule, unit_progress
from xcor_daemon.pipeline.units.records import DayResult


def step(unit: tuple[str, str, float]) -> str:
    """Record in a folder that a unit was started, then behave as its name requires."""
    folder, name, seconds = unit
    with (Path(folder) / "begun").open("a") as file:
        file.write(f"{name} {os.getpid()}\n")
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
    """Names of units in the order in which they were started."""
    return [line.split()[0] for line in _lines(folder)]


def who_began(folder: Path) -> list[int]:
    """The processes that started them."""
    return [int(line.split()[1]) for line in _lines(folder)]


def _lines(folder: Path) -> list[str]:
    path = folder / "begun"
    return path.read_text().splitlines() if path.exists() else []


class Ordered(schedule.UnitRunner):
    """Days that advance as far as a file of each allows: through `PARTS`, then to the end."""

    PARTS = ((1, 2, "channels"), (1, 4, "pair-windows"))  # as a unit reports them

    def run(self, unit, report):
        """Compute nothing; report the steps that the test allows."""
        unit_progress._WRITE_INTERVAL = 0.0
        for step in range(1, len(self.PARTS) + 2):
            while ordered(self.plan.folder, unit.day) < step:
                time.sleep(0.02)
            if step <= len(self.PARTS):
                report(*self.PARTS[step - 1])
        return DayResult(str(unit.day), self.plan.key, [], 0, 0, [])


def order(folder: Path, day: object, step: int) -> None:
    """Allow a day to continue up to a step."""
    partial = folder / f"step-{day}.partial"
    partial.write_text(str(step))
    partial.replace(folder / f"step-{day}")


def ordered(folder: Path, day: object) -> int:
    """The step up to which a day may continue."""
    path = folder / f"step-{day}"
    return int(path.read_text()) if path.exists() else 0
