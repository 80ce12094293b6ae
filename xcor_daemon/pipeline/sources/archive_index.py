"""Which file of a folder holds what: told by the headers of its records, and remembered."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...atomic_files import make_folder, open_atomic
from ...errors import DiskError
from .formats import BEGINNING, STATIONXML, describe_bytes
from .mseed_headers import channel_id_of, parse_heads, scan

log = logging.getLogger(__name__)

HEAD = 128  # bytes in which a record tells its channel, time and length; the smallest record
_SDS_NAME = re.compile(r"[^.]*\.[^.]+\.[^.]*\.[^.]+\.[A-Z]\.\d{4}\.\d{3}")
_DAY = 86400 * 10**9  # ns
_PROBE = 1 << 20  # bytes in which the first record must begin
_LARGE = 1 << 28  # bytes above which a file is mapped, not read
_UNREADABLE = "cannot be read"
_FORMAT = 2  # of what is remembered; another one is not read

Stamp = tuple[int, int, int]  # bytes, and when content and name last changed (ns)


@dataclass(frozen=True)
class IndexEntry:
    """Where there are records of a channel."""

    file: str  # below the archive
    start: int  # ns
    end: int  # ns
    length: int  # bytes of every record, from the first byte on; 0 if they differ


@dataclass(frozen=True)
class IndexedFile:
    """What a file is."""

    file: str  # below the archive
    stamp: Stamp
    entries: Mapping[str, IndexEntry] = field(default_factory=dict)  # channel id -> where
    is_metadata: bool = False
    skipped: str = ""  # what it is instead, where it is neither


def index_archive(folder: Path, cache: Path | None = None) -> list[IndexedFile]:
    """Every file below a folder, in order; those that are as they were are not read again.

    A file whose SDS name (``NET.STA.LOC.CHA.D.YEAR.DAY``) agrees with its first and last record
    is believed to hold that channel only; of every other file all headers are read.

    Parameters
    ----------
    folder : Path
        Links in it are followed, it is the operator's own.
    cache : Path, optional
        Where it is remembered what was found; the archive itself may be read-only.
    """
    memory = None
    if cache is not None:
        name = hashlib.sha256(bytes(folder.resolve())).hexdigest()[:32]
        memory = cache / f"{name}.jsonl"
    known = _remembered(memory) if memory else {}
    stamps = dict(_files(folder))
    new = [file for file in stamps if file not in known or known[file].stamp != stamps[file]]
    believed = _sds_entries(folder, new)
    read = {file: _index_file(folder, file, stamps[file], believed.get(file, {})) for file in new}
    found = [read.get(file) or known[file] for file in stamps]
    if memory and (new or len(known) > len(stamps)):
        # What could not be read may be readable the next time.
        _remember(memory, [one for one in found if not one.skipped.startswith(_UNREADABLE)])
    return found


def _files(folder: Path) -> Iterator[tuple[str, Stamp]]:
    """Every regular file below a folder, in order; each folder once, whatever links say."""
    top = os.stat(folder)
    seen = {(top.st_dev, top.st_ino)}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in list(folders):
            status = os.stat(os.path.join(place, name))
            key = (status.st_dev, status.st_ino)
            if key in seen:
                folders.remove(name)
            seen.add(key)
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and path.is_file():
                status = path.stat()
                stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                yield str(path.relative_to(folder)), stamp


def _remembered(memory: Path) -> dict[str, IndexedFile]:
    """What was found the last time; nothing where that cannot be read."""
    try:
        with memory.open() as lines:
            if json.loads(next(lines, "0")) != _FORMAT:
                return {}
            return {found.file: found for found in map(_parsed, lines)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s cannot be used, so the archive is looked through again: %s", memory, error)
        return {}


def _parsed(line: str) -> IndexedFile:
    file, stamp, entries, is_metadata, skipped = json.loads(line)
    size, modified, changed = map(int, stamp)
    places = {name: IndexEntry(file, *map(int, place)) for name, place in entries.items()}
    return IndexedFile(
        str(file), (size, modified, changed), places, bool(is_metadata), str(skipped)
    )


def _remember(memory: Path, found: Sequence[IndexedFile]) -> None:
    """Replace what is remembered at once; that it cannot be is no reason to fail."""
    try:
        make_folder(memory.parent)
        with open_atomic(memory, shared=True, durable=False) as file:
            file.write(f"{_FORMAT}\n".encode())
            file.writelines(f"{json.dumps(_plain(one))}\n".encode() for one in found)
    except DiskError as error:
        log.info("the next job indexes the archive again: %s", error)


def _plain(found: IndexedFile) -> list[Any]:
    places = {name: astuple(entry)[1:] for name, entry in found.entries.items()}
    return [found.file, found.stamp, places, found.is_metadata, found.skipped]


def _index_file(
    folder: Path, file: str, stamp: Stamp, entries: dict[str, IndexEntry]
) -> IndexedFile:
    """What a file is; ``entries`` are those that are known of it already."""
    path = folder / file
    try:
        if path.suffix.lower() == ".xml":
            with path.open("rb") as opened:
                beginning = opened.read(8192)
            if b"FDSNStationXML" in beginning:
                return IndexedFile(file, stamp, is_metadata=True)
            return IndexedFile(file, stamp, skipped=describe_bytes(beginning))
        entries = entries or _entries(path, file)
        return IndexedFile(file, stamp, entries, skipped="" if entries else _why_not(path))
    except OSError as error:
        return IndexedFile(file, stamp, skipped=f"{_UNREADABLE}: {error.strerror or error}")


def load(path: Path) -> np.ndarray:
    """The bytes of a file; of a very large one, as they are needed."""
    if path.stat().st_size > _LARGE:
        return np.memmap(path, np.uint8, mode="r")
    return np.fromfile(path, np.uint8)


def _entries(path: Path, file: str) -> dict[str, IndexEntry]:
    """The channels of a file, by a look at all of its headers; none where it is no miniSEED."""
    first = parse_heads(np.fromfile(path, np.uint8, HEAD).tobytes(), HEAD)
    # It may begin with something else, but not for long.
    if not first["valid"].any() and not scan(np.fromfile(path, np.uint8, _PROBE)).rows.size:
        return {}
    records = scan(load(path))
    lengths = records.rows["length"]
    even = np.array_equal(records.rows["offset"], np.arange(lengths.size) * lengths[0])
    length = int(lengths[0]) if even and len(records.codes) == 1 else 0
    return {
        channel_id: IndexEntry(file, start, end, length)
        for channel_id, (start, end) in records.spans().items()
    }


def _why_not(path: Path) -> str:
    """What a file is in which there are no samples."""
    records = scan(np.fromfile(path, np.uint8, _PROBE))
    if records.rows.size:
        return "records of text only"
    with path.open("rb") as opened:
        found = describe_bytes(opened.read(BEGINNING))
    return f"{found}; its name must end in .xml" if found == STATIONXML else found


def _sds_entries(folder: Path, files: list[str]) -> dict[str, dict[str, IndexEntry]]:
    """The one channel of each file with an SDS name that its first and last record confirm.

    All first records are parsed together, then all last ones: a tree has thousands of files.
    """
    named = [folder / file for file in files if _SDS_NAME.fullmatch(file.rpartition("/")[2])]
    sizes = {path: path.stat().st_size for path in named}
    firsts = _heads(dict.fromkeys(named, 0))
    lengths = {path: int(row["length"]) for path, row in firsts.items()}
    even = [path for path in firsts if lengths[path] and sizes[path] % lengths[path] == 0]
    lasts = _heads({path: sizes[path] - lengths[path] for path in even})
    entries = {}
    for path, last in lasts.items():
        first = firsts[path]
        channel_id = ".".join(path.name.split(".")[:4])
        ids = {channel_id_of(row["code"]) for row in (first, last)}
        if ids == {channel_id} and last["length"] == first["length"] and first["fs"] > 0:
            # Records in between may be out of order; none is expected outside the day.
            day = int(first["start"]) // _DAY * _DAY
            start = min(int(first["start"]), int(last["start"]), day)
            end = max(int(first["end"]), int(last["end"]), day + _DAY)
            file = str(path.relative_to(folder))
            entries[file] = {channel_id: IndexEntry(file, start, end, lengths[path])}
    return entries


def _heads(places: dict[Path, int]) -> dict[Path, np.void]:
    """The record that begins at a place of each file, where there is one."""
    heads = {}
    for path, offset in places.items():
        try:
            with path.open("rb", buffering=0) as opened:
                head = os.pread(opened.fileno(), HEAD, offset)
        except OSError:
            continue  # whoever reads the file says why
        if len(head) == HEAD:
            heads[path] = head
    rows = parse_heads(b"".join(heads.values()), HEAD)
    return {path: row for path, row in zip(heads, rows, strict=True) if row["valid"]}
