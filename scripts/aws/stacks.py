"""CloudFormation stacks: their present state, and the update to the wanted state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from xcor_daemon.errors import ConfigError, UnreachableError, XcorError

_POLL = 5.0  # s
_LONGEST = 3600.0  # s; CloudFront and the machine take minutes


@dataclass
class Stacks:
    """The stacks of one account and region, through boto3's client of CloudFormation."""

    client: Any

    def describe(self, name: str) -> dict[str, Any]:
        """A stack; empty where there is none."""
        try:
            return dict(self.client.describe_stacks(StackName=name)["Stacks"][0])
        except ClientError as error:
            if "does not exist" in str(error):
                return {}
            raise

    def outputs(self, name: str) -> dict[str, str]:
        """What a stack gives; empty where there is none."""
        found = self.describe(name).get("Outputs", ())
        return {output["OutputKey"]: output["OutputValue"] for output in found}

    def bring(
        self, name: str, template: str, given: Mapping[str, str], dry_run: bool
    ) -> Iterator[str]:
        """Create a stack, change it or leave it; gives a line for each thing that is done.

        Parameters
        ----------
        given : mapping
            Parameters; those that are not given stay as they are.

        Raises
        ------
        ConfigError
            If the template does not know a parameter, or needs another one.
        XcorError
            If the stack cannot be made; CloudFormation has then rolled it back.
        """
        there = self.describe(name)
        before = {p["ParameterKey"]: p["ParameterValue"] for p in there.get("Parameters", ())}
        kept = self._kept(name, template, before, given)
        changed = {key: value for key, value in given.items() if before.get(key) != value}
        is_same = there and not changed and self._text(name) == template
        sign = "+" if not there else "=" if is_same else "*"
        yield f"{sign} stack {name}"
        for key, value in sorted(changed.items()):
            yield f"  {key}: {before.get(key, '(none)')} -> {value}"
        if dry_run or sign == "=":
            return
        arguments = {
            "StackName": name,
            "TemplateBody": template,
            "Capabilities": ["CAPABILITY_IAM"],
            "Parameters": [
                *({"ParameterKey": key, "ParameterValue": value} for key, value in given.items()),
                *({"ParameterKey": key, "UsePreviousValue": True} for key in kept),
            ],
        }
        if there:
            self.client.update_stack(**arguments)
        else:
            self.client.create_stack(**arguments, OnFailure="DELETE")
        self._wait(name)
        yield f"= stack {name} is ready"

    def _kept(
        self, name: str, template: str, before: Mapping[str, str], given: Mapping[str, str]
    ) -> set[str]:
        """Parameters that keep a value that is not the template's own."""
        known = self.client.get_template_summary(TemplateBody=template)["Parameters"]
        names = {parameter["ParameterKey"] for parameter in known}
        if unknown := ", ".join(sorted(given.keys() - names)):
            need = f"known: {', '.join(sorted(names))}"
            raise ConfigError(f"stack {name} has no parameter {unknown}; {need}.")
        needed = {p["ParameterKey"] for p in known if p.get("DefaultValue") is None}
        if missing := sorted(needed - given.keys() - before.keys()):
            example = " ".join(f"--parameter {key}=..." for key in missing)
            raise ConfigError(f"stack {name} needs {', '.join(missing)}; give {example}")
        defaults = {p["ParameterKey"]: p.get("DefaultValue") for p in known}
        others = {key for key in names & before.keys() if before[key] != str(defaults[key])}
        return others - given.keys()

    def _text(self, name: str) -> str:
        return str(self.client.get_template(StackName=name)["TemplateBody"])

    def _wait(self, name: str) -> None:
        end = time.monotonic() + _LONGEST
        while time.monotonic() < end:
            status = self.describe(name).get("StackStatus", "DELETE_COMPLETE")
            if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
                return
            if not status.endswith("IN_PROGRESS"):
                raise XcorError(f"stack {name} ended as {status}; {self._why(name)}")
            time.sleep(_POLL)
        raise UnreachableError(f"stack {name} is not ready after {_LONGEST:g} s.")

    def _why(self, name: str) -> str:
        """The first things that failed; the others follow from them."""
        try:
            events = self.client.describe_stack_events(StackName=name)["StackEvents"]
        except ClientError as error:
            return f"its events are gone: {error}"
        failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
        return "; ".join(
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in failed[-3:]
        )
