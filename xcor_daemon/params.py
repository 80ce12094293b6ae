"""The row of params.csv: what every value means, and which go together."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .csvtable import LIMITS, default_of, format_value, out_of
from .errors import Problem, RequestError
from .stations import Channel

PARAMS = "params.csv"
SECONDS_PER_DAY = 86400

# Columns that say something only where another has one of some values.
_GOES_WITH: dict[str, tuple[str, tuple[str | bool, ...]]] = {
    "clip_factor": ("time_norm", ("clip",)),
    "clamp": ("time_norm", ("clamp",)),
    "mute_factor": ("time_norm", ("mute",)),
    "ram_window": ("time_norm", ("ram",)),
    "ram_freqmin": ("time_norm", ("ram",)),
    "ram_freqmax": ("time_norm", ("ram",)),
    "ram_shared": ("time_norm", ("ram",)),
    "water_level": ("method", ("coherence", "deconvolution")),
}


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
    components: tuple[str, ...] = ()  # such as ("ZZ", "N?"); empty keeps all
    rotate: bool = False  # stacks to R, T, Z as well
    max_distance: float | None = None  # km
    substack: float = 0.0  # s; 0 keeps every window
    min_coverage: float = 1.0
    drop_dead: bool = False
    max_flat: float | None = None  # s
    drop_clipped: bool = False
    max_std: float | None = None
    max_median: float | None = None
    max_steps: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        # Rules between values make no sense of a value that is not even finite.
        wrong = list(self.out_of_limits()) or list(self._conflicts())
        if wrong:
            raise RequestError([Problem(PARAMS, 0, c, v, need) for c, v, need in wrong])

    def out_of_limits(self) -> Iterable[tuple[str, str, str]]:
        """(column, value, what is needed) of every number outside its own limits."""
        for name, limit in LIMITS["params"].items():
            value = getattr(self, name)
            if limit["kind"] == "number" and value is not None and (need := out_of(limit, value)):
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

        yield from self._alone()
        yield from self._needs()

    def _alone(self) -> Iterable[tuple[str, str, str]]:
        """(column, value, what is needed) of every value that another one makes meaningless."""
        defaults = {name: default_of(limit) for name, limit in LIMITS["params"].items()}
        for name, (column, values) in _GOES_WITH.items():
            given = getattr(self, name)
            if given != defaults[name] and getattr(self, column) not in values:
                need = f"goes with {column}={' or '.join(map(format_value, values))} only"
                yield name, format_value(given), need
        for name in ("skirt_low", "skirt_high"):
            given = getattr(self, name)
            if given and not self.whiten and self.method not in ("coherence", "deconvolution"):
                need = "goes with whiten=true, method=coherence or method=deconvolution only"
                yield name, f"{given:g}", need
        if self.whiten and self.method in ("coherence", "deconvolution"):
            need = "divides by a spectrum that whiten=true makes flat; write whiten=false"
            yield "method", self.method, need
        if self.method == "deconvolution" and self.normalisation == "coefficient":
            need = "undoes the ratio of amplitudes that method=deconvolution is after; write none"
            yield "normalisation", "coefficient", need
        if self.time_norm == "clamp" and self.clamp is None:
            yield "clamp", "", "is needed by time_norm=clamp; write an amplitude"

    def _needs(self) -> Iterable[tuple[str, str, str]]:
        """(column, value, what is needed) of every value that goes with some others only."""
        if self.drop_dead and self.response == "none":
            need = "looks at ground motion; response=none keeps counts"
            yield "drop_dead", "true", need
        if self.drop_dead and self.freqmin >= 10:
            yield "drop_dead", "true", "needs freqmin below 10 Hz, where Peterson's model ends"
        if self.time_norm == "ram" and (self.ram_freqmin is None) != (self.ram_freqmax is None):
            lacking = "ram_freqmin" if self.ram_freqmin is None else "ram_freqmax"
            yield lacking, "", "is needed: a band has two corners"
        if self.rotate and not all(self._wants_ends(a, b) for a in "ENZ" for b in "ENZ"):
            need = "needs all nine of EE, EN ... ZZ; write components=all"
            yield "rotate", "true", need
        low, high = self.ram_band
        if self.ram_freqmin and self.ram_freqmax and not low < high <= self.fs / 2:
            yield "ram_freqmax", f"{high:g}", f"Hz is not above ram_freqmin={low:g} Hz and <= fs/2"
        if self.skirt_low and self.skirt_low > self.freqmin / 2:
            need = f"Hz is more than half of freqmin={self.freqmin:g} Hz, where the pre-filter ends"
            yield "skirt_low", f"{self.skirt_low:g}", need

    @property
    def ram_band(self) -> tuple[float, float]:
        """Corners (Hz) of the band in which the running absolute mean is taken."""
        return self.ram_freqmin or self.freqmin, self.ram_freqmax or self.freqmax

    @property
    def ram_half(self) -> int:
        """Samples on each side of the running absolute mean: half the longest period in all."""
        return round(self.fs * (self.ram_window or 0.5 / self.ram_band[0]) / 2)

    @property
    def ram_of_day(self) -> bool:
        """Whether the running mean is one of the whole day, not of every window by itself."""
        return self.time_norm == "ram" and (self.ram_shared or self.ram_freqmin is not None)

    @property
    def lowest(self) -> float:
        """Lowest corner (Hz) of any filter that is applied."""
        return min(self.freqmin, self.ram_band[0])

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
        """Windows in a day: all that fit from midnight to midnight.

        >>> XcorParams(10, 0.1, 0.2, cc_step=450, cc_len=1800, maxlag=60).n_windows
        189
        """
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
        return self._wants_ends(first.channel[-1], second.channel[-1])

    def _wants_ends(self, *ends: str) -> bool:
        return not self.components or any(
            all(wanted in ("?", end) for wanted, end in zip(pattern, ends, strict=True))
            for pattern in self.components
        )
