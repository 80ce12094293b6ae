"""Where waveforms come from: a folder of miniSEED, or a data centre."""

from __future__ import annotations

from pathlib import Path

from ...errors import ConfigError
from ..datatypes import Source


def open_source(text: str, gate: Path | None = None) -> Source:
    """The source behind ``archive:PATH``, ``fdsn:URL-or-name`` or ``fdsn:URL|STATION_URL``.

    An archive is looked through here; a data centre is not asked anything yet. What is returned
    can be pickled, so other processes need not look again.

    Parameters
    ----------
    text : str
    gate : Path, optional
        A folder of locks: sources that name the same one, in whatever process, have five
        connections to a data centre between them.

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
        from .fdsn import Fdsn  # its HTTP libraries take a while to import

        return Fdsn(place, gate=gate)
    raise ConfigError(f"source {text!r} is neither archive:PATH nor fdsn:URL-or-name.")
