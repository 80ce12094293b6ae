"""Index of an archive: channels and times of each file, from the headers of its records."""

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

HEAD = 128  # bytes that contain a record's channel, time and length; also the smallest record
_SDS_NAME = re.compile(r"[^.]*\.[^.]+\.[^.]*\.[^.]+\.[A-Z]\.\d{4}\.\d{3}")
_DAY = 86400 * 10**9  # ns
_PROBE = 1 << 20  # bytes within which the first record must start
_LARGE = 1 << 28  # bytes; a larger file is memory-mapped, not read
_UNREADABLE = "cannot be read"
_FORMAT = 2  # of the cached index; another format is not read

Stamp = tuple[int, int, int]  # size (bytes), times of the last change of content and inode (ns)


@dataclass(frozen=True)
class IndexEntry:
    """Records of a channel in a file."""

    file: str  # relative to the archive
    start: int  # ns since 1970
    end: int  # ns since 1970
    length: int  # of each record (bytes), if the file consists of records of one length, else 0


@dataclass(frozen=True)
class IndexedFile:
    """Content of a file."""

    file: str  # relative to the archive
    stamp: Stamp
    entries: Mapping[str, IndexEntry] = field(default_factory=dict)  # channel id -> records
    is_metadata: bool = False
    skipped: str = ""  # the reason, if it has neither waveforms nor metadata


def index_archive(folder: Path, cache: Path | None = None) -> list[IndexedFile]:
    """Index all files of a folder, in order; unchanged files are taken from the cached index.

    If the SDS name of a file (``NET.STA.LOC.CHA.D.YEAR.DAY``) agrees with its first and last
    record, the file is assumed to contain that channel only; of other files all headers are read.

    Parameters
    ----------
    folder : Path
        Symbolic links are followed, since it belongs to the operator.
    cache : Path, optional
        Folder for the index; the archive itself may be read-only.

    Returns
    -------
    files : list of IndexedFile
    """
    cached = None
    if cache is not None:
        name = hashlib.sha256(bytes(folder.resolve())).hexdigest()[:32]
        cached = cache / f"{name}.jsonl"
    known = _load_index(cached) if cached else {}
    stamps = dict(_files(folder))
    new = [file for file in stamps if file not in known or known[file].stamp != stamps[file]]
    believed = _sds_entries(folder, new)
    read = {file: _index_file(folder, file, stamps[file], believed.get(file, {})) for file in new}
    found = [read.get(file) or known[file] for file in stamps]
    if cached and (new or len(known) > len(stamps)):
        # An unreadable file may be readable the next time.
        _save_index(cached, [one for one in found if not one.skipped.startswith(_UNREADABLE)])
    return found


def _files(folder: Path) -> Iterator[tuple[str, Stamp]]:
    """All regular files of a folder tree, in order; each folder once, also with circular links."""
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


def _load_index(cached: Path) -> dict[str, IndexedFile]:
    """The cached index by file; empty if there is none or it is unreadable."""
    try:
        with cached.open() as lines:
            if json.loads(next(lines, "0")) != _FORMAT:
                return {}
            return {found.file: found for found in map(_parsed, lines)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s is unreadable, indexing the archive again: %s", cached, error)
        return {}


def _parsed(line: str) -> IndexedFile:
    file, stamp, entries, is_metadata, skipped = json.loads(line)
    size, modified, changed = map(int, stamp)
    places = {name: IndexEntry(file, *map(int, place)) for name, place in entries.items()}
    return IndexedFile(
        str(file), (size, modified, changed), places, bool(is_metadata), str(skipped)
    )


def _save_index(cached: Path, found: Sequence[IndexedFile]) -> None:
    """Replace the cached index atomically; a failure is logged only."""
    try:
        make_folder(cached.parent)
        with open_atomic(cached, shared=True, durable=False) as file:
            file.write(f"{_FORMAT}\n".encode())
            file.writelines(f"{json.dumps(_plain(one))}\n".encode() for one in found)
    except DiskError as error:
        log.info("the index of the archive is not cached: %s", error)


def _plain(found: IndexedFile) -> list[Any]:
    places = {name: astuple(entry)[1:] for name, entry in found.entries.items()}
    return [found.file, found.stamp, places, found.is_metadata, found.skipped]


def _index_file(
    folder: Path, file: str, stamp: Stamp, entries: dict[str, IndexEntry]
) -> IndexedFile:
    """Index one file; ``entries`` are given if its name and first and last record agree."""
    path = folder / file
    try:
        if path.suffix.lower() == ".xml":
            with path.open("rb") as opened:
                beginning = opened.read(8192)
            if b"FDSNStationXML" in beginning:
                return IndexedFile(file, stamp, is_metadata=True)
            return IndexedFile(file, stamp, skipped=describe_bytes(beginning))
        entries = entries or _entries(path, file)
        return IndexedFile(file, stamp, entries, skipped="" if entries else _describe_content(path))
    except OSError as error:
        return IndexedFile(file, stamp, skipped=f"{_UNREADABLE}: {error.strerror or error}")


def load(path: Path) -> np.ndarray:
    """Load the bytes of a file, uint8 (n,); a very large file is memory-mapped."""
    if path.stat().st_size > _LARGE:
        return np.memmap(path, np.uint8, mode="r")
    return np.fromfile(path, np.uint8)


def _entries(path: Path, file: str) -> dict[str, IndexEntry]:
    """Channels of a file, from all its headers; none if it is not miniSEED."""
    first = parse_heads(np.fromfile(path, np.uint8, HEAD).tobytes(), HEAD)
    # Other bytes may precede the first record, within `_PROBE`.
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


def _describe_content(path: Path) -> str:
    """The reason why a file has no samples."""
    records = scan(np.fromfile(path, np.uint8, _PROBE))
    if records.rows.size:
        return "records of text only"
    with path.open("rb") as opened:
        found = describe_bytes(opened.read(BEGINNING))
    return f"{found}; its name must end in .xml" if found == STATIONXML else found


def _sds_entries(folder: Path, files: list[str]) -> dict[str, dict[str, IndexEntry]]:
    """The channel of each file whose SDS name agrees with its first and last record.

    All first records are parsed at once, then all last ones: an archive has thousands of files.
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
            # Records between them may be out of order, but are expected to be of the same day.
            day = int(first["start"]) // _DAY * _DAY
            start = min(int(first["start"]), int(last["start"]), day)
            end = max(int(first["end"]), int(last["end"]), day + _DAY)
            file = str(path.relative_to(folder))
            entries[file] = {channel_id: IndexEntry(file, start, end, lengths[path])}
    return entries


def _heads(offsets: dict[Path, int]) -> dict[Path, np.void]:
    """Header of the record at an offset of each file, if there is one."""
    heads = {}
    for path, offset in offsets.items():
        try:
            with path.open("rb", buffering=0) as opened:
                head = os.pread(opened.fileno(), HEAD, offset)
        except OSError:
            continue  # the reason is reported when the file is read
        if len(head) == HEAD:
            heads[path] = head
    rows = parse_heads(b"".join(heads.values()), HEAD)
    return {path: row for path, row in zip(heads, rows, strict=True) if row["valid"]}
