"""A folder of miniSEED and StationXML files, in any tree and under any names."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ConfigError, NoDataError
from ...stations import Channel
from ..datatypes import Metadata, Samples
from ..response import MAX_XML_BYTES, metadata_from_inventory, read_stationxml
from .miniseed import samples
from .records import Records, channel_id_of, parse_heads, scan, what_it_is

log = logging.getLogger(__name__)

_SDS_NAME = re.compile(r"[^.]*\.[^.]+\.[^.]*\.[^.]+\.[A-Z]\.\d{4}\.\d{3}")
_DAY = 86400 * 10**9  # ns
_PROBE = 1 << 20  # bytes in which the first record must begin
_LARGE = 1 << 28  # bytes above which a file is mapped, not read
_HEAD = 128  # bytes in which a record tells its channel, time and length; the smallest record
_SHOWN = 20  # files in the log, of those that are left out
_COARSE = 32  # records from one header to the next that is looked at, to find a time in a file


@dataclass(frozen=True)
class Entry:
    """Where there are records of a channel."""

    file: str  # below the archive
    start: int  # ns
    end: int  # ns
    length: int  # bytes of every record, from the first byte on; 0 if they differ


class Archive:
    """Waveforms of a folder: SEED ids and times are read from the records, never from names.

    A file whose SDS name (``NET.STA.LOC.CHA.D.YEAR.DAY``) agrees with its first and last record
    is believed to hold that channel only; of every other file all headers are read. Pickles as
    its index, so that a tree is looked through once a job.

    Parameters
    ----------
    path : str or path
        The folder; links in it are followed, it is the operator's own.

    Raises
    ------
    ConfigError
        If there is no such folder, or neither waveforms nor metadata in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise ConfigError(f"archive {str(path)!r} is not a folder that can be read.")
        self.name = f"archive:{self.path.resolve().name}"
        self.index: dict[str, list[Entry]] = {}
        self.xml: list[str] = []
        self.n_files = 0  # of miniSEED
        self.skipped: dict[str, str] = {}  # neither miniSEED nor StationXML: what it is instead
        files = list(_files(self.path))
        believed = _sds_entries(self.path, files)
        for path in files:
            self._add(path, believed.get(path, {}))
        for file, reason in list(self.skipped.items())[:_SHOWN]:
            log.warning("%s is left out: %s", file, reason)
        if len(self.skipped) > _SHOWN:
            log.warning("%d more files are left out", len(self.skipped) - _SHOWN)
        if not self.index:
            raise ConfigError(
                f"archive {str(path)!r} holds no miniSEED; {len(self.skipped)} other files."
            )
        for entries in self.index.values():
            entries.sort(key=lambda entry: (entry.start, entry.file))

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """Coordinates and responses, from the StationXML of the folder."""
        channels = list(channels)
        codes = {f'"{channel.station}"'.encode() for channel in channels}
        codes |= {f"'{channel.station}'".encode() for channel in channels}
        inventories = []
        for file in self.xml:
            try:
                if (self.path / file).stat().st_size > MAX_XML_BYTES:
                    raise ValueError("is too large")
                content = (self.path / file).read_bytes()
                if any(code in content for code in codes):
                    inventories.append(read_stationxml(content))
            except (OSError, ValueError) as error:
                log.warning("%s %s; it is left out", file, error)
        return metadata_from_inventory(inventories, channels, response)

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """Samples of each channel in [start, end) (ns), or why there are none."""
        channels = list(channels)
        shared = self._shared_files(channels, start, end)
        known: dict[str, Records] = {}
        for channel in channels:
            entries = [e for e in self._entries(channel) if e.start < end and e.end > start]
            try:
                parts = []
                for entry in entries:
                    records = known.get(entry.file) or self._read(entry, start, end)
                    if entry.file in shared:
                        known[entry.file] = records
                    parts.append(records)
                yield channel, self._samples(parts, channel, start, end)
            except NoDataError as error:
                yield channel, error
            except OSError as error:
                reason = f"{entry.file} cannot be read: {error.strerror or error}."
                yield channel, NoDataError(reason, "failed")

    def _entries(self, channel: Channel) -> list[Entry]:
        return self.index.get(channel.id, [])

    def _shared_files(self, channels: list[Channel], start: int, end: int) -> set[str]:
        """Files that hold several of the channels, so are worth to be kept for the next one."""
        seen: set[str] = set()
        shared: set[str] = set()
        for channel in channels:
            files = {e.file for e in self._entries(channel) if e.start < end and e.end > start}
            shared |= files & seen
            seen |= files
        return shared

    def _samples(self, parts: list[Records], channel: Channel, start: int, end: int) -> Samples:
        if not parts and channel.id in self.index:
            raise NoDataError("the archive has no samples of this time.")
        if not parts:
            raise NoDataError("the archive does not have this channel.")
        return samples(parts, channel.id, start, end, self.name)

    def _read(self, entry: Entry, start: int, end: int) -> Records:
        """The records of a file, or those around the few that are wanted of it."""
        path = self.path / entry.file
        wanted = min(end, entry.end) - max(start, entry.start)
        if entry.length and wanted < (entry.end - entry.start) / 4:
            first, last = _around(path, entry.length, start, end)
            return scan(np.fromfile(path, np.uint8, last - first, offset=first))
        return scan(_load(path))

    def _add(self, path: Path, entries: dict[str, Entry]) -> None:
        """Put a file into the index, with the entries that are known of it already."""
        file = str(path.relative_to(self.path))
        try:
            if path.suffix.lower() == ".xml":
                with path.open("rb") as opened:
                    is_station = b"FDSNStationXML" in opened.read(8192)
                if is_station:
                    self.xml.append(file)
                else:
                    self.skipped[file] = "XML of another kind"
                return
            entries = entries or _entries(path, file)
            if not entries:
                self.skipped[file] = _why_not(path)
        except OSError as error:
            self.skipped[file] = f"cannot be read: {error.strerror or error}"
            return
        for channel_id, entry in entries.items():
            self.index.setdefault(channel_id, []).append(entry)
        self.n_files += bool(entries)


def _files(folder: Path) -> Iterator[Path]:
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
                yield path


def _load(path: Path) -> np.ndarray:
    """The bytes of a file; of a very large one, as they are needed."""
    if path.stat().st_size > _LARGE:
        return np.memmap(path, np.uint8, mode="r")
    return np.fromfile(path, np.uint8)


def _entries(path: Path, file: str) -> dict[str, Entry]:
    """The channels of a file, by a look at all of its headers; none where it is no miniSEED."""
    records = scan(np.fromfile(path, np.uint8, _PROBE))
    if not records.rows.size:
        return {}
    if path.stat().st_size > _PROBE:
        records = scan(_load(path))
    lengths = records.rows["length"]
    even = np.array_equal(records.rows["offset"], np.arange(lengths.size) * lengths[0])
    length = int(lengths[0]) if even and len(records.codes) == 1 else 0
    return {
        channel_id: Entry(file, start, end, length)
        for channel_id, (start, end) in records.spans().items()
    }


def _why_not(path: Path) -> str:
    """What a file is in which there are no samples."""
    records = scan(np.fromfile(path, np.uint8, _PROBE))
    if records.rows.size:
        return "records of text only"
    with path.open("rb") as opened:
        return what_it_is(opened.read(100))


def _sds_entries(folder: Path, files: list[Path]) -> dict[Path, dict[str, Entry]]:
    """The one channel of each file with an SDS name that its first and last record confirm.

    All first records are parsed together, then all last ones: a tree has thousands of files.
    """
    named = [path for path in files if _SDS_NAME.fullmatch(path.name)]
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
            entries[path] = {channel_id: Entry(file, start, end, lengths[path])}
    return entries


def _heads(places: dict[Path, int]) -> dict[Path, np.void]:
    """The record that begins at a place of each file, where there is one."""
    heads = {}
    for path, offset in places.items():
        try:
            with path.open("rb", buffering=0) as opened:
                head = os.pread(opened.fileno(), _HEAD, offset)
        except OSError:
            continue  # whoever reads the file says why
        if len(head) == _HEAD:
            heads[path] = head
    rows = parse_heads(b"".join(heads.values()), _HEAD)
    return {path: row for path, row in zip(heads, rows, strict=True) if row["valid"]}


def _around(path: Path, length: int, start: int, end: int) -> tuple[int, int]:
    """The bytes of a file that hold all records of [start, end), and some more."""
    size = path.stat().st_size
    n_records = size // length
    if n_records <= 4 * _COARSE:
        return 0, size
    numbers = [*range(0, n_records, _COARSE), n_records - 1]
    with path.open("rb", buffering=0) as opened:
        heads = b"".join(os.pread(opened.fileno(), _HEAD, k * length) for k in numbers)
    rows = parse_heads(heads, _HEAD)
    starts = rows["start"]
    if not rows["valid"].all() or (np.diff(starts) < 0).any():
        return 0, size
    first = max(int(np.searchsorted(starts, start)) - 2, 0)
    last = min(int(np.searchsorted(starts, end)) + 1, len(numbers) - 1)
    stop = size if last == len(numbers) - 1 else numbers[last] * length
    return numbers[first] * length, stop
