"""Where waveforms come from: a folder of miniSEED, or a data centre."""

from __future__ import annotations

from ...errors import ConfigError
from ..datatypes import Source
from .archive import Archive
from .fdsn import Fdsn


def open_source(text: str) -> Source:
    """The source behind ``archive:PATH``, ``fdsn:URL-or-name`` or ``fdsn:URL|STATION_URL``.

    An archive is looked through here; a data centre is not asked anything yet. What is returned
    can be pickled, so other processes need not look again.

    Raises
    ------
    ConfigError
        If the text is none of these, the folder is missing or the name is not a known centre's.
    """
    kind, _, place = text.partition(":")
    if kind == "archive" and place:
        return Archive(place)
    if kind == "fdsn" and place:
        return Fdsn(place)
    raise ConfigError(f"source {text!r} is neither archive:PATH nor fdsn:URL-or-name.")
