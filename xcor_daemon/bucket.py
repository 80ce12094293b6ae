"""S3: what waits under incoming/, how it is staged, and how results are published.

Keys under incoming/ are strangers' input. Nothing is ever deleted here but leases.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

from botocore import exceptions as boto

from . import faults
from .config import Config
from .csvtable import LIMITS
from .errors import ConfigError, UnreachableError, XcorError
from .jobs import disk_errors
from .listing import Listing, PageReader, Waiting, gather, objects_of
from .request import STACKING
from .stations import STATIONS

_MISSING = ("NoSuchKey", "404")
# 409: another conditional write was under way; the next pass sees what came of it.
_LOST_RACE = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", *_MISSING)
_CHANGED = ("PreconditionFailed", "412", *_MISSING)
_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound)
_TYPES = {
    ".h5": "application/x-hdf5",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
}
PAGE = 1000  # keys that one listing gives
_MULTIPART_FROM = 256 * 2**20  # bytes; one PUT takes 5 GiB at most


@dataclass(frozen=True)
class Found:
    """An object as it is now."""

    content: bytes
    etag: str
    age: float  # s since it was written, by S3's clock


@dataclass
class Bucket:
    """The bucket that holds incoming/ and processed/."""

    client: Any  # boto3's S3 client
    name: str
    settle: float = 2.0  # s
    multipart_from: int = field(default=_MULTIPART_FROM)
    errors: Counter[str] = field(default_factory=Counter)  # code -> how often S3 gave it
    _clock: float = 0.0  # S3's, at the last listing (s since 1970)
    _pages: PageReader = field(default_factory=PageReader)

    def __post_init__(self) -> None:
        self._pages.attach(self.client)

    @classmethod
    def connect(cls, config: Config) -> Bucket:
        """The bucket of a configuration; nothing is asked of it yet."""
        import boto3
        from botocore.config import Config as ClientConfig

        name, endpoint = config.need_bucket(), config.endpoint_url or None
        options = ClientConfig(
            # Few: every pass of the daemon is one more try, and one job must not hold up others.
            retries={"mode": "standard", "total_max_attempts": 3},
            connect_timeout=min(5.0, config.s3_timeout),
            read_timeout=config.s3_timeout,
            tcp_keepalive=True,
            s3={"addressing_style": "path" if endpoint else "auto"},
        )
        try:
            client = boto3.client("s3", endpoint_url=endpoint, config=options)
        except (ValueError, boto.BotoCoreError) as error:
            raise ConfigError(f"no S3 client: {error}; see XCOR_ENDPOINT_URL.") from error
        return cls(client, name, config.settle)

    @property
    def endpoint(self) -> str:
        """Where the S3 server is."""
        return str(self.client.meta.endpoint_url)

    # --- incoming ---

    def waiting(self, skip: Collection[str] = ()) -> Listing:
        """The jobs under incoming/, but for those to skip; other keys are only counted."""
        pages, tokens = [], [""]
        while True:
            token = {"ContinuationToken": tokens[-1]} if tokens[-1] else {}
            with self._pages.reading(is_first=not token):
                answer = self._call("list_objects_v2", Prefix="incoming/", **token)
            pages.append(objects_of(answer))
            if not answer.get("IsTruncated"):
                break
            tokens.append(answer.get("NextContinuationToken", ""))
            if tokens[-1] in tokens[:-1]:
                raise UnreachableError(f"S3 at {self.endpoint} gave a listing without its end.")
        self._clock = _date(answer)
        return gather(pages, self._clock, self.settle, skip)

    def fetch(self, job: Waiting) -> dict[str, bytes] | None:
        """The files of a job exactly as they were listed; None where one changed since.

        Of a file beyond the limit come the limit and one byte, enough to refuse it.
        """
        most = LIMITS["stations"]["max_bytes"]
        contents = {}
        for name, remote in job.files.items():
            part = {"Range": f"bytes=0-{most}"} if remote.size > most else {}
            content = self._read(remote.key, _CHANGED, IfMatch=remote.etag, **part)
            if content is None:
                return None
            contents[name] = content
        return contents

    def put_input(self, job_id: str, name: str, content: bytes) -> bool:
        """Write a file of a new job; False where another job has it already."""
        key = f"incoming/{job_id}/{name}"
        options = {"ContentType": _content_type(name), "IfNoneMatch": "*"}
        if self._call("put_object", ("PreconditionFailed",), Key=key, Body=content, **options):
            return True
        # A PUT whose answer was lost is sent again and then meets itself.
        return self._read(key) == content

    def has_inputs(self, job_id: str) -> bool:
        """Whether a job with this id was sent, be it in part."""
        return any(
            self._call("head_object", _MISSING, Key=f"incoming/{job_id}/{name}") is not None
            for name in (STATIONS, STACKING)
        )

    def names(self, prefix: str) -> list[str]:
        """The first `PAGE` keys below a prefix."""
        answer = self._call("list_objects_v2", Prefix=prefix, MaxKeys=PAGE)
        return [item["Key"] for item in answer.get("Contents", ())]

    # --- conditions ---

    def put_if(self, key: str, content: bytes, etag: str | None) -> str | None:
        """Write a view or a lease if it is still as ``etag`` says, or not there where that is None.

        Returns
        -------
        str or None
            The new ETag; None where it was not as expected and nothing was written.
        """
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        described = {"ContentType": _content_type(key), "CacheControl": "no-cache"}
        options = {**condition, **described}
        reply = self._call("put_object", _LOST_RACE, Key=key, Body=content, **options)
        return reply["ETag"] if reply else None

    def find(self, key: str) -> Found | None:
        """An object with its ETag and age; None where there is none."""
        reply = self._call("get_object", _MISSING, Key=key)
        if reply is None:
            return None
        with self._explained("get_object"), closing(reply["Body"]) as body:
            # A server that does not date this answer has dated the listing of this pass.
            clock = _date(reply) if _is_dated(reply) else self._clock
            age = clock - reply["LastModified"].timestamp()
            return Found(body.read(), reply["ETag"], age)

    def delete_lease(self, key: str, etag: str) -> None:
        """Delete a lease that is still as it was written; the one thing that is ever deleted."""
        self._call("delete_object", _LOST_RACE, Key=key, IfMatch=etag)

    # --- processed ---

    def publish_file(self, key: str, file: BinaryIO, sha256: str) -> None:
        """Upload an open file, unless the same is there already."""
        size = file.seek(0, 2)
        file.seek(0)
        there = self._call("head_object", _MISSING, Key=key)
        if there and there["ContentLength"] == size and there["Metadata"].get("sha256") == sha256:
            return
        described = {"ContentType": _content_type(key), "Metadata": {"sha256": sha256}}
        with faults.step("result.upload"):
            self._upload(key, file, size, sha256, described)

    def _upload(
        self, key: str, file: BinaryIO, size: int, sha256: str, described: dict[str, Any]
    ) -> None:
        if size < self.multipart_from:
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
            self._call("put_object", Key=key, Body=file, ChecksumSHA256=checksum, **described)
            return
        with self._explained("upload"):
            extra = {**described, "ChecksumAlgorithm": "SHA256"}
            self.client.upload_fileobj(file, self.name, key, ExtraArgs=extra)

    def download(self, key: str, path: Path, sha256: str) -> None:
        """Copy a published file; it appears whole, with the right content, or not at all."""
        partial = path.with_name(path.name + ".partial")
        with disk_errors(path), self._explained("download"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("w+b") as file:
                self.client.download_fileobj(self.name, key, file)
                file.seek(0)
                content = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
        if content != sha256:
            raise UnreachableError(f"S3 at {self.endpoint} gave {key} with another content.")
        with disk_errors(path), faults.step("corr.fetch"):
            partial.replace(path)

    def commit_manifest(self, job_id: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Publish a job, once for all time.

        Returns
        -------
        dict
            The manifest that stands; its ``attempt`` tells who published.
        """
        key = manifest_key(job_id)
        options = {"ContentType": "application/json", "IfNoneMatch": "*"}
        body = _to_json(manifest)
        try:
            with faults.step("manifest.commit"):
                self._call("put_object", _LOST_RACE, Key=key, Body=body, **options)
        except UnreachableError:
            # The answer was lost or ambiguous; what is there now decides.
            if (standing := self.read_manifest(job_id)) is None:
                raise
            return standing
        standing = self.read_manifest(job_id)
        if standing is None:
            raise UnreachableError(f"S3 at {self.endpoint} lost {key}.")
        return standing

    def read_manifest(self, job_id: str) -> dict[str, Any] | None:
        """The manifest of a published job."""
        return self._read_json(manifest_key(job_id))

    def read_status(self, job_id: str) -> dict[str, Any] | None:
        """The status.json that the page sees."""
        return self._read_json(f"processed/{job_id}/status.json")

    def read_files(self, job_id: str) -> list[str]:
        """The lines of files.txt; none where there is none."""
        return (self._read(f"processed/{job_id}/files.txt") or b"").decode().splitlines()

    def put_status(self, job_id: str, status: dict[str, Any]) -> None:
        """Write status.json."""
        with faults.step("view.status"):
            self._put_view(f"processed/{job_id}/status.json", _to_json(status))

    def put_status_if(self, job_id: str, status: dict[str, Any], etag: str | None) -> str | None:
        """Write status.json on the condition of `put_if`."""
        with faults.step("view.waiting"):
            return self.put_if(f"processed/{job_id}/status.json", _to_json(status), etag)

    def put_service(self, state: dict[str, Any]) -> None:
        """Write the heartbeat, which tells the page that the service is up."""
        with faults.step("view.service"):
            self._put_view("processed/_service.json", _to_json(state))

    def put_files(self, job_id: str, lines: Sequence[str]) -> None:
        """Write files.txt, the original's view: a key a line."""
        with faults.step("view.files"):
            text = "".join(f"{line}\n" for line in lines)
            self._put_view(f"processed/{job_id}/files.txt", text.encode())

    # --- S3 itself ---

    def _put_view(self, key: str, content: bytes) -> None:
        described = {"ContentType": _content_type(key), "CacheControl": "no-cache"}
        self._call("put_object", Key=key, Body=content, **described)

    def _read_json(self, key: str) -> dict[str, Any] | None:
        content = self._read(key)
        try:
            return None if content is None else dict(json.loads(content))
        except (ValueError, TypeError) as error:
            raise XcorError(f"{key} in S3 bucket {self.name!r} is damaged: {error}.") from error

    def _read(self, key: str, absent: tuple[str, ...] = _MISSING, **options: Any) -> bytes | None:
        reply = self._call("get_object", absent, Key=key, **options)
        if reply is None:
            return None
        with self._explained("get_object"), closing(reply["Body"]) as body:
            return body.read()

    def _call(self, operation: str, absent: tuple[str, ...] = (), **arguments: Any) -> Any:
        """One S3 operation; None where S3 answers with a code of ``absent``."""
        try:
            with self._explained(operation, absent):
                return getattr(self.client, operation)(Bucket=self.name, **arguments)
        except _Absent:
            return None

    @contextmanager
    def _explained(self, operation: str, absent: tuple[str, ...] = ()) -> Iterator[None]:
        """Turn boto's errors into ours, which say what to do."""
        try:
            yield
        except boto.ClientError as error:
            code = error.response["Error"]["Code"]
            if code in absent:
                raise _Absent from None
            self.errors[code] += 1
            raise self._refusal(code, operation, error) from error
        except _NO_CREDENTIALS as error:
            raise ConfigError(
                f"no credentials for S3 at {self.endpoint}: {error}; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or give the machine a role."
            ) from error
        except boto.ParamValidationError as error:
            raise ConfigError(f"S3 bucket {self.name!r}: {error}") from error
        except boto.BotoCoreError as error:
            self.errors[type(error).__name__] += 1
            raise UnreachableError(f"S3 at {self.endpoint} does not answer: {error}") from error

    def _refusal(self, code: str, operation: str, error: Exception) -> Exception:
        if code == "NoSuchBucket":
            where = f"S3 bucket {self.name!r} does not exist at {self.endpoint}"
            return ConfigError(f"{where}; set XCOR_BUCKET.")
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
            need = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys that it knows."
            return ConfigError(f"S3 at {self.endpoint} does not know these keys ({code}); {need}")
        if code in ("AccessDenied", "403"):
            need = "give the keys or the role the rights that the README lists."
            return ConfigError(f"S3 bucket {self.name!r} refuses {operation} to these keys; {need}")
        if code in ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"):
            return UnreachableError(f"credentials for S3 at {self.endpoint} have expired ({code}).")
        if code == "RequestTimeTooSkewed":
            return ConfigError("this machine's clock is off by more than 15 minutes; set it right.")
        return UnreachableError(f"S3 at {self.endpoint} cannot do {operation} now: {error}")


class _Absent(Exception):
    """S3 answered that it is not there, or not as it was."""


def manifest_key(job_id: str) -> str:
    """Where the manifest of a job stands."""
    return f"processed/{job_id}/manifest.json"


def result_key(job_id: str, attempt: str, name: str) -> str:
    """Where a result of an attempt stands."""
    return f"processed/{job_id}/runs/{attempt}/{name}"


def _is_dated(reply: Mapping[str, Any]) -> bool:
    return "date" in reply["ResponseMetadata"]["HTTPHeaders"]


def _date(reply: Mapping[str, Any]) -> float:
    """S3's clock when it answered (s since 1970)."""
    return parsedate_to_datetime(reply["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()


def _content_type(name: str) -> str:
    return _TYPES.get(Path(name).suffix, "application/octet-stream")


def _to_json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode()
