"""Errors that a person can act on, each with its exit code (sysexits.h)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class XcorError(Exception):
    """Anything that xcor-daemon reports without a traceback."""

    exit_code = 1


class ConfigError(XcorError):
    """A setting is missing or wrong."""

    exit_code = 78


class UnreachableError(XcorError):
    """S3, the container engine or a data centre does not answer; a retry may succeed."""

    exit_code = 69


class CredentialsError(ConfigError):
    """No credentials for S3; those of a machine's role may be available later."""

    exit_code = UnreachableError.exit_code  # a retry may find them


class DiskError(XcorError):
    """A file cannot be written: its disk is full, read-only or broken, or denies permission.

    Made by `atomic_files`; it reaches the command from every process and machine of a job.
    """

    exit_code = 74

    def __init__(
        self, message: str, *, path: Path | None = None, needed: int = 0, free: int | None = None
    ) -> None:
        super().__init__(message)
        self.path = path
        self.needed = needed  # bytes; 0 if unknown
        self.free = free  # bytes; None if unknown


class BusyError(XcorError):
    """Another process has locked the work folder."""

    exit_code = 75


class NoDataError(XcorError):
    """A channel has no usable data on a day; the message gives the reason.

    In the message, details of the channel follow the first ``; ``. ``status`` is the kind of
    reason: ``nodata`` (no samples exist), ``failed`` (samples could not be fetched or read) or
    ``refused`` (samples must not be used, such as those of a channel without a response).
    """

    def __init__(self, reason: str, status: str = "nodata") -> None:
        super().__init__(reason)
        self.status = status


# Values that a message shows as they are: numbers, dates, codes, lists of them.
_PLAIN = re.compile(r"[A-Za-z0-9_.:;|?+-]{1,40}")


@dataclass(frozen=True)
class Problem:
    """One error in a request: its place, the value, and the rule that the value breaks."""

    file: str
    line: int  # 1 is the first line of the file; 0 the whole file
    column: str  # as in the header; empty where the whole line is meant
    value: str
    need: str  # the rest of the sentence, to be read after the value

    def __str__(self) -> str:
        where = self.file if not self.line else f"{self.file} line {self.line}"
        subject = " = ".join(part for part in (self.column, self._shown_value()) if part)
        return f"{where}: {subject} {self.need}" if subject else f"{where}: {self.need}"

    def _shown_value(self) -> str:
        """The value, printable and short enough for a message; in quotes unless it is plain."""
        if not self.value:
            return ""
        if self.column and _PLAIN.fullmatch(self.value):
            return self.value
        shown = self.value if len(self.value) <= 40 else self.value[:37] + "..."
        return ascii(shown)


_SHOWN = 50  # problems in a message: an untrusted file may have a hundred thousand


class RequestError(XcorError):
    """A job is rejected; ``problems`` has every reason, the message the first 50."""

    exit_code = 65

    def __init__(self, problems: Sequence[Problem]) -> None:
        lines = [str(problem) for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"and {len(problems) - _SHOWN} more problems")
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)


_REASONS = 8  # lines of a table of reasons


class NoResultError(XcorError):
    """A job ended without a result; the message begins with the most frequent reason.

    Parameters
    ----------
    what : str
        The missing result: correlation or stack.
    reason : str
        The most frequent reason, one line.
    table : sequence of str
        Further lines, such as those of `reason_lines`.
    exit_code : int
        65 if a retry cannot help, 69 if a source was unreachable.
    """

    def __init__(self, what: str, reason: str, table: Sequence[str], exit_code: int) -> None:
        super().__init__("\n".join([f"no {what} was made: {reason}", *table]))
        self.exit_code = exit_code


def is_no_result(message: str) -> bool:
    """Whether a message is that of a `NoResultError`."""
    return message.startswith(("no correlation was made", "no stack was made"))


def reason_lines(reasons: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of ``summary["reasons"]`` of outputs.json, a line each; empty without reasons."""
    if not reasons:
        return []
    lines = ["channel-days without a correlation:"]
    for row in reasons[:_REASONS]:
        such_as = "" if row["channel_days"] == 1 else "such as "
        detail = f": {row['detail']}" if row["detail"] else ""
        example = f"({such_as}{row['channel']} on {row['day']}{detail})"
        lines.append(f"  {row['channel_days']:>6,}  {row['reason']} {example}")
    if more := reasons[_REASONS:]:
        n = sum(row["channel_days"] for row in more)
        lines.append(f"  {n:>6,}  for {len(more)} other reasons; see summary.csv")
    return lines
