"""How far the units are that somebody works on, told in files that any machine can see."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from ...atomic_files import make_folder, write_json
from ...errors import DiskError
from ...request.units import Unit

log = logging.getLogger(__name__)

_TELL_EVERY = 0.5  # s
_LEAST_TIME, _LEAST_ITEMS = 0.5, 2  # s and items after which a rate means something
_UNDERWAY = ".progress"
_REFUSED: set[Path] = set()  # folders of which this process has logged it


def _file_of(folder: Path, unit: Unit) -> Path:
    return folder / _UNDERWAY / f"{unit.name.replace('/', '-')}.json"


class Rate:
    """Items done in a second since the first report of them.

    Parameters
    ----------
    clock : callable
        Gives seconds; a clock that goes backwards starts the measurement again.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or monotonic
        self._first: tuple[int, float] | None = None  # items and time of the first report
        self._last = (0, 0.0)

    def __call__(self, done: int) -> float | None:
        """The rate (1/s), finite and above 0; None until enough items and time have passed.

        Items of the first report are not counted: their time began before it.
        """
        now = (done, self._clock())
        if self._first is None or now[0] < self._last[0] or now[1] < self._last[1]:
            self._first = now
        self._last = now
        items, seconds = now[0] - self._first[0], now[1] - self._first[1]
        return items / seconds if items >= _LEAST_ITEMS and seconds >= _LEAST_TIME else None


class Rates:
    """The `Rate` of every kind of item of a unit."""

    def __init__(self) -> None:
        self._rates: dict[str, Rate] = {}

    def told(self, done: int, of: int, what: str) -> Told:
        """How far a unit is, from the report of its items."""
        return Told(done, of, what, self._rates.setdefault(what, Rate())(done))


class Teller:
    """Writes now and then how far a unit is."""

    def __init__(self, folder: Path, unit: Unit) -> None:
        self._path = _file_of(folder, unit)
        self._last = monotonic()
        self._rates = Rates()

    def __call__(self, done: int, of: int, what: str) -> None:
        told = self._rates.told(done, of, what)
        now = monotonic()
        if 0 <= now - self._last < _TELL_EVERY:
            return
        self._last = now
        write_progress(self._path, vars(told))


def write_progress(path: Path, content: dict[str, Any]) -> None:
    """Replace a file that tells of progress; where the disk refuses, that is logged.

    The results decide whether a job can go on: their room may be taken already, and whoever has
    filled the disk may be about to make room.
    """
    try:
        make_folder(path.parent)
        write_json(path, content, durable=False, shared=True)
    except DiskError as error:
        if path.parent not in _REFUSED:  # or a full disk would fill the log as well
            _REFUSED.add(path.parent)
            log.info("progress is not shown: %s", error)


@dataclass(frozen=True)
class Told:
    """How far a unit is: so many channels, then pair-windows, and how many in a second."""

    done: int
    of: int
    what: str
    rate: float | None  # 1/s; None until it means something

    def share(self, unit: Unit) -> float:
        """Of the unit's cost, from 0 to 1."""
        part = self.done / self.of if self.of else 0.0
        if self.what == "channels":
            return unit.prepares * part
        return unit.prepares + (1 - unit.prepares) * part


def forget_told(folder: Path, unit: Unit) -> None:
    """Nobody works on a unit any more."""
    with suppress(OSError):  # of a read-only disk: what is left is cleared with the job
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
