"""Cache of downloads on disk until their day is done, so that a restarted job can resume."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...atomic_files import make_folder, open_atomic
from ...errors import DiskError, NoDataError
from ...request.stations import Channel
from ..datatypes import Epoch, Metadata, ResponseCurve, Samples, Segment, Source

log = logging.getLogger(__name__)

T = TypeVar("T")


class CachedSource:
    """A source whose samples are cached: one file a channel and time span, written atomically.

    The absence of samples is cached too; a failed download is repeated.

    Parameters
    ----------
    source : Source
        The source to cache.
    folder : Path
        Where the files are.

    Attributes
    ----------
    is_required : bool
        Whether a failed write raises `DiskError`, since other processes read the files.
        Otherwise the job continues with the samples in memory and downloads them again only if
        it is restarted.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self.source = source
        self.folder = folder
        self.name = source.name
        self.is_required = False
        self._is_logged = False

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """Coordinates and responses of the source, requested once in the life of a job."""
        channels = list(channels)
        asked = repr([(channel.id, channel.spans) for channel in channels] + [response])
        path = self.folder / f"metadata-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.npz"
        known = _read(path, _metadata)
        if known is None:
            known = self.source.metadata(channels, response)
            self._write(path, *_plain_metadata(known))
        return known

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """Samples of each channel in [start, end) (ns since 1970): those on disk first."""
        folder = self._folder(start, end)
        missing = []
        for channel in channels:
            found = _load(folder / f"{channel.id}.npz")
            if found is None:
                missing.append(channel)
            else:
                yield channel, found
        for channel, result in self.source.fetch(missing, start, end):
            if isinstance(result, Samples) or result.status == "nodata":
                self._write(folder / f"{channel.id}.npz", *_plain_samples(result))
            yield channel, result

    def _write(self, path: Path, about: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Write a file; not flushed to disk, since an unreadable file is downloaded again."""
        described = np.frombuffer(json.dumps(about).encode(), np.uint8)
        named: dict[str, Any] = {"about": described, **arrays}
        try:
            make_folder(path.parent)
            with open_atomic(path, durable=False, steady=True) as file:
                np.savez(file, **named)
        except DiskError as error:
            if self.is_required:
                raise
            if not self._is_logged:  # once, not for each channel and day
                self._is_logged = True
                log.info("downloads are not cached: %s", error)

    def discard(self, start: int, end: int) -> None:
        """Delete the samples of [start, end) (ns since 1970)."""
        shutil.rmtree(self._folder(start, end), ignore_errors=True)

    def _folder(self, start: int, end: int) -> Path:
        return self.folder / f"{start}-{end}"


class CacheOnlySource:
    """A source without a connection: all available samples are in the cache.

    Parameters
    ----------
    name : str
        Of the original source.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """No metadata: a job reads them before its workers start."""
        return Metadata({})

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """An error for each channel: if it is not in the cache the download failed."""
        for channel in channels:
            yield channel, NoDataError("it could not be downloaded; see the log", "failed")


def _plain_samples(
    result: Samples | NoDataError,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Attributes of samples as JSON values, and segments as arrays (n,)."""
    if isinstance(result, NoDataError):
        return {"nodata": str(result)}, {}
    about = {
        "starts": [segment.start for segment in result.segments],
        "fs": result.fs,
        "source": result.source,
        "n_bytes": result.n_bytes,
        "warnings": result.warnings,
    }
    return about, {f"segment{k}": s.data for k, s in enumerate(result.segments)}


def _load(path: Path) -> Samples | NoDataError | None:
    return _read(path, _samples)


def _samples(about: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Samples | NoDataError:
    if "nodata" in about:
        return NoDataError(about["nodata"])
    segments = tuple(
        Segment(start, about["fs"], arrays[f"segment{k}"])
        for k, start in enumerate(about["starts"])
    )
    return Samples(segments, about["source"], about["n_bytes"], tuple(about["warnings"]))


def _plain_metadata(metadata: Metadata) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Epochs as JSON values, and response curves, each once, as arrays (3, n_frequencies)."""
    curves: dict[int, tuple[str, np.ndarray]] = {}
    epochs: dict[str, list[dict[str, Any]]] = {}
    for channel_id, some in metadata.epochs.items():
        epochs[channel_id] = [{**vars(epoch), "response": None} for epoch in some]
        for plain, epoch in zip(epochs[channel_id], some, strict=True):
            if (curve := epoch.response) is not None:
                rows = (curve.frequency, curve.log_amplitude, curve.phase)
                name = f"curve{len(curves)}"
                plain["response"] = curves.setdefault(id(curve), (name, np.array(rows)))[0]
    return {"epochs": epochs}, dict(curves.values())


def _metadata(about: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Metadata:
    names = {e["response"] for some in about["epochs"].values() for e in some} - {None}
    curves = {name: ResponseCurve(*arrays[name]) for name in names}
    return Metadata(
        {
            channel_id: tuple(Epoch(**{**e, "response": curves.get(e["response"])}) for e in some)
            for channel_id, some in about["epochs"].items()
        }
    )


def _read(path: Path, make: Callable[[dict[str, Any], Mapping[str, np.ndarray]], T]) -> T | None:
    """Read a cached file; None if it does not exist or is unreadable."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return make(json.loads(bytes(file["about"])), file)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
