"""Log lines as text or JSON, one event per line, with its job and attempt."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any

from .request.job_files import JOB_ID

_JOB = re.compile(rf"job ({JOB_ID})(?: attempt ([0-9a-f_-]+))?: (.*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def escape_controls(text: str) -> str:
    """Text for a terminal: control characters other than newline and tab are escaped."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in "\n\t" else _escaped(found), text)


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


class TextLines(logging.Formatter):
    """2020-06-15T10:28:19Z job 41 attempt ...: staged as ...

    Untrusted text cannot begin a line: line breaks in it are escaped.
    """

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line."""
        record.message = _CONTROL.sub(_escaped, record.message)
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """{"ts": ..., "level": ..., "job": ..., "attempt": ..., "event": ...} and further fields.

    A line whose record has ``facts`` (``extra={"facts": {...}}``) has those as fields too.
    """

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        ts = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}Z"
        line: dict[str, Any] = {"ts": ts, "level": record.levelname}
        message = record.getMessage()
        if match := _JOB.fullmatch(message):
            line |= {"job": match[1], "attempt": match[2], "event": match[3]}
        else:
            line["event"] = message
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up(kind: str, log: logging.Logger) -> None:
    """Write a logger's lines to stderr as ``text`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if kind == "json" else TextLines())
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
