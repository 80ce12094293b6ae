"""Remote files on S3 and HTTP servers, read by range requests."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from ..errors import NoDataError, UnreachableError

_BLOCK = 1 << 18  # bytes of a request; HDF5 reads many small adjacent pieces
_MAX_BLOCKS = 64  # in the cache of a file

# (first byte, last byte) -> content.
Fetch = Callable[[int, int], bytes]


class RemoteFile(io.RawIOBase):
    """A read-only, seekable file, made from a function that fetches byte ranges of it."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch, self._size, self._at = fetch, size, 0
        self._blocks: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        n = end - self._at
        buffer[:n] = self._part(self._at, end)
        self._at = end
        return n

    def _part(self, start: int, end: int) -> bytes:
        """Bytes [start, end): large ranges in one request, small ones from cached blocks."""
        if end - start > 4 * _BLOCK:
            return self._fetch(start, end - 1)
        first, last = start // _BLOCK, (end - 1) // _BLOCK
        content = b"".join(self._block(k) for k in range(first, last + 1))
        return content[start - first * _BLOCK : end - first * _BLOCK]

    def _block(self, k: int) -> bytes:
        if k not in self._blocks:
            if len(self._blocks) >= _MAX_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            start = k * _BLOCK
            self._blocks[k] = self._fetch(start, min(start + _BLOCK, self._size) - 1)
        return self._blocks[k]


class HttpStore:
    """The public objects below an http(s) address."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        root, mark, self.prefix = parts.path.rpartition("/processed/")
        if not mark:
            raise ValueError(f"{url} is not the address of a job (.../processed/ID).")
        self.prefix = "processed/" + self.prefix.strip("/")
        self._root = f"{parts.scheme}://{parts.netloc}{root}/"

    def read(self, key: str) -> bytes:
        """The content of an object."""
        return self._get(key, {})

    def open(self, key: str, size: int) -> RemoteFile:
        """An object as a file that is read by range requests."""
        return RemoteFile(lambda a, b: self._get(key, {"Range": f"bytes={a}-{b}"}), size)

    def _get(self, key: str, headers: dict[str, str]) -> bytes:
        url = self._root + quote(key)
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, headers=headers), timeout=60
            ) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (403, 404):
                    raise NoDataError(f"{url} does not exist or is not readable.") from error
                raise UnreachableError(f"{url}: status {error.code}.") from error
        except OSError as error:
            raise UnreachableError(f"no response from {url}: {error}.") from error


class S3Store:
    """The objects of an ``s3://BUCKET/processed/ID``, with the user's own credentials.

    Server and region are those of the environment (``AWS_ENDPOINT_URL_S3``, ...).
    """

    def __init__(self, url: str) -> None:
        import boto3

        parts = urlsplit(url)
        self._bucket, self.prefix = parts.netloc, parts.path.strip("/")
        self._client = boto3.client("s3")

    def read(self, key: str) -> bytes:
        """The content of an object."""
        return self._get(Key=key)

    def open(self, key: str, size: int) -> RemoteFile:
        """An object as a file that is read by range requests."""
        return RemoteFile(lambda a, b: self._get(Key=key, Range=f"bytes={a}-{b}"), size)

    def _get(self, **arguments: str) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"s3://{self._bucket}/{arguments['Key']}"
        try:
            answer = self._client.get_object(Bucket=self._bucket, **arguments)
            return bytes(answer["Body"].read())
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") in (403, 404):
                raise NoDataError(f"{where} does not exist or is not readable.") from error
            raise UnreachableError(f"{where}: {error}.") from error
        except BotoCoreError as error:
            raise UnreachableError(f"no response from {where}: {error}.") from error


def read_manifest(store: HttpStore | S3Store) -> dict[str, Any]:
    """The content of manifest.json of a job."""
    try:
        return dict(json.loads(store.read(f"{store.prefix}/manifest.json")))
    except NoDataError as error:
        raise NoDataError(f"{error} The job is not done, or the address is wrong.") from error
