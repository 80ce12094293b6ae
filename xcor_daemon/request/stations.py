"""stations.csv <-> channels and the times that are requested of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, date, datetime, timedelta

from ..errors import Problem, RequestError
from .csv_table import LIMITS, format_value, parse_number, parse_rows

STATIONS = "stations.csv"

STATION_COLUMNS = ("Network", "Station", "Location", "Channel", "StartDate", "EndDate")
OPTIONAL_STATION_COLUMNS = ("Latitude", "Longitude", "Elevation", "SampleRate", "DataCenter")
_CODES = {
    "Network": (r"[A-Z0-9]{1,8}", "is not a network code (1 to 8 capital letters or digits)"),
    "Station": (
        r"[A-Z0-9][A-Z0-9-]{0,7}",
        "is not a station code (1 to 8 capital letters or digits)",
    ),
    "Location": (
        r"(--|[A-Z0-9]{0,8})",
        "is not a location code (2 capital letters or digits, or empty)",
    ),
    "Channel": (r"[A-Z0-9]{3}", "is not a channel code (3 capital letters or digits, such as BHZ)"),
    "DataCenter": (
        r"[A-Za-z0-9_-]{0,32}",
        "is not a valid name of a data centre (up to 32 letters, digits, _ or -)",
    ),
}
_ID_COLUMNS = frozenset(("Network", "Station", "Location", "Channel"))
_RANGES = {
    "Latitude": (-90, 90, "degrees"),
    "Longitude": (-180, 360, "degrees"),
    "Elevation": (-12000, 9000, "m"),
    "SampleRate": (0, 100000, "Hz"),
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,6})?Z?)?", re.ASCII)


@dataclass(frozen=True, order=True)
class Channel:
    """One channel of stations.csv and its time spans, in order and disjoint."""

    network: str
    station: str
    location: str  # empty means blank, never a wildcard
    channel: str
    spans: tuple[tuple[datetime, datetime], ...]  # [start, end), UTC
    latitude: float | None = None  # degrees
    longitude: float | None = None  # degrees
    elevation: float | None = None  # m
    sample_rate: float | None = None  # Hz, as the station service reports it
    data_center: str = ""

    @property
    def id(self) -> str:
        """The SEED id, such as ``TA.I02A..BHZ``; pairs are ordered by it."""
        return f"{self.network}.{self.station}.{self.location}.{self.channel}"

    @property
    def days(self) -> list[date]:
        """The UTC days that a span touches."""
        touched: set[date] = set()
        for start, end in self.spans:
            last = end - timedelta(microseconds=1)
            n_days = (last.date() - start.date()).days + 1
            touched.update(start.date() + timedelta(days=k) for k in range(n_days))
        return sorted(touched)


@dataclass(frozen=True)
class Stations:
    """stations.csv as far as it can be parsed."""

    named: tuple[Channel, ...]  # ordered by id: rows with valid codes, with their valid spans
    problems: tuple[Problem, ...]
    has_all_codes: bool  # whether every row has valid codes, so that ``named`` has every channel

    @property
    def channels(self) -> tuple[Channel, ...] | None:
        """The requested channels; None where the file has any problem."""
        return None if self.problems else self.named


def parse_stations(content: bytes) -> tuple[Channel, ...]:
    """stations.csv -> channels ordered by id, spans of one channel merged where they touch.

    >>> rows = b"TA,I07A,,BHZ,2006-07-21,2006-07-22\\nTA,I07A,,BHZ,2006-07-22,2006-07-23\\n"
    >>> [(channel.id, len(channel.spans)) for channel in parse_stations(rows)]
    [('TA.I07A..BHZ', 1)]

    Raises
    ------
    RequestError
        With every problem of the file.
    """
    stations = read_stations(content)
    if stations.problems:
        raise RequestError(stations.problems)
    return stations.named


def read_stations(content: bytes) -> Stations:
    """stations.csv -> the channels that can be parsed, and every problem."""
    table = parse_rows(STATIONS, content, STATION_COLUMNS, OPTIONAL_STATION_COLUMNS)
    problems = list(table.problems)
    found: dict[tuple[str, ...], Channel] = {}
    spans: dict[tuple[str, ...], list[tuple[datetime, datetime]]] = {}
    lines: dict[tuple[str, ...], int] = {}
    has_all_codes = len(table.rows) == table.n_rows and not table.unknown & _ID_COLUMNS
    for line, row in table.rows:
        if (first := lines.setdefault(tuple(row.values()), line)) != line:
            need = f"repeats line {first}; delete one of the two"
            problems.append(Problem(STATIONS, line, "", "", need))
            continue
        channel, wrong = _station_row(row)
        problems += [Problem(STATIONS, line, column, row[column], need) for column, need in wrong]
        if channel is None:
            has_all_codes = False
            continue
        code = (channel.network, channel.station, channel.location, channel.channel)
        found.setdefault(code, channel)
        spans.setdefault(code, []).extend(channel.spans)
    found = {code: replace(channel, spans=_merge(spans[code])) for code, channel in found.items()}
    problems.extend(_too_many(found.values(), len(table.rows)))
    if not problems and not found:
        problems.append(Problem(STATIONS, 0, "", "", "contains no channel"))
    named = tuple(sorted(found.values(), key=lambda channel: channel.id))
    return Stations(named, tuple(problems), has_all_codes)


def _station_row(row: dict[str, str]) -> tuple[Channel | None, list[tuple[str, str]]]:
    """The channel of a row, None where its codes are invalid; and (column, need) of problems."""
    wrong = [
        (column, need)
        for column, (pattern, need) in _CODES.items()
        if column in row and not re.fullmatch(pattern, row[column])
    ]
    is_named = row.keys() >= _ID_COLUMNS and not _ID_COLUMNS & {column for column, _ in wrong}
    times = {}
    for column in ("StartDate", "EndDate"):
        if column in row:
            try:
                times[column] = _parse_date(row[column])
            except ValueError as error:
                wrong.append((column, str(error)))
    numbers = {}
    for column, (low, high, unit) in _RANGES.items():
        text = row.get(column, "")
        number = parse_number(text) if text else None
        if text and (number is None or not low <= number <= high):
            wrong.append((column, f"is not a number from {low} to {high} {unit}"))
            number = None
        numbers[column] = number
    spans: tuple[tuple[datetime, datetime], ...] = ()
    if len(times) == 2:
        if need := _span_need(times["StartDate"], times["EndDate"], row["StartDate"]):
            wrong.append(("EndDate", need))
        else:
            spans = ((times["StartDate"], _end_of_span(times["EndDate"])),)
    if not is_named:
        return None, wrong
    channel = Channel(
        network=row["Network"],
        station=row["Station"],
        location=row["Location"].replace("--", ""),
        channel=row["Channel"],
        spans=spans,
        latitude=numbers["Latitude"],
        longitude=numbers["Longitude"],
        elevation=numbers["Elevation"],
        sample_rate=numbers["SampleRate"],
        data_center=row.get("DataCenter", ""),
    )
    return channel, wrong


def _span_need(start: datetime, end: datetime, written: str) -> str:
    """The `Problem.need` of an invalid span, else empty; ``written`` is its start in the file."""
    if not start < end:
        return f"must be later than StartDate ({written})"
    days = (end - start) / timedelta(days=1)
    if days > (most := LIMITS["stations"]["max_days"]):
        return f"gives a span of {days:.0f} days; at most {most} are allowed"
    return ""


def _end_of_span(end: datetime) -> datetime:
    """An EndDate, or the full minute after one in the last second of a minute.

    23:59:59 is often written for the end of a day. Taken literally, the last window of the day
    would be lost, and with windows of a day all of them.
    """
    if end.second < 59 or end.year == MAXYEAR:
        return end
    return end.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _parse_date(text: str) -> datetime:
    if not _DATE.fullmatch(text):
        raise ValueError("is not a date; write YYYY-MM-DDThh:mm:ss")
    try:
        time = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        raise ValueError("is not a date; write YYYY-MM-DDThh:mm:ss") from None
    if time.year < LIMITS["stations"]["first_year"]:
        raise ValueError(f"is before {LIMITS['stations']['first_year']}")
    return time.replace(tzinfo=UTC)


def _merge(spans: list[tuple[datetime, datetime]]) -> tuple[tuple[datetime, datetime], ...]:
    """Join spans that touch or overlap."""
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def day_ranges(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[int, int]]:
    """Ordinals of the first and last UTC day of ordered spans, merged where they meet."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        first = start.toordinal()
        last = max(first, (end - timedelta(microseconds=1)).toordinal())
        if joined and first <= joined[-1][1] + 1:
            first, last = joined[-1][0], max(last, joined.pop()[1])
        joined.append((first, last))
    return joined


def _too_many(channels: Iterable[Channel], n_rows: int) -> Iterable[Problem]:
    limits = LIMITS["stations"]
    channels = list(channels)
    if n_rows > limits["max_rows"]:
        need = f"has {n_rows} rows; at most {limits['max_rows']} are allowed"
        yield Problem(STATIONS, 0, "", "", need)
    if (n := len(channels)) > limits["max_channels"]:
        need = f"contains {n} channels; at most {limits['max_channels']} are allowed in one job"
        yield Problem(STATIONS, 0, "", "", need)
    all_spans = _merge([span for channel in channels for span in channel.spans])
    n_days = sum(last - first + 1 for first, last in day_ranges(all_spans))
    if n_days > limits["max_days"]:
        need = f"requests {n_days} days; at most {limits['max_days']} are allowed in one job"
        yield Problem(STATIONS, 0, "", "", need)


def format_stations(channels: Iterable[Channel]) -> str:
    """stations.csv as `parse_stations` reads it back, a line for each span."""
    lines = [",".join((*STATION_COLUMNS, *OPTIONAL_STATION_COLUMNS))]
    for c in channels:
        tail = [c.latitude, c.longitude, c.elevation, c.sample_rate]
        extra = ["" if value is None else format_value(value) for value in tail]
        for start, end in c.spans:
            times = [time.replace(tzinfo=None).isoformat() for time in (start, end)]
            codes = [c.network, c.station, c.location, c.channel]
            lines.append(",".join([*codes, *times, *extra, c.data_center]))
    return "\n".join(lines) + "\n"
