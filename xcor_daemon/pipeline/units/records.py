"""Records of days and units: JSON files in the job folder that list the finished work.

A unit writes its record last, so a complete record means that its files are complete. A later run
of the job, the summary and the manifest are made from the records of the days.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from ...atomic_files import make_folder, remove, write_json
from ...errors import DiskError
from ..datatypes import ChannelDay
from ..hdf5 import correlation_file
from ..sources import discard_downloads
from .plan import DayPlan, fetch_span

_FOLDER = ".units"


class Record(Protocol):
    """The outcome of a day or a unit."""

    def to_json(self) -> dict[str, Any]:
        """The content of its file."""
        ...


@dataclass(frozen=True)
class DayResult:
    """The outcome of a day."""

    day: str
    key: str  # digest of the request
    files: list[str]  # names in the job folder; empty if no pair has data
    pairs: int
    pair_windows: int  # with data
    channel_days: list[ChannelDay]
    warnings: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0  # working time of its processes
    failed_units: list[str] = field(default_factory=list)  # with reasons

    @property
    def failed(self) -> bool:
        """Whether something failed that may succeed in another attempt."""
        return bool(self.failed_units) or any(row.status == "failed" for row in self.channel_days)

    def to_json(self) -> dict[str, Any]:
        """The content of its file."""
        return {
            "day": self.day,
            "key": self.key,
            "files": self.files,
            "pairs": self.pairs,
            "windows_kept": self.pair_windows,
            "rows": [asdict(row) for row in self.channel_days],
            "warnings": self.warnings,
            "seconds": self.seconds,
            "lost": self.failed_units,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> DayResult:
        """From the content of its file; raises KeyError or TypeError where that is malformed."""
        return cls(
            content["day"],
            content["key"],
            content["files"],
            content["pairs"],
            content["windows_kept"],
            [ChannelDay(**row) for row in content["rows"]],
            content["warnings"],
            content["seconds"],
            content["lost"],
        )


@dataclass(frozen=True)
class PreparedBlock:
    """The outcome of a `PrepareUnit`."""

    key: str  # digest of the request
    channel_days: list[ChannelDay]
    warnings: list[dict[str, str]]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The content of its file."""
        rows = [asdict(row) for row in self.channel_days]
        return {"key": self.key, "rows": rows, "warnings": self.warnings, "seconds": self.seconds}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PreparedBlock:
        """From the content of its file; raises KeyError or TypeError where that is malformed."""
        rows = [ChannelDay(**row) for row in content["rows"]]
        return cls(content["key"], rows, content["warnings"], content["seconds"])


@dataclass(frozen=True)
class CorrelatedBlocks:
    """The outcome of a `CorrelateUnit`."""

    key: str  # digest of the request
    file: str | None  # name in the job folder; None if no pair has data
    pairs: int
    pair_windows: int  # with data
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The content of its file."""
        return {
            "key": self.key,
            "file": self.file,
            "pairs": self.pairs,
            "windows_kept": self.pair_windows,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> CorrelatedBlocks:
        """From the content of its file; raises KeyError where that is malformed."""
        names = ("key", "file", "pairs", "windows_kept", "seconds")
        return cls(*(content[name] for name in names))


def record_day(plan: DayPlan, day: date, result: DayResult) -> None:
    """Write the record of a day, and remove files that are no longer needed.

    These are correlations of the same day by another request in this folder, and downloads of the
    day unless it failed.
    """
    corr = plan.folder / "CORR"
    if not any(name.startswith(f"CORR/{day}/") for name in result.files):
        remove(corr / str(day))
    elif (unsplit := corr / f"{day}.h5").exists():
        remove(unsplit)
    save_record(plan.folder, str(day), result)
    if not result.failed:
        discard_downloads(plan.source, *fetch_span(plan.params, day))


def load_finished(plan: DayPlan, day: date) -> DayResult | None:
    """The record of a day that an earlier run finished; None if the day has to be processed."""
    try:
        result = DayResult.from_json(read_record(plan.folder, str(day), plan.key))
        for name in result.files:
            correlation_file.check(plan.folder / name)
    except (DiskError, KeyError, TypeError):
        return None  # the run was killed while it wrote: process the day again
    return None if result.failed else result


def _path(folder: Path, name: str) -> Path:
    return folder / _FOLDER / f"{name}.json"


def save_record(folder: Path, name: str, record: Record) -> None:
    """Write the record of a day or a unit, atomically."""
    path = _path(folder, name)
    make_folder(path.parent)
    # Not flushed: a record lost in a power failure costs only the work of its unit.
    write_json(path, record.to_json(), indent=None, durable=False, shared=True)


def read_record(folder: Path, name: str, key: str) -> dict[str, Any]:
    """The record of a day or a unit; empty if there is none, or only one of another request."""
    try:
        content = json.loads(_path(folder, name).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("key") == key else {}


def delete_records(folder: Path, pattern: str) -> None:
    """Delete the records whose names match a glob pattern."""
    for path in (folder / _FOLDER).glob(f"{pattern}.json"):
        remove(path)


def clear_partial_records(folder: Path) -> None:
    """Delete partial records, left by workers that were killed or ran out of disk space."""
    for path in (folder / _FOLDER).rglob("*.partial"):
        remove(path)
