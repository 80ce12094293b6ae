"""The jobs under incoming/, from S3's listing; parsed fast, since it is read every second.

botocore needs 0.36 s of CPU time for the 2000 keys of 1000 jobs. Here two regular expressions parse
the listing, an unchanged page is not parsed again, and an unchanged job stays the same object.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import unquote_plus

from ..request.job_files import JOB_ID
from ..request.pairs import PAIRS
from ..request.params import PARAMS
from ..request.parse import PARAMS_ALIAS
from ..request.stacking_params import STACKING
from ..request.stations import STATIONS

CANCEL = "cancel"
_NAMES = "|".join(map(re.escape, (STATIONS, PAIRS, PARAMS, PARAMS_ALIAS, STACKING, CANCEL)))
_INCOMING = re.compile(rf"incoming/({JOB_ID})/({_NAMES})")
_FIELD = re.compile(rb"<(Key|ETag|Size|LastModified)>([^<]*)</")
_FIRST, _LAST = b"<Contents>", b"</Contents>"
_OBJECTS = "XcorObjects"  # key of a page's objects in botocore's response


@dataclass(frozen=True)
class ListedObject:
    """An object of the listing."""

    key: str
    etag: str
    size: int
    modified: float  # s since 1970, by S3's clock


@dataclass(frozen=True)
class WaitingJob:
    """A job under incoming/."""

    id: str
    files: Mapping[str, ListedObject]  # name -> object, without the cancel marker
    submitted_at: float  # when the last file was written (s since 1970, by S3's clock)
    is_settled: bool  # no file was written during the settle time, by S3's clock
    is_cancelled: bool

    @cached_property
    def is_complete(self) -> bool:
        """Whether all files of a job exist."""
        return STACKING in self.files or (
            STATIONS in self.files and bool({PARAMS, PARAMS_ALIAS} & self.files.keys())
        )


@dataclass(frozen=True)
class Listing:
    """The content of incoming/ at one time."""

    jobs: tuple[WaitingJob, ...]  # oldest first
    ignored_keys: tuple[str, ...]  # keys that do not name a file of a job
    clock: float  # S3's time (s since 1970)


@dataclass(frozen=True)
class Page:
    """The objects of one page: job -> name -> object, and the keys that name no file of a job."""

    jobs: Mapping[str, Mapping[str, ListedObject]]
    ignored_keys: tuple[str, ...]


class PageReader:
    """Parses listings instead of botocore and caches the pages of the last one."""

    def __init__(self) -> None:
        self._known: dict[bytes, Page] = {}
        self._used: dict[bytes, Page] = {}
        self._is_reading = False

    def attach(self, client: Any) -> None:
        """Parse the listings of a boto3 client here that are requested within `reading`."""
        # botocore's own handler of before-parse.s3.* parses the whole response too, to find
        # errors in it; only handlers of this pattern are called before that one.
        client.meta.events.register_first("before-parse.*.ListObjectsV2", self._before_parse)

    def _before_parse(
        self,
        response_dict: dict[str, Any],
        customized_response_dict: dict[str, Any],
        **_: object,
    ) -> None:
        body = response_dict["body"]
        start, end = body.find(_FIRST), body.rfind(_LAST) + len(_LAST)
        is_listing = response_dict["status_code"] == 200 and 0 <= start < end
        if not self._is_reading or not is_listing:
            return
        section, rest = body[start:end], body[:start] + body[end:]
        response_dict["body"] = rest
        if section not in self._known:
            self._known[section] = _read_page(section, b"<EncodingType>url<" in rest)
        self._used[section] = self._known[section]
        customized_response_dict[_OBJECTS] = self._used[section]

    @contextmanager
    def reading(self, is_first: bool) -> Iterator[None]:
        """Parse the page that is requested; the first page drops pages not in the last listing."""
        if is_first:
            self._known, self._used = self._used, {}
        self._is_reading = True
        try:
            yield
        finally:
            self._is_reading = False


def objects_of(answer: Mapping[str, Any]) -> Page:
    """The objects of a page in botocore's response, parsed here or by botocore."""
    read_here: Page | None = answer.get(_OBJECTS)
    if read_here is not None:
        return read_here
    items = answer.get("Contents", ())
    return _page((i["Key"], i["ETag"], i["Size"], i["LastModified"]) for i in items)


class ListingBuilder:
    """Combines the pages of a listing and caches the jobs of the last one."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Mapping[str, ListedObject], WaitingJob]] = {}

    def build(
        self, pages: Iterable[Page], clock: float, settle: float, skip: Collection[str]
    ) -> Listing:
        """The jobs of all pages except ``skip``; an unchanged job is the same object as before."""
        known, self._known = self._known, {}
        ignored_keys: set[str] = set()
        listed: dict[str, Mapping[str, ListedObject]] = {}
        for page in pages:
            ignored_keys.update(page.ignored_keys)
            for job_id, files in page.jobs.items():
                if job_id not in skip:
                    earlier = listed.get(job_id)
                    listed[job_id] = files if earlier is None else {**earlier, **files}
        for job_id, files in listed.items():
            before = known.get(job_id)
            if before is None or before[0] != files or not before[1].is_settled:
                before = files, _waiting(job_id, files, clock - settle)
            self._known[job_id] = before
        jobs = [waiting for _, waiting in self._known.values()]
        jobs.sort(key=_age_order)
        return Listing(tuple(jobs), tuple(sorted(ignored_keys)), clock)


def _age_order(job: WaitingJob) -> tuple[float, str]:
    """The sort key of the queue: first come, first served."""
    return job.submitted_at, job.id


def _waiting(job_id: str, listed: Mapping[str, ListedObject], latest: float) -> WaitingJob:
    files = {name: file for name, file in listed.items() if name != CANCEL}
    submitted_at = max([file.modified for file in files.values()], default=0.0)
    return WaitingJob(job_id, files, submitted_at, submitted_at <= latest, CANCEL in listed)


def _read_page(section: bytes, is_quoted: bool) -> Page:
    return _page(_fields(item, is_quoted) for item in section.split(_FIRST)[1:])


def _fields(item: bytes, is_quoted: bool) -> tuple[str, str, int, datetime]:
    fields = {name: html.unescape(value.decode()) for name, value in _FIELD.findall(item)}
    key = unquote_plus(fields[b"Key"]) if is_quoted else fields[b"Key"]
    modified = datetime.fromisoformat(fields[b"LastModified"])
    return key, fields[b"ETag"], int(fields[b"Size"]), modified


def _page(items: Iterable[tuple[str, str, int, datetime]]) -> Page:
    jobs: dict[str, dict[str, ListedObject]] = {}
    ignored_keys = []
    for key, etag, size, modified in items:
        if match := _INCOMING.fullmatch(key):
            remote = ListedObject(key, etag, size, modified.timestamp())
            jobs.setdefault(match[1], {})[match[2]] = remote
        else:
            ignored_keys.append(key)
    return Page(jobs, tuple(ignored_keys))
