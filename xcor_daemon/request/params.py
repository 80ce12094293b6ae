"""The row of params.csv: its values, and the rules between them. Limits are in limits.json."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import Problem, RequestError
from .csv_table import LIMITS, default_of, format_value
from .pair_counts import PairChoice
from .rules import Rules, check_values
from .stations import Channel
from .windows import WindowGrid

PARAMS = "params.csv"

_DIVIDING = ("coherence", "deconvolution")
# Columns that have an effect only where another column has one of some values.
_GOES_WITH: dict[str, tuple[str, tuple[str | bool, ...]]] = {
    "clip_factor": ("time_norm", ("clip",)),
    "clamp": ("time_norm", ("clamp",)),
    "mute_factor": ("time_norm", ("mute",)),
    "ram_window": ("time_norm", ("ram",)),
    "ram_freqmin": ("time_norm", ("ram",)),
    "ram_freqmax": ("time_norm", ("ram",)),
    "ram_shared": ("time_norm", ("ram",)),
    "water_level": ("method", _DIVIDING),
}

RULES = Rules()  # between the values of a row


@RULES.about("freqmax")
def _corners(freqmin: float, freqmax: float) -> str:
    return "" if freqmin < freqmax else f"Hz must be higher than freqmin ({freqmin:g} Hz)"


@RULES.about("freqmax")
def _nyquist(freqmax: float, fs: float) -> str:
    if freqmax <= fs / 2:
        return ""
    limit = f"Hz exceeds the Nyquist frequency ({fs / 2:g} Hz at fs = {fs:g} Hz)"
    return f"{limit}; lower freqmax or raise fs"


def is_whole(seconds: float, fs: float) -> bool:
    """Whether a time is a positive whole number of samples."""
    samples = seconds * fs
    return math.isclose(samples, round(samples), abs_tol=1e-6) and round(samples) >= 1


def _whole(seconds: float, fs: float) -> str:
    if is_whole(seconds, fs):
        return ""
    return f"s is {seconds * fs:.9g} samples at fs = {fs:g} Hz; it must be a whole number"


for _name in ("cc_len", "cc_step"):
    RULES.add(_name, (_name, "fs"), _whole)


@RULES.about("maxlag")
def _longest_lag(maxlag: float, cc_len: float, fs: float) -> str:
    is_below = maxlag < cc_len and n_lags(maxlag, fs) < round(cc_len * fs)
    return "" if is_below else f"s must be shorter than cc_len ({cc_len:g} s)"


@RULES.about("maxlag")
def _shortest_lag(maxlag: float, fs: float) -> str:
    return "" if maxlag * fs >= 0.5 else f"s is shorter than one sample at fs = {fs:g} Hz"


@RULES.about("cc_len")
def _period(cc_len: float, freqmin: float) -> str:
    if cc_len * freqmin >= 1:
        return ""
    need = f"s is shorter than one period of freqmin ({freqmin:g} Hz)"
    return f"{need}; set at least {1 / freqmin:g} s"


@RULES.about("normalisation")
def _normalised_by_itself(normalisation: str, method: str) -> str:
    if method == "phase" and normalisation == "coefficient":
        return "cannot be combined with method=phase, which is already normalised; set none"
    return ""


@RULES.about("substack")
def _averages(substack: float, cc_step: float) -> str:
    if not substack or substack >= cc_step:
        return ""
    return f"s is shorter than cc_step ({cc_step:g} s), so it averages no windows; set 0"


def _goes_with(name: str, column: str, values: tuple[str | bool, ...]) -> None:
    default = default_of(LIMITS["params"][name])

    def check(given: Any, other: Any) -> str:
        if given == default or other in values:
            return ""
        return f"applies only with {column}={' or '.join(map(format_value, values))}"

    RULES.add(name, (name, column), check)


for _name, _condition in _GOES_WITH.items():
    _goes_with(_name, *_condition)


def _skirt(skirt: float | None, whiten: bool, method: str) -> str:
    if not skirt or whiten or method in _DIVIDING:
        return ""
    return "applies only with whiten=true, method=coherence or method=deconvolution"


for _name in ("skirt_low", "skirt_high"):
    RULES.add(_name, (_name, "whiten", "method"), _skirt)


@RULES.about("method")
def _divides(method: str, whiten: bool) -> str:
    if whiten and method in _DIVIDING:
        return "divides by a spectrum that whiten=true has flattened; set whiten=false"
    return ""


@RULES.about("normalisation")
def _ratio(normalisation: str, method: str) -> str:
    if method == "deconvolution" and normalisation == "coefficient":
        return "removes the amplitude ratio that method=deconvolution measures; set none"
    return ""


@RULES.about("clamp")
def _clamped(clamp: float | None, time_norm: str) -> str:
    if time_norm == "clamp" and clamp is None:
        return "is required by time_norm=clamp; set an amplitude"
    return ""


@RULES.about("drop_dead")
def _motion(drop_dead: bool, response: str) -> str:
    if drop_dead and response == "none":
        return "requires ground motion, but response=none keeps counts"
    return ""


@RULES.about("drop_dead")
def _noise_model(drop_dead: bool, freqmin: float) -> str:
    if drop_dead and freqmin >= 10:
        return "requires freqmin below 10 Hz, the upper limit of Peterson's model"
    return ""


def _second_corner(corner: float | None, other: float | None, time_norm: str) -> str:
    if time_norm == "ram" and corner is None and other is not None:
        return "is required: a band has two corners"
    return ""


RULES.add("ram_freqmin", ("ram_freqmin", "ram_freqmax", "time_norm"), _second_corner)
RULES.add("ram_freqmax", ("ram_freqmax", "ram_freqmin", "time_norm"), _second_corner)


@RULES.about("rotate")
def _all_components(rotate: bool, components: tuple[str, ...]) -> str:
    choice = PairChoice(components=components)
    if rotate and not all(choice.selects_components(a, b) for a in "ENZ" for b in "ENZ"):
        return "requires all nine of EE, EN ... ZZ; set components=all"
    return ""


@RULES.about("ram_freqmax")
def _ram_band(ram_freqmin: float | None, ram_freqmax: float | None, fs: float) -> str:
    if not ram_freqmin or not ram_freqmax or ram_freqmin < ram_freqmax <= fs / 2:
        return ""
    return f"Hz must be higher than ram_freqmin ({ram_freqmin:g} Hz) and at most fs/2"


@RULES.about("skirt_low")
def _pre_filter(skirt_low: float | None, freqmin: float) -> str:
    if not skirt_low or skirt_low <= freqmin / 2:
        return ""
    return f"Hz exceeds half of freqmin ({freqmin:g} Hz), where the pre-filter ends"


@dataclass(frozen=True)
class XcorParams:
    """The row of params.csv, with the names of SeisNoise.jl.

    The first six are required; the defaults of the others reproduce the original's processing.
    """

    fs: float  # sampling rate to resample to (Hz)
    freqmin: float  # lower corner of the band (Hz)
    freqmax: float  # upper corner of the band (Hz)
    cc_step: float  # from the start of one window to the next (s)
    cc_len: float  # length of a window (s)
    maxlag: float  # largest lag to keep (s)
    response: str = "velocity"
    time_norm: str = "none"
    clip_factor: float = 3.0  # standard deviations
    clamp: float | None = None  # in the unit of the ground motion
    mute_factor: float = 3.0
    ram_window: float | None = None  # s
    ram_freqmin: float | None = None  # Hz
    ram_freqmax: float | None = None  # Hz
    ram_shared: bool = False
    whiten: bool = True
    skirt_low: float | None = None  # Hz
    skirt_high: float | None = None  # Hz
    method: str = "cross-correlation"
    water_level: float = 0.01
    circular: bool = False
    normalisation: str = "none"
    autocorrelations: bool = False
    same_station: bool = True
    components: tuple[str, ...] = ()  # such as ("ZZ", "N?"); empty: all
    rotate: bool = False  # stacks to R, T, Z as well
    max_distance: float | None = None  # km
    substack: float = 0.0  # s; 0: no substacks
    min_coverage: float = 1.0
    drop_dead: bool = False
    max_flat: float | None = None  # s
    drop_clipped: bool = False
    max_std: float | None = None
    max_median: float | None = None
    max_steps: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        wrong = check_values("params", vars(self), RULES)
        if wrong:
            raise RequestError([Problem(PARAMS, 0, c, v, need) for c, v, need in wrong])

    @property
    def ram_band(self) -> tuple[float, float]:
        """Corners (Hz) of the band in which the running absolute mean is computed."""
        return self.ram_freqmin or self.freqmin, self.ram_freqmax or self.freqmax

    @property
    def ram_half(self) -> int:
        """Samples on each side of the running absolute mean: half the longest period in all."""
        return round(self.fs * (self.ram_window or 0.5 / self.ram_band[0]) / 2)

    @property
    def ram_of_day(self) -> bool:
        """Whether the running mean is computed over the whole day instead of each window."""
        return self.time_norm == "ram" and (self.ram_shared or self.ram_freqmin is not None)

    @property
    def lowest(self) -> float:
        """Lowest corner (Hz) of all filters."""
        return min(self.freqmin, self.ram_band[0])

    @cached_property
    def windows(self) -> WindowGrid:
        """The windows of a day."""
        return WindowGrid.of(vars(self))

    @cached_property
    def choice(self) -> PairChoice:
        """The pairs that are requested, regardless of distance."""
        return PairChoice.of(vars(self))

    @property
    def n_samples(self) -> int:
        """Samples in a window."""
        return self.windows.n_samples

    @property
    def n_step(self) -> int:
        """Samples from the start of one window to the next."""
        return self.windows.n_step

    @property
    def n_lags(self) -> int:
        """Samples on each side of zero lag."""
        return n_lags(self.maxlag, self.fs)

    @property
    def n_windows(self) -> int:
        """Windows in a day: as many as fit from midnight to midnight.

        >>> XcorParams(10, 0.1, 0.2, cc_step=450, cc_len=1800, maxlag=60).n_windows
        189
        """
        return self.windows.n_windows

    @property
    def n_kept(self) -> int:
        """Output windows in a day: the windows, or their substacks."""
        return self.windows.n_kept

    def selects(self, first: Channel, second: Channel) -> bool:
        """Whether a pair is requested, regardless of distance."""
        return self.choice.selects(first, second)


def n_lags(maxlag: float, fs: float) -> int:
    """Samples on each side of zero lag."""
    return round(maxlag * fs)
