"""How far the units are that somebody works on, told in files that any machine can see."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ..units import Unit

_TELL_EVERY = 0.5  # s
_UNDERWAY = ".progress"


def _file_of(folder: Path, unit: Unit) -> Path:
    return folder / _UNDERWAY / f"{unit.name.replace('/', '-')}.json"


class Teller:
    """Writes now and then how far a unit is."""

    def __init__(self, folder: Path, unit: Unit) -> None:
        self._path = _file_of(folder, unit)
        self._path.parent.mkdir(exist_ok=True)
        self._last = monotonic()
        self._began: dict[str, float] = {}

    def __call__(self, done: int, of: int, what: str) -> None:
        now = monotonic()
        began = self._began.setdefault(what, now)
        if now - self._last < _TELL_EVERY:
            return
        self._last = now
        told = Told(done, of, what, done / (now - began) if now > began else 0.0)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(vars(told)))
        partial.replace(self._path)


@dataclass(frozen=True)
class Told:
    """How far a unit is: so many channels, then pair-windows, and how many in a second."""

    done: int
    of: int
    what: str
    rate: float

    def share(self, unit: Unit) -> float:
        """Of the unit's cost, from 0 to 1."""
        part = self.done / self.of if self.of else 0.0
        if self.what == "channels":
            return unit.prepares * part
        return unit.prepares + (1 - unit.prepares) * part


def forget_told(folder: Path, unit: Unit) -> None:
    """Nobody works on a unit any more."""
    _file_of(folder, unit).unlink(missing_ok=True)


def clear_told(folder: Path) -> None:
    """Forget how far units were."""
    shutil.rmtree(folder / _UNDERWAY, ignore_errors=True)


def told(folder: Path, unit: Unit) -> Told | None:
    """How far a unit is that some worker does; None where nobody has said."""
    try:
        return Told(**json.loads(_file_of(folder, unit).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
