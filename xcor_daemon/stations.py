"""stations.csv <-> channels with the times asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from .csvtable import LIMITS, format_value, parse_number, rows_of
from .errors import Problem, RequestError

STATIONS = "stations.csv"

STATION_COLUMNS = ("Network", "Station", "Location", "Channel", "StartDate", "EndDate")
OPTIONAL_STATION_COLUMNS = ("Latitude", "Longitude", "Elevation", "SampleRate", "DataCenter")
_CODES = {
    "Network": (r"[A-Z0-9]{1,8}", "is not a network code; write 1 to 8 capitals or digits"),
    "Station": (
        r"[A-Z0-9][A-Z0-9-]{0,7}",
        "is not a station code; write 1 to 8 capitals or digits",
    ),
    "Location": (
        r"(--|[A-Z0-9]{0,8})",
        "is not a location code; write 2 capitals or digits, or nothing",
    ),
    "Channel": (r"[A-Z0-9]{3}", "is not a channel code; write 3 capitals or digits, such as BHZ"),
    "DataCenter": (r"[A-Za-z0-9_-]{0,32}", "is not the name of a data centre"),
}
_RANGES = {
    "Latitude": (-90, 90, "degrees"),
    "Longitude": (-180, 360, "degrees"),
    "Elevation": (-12000, 9000, "m"),
    "SampleRate": (0, 100000, "Hz"),
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,6})?Z?)?", re.ASCII)


@dataclass(frozen=True, order=True)
class Channel:
    """One channel of stations.csv with the time spans asked for, in order and apart."""

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


def parse_stations(content: bytes) -> tuple[Channel, ...]:
    """stations.csv -> channels in id order, rows of one channel merged where they touch.

    >>> rows = b"TA,I07A,,BHZ,2006-07-21,2006-07-22\\nTA,I07A,,BHZ,2006-07-22,2006-07-23\\n"
    >>> [(channel.id, len(channel.spans)) for channel in parse_stations(rows)]
    [('TA.I07A..BHZ', 1)]

    Raises
    ------
    RequestError
        With every problem of the file.
    """
    rows, problems = rows_of(STATIONS, content, STATION_COLUMNS, OPTIONAL_STATION_COLUMNS)
    found: dict[tuple[str, ...], Channel] = {}
    spans: dict[tuple[str, ...], list[tuple[datetime, datetime]]] = {}
    lines: dict[tuple[str, ...], int] = {}
    for line, row in rows:
        channel = _station_row(line, row, problems)
        if channel is None:
            continue
        if (first := lines.setdefault(tuple(row.values()), line)) != line:
            need = f"repeats line {first}; delete one of them"
            problems.append(Problem(STATIONS, line, "", "", need))
            continue
        code = (channel.network, channel.station, channel.location, channel.channel)
        found.setdefault(code, channel)
        spans.setdefault(code, []).extend(channel.spans)
    found = {code: replace(channel, spans=_merge(spans[code])) for code, channel in found.items()}
    problems.extend(_too_many(found.values(), len(rows)))
    if not problems and not found:
        problems.append(Problem(STATIONS, 0, "", "", "holds no channel"))
    if problems:
        raise RequestError(problems)
    return tuple(sorted(found.values(), key=lambda channel: channel.id))


def _station_row(line: int, row: dict[str, str], problems: list[Problem]) -> Channel | None:
    """One checked row; None where it adds to ``problems``."""
    before = len(problems)

    def wrong(column: str, need: str) -> None:
        problems.append(Problem(STATIONS, line, column, row[column], need))

    for column, (pattern, need) in _CODES.items():
        if column in row and not re.fullmatch(pattern, row[column]):
            wrong(column, need)
    times = {}
    for column in ("StartDate", "EndDate"):
        try:
            times[column] = _parse_date(row[column])
        except ValueError as error:
            wrong(column, str(error))
    numbers = {}
    for column, (low, high, unit) in _RANGES.items():
        text = row.get(column, "")
        number = parse_number(text) if text else None
        if text and (number is None or not low <= number <= high):
            wrong(column, f"is not a number from {low} to {high} {unit}")
        numbers[column] = number
    if len(times) == 2 and not times["StartDate"] < times["EndDate"]:
        wrong("EndDate", f"is not after StartDate {row['StartDate']}")
    elif len(times) == 2:
        days = (times["EndDate"] - times["StartDate"]) / timedelta(days=1)
        if days > (most := LIMITS["stations"]["max_days"]):
            need = f"makes a span of {days:.0f} days; at most {most} are allowed, write an end"
            wrong("EndDate", need)
    if len(problems) > before:
        return None
    return Channel(
        network=row["Network"],
        station=row["Station"],
        location=row["Location"].replace("--", ""),
        channel=row["Channel"],
        spans=((times["StartDate"], times["EndDate"]),),
        latitude=numbers["Latitude"],
        longitude=numbers["Longitude"],
        elevation=numbers["Elevation"],
        sample_rate=numbers["SampleRate"],
        data_center=row.get("DataCenter", ""),
    )


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
    """Ordinals of the first and last UTC day of spans in order, joined where they meet."""
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
        need = f"names {n} channels; at most {limits['max_channels']} are allowed in one job"
        yield Problem(STATIONS, 0, "", "", need)
    all_spans = _merge([span for channel in channels for span in channel.spans])
    n_days = sum(last - first + 1 for first, last in day_ranges(all_spans))
    if n_days > limits["max_days"]:
        need = f"asks for {n_days} days; at most {limits['max_days']} are allowed in one job"
        yield Problem(STATIONS, 0, "", "", need)


def format_stations(channels: Iterable[Channel]) -> str:
    """The stations.csv that `parse_stations` reads back, a line for every span."""
    lines = [",".join((*STATION_COLUMNS, *OPTIONAL_STATION_COLUMNS))]
    for c in channels:
        tail = [c.latitude, c.longitude, c.elevation, c.sample_rate]
        extra = ["" if value is None else format_value(value) for value in tail]
        for start, end in c.spans:
            times = [time.replace(tzinfo=None).isoformat() for time in (start, end)]
            codes = [c.network, c.station, c.location, c.channel]
            lines.append(",".join([*codes, *times, *extra, c.data_center]))
    return "\n".join(lines) + "\n"
