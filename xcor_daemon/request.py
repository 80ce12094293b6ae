"""The files of a job folder <-> a checked, frozen request.

Everything here is a stranger's input. A file is read whole, every mistake in it is found, and
`RequestError` names each with its line, column and value; nothing half checked leaves this room.
No numpy: the host, the submit function and `--help` import it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from .csvtable import LIMITS, default_of, format_value, one_row
from .errors import Problem, RequestError
from .pairlist import PAIRS, Pairs, check_pairs, indices, parse_pairs
from .params import PARAMS, XcorParams
from .stations import STATIONS, Channel, day_ranges, parse_stations

STACKING = "stacking_params.csv"
# The page's own download, and the original's, has this name.
PARAMS_ALIAS = "xcor_params.csv"


_EXPONENT = {"phase-weighted": 2.0, "tf-phase-weighted": 2.0, "nth-root": 2.0,
             "adaptive-covariance": 1.0}  # fmt: skip
_THRESHOLD = {"correlation": 0.0, "snr": 5.0}


@dataclass(frozen=True)
class StackParams:
    """The row of stacking_params.csv.

    ``type``, ``phase_smooth`` and ``stack_all`` are the original's, with its three types;
    the defaults of the others do what it did. What does not go together is refused.
    """

    type: str
    phase_smooth: float | None  # s; phase-weighted only
    stack_all: bool
    job: str  # id of the correlation job
    interval: str = ""  # such as 7D; one trace each. Empty: a day
    moving: str = ""  # from one start to the next. Empty: the interval
    power: float | None = None
    select: str | None = None
    threshold: float | None = None
    bootstrap: float = 0  # resamples
    dvv: str = "none"
    dvv_min_lag: float | None = None  # s
    dvv_max_lag: float | None = None  # s
    dvv_max: float | None = None
    pairs: tuple[str, ...] = ()  # FIRST|SECOND
    shots: tuple[str, ...] = ()  # channel ids
    svg: bool = False

    def __post_init__(self) -> None:
        wrong = list(self._conflicts())
        if wrong:
            raise RequestError([Problem(STACKING, 0, c, v, need) for c, v, need in wrong])

    def _conflicts(self) -> Iterable[tuple[str, str, str]]:
        """(column, value, what is needed) of everything that does not go together."""
        for name, types in (
            ("phase_smooth", ("phase-weighted",)),
            ("power", tuple(_EXPONENT)),
            ("select", ("selective",)),
            ("threshold", ("selective",)),
        ):
            if getattr(self, name) is not None and self.type not in types:
                need = f"goes with type={' or '.join(types)} only, not with {self.type}"
                yield name, format_value(getattr(self, name)), f"{need}; leave it empty"
        if self.type == "nth-root" and self.power is not None and self.power < 1:
            yield "power", f"{self.power:g}", "is no order of a root; write 1 or more"
        if self.selected_by == "correlation" and (self.threshold or 0) > 1:
            yield "threshold", f"{self.threshold:g}", "is more than any correlation; write up to 1"
        if self.bootstrap == 1 or self.bootstrap % 1:
            need = "is no number of resamples; write 0, or a whole number from 2 on"
            yield "bootstrap", f"{self.bootstrap:g}", need
        elif self.bootstrap and self.type == "robust":
            need = "cannot go with type=robust, which takes a window drawn twice for agreement"
            yield "bootstrap", f"{self.bootstrap:g}", f"{need}; write 0"
        yield from self._interval_conflicts()
        yield from self._dvv_conflicts()

    def _interval_conflicts(self) -> Iterable[tuple[str, str, str]]:
        for name in ("interval", "moving"):
            if getattr(self, name) and self.stack_all:
                need = "has no meaning with stack_all=true, which makes one trace of all days"
                yield name, getattr(self, name), f"{need}; write false, or leave it empty"
        if not self.moving or self.stack_all:
            return
        (length, unit), (step, step_unit) = (_interval(self.every), _interval(self.moving))
        if unit != step_unit:
            need = f"is not in the unit of interval={self.every}; months go with months only"
            yield "moving", self.moving, need
        elif step >= length:
            need = f"is not shorter than interval={self.every}, so nothing moves; leave it empty"
            yield "moving", self.moving, need

    def _dvv_conflicts(self) -> Iterable[tuple[str, str, str]]:
        if self.dvv == "none":
            for name in ("dvv_min_lag", "dvv_max_lag", "dvv_max"):
                if getattr(self, name) is not None:
                    need = "has no meaning without dvv; write stretching or cross-spectrum there"
                    yield name, f"{getattr(self, name):g}", need
            return
        if self.stack_all:
            need = "compares intervals with each other, and stack_all=true makes one trace of all"
            yield "dvv", self.dvv, f"{need}; write false"
        if self.dvv_max_lag is not None and (self.dvv_min_lag or 0) >= self.dvv_max_lag:
            need = f"s is not above dvv_min_lag={self.dvv_min_lag:g} s"
            yield "dvv_max_lag", f"{self.dvv_max_lag:g}", need

    @property
    def exponent(self) -> float:
        """``power``, or what the type takes without it."""
        return _EXPONENT[self.type] if self.power is None else self.power

    @property
    def selected_by(self) -> str:
        """What a selective stack looks at."""
        return self.select or "correlation"

    @property
    def least_selected(self) -> float:
        """``threshold``, or what the selection takes without it."""
        return _THRESHOLD[self.selected_by] if self.threshold is None else self.threshold

    @property
    def every(self) -> str:
        """``interval``, or the day that it is without."""
        return self.interval or "1D"

    def starts(self, first: date, last: date) -> tuple[tuple[datetime, datetime], ...]:
        """Start and end of every interval that begins on these days, the last included.

        Hours and days are counted from the first day, months by the calendar. A moving
        interval reaches beyond the last day where it must, never before the first.
        """
        length, unit = _interval(self.every)
        step, _ = _interval(self.moving) if self.moving else (length, unit)
        begin, end = (datetime(d.year, d.month, d.day) for d in (first, last + timedelta(days=1)))
        found: list[tuple[datetime, datetime]] = []
        if unit == "ME":
            begin = begin.replace(day=1)
        at = begin
        while at < end:
            k = len(found) + 1
            if unit == "ME":
                found.append((at, _months_later(at, length)))
                at = _months_later(begin, k * step)
            else:
                found.append((at, at + timedelta(hours=length)))
                at = begin + timedelta(hours=k * step)
            if self.moving and found[-1][1] >= end:
                break  # the next would only hold less of the same
        return tuple(found)


def _interval(text: str) -> tuple[int, str]:
    """Hours, days as hours, or months (ME)."""
    if text.endswith("ME"):
        return int(text[:-2]), "ME"
    return int(text[:-1]) * (24 if text.endswith("D") else 1), "h"


def _months_later(time: datetime, months: int) -> datetime:
    years, month = divmod(time.month - 1 + months, 12)
    return time.replace(year=time.year + years, month=month + 1)


@dataclass(frozen=True)
class XcorRequest:
    """A correlation job as it was understood."""

    channels: tuple[Channel, ...]  # in id order
    params: XcorParams
    pairs: Pairs = ()  # of pairs.csv; empty means all

    kind = "xcor"

    @cached_property
    def periods(self) -> tuple[tuple[date, date, tuple[Channel, ...]], ...]:
        """First day, last day and channels of every run of days that ask for the same channels.

        In order; days that nobody asks for are in none. There may be thousands of channels and
        of days, so what is counted for a job is counted by period, not by day.
        """
        ranges = [(c, first, last) for c in self.channels for first, last in day_ranges(c.spans)]
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
        pairs = {"pairs": self.pairs} if self.pairs else {}
        return {"kind": self.kind, "channels": channels, "params": asdict(self.params), **pairs}


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
    names = (STATIONS, PAIRS, PARAMS, PARAMS_ALIAS, STACKING)
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
    for name in (STATIONS, params_file):
        if name not in contents:
            missing = PARAMS if name == PARAMS_ALIAS else name
            problems.append(Problem(missing, 0, "", "", "is missing"))
            continue
        try:
            if name == STATIONS:
                channels = parse_stations(contents[name])
            else:
                params = parse_params(contents[name])
        except RequestError as error:
            problems.extend(replace(problem, file=name) for problem in error.problems)
    pairs: Pairs = ()
    if PAIRS in contents:
        try:
            pairs = parse_pairs(contents[PAIRS])
        except RequestError as error:
            problems.extend(error.problems)
        if params and channels:
            problems.extend(check_pairs(pairs, channels, params))
    if problems:
        raise RequestError(problems)
    assert params is not None
    request = XcorRequest(channels, params, pairs)
    if not any(count_pairs(channels, params, pairs) for _, _, channels in request.periods):
        raise RequestError([_no_pair(request)])
    return request


def count_pairs(channels: Sequence[Channel], params: XcorParams, pairs: Pairs = ()) -> int:
    """Pairs that ``params`` and pairs.csv (if there is one) want of these channels.

    Distance apart. Counted without making them, since there may be thousands of channels: each is
    matched with how often every last letter came before it, and came at its own station.
    """
    if pairs:
        return len(indices(pairs, channels, params))
    total = 0
    before: Counter[str] = Counter()
    at_station: Counter[tuple[str, str, str]] = Counter()
    for second in sorted(channels, key=lambda channel: channel.id):
        total += params.wants(second, second)
        end = second.channel[-1]
        fitting = {c[0] for c in params.components if c[1] in ("?", end)}
        starts = set(before) if not params.components or "?" in fitting else fitting
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


def parse_params(content: bytes) -> XcorParams:
    """params.csv -> its one row.

    Raises
    ------
    RequestError
        With every problem of the file.
    """
    values, line = one_row(PARAMS, content, LIMITS["params"])
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
    values, line = one_row(STACKING, content, LIMITS["stacking"])
    try:
        return StackParams(**values)
    except RequestError as error:
        raise RequestError([replace(p, line=line) for p in error.problems]) from None


def format_params(params: XcorParams) -> str:
    """The params.csv that `parse_params` reads back: the six, and what is not the default.

    >>> params = XcorParams(10, 0.1, 0.2, cc_step=450, cc_len=1800, maxlag=60, time_norm="onebit")
    >>> print(format_params(params), end="")
    fs,freqmin,freqmax,cc_step,cc_len,maxlag,time_norm
    10,0.1,0.2,450,1800,60,onebit
    """
    limits = LIMITS["params"]
    names = [
        f.name
        for f in fields(params)
        if limits[f.name].get("required") or getattr(params, f.name) != default_of(limits[f.name])
    ]
    values = [format_value(getattr(params, name)) for name in names]
    return ",".join(names) + "\n" + ",".join(values) + "\n"
