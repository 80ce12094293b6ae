"""CSV text that a stranger wrote -> rows and values, each checked by itself, with its line.

What values mean together is not known here; the limits of each stand in limits.json.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from .errors import Problem, RequestError

LIMITS: dict[str, Any] = json.loads((files(__package__) / "limits.json").read_text("utf-8"))

_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,4})?", re.ASCII)
_JOB_ID = re.compile(r"[0-9]{1,16}")
_INTERVAL = re.compile(r"[1-9][0-9]{0,3}(h|D|ME)")
_CHANNEL = r"[A-Z0-9]{1,8}\.[A-Z0-9]{1,8}\.[A-Z0-9]{0,2}\.[A-Z0-9]{1,3}"
_LISTS = {
    "channels": (_CHANNEL, "NO.NAO00..BHZ;NO.NAO01..BHZ"),
    "pairs": (rf"{_CHANNEL}\|{_CHANNEL}", "NO.NAO00..BHZ|NO.NAO01..BHZ"),
}
_MAX_LISTED = 20


def one_row(file: str, content: bytes, limits: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The values of a file of one row, each checked by itself; and the row's line."""
    required = tuple(name for name, limit in limits.items() if limit.get("required"))
    optional = tuple(name for name in limits if name not in required)
    rows, problems = rows_of(file, content, required, optional)
    if not problems and len(rows) != 1:
        need = f"has {len(rows)} rows of values; it must have one"
        problems.append(Problem(file, 0, "", "", need))
    if problems:
        raise RequestError(problems)
    line, row = rows[0]
    values = {}
    for name, text in row.items():
        if not text and name not in required:
            continue
        try:
            values[name] = _parse_value(limits[name], text)
        except ValueError as error:
            problems.append(Problem(file, line, name, text, str(error)))
    if problems:
        raise RequestError(problems)
    for name in optional:
        values.setdefault(name, default_of(limits[name]))
    return values, line


def default_of(limit: dict[str, Any]) -> Any:
    return () if limit["kind"] in ("components", *_LISTS) else limit["default"]


def _parse_value(limit: dict[str, Any], text: str) -> Any:
    """The value that ``text`` means; a ValueError says what is needed instead."""
    kind = limit["kind"]
    if kind == "number":
        number = parse_number(text)
        if number is None:
            raise ValueError(f"is not a finite number ({limit['help']}, in {limit['unit']})")
        if need := out_of(limit, number):
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
        if not _JOB_ID.fullmatch(text):
            raise ValueError("is not the id of a job; write its 1 to 16 digits")
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
            raise ValueError(f"names {len(parts)} {kind}; at most {_MAX_LISTED} are drawn")
        return parts
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", text):
        raise ValueError("is not the name of a data source")
    return text


def out_of(limit: dict[str, Any], number: float) -> str:
    """What a number outside its limits needs; empty where it is inside."""
    low = float(limit["above"] if "above" in limit else limit["min"])
    inside = (number > low if "above" in limit else number >= low) and number <= limit["max"]
    if inside and math.isfinite(number):
        return ""
    unit = "" if limit["unit"] == "1" else f"{limit['unit']} "
    bound = "above" if "above" in limit else "from"
    return f"{unit}is not {bound} {low:g} and at most {limit['max']:g}"


def parse_number(text: str) -> float | None:
    """A finite number in plain or exponent notation, else None."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def rows_of(
    file: str, content: bytes, required: Sequence[str], optional: Sequence[str]
) -> tuple[list[tuple[int, dict[str, str]]], list[Problem]]:
    """The rows of a CSV with their line numbers, by column name, and what is wrong with its shape.

    A file without a header line is read as if it had the required columns in their order.
    """
    try:
        text = _decode(content)
        table = [
            (line, [cell.strip() for cell in cells])
            for line, cells in _csv_lines(text)
            if any(cell.strip() for cell in cells)
        ]
    except ValueError as error:
        return [], [Problem(file, 0, "", "", str(error))]
    if not table:
        return [], [Problem(file, 0, "", "", "is empty")]
    line, header = table[0]
    if set(header) & {*required, *optional}:
        table = table[1:]
    else:
        header = list(required)
    problems = _header_problems(file, line, header, required, optional)
    if problems:
        return [], problems
    rows = []
    for line, cells in table:
        if len(cells) != len(header):
            need = f"has {len(cells)} fields; {len(header)} are needed: {','.join(header)}"
            problems.append(Problem(file, line, "", "", need))
        else:
            rows.append((line, dict(zip(header, cells, strict=True))))
    return rows, problems


def _header_problems(
    file: str, line: int, header: list[str], required: Sequence[str], optional: Sequence[str]
) -> list[Problem]:
    if len(header) > (most := 2 * (len(required) + len(optional))):
        return [Problem(file, line, "", "", f"has {len(header)} columns; at most {most} are read")]
    problems = [
        Problem(file, line, "", "", f"lacks the column {name}")
        for name in required
        if name not in header
    ]
    for position, name in enumerate(header):
        if name not in (*required, *optional):
            need = f"is not a column of this file; it may have {', '.join([*required, *optional])}"
            problems.append(Problem(file, line, "", name or " ", need))
        elif name in header[:position]:
            problems.append(Problem(file, line, name, name, "stands twice in the header"))
    return problems


def _decode(content: bytes) -> str:
    """UTF-8 text, with or without a byte order mark; a ValueError says what else it is."""
    most = LIMITS["stations"]["max_bytes"]
    if len(content) > most:
        raise ValueError(f"is larger than {most} bytes")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("is UTF-16; save it as UTF-8")
    if b"\0" in content:
        raise ValueError("holds NUL bytes; it must be text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _csv_lines(text: str) -> Iterable[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), strict=True)
    most = LIMITS["stations"]["max_rows"]
    try:
        for cells in reader:
            yield reader.line_num, cells
            if reader.line_num > most + 1:
                raise ValueError(f"has more than {most} rows")
    except csv.Error as error:
        raise ValueError(f"is not CSV: line {reader.line_num}: {error}") from None


def format_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ";".join(value)
    if not isinstance(value, float | int):
        return str(value)
    short = f"{value:.10g}"
    return short if float(short) == value else repr(float(value))
