"""The one definition of what worker, daemon and page exchange: file names, job ids, two contents.

The worker (`pipeline`) writes progress.json and outputs.json in the job's folder; the daemon reads
them there (`storage.worker_outputs`) and copies them into status.json and manifest.json. A worker
parses untrusted data, so whatever it leaves is untrusted as well: ``from_json`` checks everything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeGuard

JOB_ID = "[0-9]{1,16}"  # a regular expression; JavaScript's numbers hold every such id exactly
_JOB_ID = re.compile(JOB_ID)

# Files in the folder of a job, which have the same names in S3.
REQUEST_FILE = "request.json"  # the checked request, defaults filled in
PROGRESS_FILE = "progress.json"
OUTPUTS_FILE = "outputs.json"  # written last: the job is complete
SUMMARY_FILE = "summary.csv"  # a line for each channel and day
LOG_FILE = "xcor_log.txt"
RESULT_FOLDERS = ("CORR", "STACK", "PLOT")

MAX_WARNINGS = 1000  # in each of the two files
_MAX_TEXT = 300  # characters of a warning
_MAX_REASON = 2000  # characters of the reason why a day failed
_MAX_STAGE = 200  # characters
_MAX_COUNT = 2**53 - 1  # the largest integer that JavaScript holds exactly
_MAX_ETA = 1e9  # s
_MAX_DEPTH = 20  # of nested objects and lists; the deepest in use is 8
_SHA256 = re.compile("[0-9a-f]{64}")


def is_job_id(text: str) -> bool:
    """Whether a text is a job id: 1 to 16 decimal digits."""
    return _JOB_ID.fullmatch(text) is not None


@dataclass(frozen=True)
class JobWarning:
    """A channel-day that did not come through as requested, and the reason."""

    code: str  # the channel-day's status in summary.csv
    channel: str
    day: str
    text: str

    def to_json(self) -> dict[str, str]:
        """An item of the list ``warnings``."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> JobWarning:
        """The warning, texts shortened; a field that is missing or no text is empty."""
        names = ("code", "channel", "day", "text")
        return cls(*(_text(content.get(name), _MAX_TEXT) for name in names))


@dataclass(frozen=True)
class JobProgress:
    """The content of progress.json."""

    stage: str = ""
    days: tuple[int, int] | None = None  # done, and in total
    pairs: int | None = None  # most on any day so far
    eta: float | None = None  # s until the job is complete; None where unknown
    warnings: tuple[JobWarning, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object in the file."""
        return {
            "stage": self.stage,
            "days": list(self.days) if self.days else None,
            "pairs": self.pairs,
            "eta_s": self.eta,
            "warnings": [warning.to_json() for warning in self.warnings],
        }

    @classmethod
    def from_json(cls, content: object) -> JobProgress:
        """The progress as far as it can be used.

        A field of another type or out of range has its default: progress decides nothing.
        """
        if not isinstance(content, dict):
            return cls()
        days, pairs, eta = content.get("days"), content.get("pairs"), content.get("eta_s")
        return cls(
            stage=_text(content.get("stage"), _MAX_STAGE),
            days=_two_counts(days),
            pairs=pairs if _is_count(pairs) else None,
            eta=eta if _is_number(eta) and 0 <= eta < _MAX_ETA else None,
            warnings=_warnings(content.get("warnings")),
        )


@dataclass(frozen=True)
class FailedDay:
    """A day that could not be processed."""

    day: str
    reason: str


@dataclass(frozen=True)
class DayCounts:
    """The days of a job, by how they ended."""

    done: int
    empty: int  # without a pair of channels that have data
    failed: tuple[FailedDay, ...] = ()

    @property
    def total(self) -> int:
        """All days that the worker accounts for."""
        return self.done + self.empty + len(self.failed)

    def to_json(self) -> dict[str, Any]:
        """The object ``units`` of outputs.json and manifest.json."""
        failed = [asdict(day) for day in self.failed]
        return {"done": self.done, "empty": self.empty, "failed": failed}

    @classmethod
    def from_json(cls, content: object) -> DayCounts:
        """The counts; a ValueError where they have another shape."""
        if not isinstance(content, dict) or not isinstance(content.get("failed"), list):
            raise ValueError(f"has no counts of days: {_shown(content)}")
        counts = _two_counts([content.get("done"), content.get("empty")])
        if counts is None:
            raise ValueError(f"has no counts of days: {_shown(content)}")
        return cls(*counts, tuple(cls._failed(day) for day in content["failed"]))

    @staticmethod
    def _failed(content: object) -> FailedDay:
        if not isinstance(content, dict) or not isinstance(content.get("day"), str):
            raise ValueError(f"describes a failed day as {_shown(content)}")
        return FailedDay(
            _text(content["day"], _MAX_TEXT), _text(content.get("reason"), _MAX_REASON)
        )


@dataclass(frozen=True)
class OutputFile:
    """A result file."""

    name: str  # relative to the job's folder, such as CORR/2019-01-01.h5
    size: int  # bytes
    sha256: str  # hexadecimal
    arrays: tuple[Mapping[str, Any], ...] = ()  # name, dtype, shape and byte offset of each

    def to_json(self) -> dict[str, Any]:
        """An item of the list ``files``."""
        return {**asdict(self), "arrays": list(self.arrays)}

    @classmethod
    def from_json(cls, content: object) -> OutputFile:
        """The file; a ValueError where its description has another shape."""
        if not isinstance(content, dict):
            raise ValueError(f"describes a file as {_shown(content)}")
        name, size, digest = (content.get(key) for key in ("name", "size", "sha256"))
        is_hash = isinstance(digest, str) and _SHA256.fullmatch(digest)
        if not isinstance(name, str) or not _is_count(size) or not is_hash:
            raise ValueError(f"describes a file as {_shown(content)}")
        arrays = content.get("arrays", [])
        if not isinstance(arrays, list) or not all(isinstance(array, dict) for array in arrays):
            raise ValueError(f"has no list of arrays for {_shown(name)}")
        return cls(name, size, str(digest), tuple(arrays))


@dataclass(frozen=True)
class JobOutputs:
    """The content of outputs.json."""

    days: DayCounts
    files: tuple[OutputFile, ...]
    warnings: tuple[JobWarning, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)  # for reports and the page

    def to_json(self) -> dict[str, Any]:
        """The object in the file."""
        return {
            "units": self.days.to_json(),
            "files": [file.to_json() for file in self.files],
            "warnings": [warning.to_json() for warning in self.warnings],
            "summary": self.summary,
        }

    @classmethod
    def from_json(cls, content: object) -> JobOutputs:
        """The outputs of a job.

        Raises
        ------
        ValueError
            If they have another shape, a number that is not finite (JSON has none), or lists and
            objects nested too deeply to be written again. The message is a predicate: "lists ...".
        """
        if not isinstance(content, dict) or not isinstance(content.get("files"), list):
            raise ValueError("does not list the files of the job")
        _check_plain(content)
        days = DayCounts.from_json(content.get("units"))
        files = tuple(OutputFile.from_json(file) for file in content["files"])
        if len({file.name for file in files}) < len(files):
            raise ValueError("lists a file twice")
        summary = content.get("summary")
        return cls(
            days,
            files,
            _warnings(content.get("warnings")),
            summary if isinstance(summary, dict) else {},
        )


def _warnings(content: object) -> tuple[JobWarning, ...]:
    items = content if isinstance(content, list) else []
    return tuple(JobWarning.from_json(w) for w in items[:MAX_WARNINGS] if isinstance(w, dict))


def _text(value: object, limit: int) -> str:
    """A text of at most ``limit`` characters that UTF-8 can encode; empty for other types."""
    text = value[:limit] if isinstance(value, str) else ""
    return text.encode("utf-8", "replace").decode()


def _is_count(value: object) -> TypeGuard[int]:
    """Whether a value is a number of things; ``True`` is not, though Python counts it as 1."""
    return type(value) is int and 0 <= value <= _MAX_COUNT


def _is_number(value: object) -> TypeGuard[float]:
    return type(value) in (int, float)


def _two_counts(value: object) -> tuple[int, int] | None:
    if isinstance(value, list) and len(value) == 2:
        first, second = value
        if _is_count(first) and _is_count(second):
            return first, second
    return None


def _shown(value: object) -> str:
    return ascii(value)[:120]


def _check_plain(content: object) -> None:
    """A ValueError where a value cannot be written as JSON again, or not without deep recursion."""
    level: list[object] = [content]
    for _ in range(_MAX_DEPTH):
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            raise ValueError("holds a number that is not finite")
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise ValueError(f"nests lists and objects more than {_MAX_DEPTH} deep")


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
