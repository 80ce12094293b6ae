"""S3: what waits under incoming/, how it is staged, and how results are published.

Keys under incoming/ are strangers' input. Nothing is ever deleted here but leases.
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
from .listing import Gatherer, Listing, PageReader, Waiting, objects_of
from .s3_client import MISSING, S3

# 409: another conditional write was under way; the next pass sees what came of it.
_LOST_RACE = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", *MISSING)
_CHANGED = ("PreconditionFailed", "412", *MISSING)
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
    s3: S3 = field(init=False)
    _clock: float = 0.0  # S3's, at the last listing (s since 1970)
    _pages: PageReader = field(default_factory=PageReader)
    _gatherer: Gatherer = field(default_factory=Gatherer)

    def __post_init__(self) -> None:
        self.s3 = S3(self.client, self.name)
        self._pages.attach(self.client)

    @classmethod
    def connect(cls, config: Config) -> Bucket:
        """The bucket of a configuration; nothing is asked of it yet."""
        name = config.need_bucket()
        return cls(s3.connect(config), name, config.settle)

    @property
    def endpoint(self) -> str:
        """Where the S3 server is."""
        return self.s3.endpoint

    @property
    def errors(self) -> Counter[str]:
        """How often S3 gave which code of an error."""
        return self.s3.errors

    # --- incoming ---

    def waiting(self, skip: Collection[str] = ()) -> Listing:
        """The jobs under incoming/, but for those to skip; other keys are only counted."""
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
                raise UnreachableError(f"S3 at {self.endpoint} gave a listing without its end.")
        self._clock = _date(answer)
        return self._gatherer.gather(pages, self._clock, self.settle, skip)

    def fetch(self, job: Waiting) -> dict[str, bytes] | None:
        """The files of a job exactly as they were listed; None where one changed since.

        Of a file beyond the limit come the limit and one byte, enough to refuse it.
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
        """Write a file of a new job; False where another job has it already."""
        key = f"incoming/{job_id}/{name}"
        options = {"ContentType": _content_type(name), "IfNoneMatch": "*"}
        if self.s3.call("put_object", ("PreconditionFailed",), Key=key, Body=content, **options):
            return True
        # A PUT whose answer was lost is sent again and then meets itself.
        return self.s3.read(key) == content

    def has_inputs(self, job_id: str) -> bool:
        """Whether a job with this id was sent, be it in part."""
        return any(
            self.s3.call("head_object", MISSING, Key=f"incoming/{job_id}/{name}") is not None
            for name in (STATIONS, STACKING)
        )

    def names(self, prefix: str) -> list[str]:
        """The first `PAGE` keys below a prefix."""
        answer = self.s3.call("list_objects_v2", Prefix=prefix, MaxKeys=PAGE)
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
        reply = self.s3.call("put_object", _LOST_RACE, Key=key, Body=content, **options)
        return reply["ETag"] if reply else None

    def find_status(self, job_id: str) -> tuple[dict[str, Any], str | None]:
        """The status.json that the page sees, empty where there is none, and its ETag."""
        found = self.find(_status_key(job_id))
        if found is None:
            return {}, None
        return self._parse(_status_key(job_id), found.content), found.etag

    def find(self, key: str) -> Found | None:
        """An object with its ETag and age; None where there is none."""
        reply = self.s3.call("get_object", MISSING, Key=key)
        if reply is None:
            return None
        with self.s3.translate_errors("get_object"), closing(reply["Body"]) as body:
            # A server that does not date this answer has dated the listing of this pass.
            clock = _date(reply) if _is_dated(reply) else self._clock
            age = clock - reply["LastModified"].timestamp()
            return Found(body.read(), reply["ETag"], age)

    def delete_lease(self, key: str, etag: str) -> None:
        """Delete a lease that is still as it was written; the one thing that is ever deleted."""
        self.s3.call("delete_object", _LOST_RACE, Key=key, IfMatch=etag)

    # --- processed ---

    def publish_file(self, key: str, file: BinaryIO, sha256: str) -> None:
        """Upload an open file, unless the same is there already."""
        size = file.seek(0, 2)
        file.seek(0)
        there = self.s3.call("head_object", MISSING, Key=key)
        if there and there["ContentLength"] == size and there["Metadata"].get("sha256") == sha256:
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
            # S3 checks each part by itself; that they are all of one content is seen here.
            self.client.upload_fileobj(_Checked(file, sha256), self.name, key, ExtraArgs=extra)

    def download(self, key: str, path: Path, sha256: str) -> None:
        """Copy a published file; it appears whole, with the right content, or not at all."""
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
                raise UnreachableError(f"S3 at {self.endpoint} gave {key} with another content.")

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
            with fault_injection.fault_point("manifest.commit"):
                self.s3.call("put_object", _LOST_RACE, Key=key, Body=body, **options)
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
        return self._read_json(_status_key(job_id))

    def read_files(self, job_id: str) -> list[str]:
        """The lines of files.txt; none where there is none."""
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
        """Write the heartbeat, which tells the page that the service is up."""
        with fault_injection.fault_point("view.service"):
            self._put_view("processed/_service.json", _to_json(state))

    def put_files(self, job_id: str, lines: Sequence[str]) -> None:
        """Write files.txt, the original's view: a key a line."""
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
    """A file to be read once, from start to end; the end of another content is an error.

    An upload in parts that meets it is aborted, so what S3 says of its sha256 is true.
    """

    def __init__(self, file: BinaryIO, sha256: str) -> None:
        self._file, self._sha256 = file, sha256
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size)
        self._digest.update(part)
        if not part and self._digest.hexdigest() != self._sha256:
            raise XcorError("a result was written while it was uploaded; it is looked at anew.")
        return part


def manifest_key(job_id: str) -> str:
    """Where the manifest of a job stands."""
    return f"processed/{job_id}/manifest.json"


def _status_key(job_id: str) -> str:
    return f"processed/{job_id}/status.json"


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
