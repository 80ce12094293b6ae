"""Downloads kept on disk until their day is done, so that a restart goes on where it was."""

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
    """A source whose samples are laid down, a file a channel and time, whole or absent.

    That a source has no samples is kept as well; a failed download is asked for again.

    Parameters
    ----------
    source : Source
    folder : Path

    Attributes
    ----------
    is_required : bool
        Whether what cannot be kept is a `DiskError`, since other processes read it from here.
        Otherwise it is a cache: the job goes on with what it has in memory, and only where it is
        begun again, it downloads again.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self.source = source
        self.folder = folder
        self.name = source.name
        self.is_required = False
        self._is_logged = False

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """The source's own, asked for once a job, however often that is begun."""
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
        """Samples of each channel in [start, end) (ns): those on disk first."""
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
        """Write a file; not flushed, since what cannot be read is downloaded again."""
        described = np.frombuffer(json.dumps(about).encode(), np.uint8)
        named: dict[str, Any] = {"about": described, **arrays}
        try:
            make_folder(path.parent)
            with open_atomic(path, durable=False, steady=True) as file:
                np.savez(file, **named)
        except DiskError as error:
            if self.is_required:
                raise
            if not self._is_logged:  # once, not for every channel and day
                self._is_logged = True
                log.info("downloads are not kept: %s", error)

    def forget(self, start: int, end: int) -> None:
        """The samples of a time are not needed again."""
        shutil.rmtree(self._folder(start, end), ignore_errors=True)

    def _folder(self, start: int, end: int) -> Path:
        return self.folder / f"{start}-{end}"


class CacheOnlySource:
    """A source that is not asked: all that there is was downloaded before.

    Parameters
    ----------
    name : str
        Of the source that was.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """None; a job has them before it is given to workers."""
        return Metadata({})

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """What was not kept could not be downloaded."""
        for channel in channels:
            yield channel, NoDataError("it could not be downloaded; see the log", "failed")


def _plain_samples(
    result: Samples | NoDataError,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is known of samples as JSON has it; their segments as arrays."""
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
    """Epochs as JSON has them; the curves, each once, as arrays (3, n_frequencies)."""
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
    """What was written; None where nothing was, or it cannot be read."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return make(json.loads(bytes(file["about"])), file)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
