"""Where waveforms come from: a folder of miniSEED, a data centre, or a public bucket."""

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
    """What sources may use on this machine.

    Jobs and processes that name the same ``cache`` share the connections to a data centre, and
    look through an archive once; without it each source is on its own.
    """

    cache: Path | None = None
    lock_folder: Path | None = None  # of the connections, where not in the cache
    download_folder: Path | None = (
        None  # where downloads wait until their day is done; see `CachedSource`
    )
    token_file: Path | None = None  # file with EarthScope's token, where restricted data are wanted


NOTHING_SHARED = Access()


def open_source(text: str, access: Access = NOTHING_SHARED) -> Source:
    """The source behind ``archive:PATH``, ``fdsn:...`` or ``s3:...``.

    An archive is looked through here; a data centre is not asked anything yet. What is returned
    can be pickled, so other processes need not look again.

    Parameters
    ----------
    text : str
        ``archive:PATH``; ``fdsn:URL-or-name`` or ``fdsn:URL|STATION_URL``; ``s3:NAME`` or
        ``s3:NAME|URL``, see `OpenData`.
    access : Access

    Raises
    ------
    ConfigError
        If the text is none of these, the folder is missing or the name is not a known centre's.
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
    """The source of a job: that of ``text``, and those that stations.csv names for some channels.

    Parameters
    ----------
    text : str
        As for `open_source`; for channels without a ``DataCenter``.
    channels : iterable of Channel
    named : mapping
        Configured names -> text. Other names must be data centres that ObsPy knows; a request
        never gives an address.
    access : Access

    Raises
    ------
    RequestError
        If stations.csv names a data centre that is not known.
    ConfigError
        As `open_source`.
    """

    def opened(text: str) -> Source:
        source = open_source(text, access)
        if access.download_folder is None or text.startswith("archive:"):
            return source
        # Under the source's own name: the next run of this folder may take another one.
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
            need = "is no data centre that is known here"
            raise RequestError([Problem(STATIONS, 0, "DataCenter", name, need)]) from error
    return MultiSource(default, others) if others else default


def source_of(source: Source, channel: Channel) -> Source:
    """The one source that a channel is asked of."""
    if isinstance(source, MultiSource):
        return source.others.get(channel.data_center, source.default)
    return source


def needs_data_centre(source: Source) -> bool:
    """Whether a data centre is asked, which allows a few connections to one user in all."""
    from .fdsn import Fdsn

    return any(
        isinstance(one.source, Fdsn) for one in _all(source) if isinstance(one, CachedSource)
    )


def require_downloads(source: Source) -> None:
    """From now on, downloads that cannot be kept are a `DiskError`: other processes read them."""
    for one in _all(source):
        if isinstance(one, CachedSource):
            one.is_required = True


def picklable_for_workers(source: Source) -> Source:
    """A source as the workers of a cluster take it, which are on many machines.

    What a data centre has they read from the downloads, made by the one machine that counts its
    connections; public buckets they ask themselves, and keep nothing.
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


def forget(source: Source, start: int, end: int) -> None:
    """What was kept of a time (ns) is not needed again."""
    for one in _all(source):
        if isinstance(one, CachedSource):
            one.forget(start, end)


def _all(source: Source) -> tuple[Source, ...]:
    return (
        (source.default, *source.others.values()) if isinstance(source, MultiSource) else (source,)
    )
