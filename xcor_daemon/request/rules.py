"""Rules between values: each declares its arguments and is checked where all of them are valid.

A value that is invalid alone is passed to no rule, and rules without it are still checked: so every
error is found at once, and none is a mere consequence of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from .csv_table import LIMITS, format_value, limit_violation

Check = Callable[..., str]  # values -> `Problem.need`, empty where the rule holds
Wrong = tuple[str, str, str]  # column, value, need


@dataclass(frozen=True)
class Rule:
    """One rule between values of a row."""

    column: str  # to be changed where the rule is broken
    needs: tuple[str, ...]  # names of its arguments
    check: Check

    def __post_init__(self) -> None:
        assert self.column in self.needs, "a rule takes the column that it is about"

    def need(self, values: Mapping[str, Any]) -> str:
        """The `Problem.need` where ``values`` break the rule, else empty."""
        return self.check(*(values[name] for name in self.needs))


@dataclass
class Rules:
    """The rules of a row, in the order of their reports."""

    rules: list[Rule] = field(default_factory=list)

    def about(self, column: str) -> Callable[[Check], Check]:
        """Add a function as a rule; its parameters are the names of the values."""

        def add(check: Check) -> Check:
            self.add(column, tuple(signature(check).parameters), check)
            return check

        return add

    def add(self, column: str, needs: tuple[str, ...], check: Check) -> None:
        """Add a rule with explicit names of the values."""
        self.rules.append(Rule(column, needs, check))

    def broken(self, values: Mapping[str, Any]) -> Iterator[Wrong]:
        """Every rule that ``values``, each valid alone, break."""
        for rule in self.rules:
            if values.keys() >= {*rule.needs} and (need := rule.need(values)):
                value = values[rule.column]
                yield rule.column, "" if value is None else format_value(value), need


def check_values(section: str, values: Mapping[str, Any], rules: Rules) -> list[Wrong]:
    """The problems of values that were set in Python: limits, and rules between them."""
    wrong = [
        (name, f"{values[name]:g}", need)
        for name, limit in LIMITS[section].items()
        if limit["kind"] == "number" and values[name] is not None
        and (need := limit_violation(limit, values[name]))
    ]  # fmt: skip
    outside = {name for name, _, _ in wrong}
    right = {name: value for name, value in values.items() if name not in outside}
    return [*wrong, *rules.broken(right)]
