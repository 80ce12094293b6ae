"""Downloads kept on disk until their day is done, so that a restart goes on where it was."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ...errors import NoDataError
from ...stations import Channel
from ..datatypes import Metadata, Samples, Segment, Source


class Kept:
    """A source whose samples are laid down, a file a channel and time, whole or absent.

    That a source has no samples is kept as well; a failed download is asked for again.

    Parameters
    ----------
    source : Source
    folder : Path
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self.source = source
        self.folder = folder
        self.name = source.name

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """The source's own, asked for once a job."""
        return self.source.metadata(channels, response)

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """Samples of each channel in [start, end) (ns): those on disk first."""
        folder = self._folder(start, end)
        missing = []
        for channel in channels:
            found = _load(folder / f"{channel.id}.npz")
            if found is None:
                missing.append(channel)
            else:
                yield channel, found
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
        for channel, result in self.source.fetch(missing, start, end):
            if isinstance(result, Samples) or result.status == "nodata":
                _save(folder / f"{channel.id}.npz", result)
            yield channel, result

    def forget(self, start: int, end: int) -> None:
        """The samples of a time are not needed again."""
        shutil.rmtree(self._folder(start, end), ignore_errors=True)

    def _folder(self, start: int, end: int) -> Path:
        return self.folder / f"{start}-{end}"


def _save(path: Path, result: Samples | NoDataError) -> None:
    """Write a channel's file: to another name, then renamed; a full disk is no reason to fail."""
    arrays = {}
    if isinstance(result, Samples):
        about = {
            "starts": [segment.start for segment in result.segments],
            "fs": result.fs,
            "source": result.source,
            "n_bytes": result.n_bytes,
            "warnings": result.warnings,
        }
        arrays = {f"segment{k}": segment.data for k, segment in enumerate(result.segments)}
    else:
        about = {"nodata": str(result)}
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)


def _load(path: Path) -> Samples | NoDataError | None:
    """What was saved; None where nothing was, or it cannot be read."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            about = json.loads(bytes(file["about"]))
            if "nodata" in about:
                return NoDataError(about["nodata"])
            segments = tuple(
                Segment(start, about["fs"], file[f"segment{k}"])
                for k, start in enumerate(about["starts"])
            )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return Samples(segments, about["source"], about["n_bytes"], tuple(about["warnings"]))
