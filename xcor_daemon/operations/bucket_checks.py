"""Checks of the bucket's configuration: public access, versions, expiration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import XcorError
from ..storage.bucket import Bucket
from .checks import FAIL, OK, WARN, CheckResult

# S3's error codes for a configuration that was never set.
_UNSET = (
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchLifecycleConfiguration",
    "NoSuchBucketPolicy",
)
_PUBLIC = {"s3:getobject"}  # actions that a policy may allow everyone: reading results
_EVERYONE = ("*", {"AWS": "*"}, {"AWS": ["*"]})


def check_bucket(bucket: Bucket) -> Iterator[CheckResult]:
    """Check every setting that the access key may read; the daemon's own key may read none."""
    hidden = []
    for name, operation, check in (
        ("access lists", "get_public_access_block", _access_lists),
        ("policy", "get_bucket_policy", _policy),
        ("versions", "get_bucket_versioning", _versions),
        ("expiry", "get_bucket_lifecycle_configuration", _expiry),
    ):
        try:
            answer = bucket.s3.call(operation, _UNSET) or {}
        except XcorError:
            hidden.append(name)
        else:
            yield CheckResult(name, *check(answer))
    if hidden:
        remedy = "run doctor with an administrator's key to check them"
        text = f"{', '.join(hidden)}: not readable with this key; {remedy}"
        yield CheckResult("bucket's setup", OK, text)


def _access_lists(answer: Mapping[str, Any]) -> tuple[str, str]:
    block = answer.get("PublicAccessBlockConfiguration", {})
    if block.get("BlockPublicAcls") and block.get("IgnorePublicAcls"):
        return OK, "access control lists of objects cannot grant public access"
    remedy = "set BlockPublicAcls and IgnorePublicAcls"
    return WARN, f"access control lists of objects can grant public access; {remedy}"


def _policy(answer: Mapping[str, Any]) -> tuple[str, str]:
    statements = json.loads(answer.get("Policy", "{}")).get("Statement", [])
    statements = statements if isinstance(statements, list) else [statements]
    for statement in statements:
        to_all = statement.get("Effect") == "Allow" and statement.get("Principal") in _EVERYONE
        more = {action.lower() for action in _listed(statement.get("Action"))} - _PUBLIC
        if to_all and more:
            actions = ", ".join(sorted(more))
            return FAIL, f"{actions} is allowed to everyone; allow everyone s3:GetObject at most"
    if not any(_denies_plain(statement) for statement in statements):
        remedy = "deny s3:* where aws:SecureTransport is false"
        return WARN, f"requests without TLS are accepted; {remedy}"
    return OK, "requests without TLS are denied; public access is limited to reading results"


def _denies_plain(statement: Mapping[str, Any]) -> bool:
    condition = statement.get("Condition", {}).get("Bool", {})
    plain = str(condition.get("aws:SecureTransport", "")).lower() == "false"
    return statement.get("Effect") == "Deny" and plain


def _versions(answer: Mapping[str, Any]) -> tuple[str, str]:
    if answer.get("Status") == "Enabled":
        return OK, "versioning is on: overwritten and deleted objects can be restored"
    return WARN, "versioning is off: overwritten objects are lost; turn it on"


def _expiry(answer: Mapping[str, Any]) -> tuple[str, str]:
    rules = [rule for rule in answer.get("Rules", ()) if rule.get("Status") == "Enabled"]
    expiring = [rule for rule in rules if "Expiration" in rule]
    missing = []
    if not any("incoming/".startswith(_prefix(rule)) for rule in expiring):
        missing.append(
            "requests never expire, so passes get slower: add an expiration of incoming/"
        )
    if not any("AbortIncompleteMultipartUpload" in rule for rule in rules):
        missing.append("incomplete multipart uploads are kept: add a rule that aborts them")
    if missing:
        return WARN, "; ".join(missing)
    return OK, "requests and incomplete multipart uploads expire"


def _prefix(rule: Mapping[str, Any]) -> str:
    chosen = rule.get("Filter", {})
    return str(chosen.get("Prefix", chosen.get("And", {}).get("Prefix", rule.get("Prefix", ""))))


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
