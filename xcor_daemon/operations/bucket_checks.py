"""How the bucket is set up: who else gets in, what is kept, what expires; for the doctor."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import XcorError
from ..storage.bucket import Bucket
from .checks import FAIL, OK, WARN, Finding

# What S3 answers where nothing of the kind was ever set.
_UNSET = (
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchLifecycleConfiguration",
    "NoSuchBucketPolicy",
)
_PUBLIC = {"s3:getobject"}  # what a policy may allow to everybody: to read results
_EVERYBODY = ("*", {"AWS": "*"}, {"AWS": ["*"]})


def bucket_facts(bucket: Bucket) -> Iterator[Finding]:
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
            yield Finding(name, *judge(answer))
    if hidden:
        need = "call doctor with an administrator's to see"
        text = f"{', '.join(hidden)}: not shown to these keys; {need}"
        yield Finding("bucket's setup", OK, text)


def _access_lists(answer: Mapping[str, Any]) -> tuple[str, str]:
    block = answer.get("PublicAccessBlockConfiguration", {})
    if block.get("BlockPublicAcls") and block.get("IgnorePublicAcls"):
        return OK, "no object's own list of rights lets strangers in"
    need = "set BlockPublicAcls and IgnorePublicAcls"
    return WARN, f"an object's own list of rights may let strangers in; {need}"


def _policy(answer: Mapping[str, Any]) -> tuple[str, str]:
    statements = json.loads(answer.get("Policy", "{}")).get("Statement", [])
    statements = statements if isinstance(statements, list) else [statements]
    for statement in statements:
        to_all = statement.get("Effect") == "Allow" and statement.get("Principal") in _EVERYBODY
        more = {action.lower() for action in _listed(statement.get("Action"))} - _PUBLIC
        if to_all and more:
            what = ", ".join(sorted(more))
            return FAIL, f"everybody may {what}; allow everybody s3:GetObject at most"
    if not any(_refuses_plain(statement) for statement in statements):
        need = "deny s3:* where aws:SecureTransport is false"
        return WARN, f"requests without TLS are taken; {need}"
    return OK, "requests without TLS are refused, and nobody may more than read results"


def _refuses_plain(statement: Mapping[str, Any]) -> bool:
    condition = statement.get("Condition", {}).get("Bool", {})
    plain = str(condition.get("aws:SecureTransport", "")).lower() == "false"
    return statement.get("Effect") == "Deny" and plain


def _versions(answer: Mapping[str, Any]) -> tuple[str, str]:
    if answer.get("Status") == "Enabled":
        return OK, "what is overwritten or deleted by mistake can be had back"
    return WARN, "what is overwritten by mistake is lost; turn on versioning"


def _expiry(answer: Mapping[str, Any]) -> tuple[str, str]:
    rules = [rule for rule in answer.get("Rules", ()) if rule.get("Status") == "Enabled"]
    expiring = [rule for rule in rules if "Expiration" in rule]
    missing = []
    if not any("incoming/".startswith(_prefix(rule)) for rule in expiring):
        missing.append("requests stay for ever and every pass lists them: expire incoming/")
    if not any("AbortIncompleteMultipartUpload" in rule for rule in rules):
        missing.append("halves of uploads stay for ever: abort incomplete multipart uploads")
    if missing:
        return WARN, "; ".join(missing)
    return OK, "requests and halves of uploads expire"


def _prefix(rule: Mapping[str, Any]) -> str:
    chosen = rule.get("Filter", {})
    return str(chosen.get("Prefix", chosen.get("And", {}).get("Prefix", rule.get("Prefix", ""))))


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
