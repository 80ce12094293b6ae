"""An FDSN data centre: one request for many channels, retried politely, never in a crowd."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import io
import logging
import random
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from obspy import UTCDateTime
from obspy.clients.fdsn import Client
from obspy.clients.fdsn.header import (
    URL_MAPPINGS,
    FDSNBadRequestException,
    FDSNException,
    FDSNForbiddenException,
    FDSNNoDataException,
    FDSNNoServiceException,
    FDSNNotImplementedException,
    FDSNRequestTooLargeException,
    FDSNTimeoutException,
    FDSNTooManyRequestsException,
    FDSNUnauthorizedException,
)

from ... import __version__
from ...errors import ConfigError, NoDataError, UnreachableError
from ...stations import Channel
from ..datatypes import Metadata, Samples, nanoseconds
from ..response import metadata_from_inventory, read_stationxml
from .miniseed import samples
from .records import Records, scan, what_it_is

log = logging.getLogger(__name__)
T = TypeVar("T")

CONNECTIONS = 5  # that data centres allow one user at one time
ATTEMPTS = 4
_BATCH_BYTES = 96 << 20  # expected of one reply; what a day of 100 Hz has seven channels in
_BATCH_CHANNELS = 100  # of one request for metadata
_BYTES_PER_SAMPLE = 1.5
# Rates that band codes stand for at most, where a request does not say.
_BAND_RATE = {"V": 0.5, "U": 0.5, "L": 2, "M": 10, "B": 80, "S": 80, "H": 250, "E": 250}
# The same request again would be refused again.
_FINAL = (
    FDSNBadRequestException,
    FDSNForbiddenException,
    FDSNNoServiceException,
    FDSNNotImplementedException,
    FDSNRequestTooLargeException,
    FDSNUnauthorizedException,
)
_TROUBLE = (FDSNException, http.client.HTTPException, OSError, EOFError)


class Fdsn:
    """Waveforms and StationXML of one data centre, through ObsPy's client.

    Making one asks the centre nothing, and what is pickled is the address. All processes that
    name the same ``gate`` have ``connections`` between them, by locks that end with their process.

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
        self.connections = connections
        self.gate = Path(gate) if gate else None
        self.timeout = timeout
        self._sleep = sleep
        self._client: Client | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}

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
            except _TROUBLE as error:
                raise UnreachableError(f"{self.name} gives no metadata: {_why(error)}.") from error
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

        def ask(client: Client) -> bytes:
            reply = io.BytesIO()
            client.get_waveforms_bulk(lines, attach_response=False, filename=reply)
            return reply.getvalue()

        try:
            yield channels, _records(self._patiently(ask, "dataselect"))
        except FDSNRequestTooLargeException as error:
            if len(channels) == 1:
                yield channels, NoDataError(f"{_why(error)}.", "failed")
                return
            middle = len(channels) // 2
            yield from self._waveform_replies(channels[:middle], start, end)
            yield from self._waveform_replies(channels[middle:], start, end)
        except FDSNNoDataException:
            yield channels, NoDataError("the data centre has no samples of this time.")
        except _TROUBLE as error:
            yield channels, NoDataError(f"the download failed: {_why(error)}.", "failed")
        except ValueError as error:
            yield channels, NoDataError(f"the download failed: {error}", "failed")

    def _station_replies(self, channels: Sequence[Channel], level: str) -> list[bytes]:
        """StationXML of channels; nothing for those that the centre does not know."""
        lines = []
        for channel in channels:
            starts, ends = zip(*channel.spans, strict=True)
            lines.append(_line(channel, nanoseconds(min(starts)), nanoseconds(max(ends))))

        def ask(client: Client) -> bytes:
            reply = io.BytesIO()
            client.get_stations_bulk(lines, level=level, filename=reply)
            return reply.getvalue()

        try:
            reply = self._patiently(ask, "station")
        except FDSNNoDataException:
            return []
        except FDSNRequestTooLargeException:
            if len(channels) == 1:
                raise
            middle = len(channels) // 2
            halves = (channels[:middle], channels[middle:])
            return [reply for half in halves for reply in self._station_replies(half, level)]
        return [reply] if reply.strip() else []

    def _patiently(self, ask: Callable[[Client], T], service: str) -> T:
        """Ask, and ask again where that may help: after about 1, 2 and 4 s."""
        client = self._connected()
        for attempt in range(ATTEMPTS):
            try:
                with self._turn():
                    try:
                        return ask(client)
                    except FDSNException as error:
                        if not _is_404(error):
                            raise
                        _check_exists(client, service)
                        raise FDSNNoDataException("no data (404)") from error
            except FDSNNoDataException:
                raise
            except _TROUBLE as error:
                if isinstance(error, _FINAL) or attempt == ATTEMPTS - 1:
                    raise
                wait = 2**attempt * random.uniform(0.5, 1.5)
                if isinstance(error, FDSNTooManyRequestsException):
                    wait *= 5
                log.info("%s: %s; next try in %.1f s", self.name, _why(error), wait)
                self._sleep(wait)
        raise AssertionError("the last attempt returns or raises.")

    def _connected(self) -> Client:
        """The client; a ConfigError where the address is none."""
        if self._client is None:
            mappings = {"station": _station_service(self.station)} if self.station else {}
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._client = Client(
                        self.base,
                        user_agent=f"xcor-daemon/{__version__} (ambient-noise correlation; ObsPy)",
                        timeout=self.timeout,
                        service_mappings=mappings,
                        use_gzip=False,  # miniSEED is compressed; and a reply cannot be a bomb
                        # Bulk requests need nothing optional; and one failed look at what a
                        # centre offers would be remembered as long as the process lives.
                        _discover_services=False,
                    )
            except ValueError as error:
                raise ConfigError(f"{self.name}: {error}") from error
        return self._client

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold one of the connections that the processes of a job share."""
        if self.gate is None:
            yield
            return
        self.gate.mkdir(parents=True, exist_ok=True)
        while True:
            for number in random.sample(range(self.connections), self.connections):
                with (self.gate / f"{number}.lock").open("a") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                    yield
                    return
            time.sleep(random.uniform(0.05, 0.15))


def _check_place(place: str) -> None:
    """A ConfigError where a centre is neither a name that ObsPy knows nor a URL."""
    if place.upper() in URL_MAPPINGS:
        return
    if not place.startswith(("http://", "https://")):
        known = ", ".join(sorted(URL_MAPPINGS))
        raise ConfigError(f"data centre {place!r} is not known; write a URL or one of {known}.")
    if any(letter.isspace() for letter in place):
        raise ConfigError(f"data centre {place!r} is not a URL.")


def _station_service(place: str) -> str:
    """The address of a station service, from a name, a server or itself."""
    base = URL_MAPPINGS.get(place.upper(), place).rstrip("/")
    return base if "/station/" in base else f"{base}/fdsnws/station/1"


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


def _line(channel: Channel, start: int, end: int) -> tuple[Any, ...]:
    """A line of a bulk request; a blank location is ``--``, which is no wildcard."""
    times = (UTCDateTime(ns=start), UTCDateTime(ns=end))
    return (channel.network, channel.station, channel.location or "--", channel.channel, *times)


def _records(reply: bytes) -> Records:
    """The records of a reply: FDSNNoDataException if it is empty, ValueError if it has none."""
    if not reply:
        raise FDSNNoDataException("an empty reply")
    records = scan(reply)
    if not records.rows.size:
        raise ValueError(f"the reply is {what_it_is(reply[:100])}.")
    return records


def _is_404(error: FDSNException) -> bool:
    return "HTTP code: 404" in str(error)


def _check_exists(client: Client, service: str) -> None:
    """Tell the 404 of no data from that of a wrong address, where no version is told either."""
    try:
        client.get_webservice_version(service)
    except FDSNException as error:
        if _is_404(error):
            raise FDSNNoServiceException(f"no {service} service at this address (404)") from error
        raise
    except ValueError:
        log.debug("the version of %s has letters; it exists", service)


def _why(error: BaseException) -> str:
    """An error in a line of words."""
    if isinstance(error, FDSNTimeoutException):
        return "no answer in time"
    if isinstance(error, FDSNTooManyRequestsException):
        return "the centre is too busy (429)"
    if isinstance(error, FDSNRequestTooLargeException):
        return "the centre finds the request too large (413)"
    if isinstance(error, http.client.IncompleteRead):
        return "the reply ended too early"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
