"""A folder of miniSEED and StationXML files, with any folder structure and any names."""

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
from .miniseed import channel_samples
from .mseed_headers import Records, parse_heads, scan
from .segments import count

log = logging.getLogger(__name__)

_MAX_SIMILAR = 3  # channels in the message about a missing channel
_MAX_KINDS = 5  # of files in the message about a folder without miniSEED
_MAX_SKIPPED = 20  # skipped files in the log
_COARSE = 32  # records between the headers that are read to find a time in a file


class Archive:
    """Waveforms of a folder; channel ids and times are read from the records, not from file names.

    Its pickle holds the index, so that the processes of a job need not index the folder again.

    Parameters
    ----------
    path : str or path
        The folder; symbolic links are followed, since it belongs to the operator.
    cache : path, optional
        Folder for its index, for other jobs; see `index_archive`.

    Raises
    ------
    ConfigError
        If the folder does not exist or contains no waveforms.
    """

    def __init__(self, path: str | Path, cache: Path | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise ConfigError(f"archive {str(path)!r} is not a readable folder.")
        self.name = f"archive:{self.path.resolve().name}"
        found = index_archive(self.path, cache)
        self.index: dict[str, list[IndexEntry]] = {}
        for file in found:
            for channel_id, entry in file.entries.items():
                self.index.setdefault(channel_id, []).append(entry)
        self.xml = [file.file for file in found if file.is_metadata]
        self.n_files = sum(bool(file.entries) for file in found)  # of miniSEED
        self.skipped = {file.file: file.skipped for file in found if file.skipped}
        for name, reason in list(self.skipped.items())[:_MAX_SKIPPED]:
            log.warning("skipping %s: %s", name, reason)
        if len(self.skipped) > _MAX_SKIPPED:
            log.warning("skipping %d more files", len(self.skipped) - _MAX_SKIPPED)
        if not self.index:
            raise ConfigError(f"archive {str(path)!r} contains no miniSEED: {self._contents()}")
        for entries in self.index.values():
            entries.sort(key=lambda entry: (entry.start, entry.file))

    def _contents(self) -> str:
        """Kinds of files in a folder without miniSEED, the most frequent first."""
        kinds = Counter([*self.skipped.values(), *["StationXML"] * len(self.xml)]).most_common()
        if not kinds:
            return "it is empty"
        lines = [f"{count(n, 'file')}: {kind}" for kind, n in kinds[:_MAX_KINDS]]
        if more := sum(n for _, n in kinds[_MAX_KINDS:]):
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
                log.warning("skipping %s: it %s", file, error)
        return metadata_from_inventory(inventories, channels, response)

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """Samples of each channel in [start, end) (ns since 1970), or the reason for none."""
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
        """Files with several of the channels, whose records are kept for the next channel."""
        seen: set[str] = set()
        shared: set[str] = set()
        for channel in channels:
            files = {e.file for e in self._entries(channel) if e.start < end and e.end > start}
            shared |= files & seen
            seen |= files
        return shared

    def _samples(self, parts: list[Records], channel: Channel, start: int, end: int) -> Samples:
        if not parts and channel.id in self.index:
            raise NoDataError(f"the archive has no samples at this time; {self._span(channel)}.")
        if not parts:
            raise NoDataError(f"the archive does not have this channel; {self._similar(channel)}.")
        return channel_samples(parts, channel.id, start, end, self.name)

    def _span(self, channel: Channel) -> str:
        """First and last time of a channel's samples, as text."""
        entries = self.index[channel.id]
        first, last = min(e.start for e in entries), max(e.end for e in entries)
        return f"its samples are from {time_text(first)} to {time_text(last)}"

    def _similar(self, channel: Channel) -> str:
        """Channels of the archive that are similar to a missing one, as text."""
        station = f"{channel.network}.{channel.station}."
        names = sorted(name for name in self.index if name.startswith(station))
        if not names:
            code = f".{channel.station}."
            names = sorted(name for name in self.index if code in name)
        if not names:
            n = len(self.index)
            return f"it has {count(n, 'other channel')}, such as {min(self.index)}"
        more = f" and {len(names) - _MAX_SIMILAR} more of the station" * (len(names) > _MAX_SIMILAR)
        return f"it has {', '.join(names[:_MAX_SIMILAR])}{more}"

    def _read(self, entry: IndexEntry, start: int, end: int) -> Records:
        """The records of a file, or of its part around [start, end)."""
        path = self.path / entry.file
        wanted = min(end, entry.end) - max(start, entry.start)
        if entry.length and wanted < (entry.end - entry.start) / 4:
            first, last = _around(path, entry.length, start, end)
            return scan(np.fromfile(path, np.uint8, last - first, offset=first))
        return scan(load(path))


def _around(path: Path, length: int, start: int, end: int) -> tuple[int, int]:
    """First byte, and byte after the last, of a part of a file with all records of [start, end)."""
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
