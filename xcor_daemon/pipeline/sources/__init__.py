"""Sources of waveforms and metadata: a folder of miniSEED, a data centre, or a public bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigError, Problem, RequestError
from ...request.stations import STATIONS, Channel
from ..datatypes import Source
from .cache import CachedSource, CacheOnlySource
from .multi import MultiSource


@dataclass(frozen=True)
class Access:
    """Folders and files that sources may use on this machine.

    Jobs and processes with the same ``cache`` share the limit of connections to a data centre and
    the index of an archive; without it they do not.
    """

    cache: Path | None = None
    lock_folder: Path | None = None  # of connection limits, if not in the cache
    download_folder: Path | None = None  # of `CachedSource`: downloads until their day is done
    token_file: Path | None = None  # with EarthScope's token, for restricted data


NOTHING_SHARED = Access()


def open_source(text: str, access: Access = NOTHING_SHARED) -> Source:
    """Open the source ``archive:PATH``, ``fdsn:...`` or ``s3:...``.

    An archive is indexed; a data centre is not contacted yet. The source can be pickled, so that
    other processes need not index the archive again.

    Parameters
    ----------
    text : str
        ``archive:PATH``; ``fdsn:URL-or-name`` or ``fdsn:URL|STATION_URL``; ``s3:NAME`` or
        ``s3:NAME|URL``, see `OpenData`.
    access : Access
        Folders to share; nothing by default.

    Raises
    ------
    ConfigError
        If the text is none of these, the folder does not exist or ObsPy does not list the data
        centre.
    """
    kind, _, place = text.partition(":")
    lock_folder = access.lock_folder or (access.cache / "connections" if access.cache else None)
    if kind == "archive" and place:
        from .archive import Archive

        return Archive(place, access.cache / "archives" if access.cache else None)
    if kind == "fdsn" and place:
        from .fdsn import EARTHSCOPE, Fdsn  # ObsPy's list of centres takes a while to import
        from .http_client import Client

        tokens = {EARTHSCOPE: access.token_file} if access.token_file else {}
        return Fdsn(place, Client(lock_folder, tokens=tokens))
    if kind == "s3" and place:
        from .http_client import Client
        from .open_data import OpenData

        return OpenData(place, Client(lock_folder, timeout=60.0))
    raise ConfigError(f"source {text!r} is neither archive:PATH nor fdsn:URL-or-name nor s3:NAME.")


def open_sources(
    text: str,
    channels: Iterable[Channel],
    named: Mapping[str, str],
    access: Access = NOTHING_SHARED,
) -> Source:
    """Open the source of a job, and those that stations.csv names for some channels.

    Parameters
    ----------
    text : str
        As for `open_source`; for channels without a ``DataCenter``.
    channels : iterable of Channel
        Channels of the job.
    named : mapping
        Configured names -> text. Other names must be data centres that ObsPy lists; a request
        cannot contain an address.
    access : Access
        Folders to share; nothing by default.

    Raises
    ------
    RequestError
        If stations.csv names an unknown data centre.
    ConfigError
        As for `open_source`.
    """

    def opened(text: str) -> Source:
        source = open_source(text, access)
        if access.download_folder is None or text.startswith("archive:"):
            return source
        # By the source's text: the next run of this job folder may use another source.
        return CachedSource(
            source, access.download_folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        )

    default = opened(text)
    others = {}
    for name in sorted({channel.data_center for channel in channels} - {""}):
        try:
            others[name] = opened(named.get(name, f"fdsn:{name}"))
        except ConfigError as error:
            if name in named:
                raise
            need = "is neither a configured data centre nor one that ObsPy lists"
            raise RequestError([Problem(STATIONS, 0, "DataCenter", name, need)]) from error
    return MultiSource(default, others) if others else default


def source_of(source: Source, channel: Channel) -> Source:
    """Return the source of a channel."""
    if isinstance(source, MultiSource):
        return source.others.get(channel.data_center, source.default)
    return source


def needs_data_centre(source: Source) -> bool:
    """Whether the source is a data centre, which limits the connections of a user."""
    from .fdsn import Fdsn

    return any(
        isinstance(one.source, Fdsn) for one in _all(source) if isinstance(one, CachedSource)
    )


def require_downloads(source: Source) -> None:
    """Raise `DiskError` if downloads cannot be cached from now on: other processes read them."""
    for one in _all(source):
        if isinstance(one, CachedSource):
            one.is_required = True


def picklable_for_workers(source: Source) -> Source:
    """Return the source for the workers of a cluster, on several machines.

    Data of a data centre are downloaded by one machine, which limits the connections, and read
    from its cache; public buckets are read directly, without a cache.
    """
    from .fdsn import Fdsn
    from .open_data import OpenData

    if isinstance(source, MultiSource):
        others = {name: picklable_for_workers(one) for name, one in source.others.items()}
        return MultiSource(picklable_for_workers(source.default), others)
    if not isinstance(source, CachedSource):
        return source
    if isinstance(source.source, Fdsn):
        return CachedSource(CacheOnlySource(source.name), source.folder)
    if isinstance(source.source, OpenData):
        return source.source.with_own_limit()
    return source.source


def discard_downloads(source: Source, start: int, end: int) -> None:
    """Delete the downloads of a time span (ns since 1970 UTC)."""
    for one in _all(source):
        if isinstance(one, CachedSource):
            one.discard(start, end)


def _all(source: Source) -> tuple[Source, ...]:
    return (
        (source.default, *source.others.values()) if isinstance(source, MultiSource) else (source,)
    )
