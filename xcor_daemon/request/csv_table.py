"""Untrusted CSV text -> rows and values, each checked alone against limits.json.

Rules between values are in the modules of the files (`params`, `stations` ...).
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..errors import Problem
from .job_files import is_job_id

LIMITS: dict[str, Any] = json.loads((files(__package__) / "limits.json").read_text("utf-8"))

_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,4})?", re.ASCII)
_INTERVAL = re.compile(r"[1-9][0-9]{0,3}(h|D|ME)")
_CHANNEL = r"[A-Z0-9]{1,8}\.[A-Z0-9]{1,8}\.[A-Z0-9]{0,2}\.[A-Z0-9]{1,3}"
_LISTS = {
    "channels": (_CHANNEL, "NO.NAO00..BHZ;NO.NAO01..BHZ"),
    "pairs": (rf"{_CHANNEL}\|{_CHANNEL}", "NO.NAO00..BHZ|NO.NAO01..BHZ"),
}
_MAX_LISTED = 20
_ROWS_READ = 10  # of a file that must have one row
_BAD_QUOTES = "a quoted cell has no closing quote"


@dataclass(frozen=True)
class Table:
    """The rows of a CSV as far as they can be read, and the problems of its layout."""

    rows: list[tuple[int, dict[str, str]]]  # line, texts by column; only unambiguous columns
    problems: list[Problem]
    n_rows: int = 0  # lines below the header, also those with a wrong number of fields
    unknown: frozenset[str] = frozenset()  # columns that are missing, repeated or not of this file


@dataclass(frozen=True)
class Row:
    """The values of a row that are valid alone."""

    line: int
    values: dict[str, Any]


def parse_values(
    file: str, content: bytes, limits: dict[str, Any]
) -> tuple[list[Row], Table, list[Problem]]:
    """Parse a file that must have one row, and check each value alone.

    Of more rows the first ten are parsed, for their problems.
    """
    required = tuple(name for name, limit in limits.items() if limit.get("required"))
    optional = tuple(name for name in limits if name not in required)
    table = parse_rows(file, content, required, optional)
    problems = list(table.problems)
    if table.n_rows != 1 and (table.n_rows or not problems):
        need = f"has {table.n_rows} rows of values; it must have exactly one"
        problems.append(Problem(file, 0, "", "", need))
    rows = []
    for line, row in table.rows[:_ROWS_READ]:
        values, wrong = _parse_row(row, limits, table.unknown)
        problems += [Problem(file, line, name, row[name], need) for name, need in wrong]
        rows.append(Row(line, values))
    return rows, table, problems


def _parse_row(
    row: dict[str, str], limits: dict[str, Any], unknown: Collection[str]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Values by name, with defaults for empty ones; and (name, need) of every invalid text."""
    values, wrong = {}, []
    for name, text in row.items():
        if not text and not limits[name].get("required"):
            continue
        try:
            values[name] = _parse_value(limits[name], text)
        except ValueError as error:
            wrong.append((name, str(error)))
    failed = {name for name, _ in wrong}
    for name, limit in limits.items():
        if not limit.get("required") and name not in unknown and name not in failed:
            values.setdefault(name, default_of(limit))
    return values, wrong


def default_of(limit: dict[str, Any]) -> Any:
    return () if limit["kind"] in ("components", *_LISTS) else limit["default"]


def _parse_value(limit: dict[str, Any], text: str) -> Any:
    """The value of a text; a ValueError whose message is the `Problem.need`."""
    kind = limit["kind"]
    if kind == "number":
        number = parse_number(text)
        if number is None:
            unit = "" if limit["unit"] == "1" else f", in {limit['unit']}"
            raise ValueError(f"is not a finite number ({limit['help']}{unit})")
        if need := limit_violation(limit, number):
            raise ValueError(need)
        return number
    if kind == "flag":
        if text.lower() not in ("true", "false"):
            raise ValueError("is neither true nor false")
        return text.lower() == "true"
    if kind == "choice":
        if text not in limit["choices"]:
            raise ValueError(f"is not one of {', '.join(limit['choices'])}")
        return text
    if kind == "components":
        parts = tuple(text.split(";"))
        if text != "all" and not all(re.fullmatch("[A-Z0-9?]{2}", part) for part in parts):
            raise ValueError("is neither all nor a list such as ZZ;NN or Z?;?Z")
        return () if text == "all" else parts
    if kind == "job":
        if not is_job_id(text):
            raise ValueError("is not a job id (1 to 16 digits)")
        return text
    if kind == "interval":
        if not _INTERVAL.fullmatch(text):
            raise ValueError("is not a number of hours, days or months such as 6h, 7D or 1ME")
        return text
    if kind in _LISTS:
        pattern, example = _LISTS[kind]
        parts = tuple(text.split(";"))
        if not all(re.fullmatch(pattern, part) for part in parts):
            raise ValueError(f"is not a list of {kind} such as {example}")
        if len(parts) > _MAX_LISTED:
            raise ValueError(f"lists {len(parts)} {kind}; at most {_MAX_LISTED} are plotted")
        return parts
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", text):
        raise ValueError("is not a valid name of a data source (up to 32 letters, digits, _ or -)")
    return text


def limit_violation(limit: dict[str, Any], number: float) -> str:
    """The `Problem.need` of a number outside its limits; empty where it is inside."""
    low = float(limit["above"] if "above" in limit else limit["min"])
    inside = (number > low if "above" in limit else number >= low) and number <= limit["max"]
    if inside and math.isfinite(number):
        return ""
    unit = "" if limit["unit"] == "1" else limit["unit"]
    bound = "above" if "above" in limit else "at least"
    most = f"{limit['max']:g} {unit}".strip()
    return f"{unit} is out of range ({bound} {low:g} and at most {most})".strip()


def parse_number(text: str) -> float | None:
    """A finite number in decimal or exponent notation, else None."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def parse_rows(
    file: str, content: bytes, required: Sequence[str], optional: Sequence[str]
) -> Table:
    """The rows of a CSV, by column name.

    A file without a header line is parsed as if it had the required columns in their order. A
    problem in one line or column does not hide those in others.
    """
    try:
        lines = list(_csv_lines(_decode(content)))
    except ValueError as error:
        return Table([], [Problem(file, 0, "", "", str(error))])
    problems = [
        Problem(file, line, "", "", f"is not CSV: {wrong}") for line, _, wrong in lines if wrong
    ]
    table = [
        (line, [cell.strip() for cell in cells])
        for line, cells, wrong in lines
        if not wrong and any(cell.strip() for cell in cells)
    ]
    if not table or (problems and problems[0].line < table[0][0]):  # the header cannot be parsed
        return Table([], problems or [Problem(file, 0, "", "", "is empty")], len(problems))
    line, header = table[0]
    n_rows = len(table) + len(problems)
    if set(header) & {*required, *optional}:
        table = table[1:]
        n_rows -= 1
    else:
        header = list(required)
    if len(header) > (most := 2 * (len(required) + len(optional))):
        need = f"has {len(header)} columns; at most {most} are read"
        return Table([], [*problems, Problem(file, line, "", "", need)], n_rows)
    problems += _header_problems(file, line, header, required, optional)
    known = [name in (*required, *optional) and header.count(name) == 1 for name in header]
    rows = []
    for line, cells in table:
        if len(cells) != len(header):
            need = f"has {len(cells)} fields instead of {len(header)}: {','.join(header)}"
            problems.append(Problem(file, line, "", "", need))
        else:
            fields = zip(header, cells, known, strict=True)
            rows.append((line, {name: cell for name, cell, is_known in fields if is_known}))
    unknown = {name for name in required if name not in header}
    unknown |= {name for name, is_known in zip(header, known, strict=True) if not is_known}
    return Table(rows, problems, n_rows, frozenset(unknown))


def _header_problems(
    file: str, line: int, header: list[str], required: Sequence[str], optional: Sequence[str]
) -> list[Problem]:
    problems = [
        Problem(file, line, "", "", f"lacks the column {name}")
        for name in required
        if name not in header
    ]
    for position, name in enumerate(header):
        if name not in (*required, *optional):
            need = f"is not a column of this file; allowed: {', '.join([*required, *optional])}"
            problems.append(Problem(file, line, "", name or " ", need))
        elif name in header[:position]:
            problems.append(Problem(file, line, name, "", "appears twice in the header"))
    return problems


def _decode(content: bytes) -> str:
    """UTF-8 text without its byte order mark; a ValueError with the `Problem.need` otherwise."""
    most = LIMITS["stations"]["max_bytes"]
    if len(content) > most:
        raise ValueError(f"is larger than {most} bytes")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("is UTF-16; save it as UTF-8")
    if b"\0" in content:
        raise ValueError("contains NUL bytes; it must be UTF-8 text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _csv_lines(text: str) -> Iterable[tuple[int, list[str], str]]:
    """Line number, cells, and the problem of the line; no cell of our files spans two lines."""
    most = LIMITS["stations"]["max_rows"]
    for number, line in enumerate(text.splitlines(), 1):
        if number > most + 1:
            raise ValueError(f"has more than {most} rows")
        try:
            yield number, next(csv.reader([line], strict=True), []), ""
        except csv.Error:
            long = len(line) > csv.field_size_limit()
            yield number, [], "a cell is too long" if long else _BAD_QUOTES


def format_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ";".join(value)
    if not isinstance(value, float | int):
        return str(value)
    short = f"{value:.10g}"
    return short if float(short) == value else repr(float(value))
