"""Rules between values: each declares the values that it needs, and is checked where all are right.

A value that is wrong by itself is not handed to any rule; the rules that do not need it are
checked all the same, so that every error is found at once and none is a mere consequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from .csv_table import LIMITS, format_value, out_of

Check = Callable[..., str]  # values -> the need, empty where the rule holds
Wrong = tuple[str, str, str]  # column, value, need


@dataclass(frozen=True)
class Rule:
    """One rule between values of a row."""

    column: str  # that is to be changed where it is broken
    needs: tuple[str, ...]  # names of the values that it is given
    check: Check

    def __post_init__(self) -> None:
        assert self.column in self.needs, "a rule looks at the column that it is about"

    def need(self, values: Mapping[str, Any]) -> str:
        """Why ``values`` break it; empty where they do not. It sees only those that it declares."""
        return self.check(*(values[name] for name in self.needs))


@dataclass
class Rules:
    """The rules of a row, in the order in which they are reported."""

    rules: list[Rule] = field(default_factory=list)

    def about(self, column: str) -> Callable[[Check], Check]:
        """Add a function as a rule: the names of its parameters are the values that it needs."""

        def add(check: Check) -> Check:
            self.add(column, tuple(signature(check).parameters), check)
            return check

        return add

    def add(self, column: str, needs: tuple[str, ...], check: Check) -> None:
        """Add a rule whose needs are not written as parameters."""
        self.rules.append(Rule(column, needs, check))

    def broken(self, values: Mapping[str, Any]) -> Iterator[Wrong]:
        """Every rule that ``values``, each right by itself, break together."""
        for rule in self.rules:
            if values.keys() >= {*rule.needs} and (need := rule.need(values)):
                value = values[rule.column]
                yield rule.column, "" if value is None else format_value(value), need


def check_values(section: str, values: Mapping[str, Any], rules: Rules) -> list[Wrong]:
    """What is wrong with values made in Python: their own limits, and the rules between them."""
    wrong = [
        (name, f"{values[name]:g}", need)
        for name, limit in LIMITS[section].items()
        if limit["kind"] == "number" and values[name] is not None
        and (need := out_of(limit, values[name]))
    ]  # fmt: skip
    outside = {name for name, _, _ in wrong}
    right = {name: value for name, value in values.items() if name not in outside}
    return [*wrong, *rules.broken(right)]
