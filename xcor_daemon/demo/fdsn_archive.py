"""A folder of miniSEED 2 and StationXML files as an FDSN web service.

Standard library only: the server starts in 0.1 s, and in tests of the pipeline the data are served
by other code than reads them.
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from .fdsn_query import Query, Selection, parse_time

_NS = "http://www.fdsn.org/xml/station/1"
ET.register_namespace("", _NS)
_LEVELS = ("network", "station", "channel", "response")
_TEXT_HEADERS = {
    "network": "#Network|Description|StartTime|EndTime|TotalStations",
    "station": "#Network|Station|Latitude|Longitude|Elevation|SiteName|StartTime|EndTime",
    "channel": "#Network|Station|Location|Channel|Latitude|Longitude|Elevation|Depth|Azimuth|Dip|"
    "SensorDescription|Scale|ScaleFreq|ScaleUnits|SampleRate|StartTime|EndTime",
}


@dataclass(frozen=True)
class Record:
    """Position and content of a miniSEED record."""

    codes: tuple[str, str, str, str]  # network, station, location, channel
    start: datetime  # of the first sample
    end: datetime  # of the last sample
    path: Path
    offset: int
    length: int  # bytes


class Archive:
    """The waveforms and metadata below a folder, indexed once."""

    def __init__(self, folder: Path) -> None:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._records = sorted(
            (record for path in files for record in _read_headers(path)),
            key=lambda record: (record.codes, record.start),
        )
        documents = [path.read_bytes() for path in files if path.suffix.lower() == ".xml"]
        # An entity that expands to gigabytes needs a DOCTYPE; StationXML has none.
        self._documents = [ET.fromstring(d) for d in documents if b"<!DOCTYPE" not in d]

    def records(self, query: Query) -> list[Record]:
        """The complete records that have selected samples; none is cut."""
        names = ("network", "station", "location", "channel")
        return [
            record
            for record in self._records
            if any(
                selection.touches(record.start, record.end)
                and selection.matches(**dict(zip(names, record.codes, strict=True)))
                for selection in query.selections
            )
        ]

    def station_xml(self, query: Query) -> bytes | None:
        """A StationXML document of the selected metadata; None where there are none."""
        networks = list(self._networks(query))
        if not networks:
            return None
        root = ET.Element(_tag("FDSNStationXML"), schemaVersion="1.2")
        for tag, text in (
            ("Source", "xcor-daemon demo"),
            ("Created", f"{datetime.now().isoformat(timespec='seconds')}Z"),
        ):
            ET.SubElement(root, _tag(tag)).text = text
        root.extend(networks)
        return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))

    def station_text(self, query: Query) -> str | None:
        """The selected metadata as lines of text; None where there are none."""
        level = query.options["level"]
        rows = [row for network in self._networks(query) for row in _text_rows(network, level)]
        return "\n".join([_TEXT_HEADERS[level], *rows, ""]) if rows else None

    def _networks(self, query: Query) -> Iterator[ET.Element]:
        """Network elements with the selected elements only."""
        depth = _LEVELS.index(query.options["level"])
        for document in self._documents:
            for network in document.findall(_tag("Network")):
                stations = [
                    selected
                    for station in network.findall(_tag("Station"))
                    if (selected := _cut_station(network, station, query, depth)) is not None
                ]
                if stations:
                    yield _cut_network(network, stations, depth)


def _cut_network(network: ET.Element, stations: list[ET.Element], depth: int) -> ET.Element:
    """A network with these stations, and the start and count that ObsPy's text reader requires."""
    everything = network.findall(_tag("Station"))
    total = ET.Element(_tag("TotalNumberStations"))
    total.text = str(len(everything))
    kept = _with(network, "TotalNumberStations", [total])
    kept = _with(kept, "Station", stations if depth else [])
    if starts := [start for station in everything if (start := station.get("startDate"))]:
        kept.attrib.setdefault("startDate", min(starts))
    return kept


def _cut_station(
    network: ET.Element, station: ET.Element, query: Query, depth: int
) -> ET.Element | None:
    """A station with the selected channels; None where there are none."""
    codes = {"network": network.get("code", ""), "station": station.get("code", "")}
    selections = [s for s in query.selections if s.matches(**codes)]
    channels = [
        channel
        for channel in station.findall(_tag("Channel"))
        if any(_wants(selection, channel, query) for selection in selections)
    ]
    if not channels or not _in_box(station, query):
        return None
    if depth == _LEVELS.index("channel"):
        channels = [_without_stages(channel) for channel in channels]
    return _with(station, "Channel", channels if depth >= _LEVELS.index("channel") else [])


def _without_stages(channel: ET.Element) -> ET.Element:
    """A channel at level=channel: of its response only the sensitivity."""
    found = channel.findall(f"{_tag('Response')}/{_tag('InstrumentSensitivity')}")
    response = ET.Element(_tag("Response"))
    response.extend(found)
    return _with(channel, "Response", [response] if found else [])


def _wants(selection: Selection, channel: ET.Element, query: Query) -> bool:
    start, end = _epoch(channel)
    return (
        selection.matches(
            location=channel.get("locationCode", "").strip(), channel=channel.get("code", "")
        )
        and selection.touches(start, end)
        and query.time("startafter", datetime.min) <= start
        and start <= query.time("startbefore", datetime.max)
        and query.time("endafter", datetime.min) <= end
        and end <= query.time("endbefore", datetime.max)
    )


def _in_box(station: ET.Element, query: Query) -> bool:
    latitude, longitude = (float(_text(station, tag)) for tag in ("Latitude", "Longitude"))
    return query.number("minlatitude", -90) <= latitude <= query.number(
        "maxlatitude", 90
    ) and query.number("minlongitude", -180) <= longitude <= query.number("maxlongitude", 180)


def _epoch(element: ET.Element) -> tuple[datetime, datetime]:
    start, end = element.get("startDate"), element.get("endDate")
    return (parse_time(start) if start else datetime.min, parse_time(end) if end else datetime.max)


def _with(element: ET.Element, tag: str, children: list[ET.Element]) -> ET.Element:
    """A copy of an element with these children of the name ``tag``."""
    copy = ET.Element(element.tag, dict(element.attrib))
    copy.text = element.text
    copy.extend(child for child in element if child.tag != _tag(tag))
    copy.extend(children)
    return copy


def _text_rows(network: ET.Element, level: str) -> Iterator[str]:
    code = network.get("code", "")
    if level == "network":
        total = _text(network, "TotalNumberStations")
        yield "|".join([code, _text(network, "Description"), *_dates(network), total])
        return
    for station in network.findall(_tag("Station")):
        location = [_text(station, tag) for tag in ("Latitude", "Longitude", "Elevation")]
        names = [code, station.get("code", "")]
        if level == "station":
            yield "|".join([*names, *location, _text(station, "Site/Name"), *_dates(station)])
            continue
        for channel in station.findall(_tag("Channel")):
            yield "|".join([*names, *_channel_cells(channel)])


def _channel_cells(channel: ET.Element) -> Iterable[str]:
    fields = ("Latitude", "Longitude", "Elevation", "Depth", "Azimuth", "Dip")
    sensitivity = "Response/InstrumentSensitivity/"
    return [
        channel.get("locationCode", "").strip(),
        channel.get("code", ""),
        *(_text(channel, tag) for tag in (*fields, "Sensor/Description")),
        *(_text(channel, sensitivity + tag) for tag in ("Value", "Frequency", "InputUnits/Name")),
        _text(channel, "SampleRate"),
        *_dates(channel),
    ]


def _dates(element: ET.Element) -> list[str]:
    return [element.get(name, "").rstrip("Z") for name in ("startDate", "endDate")]


def _text(element: ET.Element, path: str) -> str:
    found = element.findtext("/".join(_tag(tag) for tag in path.split("/")), default="") or ""
    return found.strip().replace("|", " ")


def _tag(name: str) -> str:
    return f"{{{_NS}}}{name}"


def _read_headers(path: Path) -> Iterator[Record]:
    """The data records of a miniSEED 2 file; none where it is another format."""
    content = path.read_bytes()
    offset = 0
    while len(content) - offset >= 64 and content[offset + 6 : offset + 7] in b"DRQM":
        record = _read_header(path, content, offset)
        if record is None:
            return
        if record.end >= record.start:
            yield record
        offset += record.length


def _read_header(path: Path, content: bytes, offset: int) -> Record | None:
    """The record at ``offset`` (SEED 2.4, chapter 8); None where it is damaged."""
    header = content[offset : offset + 64]
    # The byte order follows from the year.
    order = ">" if 1900 <= struct.unpack_from(">H", header, 20)[0] <= 2500 else "<"
    station, location, channel, network = (
        header[a:b].decode("ascii", "replace").strip()
        for a, b in ((8, 13), (13, 15), (15, 18), (18, 20))
    )
    year, day, hour, minute, second, fraction = struct.unpack_from(f"{order}HHBBBxH", header, 20)
    n_samples, factor, multiplier = struct.unpack_from(f"{order}Hhh", header, 30)
    (blockette,) = struct.unpack_from(f"{order}H", header, 46)
    exponent = 0
    for _ in range(8):  # a cyclic chain must end
        if not 48 <= blockette <= len(content) - offset - 8:
            break
        kind, following = struct.unpack_from(f"{order}HH", content, offset + blockette)
        if kind == 1000:
            exponent = content[offset + blockette + 6]
        blockette = following
    is_whole = 7 <= exponent <= 20 and offset + 2**exponent <= len(content)
    if not is_whole or not 1 <= day <= 366:
        return None
    start = datetime(year, 1, 1) + timedelta(
        days=day - 1, hours=hour, minutes=minute, seconds=second, microseconds=fraction * 100
    )
    rate = _rate(factor, multiplier)
    # Without samples or a rate (a log record) the end is before the start.
    duration = timedelta(seconds=(n_samples - 1) / rate) if rate and n_samples else timedelta(-1)
    codes = (network, station, location, channel)
    return Record(codes, start, start + duration, path, offset, 2**exponent)


def _rate(factor: int, multiplier: int) -> float:
    """Samples per second from the two numbers of the header; negative ones divide."""
    if not factor or not multiplier:
        return 0.0
    rate = float(factor) if factor > 0 else -1.0 / factor
    return rate * multiplier if multiplier > 0 else rate / -multiplier
