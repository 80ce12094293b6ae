"""What somebody found who looked whether all is well: ok, warn or fail, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
WARN = "warn"  # it works, and should not stay so
FAIL = "fail"  # it must not stay so


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do where it is not well."""

    name: str
    state: str  # ok | warn | fail
    text: str
