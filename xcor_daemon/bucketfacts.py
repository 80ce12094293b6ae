"""How the bucket is set up: who else gets in, what is kept, what expires; for the doctor."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .bucket import Bucket
from .errors import XcorError

# What S3 answers where nothing of the kind was ever set.
_UNSET = (
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchLifecycleConfiguration",
    "NoSuchBucketPolicy",
)
_PUBLIC = {"s3:getobject"}  # what a policy may allow to everybody: to read results
_EVERYBODY = ("*", {"AWS": "*"}, {"AWS": ["*"]})

Fact = tuple[str, bool | None, str]  # name; whether it is well, None where it must not be; text


def bucket_facts(bucket: Bucket) -> Iterator[Fact]:
    """Look at everything that S3 shows to these keys; the daemon's own see nothing of it."""
    hidden = []
    for name, operation, judge in (
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
            yield name, *judge(answer)
    if hidden:
        need = "call doctor with an administrator's to see"
        yield "bucket's setup", True, f"{', '.join(hidden)}: not shown to these keys; {need}"


def _access_lists(answer: Mapping[str, Any]) -> tuple[bool | None, str]:
    block = answer.get("PublicAccessBlockConfiguration", {})
    if block.get("BlockPublicAcls") and block.get("IgnorePublicAcls"):
        return True, "no object's own list of rights lets strangers in"
    need = "set BlockPublicAcls and IgnorePublicAcls"
    return False, f"an object's own list of rights may let strangers in; {need}"


def _policy(answer: Mapping[str, Any]) -> tuple[bool | None, str]:
    statements = json.loads(answer.get("Policy", "{}")).get("Statement", [])
    statements = statements if isinstance(statements, list) else [statements]
    for statement in statements:
        to_all = statement.get("Effect") == "Allow" and statement.get("Principal") in _EVERYBODY
        more = {action.lower() for action in _listed(statement.get("Action"))} - _PUBLIC
        if to_all and more:
            what = ", ".join(sorted(more))
            return None, f"everybody may {what}; allow everybody s3:GetObject at most"
    if not any(_refuses_plain(statement) for statement in statements):
        need = "deny s3:* where aws:SecureTransport is false"
        return False, f"requests without TLS are taken; {need}"
    return True, "requests without TLS are refused, and nobody may more than read results"


def _refuses_plain(statement: Mapping[str, Any]) -> bool:
    condition = statement.get("Condition", {}).get("Bool", {})
    plain = str(condition.get("aws:SecureTransport", "")).lower() == "false"
    return statement.get("Effect") == "Deny" and plain


def _versions(answer: Mapping[str, Any]) -> tuple[bool | None, str]:
    if answer.get("Status") == "Enabled":
        return True, "what is overwritten or deleted by mistake can be had back"
    return False, "what is overwritten by mistake is lost; turn on versioning"


def _expiry(answer: Mapping[str, Any]) -> tuple[bool | None, str]:
    rules = [rule for rule in answer.get("Rules", ()) if rule.get("Status") == "Enabled"]
    expiring = [rule for rule in rules if "Expiration" in rule]
    missing = []
    if not any("incoming/".startswith(_prefix(rule)) for rule in expiring):
        missing.append("requests stay for ever and every pass lists them: expire incoming/")
    if not any("AbortIncompleteMultipartUpload" in rule for rule in rules):
        missing.append("halves of uploads stay for ever: abort incomplete multipart uploads")
    return not missing, "; ".join(missing) or "requests and halves of uploads expire"


def _prefix(rule: Mapping[str, Any]) -> str:
    chosen = rule.get("Filter", {})
    return str(chosen.get("Prefix", chosen.get("And", {}).get("Prefix", rule.get("Prefix", ""))))


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
