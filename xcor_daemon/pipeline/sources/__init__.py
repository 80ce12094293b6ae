"""Where waveforms come from: a folder of miniSEED, a data centre, or a public bucket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ...errors import ConfigError, Problem, RequestError
from ...stations import STATIONS, Channel
from ..datatypes import Source
from .kept import Kept
from .several import Several


def open_source(text: str, gate: Path | None = None) -> Source:
    """The source behind ``archive:PATH``, ``fdsn:...`` or ``s3:...``.

    An archive is looked through here; a data centre is not asked anything yet. What is returned
    can be pickled, so other processes need not look again.

    Parameters
    ----------
    text : str
        ``archive:PATH``; ``fdsn:URL-or-name`` or ``fdsn:URL|STATION_URL``; ``s3:NAME`` or
        ``s3:NAME|URL``, see `OpenData`.
    gate : Path, optional
        A folder of locks: sources that name the same one, in whatever process, share the
        connections to a data centre.

    Raises
    ------
    ConfigError
        If the text is none of these, the folder is missing or the name is not a known centre's.
    """
    kind, _, place = text.partition(":")
    if kind == "archive" and place:
        from .archive import Archive

        return Archive(place)
    if kind == "fdsn" and place:
        from .fdsn import Fdsn  # ObsPy's list of centres takes a while to import

        return Fdsn(place, gate=gate)
    if kind == "s3" and place:
        from .opendata import OpenData

        return OpenData(place, gate=gate)
    raise ConfigError(f"source {text!r} is neither archive:PATH nor fdsn:URL-or-name nor s3:NAME.")


def open_sources(
    text: str,
    channels: Iterable[Channel],
    named: Mapping[str, str],
    gate: Path | None = None,
    keep: Path | None = None,
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
    gate : Path, optional
    keep : Path, optional
        Folder in which downloads wait until their day is done; see `Kept`.

    Raises
    ------
    RequestError
        If stations.csv names a data centre that is not known.
    ConfigError
        As `open_source`.
    """

    def opened(text: str, name: str) -> Source:
        source = open_source(text, gate)
        is_remote = not text.startswith("archive:")
        return Kept(source, keep / name) if keep and is_remote else source

    default = opened(text, "default")
    others = {}
    for name in sorted({channel.data_center for channel in channels} - {""}):
        try:
            others[name] = opened(named.get(name, f"fdsn:{name}"), name)
        except ConfigError as error:
            if name in named:
                raise
            need = "is no data centre that is known here"
            raise RequestError([Problem(STATIONS, 0, "DataCenter", name, need)]) from error
    return Several(default, others) if others else default


def forget(source: Source, start: int, end: int) -> None:
    """What was kept of a time (ns) is not needed again."""
    several = isinstance(source, Several)
    for one in (source.default, *source.others.values()) if several else (source,):
        if isinstance(one, Kept):
            one.forget(start, end)
