"""What the rooms of the pipeline hand to each other: frozen, checked where they are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import numpy as np

from ..errors import NoDataError
from ..request.stations import Channel

UNREADABLE = "a file of the archive cannot be read"  # by the system; its bytes may be right
SAME_PLACE = 0.001  # km; nearer channels have no apparent speed (coordinates of 5 decimals)
NS = 1_000_000_000  # nanoseconds in a second: times are whole nanoseconds since 1970, UTC
DAY_NS = 86400 * NS  # nanoseconds in a day


def nanoseconds(time: datetime) -> int:
    """A UTC time as whole nanoseconds since 1970; exact, unlike ``timestamp()``."""
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def day_start(day: date) -> int:
    """Midnight at the start of a UTC day, in nanoseconds."""
    return nanoseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))


def time_text(time: int) -> str:
    """A time (ns) in UTC, to the second."""
    return (datetime(1970, 1, 1) + timedelta(seconds=time // NS)).isoformat()


@dataclass(frozen=True)
class Segment:
    """Samples without a gap."""

    start: int  # time of the first sample (ns)
    fs: float  # sampling rate (Hz)
    data: np.ndarray  # one-dimensional, int32, float32 or float64, finite

    def __post_init__(self) -> None:
        if self.data.ndim != 1 or not self.data.size or not self.fs > 0:
            raise ValueError(f"no segment: shape {self.data.shape} at {self.fs} Hz.")

    @property
    def end(self) -> int:
        """When the sample after the last would come (ns)."""
        return self.start + round(self.data.size * NS / self.fs)


@dataclass(frozen=True)
class Samples:
    """What a source has of one channel between two times."""

    segments: tuple[Segment, ...]  # in order of time, apart from each other, of one rate
    source: str  # who served it
    n_bytes: int  # as received or read
    warnings: tuple[str, ...] = ()  # such as conflicting overlaps

    def __post_init__(self) -> None:
        starts = [segment.start for segment in self.segments]
        if not starts or starts != sorted(starts) or len({s.fs for s in self.segments}) > 1:
            raise ValueError("samples need segments of one rate in order of time.")

    @property
    def fs(self) -> float:
        """Sampling rate of all segments (Hz)."""
        return self.segments[0].fs

    @property
    def n_samples(self) -> int:
        """Samples in all segments."""
        return sum(segment.data.size for segment in self.segments)


@dataclass(frozen=True)
class ResponseCurve:
    """An instrument response, counts per unit of ground motion, on a grid of frequencies.

    Between the points the logarithm of the amplitude and the unwrapped phase are cubics over
    the logarithm of frequency.
    """

    frequency: np.ndarray  # Hz, increasing, > 0
    log_amplitude: np.ndarray  # natural logarithm of counts per (m/s, m or m/s^2)
    phase: np.ndarray  # rad, unwrapped; evalresp's sign: the spectrum is counts/ground


@dataclass(frozen=True)
class Epoch:
    """Metadata of a channel between two times."""

    start: int  # ns
    end: int  # ns
    latitude: float = np.nan  # degrees
    longitude: float = np.nan  # degrees
    elevation: float = np.nan  # m
    response: ResponseCurve | None = None
    problem: str = ""  # why there is no response
    warning: str = ""  # such as a reported sensitivity that the stages do not give


@dataclass(frozen=True)
class Metadata:
    """Epochs of every channel that a source knows."""

    epochs: dict[str, tuple[Epoch, ...]]  # channel id -> epochs in order of start

    def at(self, channel_id: str, start: int, end: int) -> tuple[Epoch, ...]:
        """Epochs of a channel that touch [start, end) (ns)."""
        return tuple(e for e in self.epochs.get(channel_id, ()) if e.start < end and e.end > start)


class Source(Protocol):
    """Where waveforms come from. It can be pickled."""

    name: str

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """Coordinates and responses, once a job; ``response`` as in params.csv."""
        ...

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """Samples of each channel in [start, end) (ns), or why there are none; each once."""
        ...


@dataclass(frozen=True)
class PairTable:
    """The pairs of a day: which channels, how far and in which direction."""

    channels: tuple[str, ...]  # ids, in order
    first: np.ndarray  # int (n_pairs,): index into channels
    second: np.ndarray  # int (n_pairs,): index into channels, >= first
    distance: np.ndarray  # km, NaN where coordinates are unknown
    azimuth: np.ndarray  # degrees at first, clockwise from north, towards second
    back_azimuth: np.ndarray  # degrees at second, towards first
    latitude: np.ndarray  # degrees, by channel
    longitude: np.ndarray  # degrees, by channel
    elevation: np.ndarray  # m, by channel

    def some(self, rows: np.ndarray) -> PairTable:
        """The pairs of some rows, of the same channels."""
        names = ("first", "second", "distance", "azimuth", "back_azimuth")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @property
    def names(self) -> list[str]:
        """``FIRST|SECOND`` of every pair."""
        ids = self.channels
        return [f"{ids[i]}|{ids[j]}" for i, j in zip(self.first, self.second, strict=True)]


@dataclass(frozen=True)
class ChannelDay:
    """A row of summary.csv: what became of one channel on one day."""

    day: str
    channel: str  # id
    status: str  # kept | empty (no window is covered) | nodata | refused | failed
    source: str = ""
    n_bytes: int = 0
    fs_raw: float = np.nan  # Hz, as recorded
    samples: int = 0  # within the day
    gaps: int = 0  # between the segments
    coverage: float = 0.0  # share of the day
    windows: int = 0  # that lie in the time asked for
    windows_kept: int = 0
    dropped: str = ""  # windows that rules of quality left out, such as "max_std=3 max_flat=1"
    reason: str = ""  # why not, or what was noticed


@dataclass
class Progress:
    """How far a job is; the corridor shows it to whoever waits."""

    stage: str = "starting"
    days_done: int = 0
    days: int = 0
    part: float = 0.0  # of the day under way, 0 to 1
    pairs: int = 0
    eta: float | None = None  # s
    warnings: list[dict[str, str]] = field(default_factory=list)
