"""stations.csv, params.csv and stacking_params.csv <-> checked, frozen types.

Everything here is a stranger's input. A file is read whole, every mistake in it is found, and
`RequestError` names each with its line, column and value; nothing half checked leaves this room.
No numpy: the host, the submit function and `--help` import it.
"""

from __future__ import annotations

import csv
import json
import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from .errors import Problem, RequestError

LIMITS: dict[str, Any] = json.loads((files(__package__) / "limits.json").read_text("utf-8"))

STATIONS, PARAMS, STACKING = "stations.csv", "params.csv", "stacking_params.csv"
# The page's own download, and the original's, has this name.
PARAMS_ALIAS = "xcor_params.csv"

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
_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,4})?", re.ASCII)
_JOB_ID = re.compile(r"[0-9]{1,16}")
SECONDS_PER_DAY = 86400


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


@dataclass(frozen=True)
class XcorParams:
    """The row of params.csv, under the names that SeisNoise.jl gave its columns.

    The first six are required; the defaults of the others reproduce the original's chain.
    """

    fs: float  # sampling rate to resample to (Hz)
    freqmin: float  # lower corner of the band (Hz)
    freqmax: float  # upper corner of the band (Hz)
    cc_step: float  # from the start of one window to the next (s)
    cc_len: float  # length of a window (s)
    maxlag: float  # largest lag to keep (s)
    response: str = "velocity"
    time_norm: str = "none"
    whiten: bool = True
    method: str = "cross-correlation"
    circular: bool = False
    normalisation: str = "none"
    autocorrelations: bool = False
    same_station: bool = True
    components: tuple[str, ...] = ()  # such as ("ZZ", "NN"); empty keeps all
    max_distance: float | None = None  # km
    substack: float = 0.0  # s; 0 keeps every window
    min_coverage: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        # Rules between values make no sense of a value that is not even finite.
        wrong = list(self._out_of_limits()) or list(self._conflicts())
        if wrong:
            raise RequestError([Problem(PARAMS, 0, c, v, need) for c, v, need in wrong])

    def _out_of_limits(self) -> Iterable[tuple[str, str, str]]:
        """(column, value, what is needed) of every number outside its own limits."""
        for name, limit in LIMITS["params"].items():
            value = getattr(self, name)
            if limit["kind"] == "number" and value is not None and (need := _out_of(limit, value)):
                yield name, f"{value:g}", need

    def _conflicts(self) -> Iterable[tuple[str, str, str]]:
        """(column, value, what is needed) of every rule that the values break together."""
        nyquist = self.fs / 2
        if not self.freqmin < self.freqmax:
            yield "freqmax", f"{self.freqmax:g}", f"Hz is not above freqmin={self.freqmin:g} Hz"
        if self.freqmax > nyquist:
            yield (
                "freqmax",
                f"{self.freqmax:g}",
                f"Hz is above {nyquist:g} Hz, the Nyquist frequency of fs={self.fs:g} Hz; "
                "lower freqmax or raise fs",
            )
        for name in ("cc_len", "cc_step"):
            samples = getattr(self, name) * self.fs
            if not math.isclose(samples, round(samples), abs_tol=1e-6) or round(samples) < 1:
                yield (
                    name,
                    f"{getattr(self, name):g}",
                    f"s is {samples:.9g} samples at fs={self.fs:g} Hz; "
                    "it must be a whole number of them",
                )
        if self.maxlag >= self.cc_len or self.n_lags >= self.n_samples:
            yield "maxlag", f"{self.maxlag:g}", f"s is not below cc_len={self.cc_len:g} s"
        if self.maxlag * self.fs < 0.5:
            yield "maxlag", f"{self.maxlag:g}", f"s is less than one sample at fs={self.fs:g} Hz"
        if self.cc_len * self.freqmin < 1:
            yield (
                "cc_len",
                f"{self.cc_len:g}",
                f"s holds less than one period of freqmin={self.freqmin:g} Hz; "
                f"write at least {1 / self.freqmin:g} s",
            )
        if self.method == "phase" and self.normalisation == "coefficient":
            yield (
                "normalisation",
                "coefficient",
                "cannot go with method=phase, which is normalised by itself; write none",
            )
        if self.substack and self.substack < self.cc_step:
            yield (
                "substack",
                f"{self.substack:g}",
                f"s is shorter than cc_step={self.cc_step:g} s, so it averages nothing; write 0",
            )

    @property
    def n_samples(self) -> int:
        """Samples in a window."""
        return round(self.cc_len * self.fs)

    @property
    def n_step(self) -> int:
        """Samples from the start of one window to the next."""
        return round(self.cc_step * self.fs)

    @property
    def n_lags(self) -> int:
        """Samples on each side of zero lag."""
        return round(self.maxlag * self.fs)

    @property
    def n_windows(self) -> int:
        """Windows in a day: all that fit from midnight to midnight."""
        return math.floor((SECONDS_PER_DAY - self.cc_len) / self.cc_step + 1e-9) + 1

    @property
    def n_kept(self) -> int:
        """Rows a day in the file: the windows, or the substacks that they fall in."""
        if not self.substack:
            return self.n_windows
        return math.floor((self.n_windows - 1) * self.cc_step / self.substack + 1e-9) + 1

    def wants(self, first: Channel, second: Channel) -> bool:
        """Whether a pair is asked for, distance apart."""
        if first.id == second.id:
            return self.autocorrelations and self._component(first, second)
        same = (first.network, first.station) == (second.network, second.station)
        return (self.same_station or not same) and self._component(first, second)

    def _component(self, first: Channel, second: Channel) -> bool:
        return not self.components or first.channel[-1] + second.channel[-1] in self.components


@dataclass(frozen=True)
class StackParams:
    """The row of stacking_params.csv."""

    type: str
    phase_smooth: float | None  # s; phase-weighted only
    stack_all: bool
    job: str  # id of the correlation job

    def __post_init__(self) -> None:
        if self.phase_smooth is not None and self.type != "phase-weighted":
            need = f"goes with type=phase-weighted only, not with {self.type}; leave it empty"
            smooth = f"{self.phase_smooth:g}"
            raise RequestError([Problem(STACKING, 0, "phase_smooth", smooth, need)])


@dataclass(frozen=True)
class XcorRequest:
    """A correlation job as it was understood."""

    channels: tuple[Channel, ...]  # in id order
    params: XcorParams

    kind = "xcor"

    @cached_property
    def periods(self) -> tuple[tuple[date, date, tuple[Channel, ...]], ...]:
        """First day, last day and channels of every run of days that ask for the same channels.

        In order; days that nobody asks for are in none. There may be thousands of channels and
        of days, so what is counted for a job is counted by period, not by day.
        """
        ranges = [(c, first, last) for c in self.channels for first, last in _day_ranges(c.spans)]
        starts = sorted({day for _, first, last in ranges for day in (first, last + 1)})
        members: list[list[Channel]] = [[] for _ in starts]
        for channel, first, last in ranges:
            for k in range(bisect_left(starts, first), bisect_left(starts, last + 1)):
                members[k].append(channel)
        return tuple(
            (date.fromordinal(start), date.fromordinal(end - 1), tuple(channels))
            for start, end, channels in zip(starts, starts[1:], members, strict=False)
            if channels
        )

    @cached_property
    def days(self) -> tuple[date, ...]:
        """The UTC days on which at least one pair can be made."""
        alone = not self.params.autocorrelations
        return tuple(
            date.fromordinal(k)
            for first, last, channels in self.periods
            if len(channels) > alone
            for k in range(first.toordinal(), last.toordinal() + 1)
        )

    def on(self, day: date) -> tuple[Channel, ...]:
        """The channels asked for on a day, in id order."""
        k = bisect_right(self.periods, day, key=lambda period: period[0]) - 1
        inside = k >= 0 and day <= self.periods[k][1]
        return self.periods[k][2] if inside else ()

    def to_json(self) -> dict[str, Any]:
        """request.json: every field, defaults filled in."""
        channels = [
            {**asdict(c), "id": c.id, "spans": [[t.isoformat() for t in span] for span in c.spans]}
            for c in self.channels
        ]
        return {"kind": self.kind, "channels": channels, "params": asdict(self.params)}


@dataclass(frozen=True)
class StackRequest:
    """A stacking job as it was understood."""

    params: StackParams

    kind = "stack"

    def to_json(self) -> dict[str, Any]:
        """request.json: every field, defaults filled in."""
        return {"kind": self.kind, "params": asdict(self.params)}


Request = XcorRequest | StackRequest


def read_request(folder: Path) -> Request:
    """Read and check the files of a job folder.

    Raises
    ------
    RequestError
        With every problem of every file.
    """
    names = (STATIONS, PARAMS, PARAMS_ALIAS, STACKING)
    present = {name for name in names if (folder / name).is_file()}
    if not present:
        need = f"is no job: it holds neither {STATIONS} with {PARAMS}, nor {STACKING}"
        raise RequestError([Problem(str(folder), 0, "", "", need)])
    return parse_request({name: _read_bounded(folder / name) for name in present})


def _read_bounded(path: Path) -> bytes:
    """The file, or one byte more than any limit allows of it."""
    with path.open("rb") as file:
        return file.read(LIMITS["stations"]["max_bytes"] + 1)


def parse_request(contents: dict[str, bytes]) -> Request:
    """Check the files of a job, given by name.

    Raises
    ------
    RequestError
        With every problem of every file.
    """
    if STACKING in contents:
        if other := sorted(set(contents) - {STACKING}):
            need = f"stands beside {other[0]}; a job either correlates or stacks, send two jobs"
            raise RequestError([Problem(STACKING, 0, "", "", need)])
        return StackRequest(parse_stacking(contents[STACKING]))
    params_file = PARAMS if PARAMS in contents else PARAMS_ALIAS
    problems: list[Problem] = []
    channels: tuple[Channel, ...] = ()
    params: XcorParams | None = None
    for name, parse in ((STATIONS, parse_stations), (params_file, parse_params)):
        if name not in contents:
            missing = PARAMS if name == PARAMS_ALIAS else name
            problems.append(Problem(missing, 0, "", "", "is missing"))
            continue
        try:
            parsed = parse(contents[name])
        except RequestError as error:
            problems.extend(replace(problem, file=name) for problem in error.problems)
            continue
        if name == STATIONS:
            channels = parsed
        else:
            params = parsed
    if problems:
        raise RequestError(problems)
    assert params is not None
    request = XcorRequest(channels, params)
    if not any(count_pairs(channels, params) for _, _, channels in request.periods):
        raise RequestError([_no_pair(request)])
    return request


def count_pairs(channels: Sequence[Channel], params: XcorParams) -> int:
    """Pairs that ``params`` wants of these channels, distance apart.

    Counted without making them, since a request may name thousands of channels: each is
    matched with how often every last letter came before it, and came at its own station.
    """
    total = 0
    before: Counter[str] = Counter()
    at_station: Counter[tuple[str, str, str]] = Counter()
    for second in sorted(channels, key=lambda channel: channel.id):
        total += params.wants(second, second)
        end = second.channel[-1]
        fitting = {c[0] for c in params.components if c[1] == end}
        starts = fitting if params.components else set(before)
        total += sum(before[start] for start in starts)
        if not params.same_station:
            total -= sum(at_station[second.network, second.station, start] for start in starts)
        before[end] += 1
        at_station[second.network, second.station, end] += 1
    return total


def _no_pair(request: XcorRequest) -> Problem:
    ids = ", ".join(c.id for c in request.channels[:3])
    if len(request.channels) == 1:
        need = f"names one channel only ({ids}); a correlation needs two, or autocorrelations=true"
    else:
        need = (
            f"makes no pair: no two of its {len(request.channels)} channels ({ids} ...) share a "
            "day and fit components, same_station and autocorrelations of params.csv"
        )
    return Problem(STATIONS, 0, "", "", need)


def parse_stations(content: bytes) -> tuple[Channel, ...]:
    """stations.csv -> channels in id order, rows of one channel merged where they touch.

    Raises
    ------
    RequestError
        With every problem of the file.
    """
    rows, problems = _rows(STATIONS, content, STATION_COLUMNS, OPTIONAL_STATION_COLUMNS)
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
        number = _parse_number(text) if text else None
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


def _parse_number(text: str) -> float | None:
    """A finite number in plain or exponent notation, else None."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _merge(spans: list[tuple[datetime, datetime]]) -> tuple[tuple[datetime, datetime], ...]:
    """Join spans that touch or overlap."""
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _day_ranges(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[int, int]]:
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
    n_days = sum(last - first + 1 for first, last in _day_ranges(all_spans))
    if n_days > limits["max_days"]:
        need = f"asks for {n_days} days; at most {limits['max_days']} are allowed in one job"
        yield Problem(STATIONS, 0, "", "", need)


def parse_params(content: bytes) -> XcorParams:
    """params.csv -> its one row.

    Raises
    ------
    RequestError
        With every problem of the file.
    """
    values, line = _one_row(PARAMS, content, LIMITS["params"])
    try:
        return XcorParams(**values)
    except RequestError as error:
        raise RequestError([replace(p, file=PARAMS, line=line) for p in error.problems]) from None


def parse_stacking(content: bytes) -> StackParams:
    """stacking_params.csv -> its one row.

    Raises
    ------
    RequestError
        With every problem of the file.
    """
    values, line = _one_row(STACKING, content, LIMITS["stacking"])
    try:
        return StackParams(**values)
    except RequestError as error:
        raise RequestError([replace(p, line=line) for p in error.problems]) from None


def _one_row(file: str, content: bytes, limits: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The values of a file of one row, each checked by itself; and the row's line."""
    required = tuple(name for name, limit in limits.items() if limit.get("required"))
    optional = tuple(name for name in limits if name not in required)
    rows, problems = _rows(file, content, required, optional)
    if not problems and len(rows) != 1:
        need = f"has {len(rows)} rows of values; it must have one"
        problems.append(Problem(file, 0, "", "", need))
    if problems:
        raise RequestError(problems)
    line, row = rows[0]
    values = {}
    for name, text in row.items():
        if not text and name not in required:
            continue
        try:
            values[name] = _parse_value(limits[name], text)
        except ValueError as error:
            problems.append(Problem(file, line, name, text, str(error)))
    if problems:
        raise RequestError(problems)
    for name in optional:
        values.setdefault(name, _default(limits[name]))
    return values, line


def _default(limit: dict[str, Any]) -> Any:
    return () if limit["kind"] == "components" else limit["default"]


def _parse_value(limit: dict[str, Any], text: str) -> Any:
    """The value that ``text`` means; a ValueError says what is needed instead."""
    kind = limit["kind"]
    if kind == "number":
        number = _parse_number(text)
        if number is None:
            raise ValueError(f"is not a finite number ({limit['help']}, in {limit['unit']})")
        if need := _out_of(limit, number):
            raise ValueError(need)
        return number
    if kind == "flag":
        if text.lower() not in ("true", "false"):
            raise ValueError("is neither true nor false")
        return text.lower() == "true"
    if kind == "choice":
        if text not in limit["choices"]:
            raise ValueError(f"is not one of {', '.join(limit['choices'])}")
        return text
    if kind == "components":
        parts = tuple(text.split(";"))
        if text != "all" and not all(re.fullmatch("[A-Z0-9]{2}", part) for part in parts):
            raise ValueError("is neither all nor a list such as ZZ;NN")
        return () if text == "all" else parts
    if kind == "job":
        if not _JOB_ID.fullmatch(text):
            raise ValueError("is not the id of a job; write its 1 to 16 digits")
        return text
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", text):
        raise ValueError("is not the name of a data source")
    return text


def _out_of(limit: dict[str, Any], number: float) -> str:
    """What a number outside its limits needs; empty where it is inside."""
    low = limit.get("above", limit.get("min"))
    inside = (number > low if "above" in limit else number >= low) and number <= limit["max"]
    if inside and math.isfinite(number):
        return ""
    unit = "" if limit["unit"] == "1" else f"{limit['unit']} "
    bound = "above" if "above" in limit else "from"
    return f"{unit}is not {bound} {low:g} and at most {limit['max']:g}"


def _rows(
    file: str, content: bytes, required: Sequence[str], optional: Sequence[str]
) -> tuple[list[tuple[int, dict[str, str]]], list[Problem]]:
    """The rows of a CSV with their line numbers, by column name, and what is wrong with its shape.

    A file without a header line is read as if it had the required columns in their order.
    """
    try:
        text = _decode(content)
        table = [
            (line, [cell.strip() for cell in cells])
            for line, cells in _csv_lines(text)
            if any(cell.strip() for cell in cells)
        ]
    except ValueError as error:
        return [], [Problem(file, 0, "", "", str(error))]
    if not table:
        return [], [Problem(file, 0, "", "", "is empty")]
    line, header = table[0]
    if set(header) & {*required, *optional}:
        table = table[1:]
    else:
        header = list(required)
    problems = _header_problems(file, line, header, required, optional)
    if problems:
        return [], problems
    rows = []
    for line, cells in table:
        if len(cells) != len(header):
            need = f"has {len(cells)} fields; {len(header)} are needed: {','.join(header)}"
            problems.append(Problem(file, line, "", "", need))
        else:
            rows.append((line, dict(zip(header, cells, strict=True))))
    return rows, problems


def _header_problems(
    file: str, line: int, header: list[str], required: Sequence[str], optional: Sequence[str]
) -> list[Problem]:
    if len(header) > (most := 2 * (len(required) + len(optional))):
        return [Problem(file, line, "", "", f"has {len(header)} columns; at most {most} are read")]
    problems = [
        Problem(file, line, "", "", f"lacks the column {name}")
        for name in required
        if name not in header
    ]
    for position, name in enumerate(header):
        if name not in (*required, *optional):
            need = f"is not a column of this file; it may have {', '.join([*required, *optional])}"
            problems.append(Problem(file, line, "", name or " ", need))
        elif name in header[:position]:
            problems.append(Problem(file, line, name, name, "stands twice in the header"))
    return problems


def _decode(content: bytes) -> str:
    """UTF-8 text, with or without a byte order mark; a ValueError says what else it is."""
    most = LIMITS["stations"]["max_bytes"]
    if len(content) > most:
        raise ValueError(f"is larger than {most} bytes")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("is UTF-16; save it as UTF-8")
    if b"\0" in content:
        raise ValueError("holds NUL bytes; it must be text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _csv_lines(text: str) -> Iterable[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), strict=True)
    most = LIMITS["stations"]["max_rows"]
    try:
        for cells in reader:
            yield reader.line_num, cells
            if reader.line_num > most + 1:
                raise ValueError(f"has more than {most} rows")
    except csv.Error as error:
        raise ValueError(f"is not CSV: line {reader.line_num}: {error}") from None


def format_stations(channels: Iterable[Channel]) -> str:
    """The stations.csv that `parse_stations` reads back, a line for every span."""
    lines = [",".join((*STATION_COLUMNS, *OPTIONAL_STATION_COLUMNS))]
    for c in channels:
        tail = [c.latitude, c.longitude, c.elevation, c.sample_rate]
        extra = ["" if value is None else _format_value(value) for value in tail]
        for start, end in c.spans:
            times = [time.replace(tzinfo=None).isoformat() for time in (start, end)]
            codes = [c.network, c.station, c.location, c.channel]
            lines.append(",".join([*codes, *times, *extra, c.data_center]))
    return "\n".join(lines) + "\n"


def format_params(params: XcorParams) -> str:
    """The params.csv that `parse_params` reads back: the six, and what is not the default."""
    limits = LIMITS["params"]
    names = [
        f.name
        for f in fields(params)
        if limits[f.name].get("required") or getattr(params, f.name) != _default(limits[f.name])
    ]
    values = [_format_value(getattr(params, name)) for name in names]
    return ",".join(names) + "\n" + ",".join(values) + "\n"


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ";".join(value)
    if not isinstance(value, float | int):
        return str(value)
    short = f"{value:.10g}"
    return short if float(short) == value else repr(float(value))
