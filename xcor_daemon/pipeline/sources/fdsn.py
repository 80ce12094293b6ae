"""An FDSN data centre: one request for many channels, retried politely, never in a crowd."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from obspy import UTCDateTime
from obspy.clients.fdsn.header import URL_MAPPINGS

from ...errors import ConfigError, NoDataError, UnreachableError
from ...stations import Channel
from ..datatypes import Metadata, Samples, nanoseconds
from ..response import metadata_from_inventory, read_stationxml
from .miniseed import samples
from .records import Records, scan, what_it_is
from .web import CONNECTIONS, Budget, WebError, ask

_BATCH_BYTES = 96 << 20  # expected of one reply; what a day of 100 Hz has seven channels in
_BATCH_CHANNELS = 100  # of one request for metadata
_BYTES_PER_SAMPLE = 1.5
# Rates that band codes stand for at most, where a request does not say.
_BAND_RATE = {"V": 0.5, "U": 0.5, "L": 2, "M": 10, "B": 80, "S": 80, "H": 250, "E": 250}
_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:\d+)?(/[!-~]*)?")


class Fdsn:
    """Waveforms and StationXML of one data centre.

    Making one asks the centre nothing, and what is pickled is the address. All processes that
    name the same ``gate`` have ``connections`` to a centre between them.

    Parameters
    ----------
    place : str
        A name that ObsPy knows (``EARTHSCOPE``), or a URL; ``URL|STATION_URL`` where metadata
        come from elsewhere, by name or URL. Of the operator, never of a request.
    connections : int
        Requests at one time.
    gate : path, optional
        Folder for the locks; without it this object counts only itself, which asks one by one.
    timeout : float
        s to wait for an answer.
    sleep : callable
        Waits between attempts; a test passes a short one.

    Raises
    ------
    ConfigError
        If a name is not known or a URL is none.
    """

    def __init__(
        self,
        place: str,
        connections: int = CONNECTIONS,
        gate: str | Path | None = None,
        timeout: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base, _, self.station = (part.strip() for part in place.partition("|"))
        for part in filter(None, (self.base, self.station)):
            _check_place(part)
        self.name = f"fdsn:{self.base}"
        folder = Path(gate) / re.sub(r"\W+", "_", self.base) if gate else None
        self.budget = Budget(folder, connections)
        self.timeout = timeout
        self._sleep = sleep

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """Coordinates and responses, in as few requests as possible.

        Raises
        ------
        UnreachableError
            If the centre does not answer, or refuses to.
        """
        channels = list(channels)
        level = "channel" if response == "none" else "response"
        inventories = []
        for batch in _batches(channels, lambda channel: 1 / _BATCH_CHANNELS):
            try:
                replies = self._station_replies(batch, level)
                inventories += [read_stationxml(reply) for reply in replies]
            except WebError as error:
                raise UnreachableError(f"{self.name} gives no metadata: {error}.") from error
            except ValueError as error:
                raise UnreachableError(f"{self.name}: the reply {error}.") from error
        return metadata_from_inventory(inventories, channels, response)

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """Samples of each channel in [start, end) (ns), or why there are none.

        One request asks for all channels whose expected samples fit in some 100 MB.
        """
        seconds = (end - start) / 1e9

        def share(channel: Channel) -> float:
            rate = channel.sample_rate or _BAND_RATE.get(channel.channel[0], 100)
            return rate * seconds * _BYTES_PER_SAMPLE / _BATCH_BYTES

        for batch in _batches(list(channels), share):
            for some, reply in self._waveform_replies(batch, start, end):
                for channel in some:
                    yield channel, self._samples(reply, channel, start, end)

    def _samples(
        self, reply: Records | NoDataError, channel: Channel, start: int, end: int
    ) -> Samples | NoDataError:
        if isinstance(reply, NoDataError):
            return reply
        if channel.id not in reply.codes:
            return NoDataError("the data centre has no samples of this time.")
        try:
            return samples([reply], channel.id, start, end, self.name)
        except NoDataError as error:
            return error

    def _waveform_replies(
        self, channels: Sequence[Channel], start: int, end: int
    ) -> Iterator[tuple[Sequence[Channel], Records | NoDataError]]:
        """The reply that holds the samples of some channels, until all of them had one."""
        lines = [_line(channel, start, end) for channel in channels]

        try:
            yield channels, _records(self._post("dataselect", lines))
        except NoDataError as error:
            yield channels, error
        except WebError as error:
            if error.status != 413 or len(channels) == 1:
                yield channels, NoDataError(f"the download failed: {error}.", "failed")
                return
            middle = len(channels) // 2
            yield from self._waveform_replies(channels[:middle], start, end)
            yield from self._waveform_replies(channels[middle:], start, end)

    def _station_replies(self, channels: Sequence[Channel], level: str) -> list[bytes]:
        """StationXML of channels; nothing for those that the centre does not know."""
        lines = []
        for channel in channels:
            starts, ends = zip(*channel.spans, strict=True)
            lines.append(_line(channel, nanoseconds(min(starts)), nanoseconds(max(ends))))

        try:
            reply = self._post("station", [f"level={level}", *lines])
        except NoDataError:
            return []
        except WebError as error:
            if error.status != 413 or len(channels) == 1:
                raise
            middle = len(channels) // 2
            halves = (channels[:middle], channels[middle:])
            return [reply for half in halves for reply in self._station_replies(half, level)]
        return [reply] if reply.strip() else []

    def _post(self, service: str, lines: Sequence[str]) -> bytes:
        """The reply of a service; a NoDataError where it has none."""
        place = self.station if self.station and service == "station" else self.base
        base = _service(place, service)
        content = "".join(f"{line}\n" for line in lines).encode()
        options = {"budget": self.budget, "timeout": self.timeout, "sleep": self._sleep}
        headers = {"Content-Type": "text/plain"}
        nothing = NoDataError("the data centre has no samples of this time.")
        try:
            reply = ask(f"{base}/query", body=content, headers=headers, **options)
        except ValueError as error:
            raise ConfigError(f"{self.name}: {error}") from error
        except WebError as error:
            if error.status != 404:
                raise
            # The 404 of no data, or that of a wrong address, where no version is told either?
            try:
                ask(f"{base}/version", **options)
            except WebError as worse:
                if worse.status != 404:
                    raise
                words = f"no {service} service at this address (404)"
                raise WebError(words, 404) from error
            raise nothing from error
        if reply.status == 204 or not reply.body:
            raise nothing
        return reply.body


def _check_place(place: str) -> None:
    """A ConfigError where a centre is neither a name that ObsPy knows nor a URL."""
    if place.upper() in URL_MAPPINGS:
        return
    if not place.startswith(("http://", "https://")):
        known = ", ".join(sorted(URL_MAPPINGS))
        raise ConfigError(f"data centre {place!r} is not known; write a URL or one of {known}.")
    if not _URL.fullmatch(place):
        raise ConfigError(f"data centre {place!r} is not a valid URL.")


def _service(place: str, service: str) -> str:
    """The address of a service, from a name, a server or itself."""
    base = URL_MAPPINGS.get(place.upper(), place).rstrip("/")
    return base if f"/{service}/" in base else f"{base}/fdsnws/{service}/1"


def _batches(
    channels: Sequence[Channel], share: Callable[[Channel], float]
) -> Iterator[Sequence[Channel]]:
    """Channels in order, as many at a time as make one reply full."""
    batch: list[Channel] = []
    full = 0.0
    for channel in channels:
        if batch and full + share(channel) > 1 + 1e-9:
            yield batch
            batch, full = [], 0.0
        batch.append(channel)
        full += share(channel)
    if batch:
        yield batch


def _line(channel: Channel, start: int, end: int) -> str:
    """A line of a bulk request; a blank location is ``--``, which is no wildcard."""
    code = f"{channel.network} {channel.station} {channel.location or '--'} {channel.channel}"
    times = (UTCDateTime(ns=time).strftime("%Y-%m-%dT%H:%M:%S.%f") for time in (start, end))
    return " ".join([code, *times])


def _records(reply: bytes) -> Records:
    """The records of a reply; a NoDataError if it has none."""
    records = scan(reply)
    if not records.rows.size:
        reason = f"the download failed: the reply is {what_it_is(reply[:100])}."
        raise NoDataError(reason, "failed")
    return records
