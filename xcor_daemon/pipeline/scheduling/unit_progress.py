"""Progress of running units, exchanged through files that every machine can read."""

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

_WRITE_INTERVAL = 0.5  # s
_MIN_TIME, _MIN_ITEMS = 0.5, 2  # s and items before a rate is given
_FOLDER = ".progress"
_UNWRITABLE: set[Path] = set()  # folders for which this process has logged an error


def _file_of(folder: Path, unit: Unit) -> Path:
    return folder / _FOLDER / f"{unit.name.replace('/', '-')}.json"


@dataclass(frozen=True)
class UnitProgress:
    """Progress of a unit: items done and in total (channels, then pair-windows) and their rate."""

    done: int
    total: int
    kind: str  # of items: "channels" or "pair-windows"
    rate: float | None  # items/s; None until it can be measured

    def share(self, unit: Unit) -> float:
        """Share of the cost of the unit that is done, 0 to 1."""
        part = self.done / self.total if self.total else 0.0
        if self.kind == "channels":
            return unit.prepare_share * part
        return unit.prepare_share + (1 - unit.prepare_share) * part

    def to_json(self) -> dict[str, Any]:
        """The content of its file."""
        return {"done": self.done, "of": self.total, "what": self.kind, "rate": self.rate}


class Rate:
    """Items per second since the first report.

    Parameters
    ----------
    clock : callable
        Gives seconds; a clock that is set back restarts the measurement.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or monotonic
        self._first: tuple[int, float] | None = None  # items and time of the first report
        self._last = (0, 0.0)

    def __call__(self, done: int) -> float | None:
        """The rate (1/s), finite and above 0; None until enough items and time have passed.

        Items of the first report do not count: their work began before the measurement.
        """
        now = (done, self._clock())
        if self._first is None or now[0] < self._last[0] or now[1] < self._last[1]:
            self._first = now
        self._last = now
        items, seconds = now[0] - self._first[0], now[1] - self._first[1]
        return items / seconds if items >= _MIN_ITEMS and seconds >= _MIN_TIME else None


class ProgressMeter:
    """Turns reports of items done into `UnitProgress`, with a `Rate` for each kind of item."""

    def __init__(self) -> None:
        self._rates: dict[str, Rate] = {}

    def measure(self, done: int, total: int, kind: str) -> UnitProgress:
        """The progress of the unit after a report."""
        return UnitProgress(done, total, kind, self._rates.setdefault(kind, Rate())(done))


class ProgressWriter:
    """Writes the progress of a unit to its file, at most twice per second."""

    def __init__(self, folder: Path, unit: Unit) -> None:
        self._path = _file_of(folder, unit)
        self._last = monotonic()
        self._meter = ProgressMeter()

    def __call__(self, done: int, total: int, kind: str) -> None:
        progress = self._meter.measure(done, total, kind)
        now = monotonic()
        if 0 <= now - self._last < _WRITE_INTERVAL:
            return
        self._last = now
        write_progress(self._path, progress.to_json())


def write_progress(path: Path, content: dict[str, Any]) -> None:
    """Replace a progress file; a disk error is logged and does not end the job.

    Whether a job can continue is decided where its results are written: their space may be
    allocated already, and free space may come back.
    """
    try:
        make_folder(path.parent)
        write_json(path, content, durable=False, shared=True)
    except DiskError as error:
        if path.parent not in _UNWRITABLE:  # log once, or a full disk would fill the log
            _UNWRITABLE.add(path.parent)
            log.info("progress cannot be written: %s", error)


def read_progress(folder: Path, unit: Unit) -> UnitProgress | None:
    """The progress of a unit that some worker runs; None if none was reported."""
    try:
        content = json.loads(_file_of(folder, unit).read_text())
        return UnitProgress(content["done"], content["of"], content["what"], content["rate"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def remove_progress(folder: Path, unit: Unit) -> None:
    """Remove the progress file of a unit that no longer runs."""
    with suppress(OSError):  # of a read-only disk: the file is removed with the folder
        _file_of(folder, unit).unlink(missing_ok=True)


def clear_progress(folder: Path) -> None:
    """Remove the progress files of all units."""
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)
