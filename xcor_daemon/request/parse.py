"""The files of a job -> a checked, immutable request.

The files are untrusted input. All errors of all files are found, and `RequestError` names each with
its line, column and value; a request exists only where there is none.
No numpy: the daemon, the submit function and `--help` import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import Problem, RequestError
from .csv_table import LIMITS, default_of, format_value, parse_values
from .pair_counts import PairChoice
from .pairs import PAIRS, PairRows, Pairs, check_pairs, read_pairs
from .params import PARAMS, RULES, XcorParams, is_whole
from .periods import Periods
from .rules import Rules
from .stacking_params import STACKING, STACKING_RULES, StackParams
from .stations import STATIONS, Channel, Stations, read_stations
from .windows import WindowGrid

# The page's own download, and the original's, has this name.
PARAMS_ALIAS = "xcor_params.csv"


@dataclass(frozen=True)
class XcorRequest:
    """A checked correlation job."""

    channels: tuple[Channel, ...]  # in id order
    params: XcorParams
    pairs: Pairs = ()  # of pairs.csv; empty: all

    kind = "xcor"

    @cached_property
    def periods(self) -> Periods:
        """The counts of its days, windows and pairs."""
        return Periods(self.channels, self.params.windows, self.params.choice, self.pairs)

    @property
    def days(self) -> tuple[date, ...]:
        """The UTC days on which at least one pair can be made."""
        return self.periods.days

    def on(self, day: date) -> tuple[Channel, ...]:
        """The channels that have a window on a day, ordered by id."""
        return self.periods.on(day)

    def to_json(self) -> dict[str, Any]:
        """The content of request.json: every field, defaults filled in."""
        channels = [
            {**asdict(c), "id": c.id, "spans": [[t.isoformat() for t in span] for span in c.spans]}
            for c in self.channels
        ]
        pairs = {"pairs": self.pairs} if self.pairs else {}
        return {"kind": self.kind, "channels": channels, "params": asdict(self.params), **pairs}


@dataclass(frozen=True)
class StackRequest:
    """A checked stacking job."""

    params: StackParams

    kind = "stack"

    def to_json(self) -> dict[str, Any]:
        """The content of request.json: every field, defaults filled in."""
        return {"kind": self.kind, "params": asdict(self.params)}


Request = XcorRequest | StackRequest


def read_request(folder: Path) -> Request:
    """Read and check the files of a job folder.

    Raises
    ------
    RequestError
        With every problem of every file.
    """
    return parse_request(read_files(folder))


def read_files(folder: Path) -> dict[str, bytes]:
    """The request files in a job folder, by name.

    Raises
    ------
    RequestError
        If there is none.
    """
    names = (STATIONS, PAIRS, PARAMS, PARAMS_ALIAS, STACKING)
    present = [name for name in names if (folder / name).is_file()]
    if not present:
        need = f"is not a job folder: it contains neither {STATIONS} with {PARAMS} nor {STACKING}"
        raise RequestError([Problem(str(folder), 0, "", "", need)])
    return {name: _read_bounded(folder / name) for name in present}


def _read_bounded(path: Path) -> bytes:
    """The file, cut to one byte more than its size limit."""
    with path.open("rb") as file:
        return file.read(LIMITS["stations"]["max_bytes"] + 1)


def parse_request(contents: Mapping[str, bytes]) -> Request:
    """Check the files of a job, given by name.

    Raises
    ------
    RequestError
        With every problem of every file, and of the files together.
    """
    return Draft(contents).request()


class Draft:
    """The files of a job as far as they can be parsed, and all of their problems.

    One error does not hide another: whatever depends on valid values only is checked.

    Parameters
    ----------
    contents : mapping
        Name of a file -> its content.
    """

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self.problems: list[Problem] = []
        self.values: dict[str, Any] = {}  # of params.csv, those that are valid alone
        self.stations = Stations((), (), has_all_codes=False)
        self._pairs: PairRows | None = None
        self._stacking: StackParams | None = None
        self._contents = contents
        kinds = {STACKING} & contents.keys(), contents.keys() - {STACKING}
        if all(kinds):
            both = f"is present with {min(kinds[1])}; a job either correlates or stacks"
            need = f"{both}: submit two jobs"
            self.problems.append(Problem(STACKING, 0, "", "", need))
        self._read_files(is_complete=not all(kinds))
        if not kinds[0]:
            self.problems += self._between_files()

    def _read_files(self, is_complete: bool) -> None:
        """Parse each file; with ``is_complete``, a missing one is a problem."""
        contents = self._contents
        if STACKING in contents:
            values, problems = _read_row("stacking", STACKING, contents[STACKING], STACKING_RULES)
            self.problems += problems
            self._stacking = None if problems else StackParams(**values)
            if is_complete:
                return
        params_file = PARAMS if PARAMS in contents else PARAMS_ALIAS
        if STATIONS in contents:
            self.stations = read_stations(contents[STATIONS])
            self.problems += self.stations.problems
        elif is_complete:
            self.problems.append(Problem(STATIONS, 0, "", "", "is missing"))
        if params_file in contents:
            self.values, problems = _read_row("params", params_file, contents[params_file], RULES)
            self.problems += problems
        elif is_complete:
            self.problems.append(Problem(PARAMS, 0, "", "", "is missing"))
        if PAIRS in contents:
            self._pairs = read_pairs(contents[PAIRS])
            self.problems += self._pairs.problems

    @cached_property
    def _choice(self) -> PairChoice | None:
        try:
            return PairChoice.of(self.values)
        except KeyError:
            return None

    @cached_property
    def periods(self) -> Periods | None:
        """The counts of the request; None where a value that they depend on is invalid."""
        channels, choice = self.stations.channels, self._choice
        try:
            windows = WindowGrid.of(self.values)
        except KeyError:
            return None
        is_cut = all(is_whole(seconds, windows.fs) for seconds in (windows.cc_len, windows.cc_step))
        if not channels or choice is None or not is_cut or self._pair_problems:
            return None
        return Periods(channels, windows, choice, self._pairs.pairs if self._pairs else ())

    @cached_property
    def _pair_problems(self) -> Sequence[Problem]:
        """The problems of pairs.csv, alone and with the other files."""
        if self._pairs is None:
            return ()
        if not self.stations.has_all_codes:
            return self._pairs.problems
        named = check_pairs(self._pairs.rows, self.stations.named, self._choice)
        return [*self._pairs.problems, *named]

    def _between_files(self) -> list[Problem]:
        own = self._pairs.problems if self._pairs else ()
        problems = list(self._pair_problems[len(own) :])
        named = self.stations.named
        is_one = self.stations.has_all_codes and len(named) == 1
        if is_one and self.values.get("autocorrelations") is False:
            only = f"contains only one channel ({named[0].id})"
            need = f"{only}; a correlation requires two, or autocorrelations=true"
            return [*problems, Problem(STATIONS, 0, "", "", need)]
        if self.periods is not None and not self.periods.with_pairs:
            problems.append(Problem(STATIONS, 0, "", "", _no_pair(self.periods)))
        elif self.periods is not None and "freqmax" in self.values:
            problems += _too_slow(self.periods, self.values["freqmax"])
        return problems

    def request(self) -> Request:
        """The checked request.

        Raises
        ------
        RequestError
            With every problem.
        """
        if self.problems:
            raise RequestError(self.problems)
        if self._stacking is not None:
            return StackRequest(self._stacking)
        assert self.stations.channels
        pairs = self._pairs.pairs if self._pairs else ()
        request = XcorRequest(self.stations.channels, XcorParams(**self.values), pairs)
        assert self.periods is not None
        vars(request)["periods"] = self.periods  # already computed
        return request


def _no_pair(periods: Periods) -> str:
    """The `Problem.need` where no pair can be correlated."""
    windows, channels = periods.windows, periods.channels
    ids = ", ".join(channel.id for channel in channels[:3])
    if not any(periods.runs):
        longest = max((end - start).total_seconds() for c in channels for start, end in c.spans)
        return (
            f"contains no complete window of cc_len = {windows.cc_len:g} s: windows start at "
            f"midnight and every cc_step = {windows.cc_step:g} s after it, and the longest span "
            f"is {longest:g} s; request longer spans or shorten cc_len"
        )
    if len(channels) == 1:
        return f"yields no pair: components excludes its only channel ({ids}) with itself"
    return (
        f"yields no pair: no two of its {len(channels)} channels ({ids} ...) share a window and "
        "match components, same_station and autocorrelations of params.csv"
    )


def _too_slow(periods: Periods, freqmax: float) -> list[Problem]:
    """A problem where no pair is left without the channels whose SampleRate is too low."""
    fast = [c for c in periods.channels if not c.sample_rate or freqmax <= c.sample_rate / 2]
    if len(fast) == len(periods.channels):
        return []
    if Periods(fast, periods.windows, periods.choice, periods.pairs).with_pairs:
        return []
    highest = max(c.sample_rate or 0 for c in periods.channels)
    need = (
        "Hz leaves no pair: it exceeds the highest Nyquist frequency of the channels "
        f"({highest / 2:g} Hz, by SampleRate of {STATIONS}); lower freqmax or add faster channels"
    )
    return [Problem(PARAMS, 0, "freqmax", format_value(freqmax), need)]


def _read_row(
    section: str, file: str, content: bytes, rules: Rules
) -> tuple[dict[str, Any], list[Problem]]:
    """Parse a file that must have one row: its valid values, and every problem."""
    rows, table, problems = parse_values(file, content, LIMITS[section])
    for row in rows:
        problems += [Problem(file, row.line, *wrong) for wrong in rules.broken(row.values)]
    is_one = len(rows) == table.n_rows == 1
    return rows[0].values if is_one else {}, problems


def parse_params(content: bytes) -> XcorParams:
    """params.csv -> its one row.

    Raises
    ------
    RequestError
        With every problem of the file.
    """
    values, problems = _read_row("params", PARAMS, content, RULES)
    if problems:
        raise RequestError(problems)
    return XcorParams(**values)


def parse_stacking(content: bytes) -> StackParams:
    """stacking_params.csv -> its one row.

    Raises
    ------
    RequestError
        With every problem of the file.
    """
    values, problems = _read_row("stacking", STACKING, content, STACKING_RULES)
    if problems:
        raise RequestError(problems)
    return StackParams(**values)


def format_params(params: XcorParams) -> str:
    """params.csv as `parse_params` reads it back: the required values and those not at default.

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
