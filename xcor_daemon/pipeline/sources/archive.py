"""A folder of miniSEED and StationXML files, in any tree and under any names."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ...errors import ConfigError, NoDataError
from ...request.stations import Channel
from ..datatypes import UNREADABLE, Metadata, Samples, time_text
from .archive_index import HEAD, IndexEntry, index_archive, load
from .miniseed import samples
from .mseed_headers import Records, parse_heads, scan
from .segments import count

log = logging.getLogger(__name__)

_LIKE = 3  # channels named instead of one that is not there
_KINDS = 5  # of files named where none is miniSEED
_SHOWN = 20  # files in the log, of those that are left out
_COARSE = 32  # records from one header to the next that is looked at, to find a time in a file


class Archive:
    """Waveforms of a folder: SEED ids and times are read from the records, never from names.

    Pickles as its index, so that the processes of a job need not look again.

    Parameters
    ----------
    path : str or path
        The folder; links in it are followed, it is the operator's own.
    cache : path, optional
        Where its index is remembered for other jobs; see `index_archive`.

    Raises
    ------
    ConfigError
        If there is no such folder, or neither waveforms nor metadata in it.
    """

    def __init__(self, path: str | Path, cache: Path | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise ConfigError(f"archive {str(path)!r} is not a folder that can be read.")
        self.name = f"archive:{self.path.resolve().name}"
        found = index_archive(self.path, cache)
        self.index: dict[str, list[IndexEntry]] = {}
        for file in found:
            for channel_id, entry in file.entries.items():
                self.index.setdefault(channel_id, []).append(entry)
        self.xml = [file.file for file in found if file.is_metadata]
        self.n_files = sum(bool(file.entries) for file in found)  # of miniSEED
        self.skipped = {file.file: file.skipped for file in found if file.skipped}
        for name, reason in list(self.skipped.items())[:_SHOWN]:
            log.warning("%s is left out: %s", name, reason)
        if len(self.skipped) > _SHOWN:
            log.warning("%d more files are left out", len(self.skipped) - _SHOWN)
        if not self.index:
            raise ConfigError(f"archive {str(path)!r} holds no miniSEED: {self._contents()}")
        for entries in self.index.values():
            entries.sort(key=lambda entry: (entry.start, entry.file))

    def _contents(self) -> str:
        """What a folder without miniSEED has instead, the most frequent first."""
        kinds = Counter([*self.skipped.values(), *["StationXML"] * len(self.xml)]).most_common()
        if not kinds:
            return "it is empty"
        lines = [f"{count(n, 'file')}: {kind}" for kind, n in kinds[:_KINDS]]
        if more := sum(n for _, n in kinds[_KINDS:]):
            lines.append(f"{count(more, 'file')} of other kinds")
        return "".join(f"\n  {line}" for line in lines)

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """Coordinates and responses, from the StationXML of the folder."""
        if not self.xml:
            return Metadata({})
        from .stationxml import MAX_XML_BYTES, metadata_from_inventory, read_stationxml

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
                reason = f"{UNREADABLE}; {entry.file}: {error.strerror or error}."
                yield channel, NoDataError(reason, "failed")

    def _entries(self, channel: Channel) -> list[IndexEntry]:
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
            raise NoDataError(f"the archive has no samples of this time; {self._span(channel)}.")
        if not parts:
            raise NoDataError(f"the archive does not have this channel; {self._instead(channel)}.")
        return samples(parts, channel.id, start, end, self.name)

    def _span(self, channel: Channel) -> str:
        """From when to when there are samples of a channel."""
        entries = self.index[channel.id]
        first, last = min(e.start for e in entries), max(e.end for e in entries)
        return f"its samples are from {time_text(first)} to {time_text(last)}"

    def _instead(self, channel: Channel) -> str:
        """The channels most like one that is not there."""
        station = f"{channel.network}.{channel.station}."
        names = sorted(name for name in self.index if name.startswith(station))
        if not names:
            code = f".{channel.station}."
            names = sorted(name for name in self.index if code in name)
        if not names:
            n = len(self.index)
            return f"it has {count(n, 'other channel')}, such as {min(self.index)}"
        more = f" and {len(names) - _LIKE} more of the station" * (len(names) > _LIKE)
        return f"it has {', '.join(names[:_LIKE])}{more}"

    def _read(self, entry: IndexEntry, start: int, end: int) -> Records:
        """The records of a file, or those around the few that are wanted of it."""
        path = self.path / entry.file
        wanted = min(end, entry.end) - max(start, entry.start)
        if entry.length and wanted < (entry.end - entry.start) / 4:
            first, last = _around(path, entry.length, start, end)
            return scan(np.fromfile(path, np.uint8, last - first, offset=first))
        return scan(load(path))


def _around(path: Path, length: int, start: int, end: int) -> tuple[int, int]:
    """The bytes of a file that hold all records of [start, end), and some more."""
    size = path.stat().st_size
    n_records = size // length
    if n_records <= 4 * _COARSE:
        return 0, size
    numbers = [*range(0, n_records, _COARSE), n_records - 1]
    with path.open("rb", buffering=0) as opened:
        heads = b"".join(os.pread(opened.fileno(), HEAD, k * length) for k in numbers)
    rows = parse_heads(heads, HEAD)
    starts = rows["start"]
    if not rows["valid"].all() or (np.diff(starts) < 0).any():
        return 0, size
    first = max(int(np.searchsorted(starts, start)) - 2, 0)
    last = min(int(np.searchsorted(starts, end)) + 1, len(numbers) - 1)
    stop = size if last == len(numbers) - 1 else numbers[last] * length
    return numbers[first] * length, stop
