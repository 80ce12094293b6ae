"""The result of a health check; the checks are in doctor, bucket_checks and engine_checks."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
WARN = "warn"  # works, but should be changed
FAIL = "fail"  # must be changed


@dataclass(frozen=True)
class CheckResult:
    """The name of a check, its state, and a text with the reason and the remedy."""

    name: str
    state: str  # ok | warn | fail
    text: str
