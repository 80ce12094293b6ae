"""CloudFormation templates as data, with their functions worked out for some parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "scripts/aws"
_VARIABLE = re.compile(r"\$\{([A-Za-z0-9:.]+)\}")
_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-west-2",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "xcor",
    "AWS::URLSuffix": "amazonaws.com",
}
_NOTHING = object()  # AWS::NoValue


class _Loader(yaml.SafeLoader):
    """Reads !Ref and its like as {"Ref": ...}."""


def _function(loader: yaml.Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {name: value.split(".", 1) if name == "Fn::GetAtt" else value}


_Loader.add_multi_constructor("!", _function)


class Template:
    """A template with parameters; generated values stay as ``<Resource.Attribute>``."""

    def __init__(self, name: str, **parameters: Any) -> None:
        self.text = (FOLDER / name).read_text()
        self.raw = yaml.load(self.text, _Loader)
        defaults = {
            name: given.get("Default", f"<{name}>")
            for name, given in self.raw.get("Parameters", {}).items()
        }
        self.values = {**_PSEUDO, **defaults, **parameters}
        self.drawn: dict[str, str] = {}  # the value of a reference such as "JobsBucket.Arn" is

    def resources(self, kind: str = "") -> dict[str, Any]:
        """Properties of the resources that are made, by name; of one type where it is given."""
        return {
            name: self.solve(resource.get("Properties", {}))
            for name, resource in self.raw["Resources"].items()
            if kind in ("", resource["Type"])
            and ("Condition" not in resource or self._holds(resource["Condition"]))
        }

    def __getitem__(self, name: str) -> Any:
        return self.resources()[name]

    def output(self, name: str) -> Any:
        return self.solve(self.raw["Outputs"][name]["Value"])

    def solve(self, value: Any) -> Any:
        """A value of the template with its functions worked out."""
        if isinstance(value, list):
            return [item for item in map(self.solve, value) if item is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return _NOTHING if argument == "AWS::NoValue" else self._reference(argument)
            if name.startswith("Fn::"):
                return self._call(name.removeprefix("Fn::"), argument)
        solved = {key: self.solve(item) for key, item in value.items()}
        return {key: item for key, item in solved.items() if item is not _NOTHING}

    def _call(self, name: str, argument: Any) -> Any:
        if name == "Sub":
            return _VARIABLE.sub(lambda match: str(self._reference(match[1])), argument)
        if name == "GetAtt":
            return self._reference(".".join(argument))
        if name == "If":
            return self.solve(argument[1 if self._holds(argument[0]) else 2])
        if name == "Base64":
            return self.solve(argument)
        return f"<{name}>"

    def _reference(self, name: str) -> Any:
        return self.values.get(name, self.drawn.get(name, f"<{name}>"))

    def _holds(self, condition: str) -> bool:
        return self._test(self.raw["Conditions"][condition])

    def _test(self, rule: Mapping[str, Any]) -> bool:
        ((name, arguments),) = rule.items()
        if name == "Fn::Not":
            return not self._test(arguments[0])
        assert name == "Fn::Equals", name
        return self.solve(arguments[0]) == self.solve(arguments[1])


def statements(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements of a policy, with lists where one may stand alone."""
    found = []
    for statement in document["Statement"]:
        made = dict(statement)
        for name in ("Action", "Resource"):
            made[name] = [made[name]] if isinstance(made[name], str) else made[name]
        found.append(made)
    return found
