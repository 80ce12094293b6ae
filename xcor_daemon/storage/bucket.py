"""The bucket: jobs under incoming/, conditional writes, and results under processed/.

Keys under incoming/ are untrusted input. Only leases are ever deleted.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

from ..atomic_files import disk_errors, make_folder, open_atomic
from ..config import Config
from ..errors import UnreachableError, XcorError
from ..request.csv_table import LIMITS
from ..request.stacking_params import STACKING
from ..request.stations import STATIONS
from . import fault_injection
from . import s3_client as s3
from .listing import Listing, ListingBuilder, PageReader, WaitingJob, objects_of
from .s3_client import MISSING, S3

# 409: another conditional write was in progress; the next pass reads its outcome.
_LOST_RACE = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", *MISSING)
_CHANGED = ("PreconditionFailed", "412", *MISSING)
_TYPES = {
    ".h5": "application/x-hdf5",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
}
PAGE = 1000  # keys in one response of a listing
_MULTIPART_FROM = 256 * 2**20  # bytes; one PUT takes 5 GiB at most


@dataclass(frozen=True)
class StoredObject:
    """An object and its state."""

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
    s3: S3 = field(init=False)
    _clock: float = 0.0  # S3's time at the last listing (s since 1970)
    _pages: PageReader = field(default_factory=PageReader)
    _builder: ListingBuilder = field(default_factory=ListingBuilder)

    def __post_init__(self) -> None:
        self.s3 = S3(self.client, self.name)
        self._pages.attach(self.client)

    @classmethod
    def connect(cls, config: Config) -> Bucket:
        """The bucket of a configuration; sends no request."""
        name = config.need_bucket()
        return cls(s3.connect(config), name, config.settle)

    @property
    def endpoint(self) -> str:
        """URL of the S3 server."""
        return self.s3.endpoint

    @property
    def errors(self) -> Counter[str]:
        """Error code -> count."""
        return self.s3.errors

    # --- incoming ---

    def waiting(self, skip: Collection[str] = ()) -> Listing:
        """The jobs under incoming/ except ``skip``, and the keys that belong to no job."""
        pages, tokens = [], [""]
        while True:
            token: dict[str, Any] = {"ContinuationToken": tokens[-1]} if tokens[-1] else {}
            with self._pages.reading(is_first=not token):
                answer = self.s3.call("list_objects_v2", Prefix="incoming/", **token)
            pages.append(objects_of(answer))
            if not answer.get("IsTruncated"):
                break
            tokens.append(answer.get("NextContinuationToken", ""))
            if tokens[-1] in tokens[:-1]:
                raise UnreachableError(
                    f"S3 at {self.endpoint} returned a listing that repeats itself."
                )
        self._clock = _date(answer)
        return self._builder.build(pages, self._clock, self.settle, skip)

    def fetch(self, job: WaitingJob) -> dict[str, bytes] | None:
        """The files of a job exactly as listed; None where one has changed since.

        Of a file beyond the size limit, one byte more than the limit is read: enough to reject it.
        """
        most = LIMITS["stations"]["max_bytes"]
        contents = {}
        for name, remote in job.files.items():
            part = {"Range": f"bytes=0-{most}"} if remote.size > most else {}
            content = self.s3.read(remote.key, _CHANGED, IfMatch=remote.etag, **part)
            if content is None:
                return None
            contents[name] = content
        return contents

    def put_input(self, job_id: str, name: str, content: bytes) -> bool:
        """Write a file of a new job; False where the job id is taken."""
        key = f"incoming/{job_id}/{name}"
        options = {"ContentType": _content_type(name), "IfNoneMatch": "*"}
        if self.s3.call("put_object", ("PreconditionFailed",), Key=key, Body=content, **options):
            return True
        # A PUT whose response was lost is sent again and then finds its own object.
        return self.s3.read(key) == content

    def has_inputs(self, job_id: str) -> bool:
        """Whether any file of a job with this id was submitted."""
        return any(
            self.s3.call("head_object", MISSING, Key=f"incoming/{job_id}/{name}") is not None
            for name in (STATIONS, STACKING)
        )

    def names(self, prefix: str) -> list[str]:
        """The first `PAGE` keys with a prefix."""
        answer = self.s3.call("list_objects_v2", Prefix=prefix, MaxKeys=PAGE)
        return [item["Key"] for item in answer.get("Contents", ())]

    # --- conditions ---

    def put_if(self, key: str, content: bytes, etag: str | None) -> str | None:
        """Write an object whose ETag is still ``etag``; with None, one that does not exist.

        Returns
        -------
        str or None
            The new ETag; None where the condition was false and nothing was written.
        """
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        described = {"ContentType": _content_type(key), "CacheControl": "no-cache"}
        options = {**condition, **described}
        reply = self.s3.call("put_object", _LOST_RACE, Key=key, Body=content, **options)
        return reply["ETag"] if reply else None

    def find_status(self, job_id: str) -> tuple[dict[str, Any], str | None]:
        """The content of status.json and its ETag; empty and None where it does not exist."""
        found = self.find(_status_key(job_id))
        if found is None:
            return {}, None
        return self._parse(_status_key(job_id), found.content), found.etag

    def find(self, key: str) -> StoredObject | None:
        """An object with its ETag and age; None where it does not exist."""
        reply = self.s3.call("get_object", MISSING, Key=key)
        if reply is None:
            return None
        with self.s3.translate_errors("get_object"), closing(reply["Body"]) as body:
            # A server without a Date in this response has sent one with the listing of this pass.
            clock = _date(reply) if _is_dated(reply) else self._clock
            age = clock - reply["LastModified"].timestamp()
            return StoredObject(body.read(), reply["ETag"], age)

    def delete_lease(self, key: str, etag: str) -> None:
        """Delete a lease that has not changed since it was written."""
        self.s3.call("delete_object", _LOST_RACE, Key=key, IfMatch=etag)

    # --- processed ---

    def publish_file(self, key: str, file: BinaryIO, sha256: str) -> None:
        """Upload an open file, unless the same content is in S3 already."""
        size = file.seek(0, 2)
        file.seek(0)
        head = self.s3.call("head_object", MISSING, Key=key)
        if head and head["ContentLength"] == size and head["Metadata"].get("sha256") == sha256:
            return
        described = {"ContentType": _content_type(key), "Metadata": {"sha256": sha256}}
        with fault_injection.fault_point("result.upload"):
            self._upload(key, file, size, sha256, described)

    def _upload(
        self, key: str, file: BinaryIO, size: int, sha256: str, described: dict[str, Any]
    ) -> None:
        if size < self.multipart_from:
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
            self.s3.call("put_object", Key=key, Body=file, ChecksumSHA256=checksum, **described)
            return
        with self.s3.translate_errors("upload"):
            extra = {**described, "ChecksumAlgorithm": "SHA256"}
            # S3 checks each part; `_Checked` checks the whole content.
            self.client.upload_fileobj(_Checked(file, sha256), self.name, key, ExtraArgs=extra)

    def download(self, key: str, path: Path, sha256: str) -> None:
        """Download a published file atomically; its content is checked."""
        make_folder(path.parent)
        with (
            disk_errors(path),
            fault_injection.fault_point("corr.fetch"),
            open_atomic(path) as file,
        ):
            with self.s3.translate_errors("download"):
                self.client.download_fileobj(self.name, key, file)
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise UnreachableError(
                    f"S3 at {self.endpoint} returned {key} with another sha256 than published."
                )

    def commit_manifest(self, job_id: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Publish a job; the first manifest is final.

        Returns
        -------
        dict
            The manifest in S3, which may be that of another attempt.
        """
        key = manifest_key(job_id)
        options = {"ContentType": "application/json", "IfNoneMatch": "*"}
        body = _to_json(manifest)
        try:
            with fault_injection.fault_point("manifest.commit"):
                self.s3.call("put_object", _LOST_RACE, Key=key, Body=body, **options)
        except UnreachableError:
            # The response was lost or ambiguous; the object in S3 decides.
            if (standing := self.read_manifest(job_id)) is None:
                raise
            return standing
        standing = self.read_manifest(job_id)
        if standing is None:
            raise UnreachableError(
                f"S3 at {self.endpoint} does not return {key} after it was written."
            )
        return standing

    def read_manifest(self, job_id: str) -> dict[str, Any] | None:
        """The manifest of a published job; None where it is not published."""
        return self._read_json(manifest_key(job_id))

    def read_status(self, job_id: str) -> dict[str, Any] | None:
        """The content of status.json; None where it does not exist."""
        return self._read_json(_status_key(job_id))

    def read_files(self, job_id: str) -> list[str]:
        """The lines of files.txt; empty where it does not exist."""
        return (self.s3.read(f"processed/{job_id}/files.txt") or b"").decode().splitlines()

    def put_status(self, job_id: str, status: dict[str, Any]) -> None:
        """Write status.json."""
        with fault_injection.fault_point("view.status"):
            self._put_view(_status_key(job_id), _to_json(status))

    def put_status_if(self, job_id: str, status: dict[str, Any], etag: str | None) -> str | None:
        """Write status.json on the condition of `put_if`."""
        with fault_injection.fault_point("view.waiting"):
            return self.put_if(_status_key(job_id), _to_json(status), etag)

    def put_service(self, state: dict[str, Any]) -> None:
        """Write the heartbeat, from which the page concludes that the service is up."""
        with fault_injection.fault_point("view.service"):
            self._put_view("processed/_service.json", _to_json(state))

    def put_files(self, job_id: str, lines: Sequence[str]) -> None:
        """Write files.txt, one key per line, as the original service does."""
        with fault_injection.fault_point("view.files"):
            text = "".join(f"{line}\n" for line in lines)
            self._put_view(f"processed/{job_id}/files.txt", text.encode())

    # --- S3 itself ---

    def _put_view(self, key: str, content: bytes) -> None:
        kind = _content_type(key)
        self.s3.call("put_object", Key=key, Body=content, ContentType=kind, CacheControl="no-cache")

    def _read_json(self, key: str) -> dict[str, Any] | None:
        content = self.s3.read(key)
        return None if content is None else self._parse(key, content)

    def _parse(self, key: str, content: bytes) -> dict[str, Any]:
        try:
            return dict(json.loads(content))
        except (ValueError, TypeError) as error:
            raise XcorError(f"{key} in S3 bucket {self.name!r} is damaged: {error}.") from error


class _Checked:
    """A file to be read once, from start to end; the last read fails where the sha256 differs.

    Then the multipart upload is aborted, so that the sha256 in the metadata of an object is right.
    """

    def __init__(self, file: BinaryIO, sha256: str) -> None:
        self._file, self._sha256 = file, sha256
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size)
        self._digest.update(part)
        if not part and self._digest.hexdigest() != self._sha256:
            raise XcorError("a result file changed during its upload; it will be uploaded again.")
        return part


def manifest_key(job_id: str) -> str:
    """S3 key of the manifest of a job."""
    return f"processed/{job_id}/manifest.json"


def _status_key(job_id: str) -> str:
    return f"processed/{job_id}/status.json"


def result_key(job_id: str, attempt: str, name: str) -> str:
    """S3 key of a result file of an attempt."""
    return f"processed/{job_id}/runs/{attempt}/{name}"


def _is_dated(reply: Mapping[str, Any]) -> bool:
    return "date" in reply["ResponseMetadata"]["HTTPHeaders"]


def _date(reply: Mapping[str, Any]) -> float:
    """S3's time in a response (s since 1970)."""
    return parsedate_to_datetime(reply["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()


def _content_type(name: str) -> str:
    return _TYPES.get(Path(name).suffix, "application/octet-stream")


def _to_json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode()
