"""The row of params.csv: what every value means, and which go together."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .csvtable import LIMITS, out_of
from .errors import Problem, RequestError
from .stations import Channel

PARAMS = "params.csv"
SECONDS_PER_DAY = 86400


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

        yield from self._needs()

    def _needs(self) -> Iterable[tuple[str, str, str]]:
        """(column, value, what is needed) of every value that goes with some others only."""
        if self.drop_dead and self.response == "none":
            need = "looks at ground motion; response=none keeps counts"
            yield "drop_dead", "true", need
        if self.drop_dead and self.freqmin >= 10:
            yield "drop_dead", "true", "needs freqmin below 10 Hz, where Peterson's model ends"

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
        return not self.components or first.channel[-1] + second.channel[-1] in self.components
