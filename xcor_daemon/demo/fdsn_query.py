"""Parses and checks requests to FDSN web services (FDSN-WS 1.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

CODES = ("network", "station", "location", "channel")
_ALIASES = {
    "net": "network",
    "sta": "station",
    "loc": "location",
    "cha": "channel",
    "start": "starttime",
    "end": "endtime",
    "minlat": "minlatitude",
    "maxlat": "maxlatitude",
    "minlon": "minlongitude",
    "maxlon": "maxlongitude",
}
_COMMON = (*CODES, "starttime", "endtime", "format", "nodata")
_BOX = ("minlatitude", "maxlatitude", "minlongitude", "maxlongitude")
_EPOCH = ("startbefore", "startafter", "endbefore", "endafter")
_FLAGS = ("includerestricted", "includeavailability", "matchtimeseries")

PARAMETERS = {
    "station": (*_COMMON, "level", *_BOX, *_EPOCH, *_FLAGS),
    "dataselect": (*_COMMON, "quality"),
}
# The first value is the default.
_CHOICES = {
    ("station", "format"): ("xml", "text"),
    ("station", "level"): ("station", "network", "channel", "response"),
    ("dataselect", "format"): ("miniseed",),
    ("dataselect", "quality"): ("B", "M", "D", "R", "Q"),
}


class BadQueryError(ValueError):
    """An invalid request; the response has status 400 and this message."""


@dataclass(frozen=True)
class Selection:
    """Channels and a time span; codes are lists with the wildcards ``*`` and ``?``."""

    codes: Mapping[str, str]
    start: datetime  # UTC without a time zone, as all times here
    end: datetime

    def matches(self, **codes: str) -> bool:
        """Whether the given codes (all or some of the four) are selected."""
        return all(_pattern(self.codes[name]).fullmatch(code) for name, code in codes.items())

    def touches(self, start: datetime, end: datetime) -> bool:
        """Whether a span overlaps the selected one."""
        return start <= self.end and end >= self.start


@dataclass(frozen=True)
class Query:
    """The selections of a request and their common options."""

    selections: tuple[Selection, ...]
    options: Mapping[str, str]  # by long name, defaults of choices filled in

    @property
    def nodata(self) -> int:
        """The status of a response without data."""
        return int(self.options.get("nodata", 204))

    def number(self, name: str, default: float) -> float:
        """An option as a number."""
        return float(self.options.get(name, default))

    def time(self, name: str, default: datetime) -> datetime:
        """An option as a time."""
        return parse_time(self.options[name]) if name in self.options else default


def parse_get(service: str, pairs: Iterable[tuple[str, str]]) -> Query:
    """The query of a URL.

    Raises
    ------
    BadQueryError
        If a parameter is unknown, repeated or invalid, or a time is missing.
    """
    options = _options(service, pairs)
    codes = {name: options.pop(name, "*") for name in CODES}
    selection = _selection(
        service, codes, options.pop("starttime", "*"), options.pop("endtime", "*")
    )
    return Query((selection,), options)


def parse_post(service: str, body: str) -> Query:
    """The query in a body: ``name=value`` lines, then ``NET STA LOC CHA START END`` lines.

    Raises
    ------
    BadQueryError
        As `parse_get`, and if a line is neither.
    """
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    named = (line.partition("=") for line in lines if "=" in line)
    options = _options(service, ((name, value) for name, _, value in named))
    selections = []
    for line in lines:
        if "=" in line:
            continue
        words = line.split()
        if len(words) != 6:
            raise BadQueryError(f"line {line!r}: need NET STA LOC CHA START END.")
        selections.append(_selection(service, dict(zip(CODES, words[:4], strict=True)), *words[4:]))
    if not selections:
        raise BadQueryError("no line selects a channel; need NET STA LOC CHA START END.")
    return Query(tuple(selections), options)


def parse_time(text: str) -> datetime:
    """A UTC time; a BadQueryError where the text is not a time."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadQueryError(f"{text!r} is not a time; write YYYY-MM-DDThh:mm:ss.") from None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _options(service: str, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in pairs:
        name = _ALIASES.get(name.strip().lower(), name.strip().lower())
        if name not in PARAMETERS[service]:
            raise BadQueryError(f"unknown parameter {name!r}.")
        if name in options:
            raise BadQueryError(f"parameter {name!r} is given twice.")
        options[name] = value.strip()
    for (of, name), choices in _CHOICES.items():
        if of == service and options.setdefault(name, choices[0]) not in choices:
            raise BadQueryError(f"{name}={options[name]!r} must be one of {', '.join(choices)}.")
    if options.get("nodata", "204") not in ("204", "404"):
        raise BadQueryError("nodata must be 204 or 404.")
    for name in (*_BOX, *_EPOCH, *_FLAGS):
        if name in options:
            _check_option(name, options[name])
    if options.get("format") == "text" and options.get("level") == "response":
        raise BadQueryError("format=text has no responses; write level=channel or format=xml.")
    return options


def _check_option(name: str, value: str) -> None:
    if name in _EPOCH:
        parse_time(value)
    elif name in _FLAGS:
        if value.lower() not in ("true", "false"):
            raise BadQueryError(f"{name}={value!r} must be true or false.")
    elif not re.fullmatch(r"[+-]?\d+(\.\d*)?", value):
        raise BadQueryError(f"{name}={value!r} is not a number of degrees.")


def _selection(service: str, codes: Mapping[str, str], start: str, end: str) -> Selection:
    for name, value in codes.items():
        if not re.fullmatch(r"[A-Za-z0-9*?,\- ]{0,500}", value):
            raise BadQueryError(f"{name}={value!r} is not a list of codes.")
    if service == "dataselect" and "*" in (start, end):
        raise BadQueryError("starttime and endtime are needed.")
    span = (
        datetime.min if start == "*" else parse_time(start),
        datetime.max if end == "*" else parse_time(end),
    )
    if span[0] > span[1]:
        raise BadQueryError(f"endtime {end} is before starttime {start}.")
    return Selection(codes, *span)


@lru_cache(maxsize=1024)
def _pattern(codes: str) -> re.Pattern[str]:
    """``BH?,LHZ`` -> a pattern; ``--`` and blanks stand for an empty code."""
    parts = []
    for code in codes.split(","):
        code = "" if code.strip() in ("", "--") else code.strip().upper()
        parts.append("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in code))
    return re.compile("|".join(parts))
