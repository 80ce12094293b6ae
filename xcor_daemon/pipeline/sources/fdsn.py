"""FDSN data centres: one request for many channels, with retries and a limit of connections."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from obspy import UTCDateTime

from ...errors import ConfigError, NoDataError, UnreachableError
from ...request.stations import Channel
from ..datatypes import Metadata, Samples, nanoseconds
from ..lazy_imports import defer_package
from .formats import BEGINNING, describe_bytes
from .http_client import Client, WebError
from .miniseed import channel_samples_or_error
from .mseed_headers import Records, scan
from .stationxml import metadata_from_inventory, read_stationxml

defer_package("obspy.clients.fdsn")

from obspy.clients.fdsn.header import URL_MAPPINGS  # noqa: E402  its package loads the clients

_BATCH_BYTES = 96 << 20  # expected size of a reply: seven channel-days at 100 Hz
_BATCH_CHANNELS = 100  # in a request for metadata
_BYTES_PER_SAMPLE = 1.5
# Highest sampling rate (Hz) of a band code, if the request has none.
_BAND_RATE = {"V": 0.5, "U": 0.5, "L": 2, "M": 10, "B": 80, "S": 80, "H": 250, "E": 250}
EARTHSCOPE = "https://service.earthscope.org"
# Until 2025 this data centre was IRIS at ``service.iris.edu``; releases of ObsPy differ.
_ADDRESSES = {**URL_MAPPINGS, **dict.fromkeys(("EARTHSCOPE", "IRIS", "IRISDMC"), EARTHSCOPE)}
_MOVED = re.compile(r"https?://service\.iris\.edu(?=/|$)")
_KNOWN = frozenset(urlsplit(url).netloc for url in _ADDRESSES.values())
_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:\d+)?(/[!-~]*)?")


class Fdsn:
    """Waveforms and StationXML of one data centre.

    Creating an object sends no request; its pickle holds the address only.

    Parameters
    ----------
    address : str
        A name that ObsPy lists (``EARTHSCOPE``), or a URL; ``URL|STATION_URL`` if metadata come
        from another server, by name or URL. Set by the operator, never by a request.
    client : Client, optional
        Sends the requests; by default one with a limit of connections of its own.

    Raises
    ------
    ConfigError
        If a name is unknown or a URL is not valid.
    """

    def __init__(self, address: str, client: Client | None = None) -> None:
        self.base, _, self.station = (part.strip() for part in address.partition("|"))
        for part in filter(None, (self.base, self.station)):
            _check_address(part)
        self.name = f"fdsn:{self.base}"
        self.client = replace(client or Client(), follow=_KNOWN)

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """Coordinates and responses, in as few requests as possible.

        Raises
        ------
        UnreachableError
            If the data centre does not respond or returns an error.
        """
        channels = list(channels)
        level = "channel" if response == "none" else "response"
        inventories = []
        for batch in _batches(channels, lambda channel: 1 / _BATCH_CHANNELS):
            try:
                replies = self._station_replies(batch, level)
                inventories += [read_stationxml(reply) for reply in replies]
            except WebError as error:
                raise UnreachableError(f"{self.name} returned no metadata: {error}.") from error
            except ValueError as error:
                raise UnreachableError(f"{self.name}: the reply {error}.") from error
        return metadata_from_inventory(inventories, channels, response)

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """Samples of each channel in [start, end) (ns since 1970), or the reason for none.

        One request is for as many channels as are expected in a reply of about 100 MB.
        """
        seconds = (end - start) / 1e9

        def share(channel: Channel) -> float:
            rate = channel.sample_rate or _BAND_RATE.get(channel.channel[0], 100)
            return rate * seconds * _BYTES_PER_SAMPLE / _BATCH_BYTES

        for batch in _batches(list(channels), share):
            for some, reply in self._waveform_replies(batch, start, end):
                for channel in some:
                    if isinstance(reply, NoDataError):
                        yield channel, reply
                        continue
                    asked = (channel.id, start, end, self.name)
                    yield channel, channel_samples_or_error([reply], *asked, "the data centre")

    def _waveform_replies(
        self, channels: Sequence[Channel], start: int, end: int
    ) -> Iterator[tuple[Sequence[Channel], Records | NoDataError]]:
        """Replies with the samples of channels; a request that is too large is divided."""
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
        """StationXML of channels; none of channels that the data centre does not have."""
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
        """The reply of a service; raises NoDataError if it has no data."""
        address = self.station if self.station and service == "station" else self.base
        base = _service(address, service)
        content = "".join(f"{line}\n" for line in lines).encode()
        headers = {"Content-Type": "text/plain"}
        nothing = NoDataError("the data centre has no samples at this time.")
        try:
            reply = self.client.request(f"{base}/query", content, headers)
        except ValueError as error:
            raise ConfigError(f"{self.name}: {error}") from error
        except WebError as error:
            if error.status != 404:
                raise
            # 404 means no data, or a wrong address, which has no version either.
            try:
                self.client.request(f"{base}/version")
            except WebError as worse:
                if worse.status != 404:
                    raise
                reason = f"no {service} service at this address (404)"
                raise WebError(reason, 404) from error
            raise nothing from error
        if reply.status == 204 or not reply.body:
            raise nothing
        return reply.body


def _check_address(address: str) -> None:
    """Raise ConfigError unless an address is a name that ObsPy lists or a URL."""
    if address.upper() in _ADDRESSES:
        return
    if not address.startswith(("http://", "https://")):
        known = ", ".join(sorted(_ADDRESSES))
        raise ConfigError(f"data centre {address!r} is unknown; write a URL or one of {known}.")
    if not _URL.fullmatch(address):
        raise ConfigError(f"data centre {address!r} is not a valid URL.")


def _service(address: str, service: str) -> str:
    """The URL of a service, from a name, the URL of a server, or that of the service."""
    base = _MOVED.sub(EARTHSCOPE, _ADDRESSES.get(address.upper(), address)).rstrip("/")
    return base if f"/{service}/" in base else f"{base}/fdsnws/{service}/1"


def _batches(
    channels: Sequence[Channel], share: Callable[[Channel], float]
) -> Iterator[Sequence[Channel]]:
    """Channels in order, in batches whose shares of a reply add up to 1 at most."""
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
    """A line of a bulk request; a blank location is ``--``, since an empty one is not allowed."""
    code = f"{channel.network} {channel.station} {channel.location or '--'} {channel.channel}"
    times = (UTCDateTime(ns=time).strftime("%Y-%m-%dT%H:%M:%S.%f") for time in (start, end))
    return " ".join([code, *times])


def _records(reply: bytes) -> Records:
    """The records of a reply; raises NoDataError if it has none."""
    records = scan(reply)
    if not records.rows.size:
        reason = f"the download failed: the reply is {describe_bytes(reply[:BEGINNING])}."
        raise NoDataError(reason, "failed")
    return records
