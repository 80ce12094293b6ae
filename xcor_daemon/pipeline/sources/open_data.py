"""Open archives on S3: miniSEED objects of a day and StationXML, read without an account.

Objects of a public bucket are read with a plain GET, so no AWS library is needed; of the days
before and after only the bytes next to midnight are read.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from datetime import date, timedelta
from urllib.parse import quote
from xml.etree import ElementTree

from ...errors import ConfigError, NoDataError, UnreachableError
from ...request.stations import Channel
from ..datatypes import NS, Metadata, Samples, day_start
from .formats import BEGINNING, describe_bytes
from .http_client import Client, Reply, WebError
from .miniseed import channel_samples_or_error
from .mseed_headers import Records, scan
from .stationxml import check_xml, metadata_from_inventory, read_stationxml

log = logging.getLogger(__name__)

_CONNECTIONS, _PER_SECOND = 16, 100  # S3 allows far more
_DAY = 86400 * NS
_BYTES_PER_SAMPLE = 4  # at most
_SPARE = 1 << 14  # bytes, some records
_ALIGNED = 4096  # so that a range at the end of an object starts with a record
_RATE = 100.0  # Hz, if the request has none


@dataclass(frozen=True)
class Layout:
    """Keys of a bucket's objects, formatted with the fields of a channel and a day."""

    url: str
    waveforms: str
    metadata: tuple[str, ...]  # the first that exists is used
    versioned: bool = False  # keys end on ``#1``, ``#2`` ...; the last version is used


# Buckets, regions and names of waveforms: the centres' own pages (scedc.caltech.edu/cloud,
# ncedc.org/db/cloud.html). These pages do not describe StationXML of NCEDC, nor that of other
# networks at SCEDC; those keys are the ones that public programs read, see docs/data.md.
LAYOUTS = {
    # CIWBM__LHZ___2022001.ms: station and location filled with "_", and one more.
    "SCEDC": Layout(
        "https://scedc-pds.s3.us-west-2.amazonaws.com",
        "continuous_waveforms/{year}/{year}_{doy}/"
        "{network:_<2}{station:_<5}{channel}{location:_<2}_{year}{doy}.ms",
        (
            "FDSNstationXML/{network}/{network}_{station}.xml",
            "FDSNstationXML/unauthoritative-XML/{network}_{station}.xml",
        ),
    ),
    "NCEDC": Layout(
        "https://ncedc-pds.s3.us-east-2.amazonaws.com",
        "continuous_waveforms/{network}/{year}/{year}.{doy}/"
        "{station}.{network}.{channel}.{location}.D.{year}.{doy}",
        ("FDSNstationXML/{network}/{network}.{station}.xml",),
    ),
    # One object a station with all channels; metadata from the station service only.
    "EARTHSCOPE": Layout(
        "https://earthscope-geophysical-data.s3.us-east-2.amazonaws.com",
        "miniseed/{network}/{year}/{doy}/{station}.{network}.{year}.{doy}",
        (),
        versioned=True,
    ),
}


class OpenData:
    """Waveforms and StationXML of a public bucket. Creating an object sends no request.

    Parameters
    ----------
    address : str
        A name of `LAYOUTS`, or ``NAME|URL`` for a bucket of that layout at another URL.
    client : Client, optional
        Sends the requests, with more connections than to a data centre.

    Raises
    ------
    ConfigError
        If there is no such layout or the URL is not valid.
    """

    def __init__(self, address: str, client: Client | None = None) -> None:
        name, _, url = (part.strip() for part in address.partition("|"))
        if name.upper() not in LAYOUTS:
            known = ", ".join(LAYOUTS)
            raise ConfigError(f"open data {name!r} are unknown; write one of {known}.")
        if url and not re.fullmatch(r"https?://[!-~]+", url):
            raise ConfigError(f"open data {address!r}: {url!r} is not a valid URL.")
        self.layout = LAYOUTS[name.upper()]
        self.url = (url or self.layout.url).rstrip("/")
        self.name = f"s3:{name.upper()}"
        client = client or Client()
        self.client = replace(client, connections=_CONNECTIONS, per_second=_PER_SECOND)

    def with_own_limit(self) -> OpenData:
        """A copy whose limit of connections is its own, since S3 serves many machines."""
        other = copy(self)
        other.client = replace(self.client, lock_folder=None)
        return other

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """Coordinates and responses, from one object a station.

        Raises
        ------
        UnreachableError
            If the bucket does not respond.
        """
        channels = list(channels)
        stations = {(channel.network, channel.station): channel for channel in channels}
        inventories = []
        for channel in stations.values():
            content = self._station_xml(channel)
            try:
                inventories += [read_stationxml(content)] if content else []
            except ValueError as error:
                log.warning("%s: skipping StationXML of %s: it %s", self.name, channel.id, error)
        return metadata_from_inventory(inventories, channels, response)

    def _station_xml(self, channel: Channel) -> bytes:
        """StationXML of a channel's station; empty if the bucket has none."""
        for pattern in self.layout.metadata:
            try:
                return self._get(pattern.format(**_fields(channel, date.min))).body
            except NoDataError:
                continue
            except WebError as error:
                raise UnreachableError(f"{self.name} returned no metadata: {error}.") from error
        log.info("%s has no StationXML of %s.%s", self.name, channel.network, channel.station)
        return b""

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """Samples of each channel in [start, end) (ns since 1970), or the reason for none.

        Objects are read in parallel, a few ahead.
        """
        groups: dict[str, list[Channel]] = {}
        for channel in channels:
            key = self.layout.waveforms.format(**_fields(channel, date.min))
            groups.setdefault(key, []).append(channel)
        with ThreadPoolExecutor(_CONNECTIONS // 4) as pool:
            pending: deque[Future[list[tuple[Channel, Samples | NoDataError]]]] = deque()
            for group in groups.values():
                pending.append(pool.submit(self._group, group, start, end))
                if len(pending) > _CONNECTIONS // 2:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()

    def _group(
        self, channels: list[Channel], start: int, end: int
    ) -> list[tuple[Channel, Samples | NoDataError]]:
        """Samples of channels that are in the same objects."""
        try:
            parts = list(self._objects(channels, start, end))
        except WebError as error:
            reason = f"the download failed: {error}."
            return [(channel, NoDataError(reason, "failed")) for channel in channels]
        times = (start, end, self.name, "the bucket")
        return [
            (channel, channel_samples_or_error(parts, channel.id, *times)) for channel in channels
        ]

    def _objects(self, channels: list[Channel], start: int, end: int) -> Iterator[Records]:
        """Records of the days of a time span; a part of the object if a small part suffices."""
        rate = sum(channel.sample_rate or _RATE for channel in channels)
        first = date(1970, 1, 1) + timedelta(days=start // _DAY)
        last = date(1970, 1, 1) + timedelta(days=(end - 1) // _DAY)
        for k in range((last - first).days + 1):
            day = first + timedelta(days=k)
            midnight = day_start(day)
            share = min(end, midnight + _DAY) - max(start, midnight)
            part = round(share / NS * rate * _BYTES_PER_SAMPLE) + _SPARE
            part += -part % _ALIGNED
            whole = share > _DAY / 4 or self.layout.versioned
            before = midnight < start  # the end of its object is needed
            span = "" if whole else f"bytes=-{part}" if before else f"bytes=0-{part - 1}"
            try:
                yield self._day(channels[0], day, span, max(start, midnight), end)
            except NoDataError as error:
                log.debug("%s %s: %s", self.name, day, error)

    def _day(self, channel: Channel, day: date, span: str, start: int, end: int) -> Records:
        """Records of a day's object, or of the range of its bytes for [start, end)."""
        key = self.layout.waveforms.format(**_fields(channel, day))
        if self.layout.versioned:
            key = self._latest(key)
        reply = self._get(key, {"Range": span} if span else {})
        records = scan(reply.body)
        is_part = len(reply.body) < reply.total
        if is_part and not _reaches(records, start, min(end, day_start(day) + _DAY), span):
            records = scan(self._get(key).body)
        if not records.rows.size and reply.body:
            raise WebError(f"{key} is {describe_bytes(reply.body[:BEGINNING])}")
        return records

    def _latest(self, key: str) -> str:
        """The key of the largest version, from a listing."""
        reply = self._get(f"?list-type=2&prefix={quote(key + '#', safe='')}")
        try:
            check_xml(reply.body)
            names = [e.text or "" for e in ElementTree.fromstring(reply.body).iter() if
                     e.tag.rpartition("}")[2] == "Key"]  # fmt: skip
        except (ValueError, ElementTree.ParseError) as error:
            raise WebError(f"the listing is unreadable: {error}") from error
        ends = [name[len(key) + 1 :] for name in names]
        versions = [int(end) for end in ends if re.fullmatch(r"\d{1,9}", end)]
        if not versions:
            raise NoDataError("the bucket has no such object.")
        return f"{key}#{max(versions)}"

    def _get(self, key: str, headers: dict[str, str] | None = None) -> Reply:
        """Read an object; raises NoDataError if it does not exist."""
        path = key if key.startswith("?") else quote(key)
        try:
            return self.client.request(f"{self.url}/{path}", headers=headers)
        except WebError as error:
            # S3 returns 403 for a missing object to users without the right to list.
            if error.status in (403, 404):
                raise NoDataError("the bucket has no such object.") from error
            raise


def _fields(channel: Channel, day: date) -> dict[str, str]:
    return {
        "network": channel.network,
        "station": channel.station,
        "location": channel.location,
        "channel": channel.channel,
        "year": f"{day.year:04d}",
        "doy": f"{day.timetuple().tm_yday:03d}",
    }


def _reaches(records: Records, start: int, end: int, span: str) -> bool:
    """Whether the records of a range of bytes cover the requested time."""
    rows = records.rows
    if not rows.size:
        return False
    if span.startswith("bytes=-"):
        return bool(rows["start"].min() <= start)
    return bool(rows["end"].max() >= end)
