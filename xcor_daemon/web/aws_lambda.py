"""The submit function behind API Gateway: passes events (payload 2.0) to `submit`.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import Config
from ..errors import ConfigError, UnreachableError
from ..storage.bucket import Bucket
from .quota import Quota
from .submit import CANCEL_PATH, handle, handle_cancel, id_of_launch

log = logging.getLogger(__name__)

_ONE_DAY = 86400  # s


@dataclass(frozen=True)
class Gateway:
    """Handles requests of pages from ``origins``, and of programs, which send no Origin."""

    bucket: Bucket
    quota: Quota
    origins: frozenset[str]

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Gateway:
        """From environment variables; a ConfigError where one is missing or invalid.

        ``XCOR_BUCKET``; ``XCOR_ORIGINS`` of the pages, separated by spaces; ``XCOR_JOBS_PER_DAY``
        of all senders and ``XCOR_JOBS_PER_DAY_OF_ONE`` of one network.
        """
        bucket = Bucket.connect(Config.from_env(environ))
        try:
            of_all = int(environ["XCOR_JOBS_PER_DAY"])
            quota = Quota(bucket, int(environ["XCOR_JOBS_PER_DAY_OF_ONE"]), of_all)
            origins = frozenset(environ["XCOR_ORIGINS"].split())
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"the environment of the submit function has no valid {error}."
            ) from error
        return cls(bucket, quota, origins)

    def answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to an event."""
        headers = event.get("headers", {})  # their names are in lower case
        http = event["requestContext"]["http"]
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins:
            return _reply(403, {"error": "this service accepts requests of its own page only."})
        if http["method"] == "OPTIONS":
            return _preflight(origin)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if http["method"] != "POST" or kind != "application/json":
            # A page of another origin can send a form without a preflight request, but not JSON.
            return _reply(415, {"error": "POST a request as application/json."}, origin)
        if http["path"] == "/jobs":
            return _reply(*self._submit(http["sourceIp"], _body(event)), origin)
        if cancelled := CANCEL_PATH.fullmatch(http["path"]):
            return _reply(*handle_cancel(self.bucket, cancelled[1]), origin)
        return _reply(404, {"error": "unknown path; POST a job to /jobs."}, origin)

    def _submit(self, source: str, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            if not self.quota.is_left(source, id_of_launch(body)):
                return 429, {"error": "today's limit of jobs is reached; try again tomorrow (UTC)."}
            status, answer = handle(self.bucket, body)
            if status == 201:
                self.quota.count(source, answer["id"])
            return status, answer
        except (UnreachableError, ConfigError) as error:
            log.error("cannot count the jobs of the day: %s", error)
            return 503, {"error": "the job store is unreachable; try again in a minute."}


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """The entry point of AWS Lambda."""
    return _gateway().answer(event)


@functools.cache
def _gateway() -> Gateway:
    """The gateway of this process, shared by all events."""
    return Gateway.from_env(os.environ)


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        return base64.b64decode(body)
    # JSON can contain lone surrogates, which the parser then rejects.
    return body.encode(errors="surrogatepass")


def _preflight(origin: str | None) -> dict[str, Any]:
    allowed = {
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "content-type",
        "access-control-max-age": str(_ONE_DAY),
    }
    return {"statusCode": 204, "headers": {**_headers(origin), **allowed}, "body": ""}


def _reply(status: int, answer: Mapping[str, Any], origin: str | None = None) -> dict[str, Any]:
    headers = {**_headers(origin), "content-type": "application/json"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(answer)}


def _headers(origin: str | None) -> dict[str, str]:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff", "vary": "origin"}
    return headers | ({"access-control-allow-origin": origin} if origin else {})
