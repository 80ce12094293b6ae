"""The row of stacking_params.csv: its values and the rules between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from ..errors import Problem, RequestError
from .rules import Rules

STACKING = "stacking_params.csv"

_EXPONENT = {"phase-weighted": 2.0, "tf-phase-weighted": 2.0, "nth-root": 2.0,
             "adaptive-covariance": 1.0}  # fmt: skip
_THRESHOLD = {"correlation": 0.0, "snr": 5.0}


STACKING_RULES = Rules()  # between the values of a row


def _of_types(name: str, types: tuple[str, ...]) -> None:
    def check(given: Any, type: str) -> str:
        if given is None or type in types:
            return ""
        return f"applies only with type={' or '.join(types)}, not with {type}; leave it empty"

    STACKING_RULES.add(name, (name, "type"), check)


for _name, _types in (
    ("phase_smooth", ("phase-weighted",)),
    ("power", tuple(_EXPONENT)),
    ("select", ("selective",)),
    ("threshold", ("selective",)),
):
    _of_types(_name, _types)


@STACKING_RULES.about("power")
def _order(power: float | None, type: str) -> str:
    if type == "nth-root" and power is not None and power < 1:
        return "is not a valid order of a root; set 1 or more"
    return ""


@STACKING_RULES.about("threshold")
def _highest(threshold: float | None, select: str | None) -> str:
    if (select or "correlation") == "correlation" and (threshold or 0) > 1:
        return "exceeds 1, the largest correlation coefficient; set at most 1"
    return ""


@STACKING_RULES.about("bootstrap")
def _resamples(bootstrap: float) -> str:
    if bootstrap == 1 or bootstrap % 1:
        return "is not a valid number of resamples; set 0 or a whole number of at least 2"
    return ""


@STACKING_RULES.about("bootstrap")
def _not_robust(bootstrap: float, type: str) -> str:
    if bootstrap and type == "robust":
        need = "cannot be combined with type=robust, which takes a repeated window for agreement"
        return f"{need}; set 0"
    return ""


def _of_intervals(given: str, stack_all: bool) -> str:
    if given and stack_all:
        need = "does not apply with stack_all=true, which stacks all days into one trace"
        return f"{need}; set stack_all=false, or leave it empty"
    return ""


for _name in ("interval", "moving"):
    STACKING_RULES.add(_name, (_name, "stack_all"), _of_intervals)


@STACKING_RULES.about("moving")
def _moves(moving: str, interval: str, stack_all: bool) -> str:
    if not moving or stack_all:
        return ""
    every = interval or "1D"
    (length, unit), (step, step_unit) = _interval(every), _interval(moving)
    if unit != step_unit:
        return f"must have the unit of interval={every}; months combine only with months"
    if step >= length:
        return f"must be shorter than interval={every}; leave it empty for consecutive intervals"
    return ""


def _of_dvv(given: float | None, dvv: str) -> str:
    if given is not None and dvv == "none":
        return "applies only with dvv=stretching or dvv=cross-spectrum"
    return ""


for _name in ("dvv_min_lag", "dvv_max_lag", "dvv_max"):
    STACKING_RULES.add(_name, (_name, "dvv"), _of_dvv)


@STACKING_RULES.about("dvv")
def _compares(dvv: str, stack_all: bool) -> str:
    if dvv != "none" and stack_all:
        need = "compares intervals, but stack_all=true stacks all days into one trace"
        return f"{need}; set stack_all=false"
    return ""


@STACKING_RULES.about("dvv_max_lag")
def _coda(dvv_max_lag: float | None, dvv_min_lag: float | None, dvv: str) -> str:
    if dvv != "none" and dvv_max_lag is not None and (dvv_min_lag or 0) >= dvv_max_lag:
        return f"s must be larger than dvv_min_lag ({dvv_min_lag:g} s)"
    return ""


@dataclass(frozen=True)
class StackParams:
    """The row of stacking_params.csv.

    ``type``, ``phase_smooth`` and ``stack_all`` are the original's, with its three types;
    the defaults of the others reproduce its results. Values that break a rule are rejected.
    """

    type: str
    phase_smooth: float | None  # s; phase-weighted only
    stack_all: bool
    job: str  # id of the correlation job
    interval: str = ""  # of one trace, such as 7D; empty: a day
    moving: str = ""  # step between the starts of intervals; empty: the interval
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
        wrong = list(STACKING_RULES.broken(vars(self)))
        if wrong:
            raise RequestError([Problem(STACKING, 0, c, v, need) for c, v, need in wrong])

    @property
    def exponent(self) -> float:
        """``power``, or the default of the type."""
        return _EXPONENT[self.type] if self.power is None else self.power

    @property
    def selected_by(self) -> str:
        """The criterion of a selective stack."""
        return self.select or "correlation"

    @property
    def least_selected(self) -> float:
        """``threshold``, or the default of the criterion."""
        return _THRESHOLD[self.selected_by] if self.threshold is None else self.threshold

    @property
    def every(self) -> str:
        """``interval``, or its default of a day."""
        return self.interval or "1D"

    def starts(self, first: date, last: date) -> tuple[tuple[datetime, datetime], ...]:
        """Start and end of every interval that begins on these days, the last included.

        Hours and days are counted from the first day, months by the calendar. A moving
        interval may extend beyond the last day, never before the first.
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
                break  # the next would only contain fewer of the same days
        return tuple(found)


def _interval(text: str) -> tuple[int, str]:
    """Hours, days as hours, or months (ME)."""
    if text.endswith("ME"):
        return int(text[:-2]), "ME"
    return int(text[:-1]) * (24 if text.endswith("D") else 1), "h"


def _months_later(time: datetime, months: int) -> datetime:
    years, month = divmod(time.month - 1 + months, 12)
    return time.replace(year=time.year + years, month=month + 1)
