"""The data that the packages of the pipeline exchange: frozen, and checked when created."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import numpy as np

from ..errors import NoDataError
from ..request.stations import Channel

UNREADABLE = (
    "a file of the archive cannot be read"  # by the operating system; the file may be valid
)
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
            need = "needs at least one sample in one dimension, and fs > 0"
            raise ValueError(f"segment of shape {self.data.shape} at {self.fs} Hz; it {need}.")

    @property
    def end(self) -> int:
        """Time of the sample that would follow the last (ns)."""
        return self.start + round(self.data.size * NS / self.fs)


@dataclass(frozen=True)
class Samples:
    """The waveform of one channel between two times, as a source has it."""

    segments: tuple[Segment, ...]  # in order of time, without overlaps, of one sampling rate
    source: str  # name of the source that served them
    n_bytes: int  # received or read
    warnings: tuple[str, ...] = ()  # such as conflicting overlaps

    def __post_init__(self) -> None:
        starts = [segment.start for segment in self.segments]
        if not starts or starts != sorted(starts) or len({s.fs for s in self.segments}) > 1:
            raise ValueError(
                "samples need at least one segment, in order of time, of one sampling rate."
            )

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
    """Metadata epochs of every channel of a source."""

    epochs: dict[str, tuple[Epoch, ...]]  # channel id -> epochs in order of start

    def at(self, channel_id: str, start: int, end: int) -> tuple[Epoch, ...]:
        """Epochs of a channel that touch [start, end) (ns)."""
        return tuple(e for e in self.epochs.get(channel_id, ()) if e.start < end and e.end > start)


class Source(Protocol):
    """A source of waveforms and metadata. It can be pickled."""

    name: str

    def metadata(self, channels: Iterable[Channel], response: str) -> Metadata:
        """Coordinates and responses, read once per job; ``response`` as in params.csv."""
        ...

    def fetch(
        self, channels: Iterable[Channel], start: int, end: int
    ) -> Iterator[tuple[Channel, Samples | NoDataError]]:
        """Yield every channel once, with its samples in [start, end) (ns) or an error."""
        ...


@dataclass(frozen=True)
class PairTable:
    """The pairs of a day: channels, distances and azimuths."""

    channels: tuple[str, ...]  # ids, in order
    first: np.ndarray  # int (n_pairs,): index into channels
    second: np.ndarray  # int (n_pairs,): index into channels, >= first
    distance: np.ndarray  # km, NaN where coordinates are unknown
    azimuth: np.ndarray  # degrees at first, clockwise from north, towards second
    back_azimuth: np.ndarray  # degrees at second, towards first
    latitude: np.ndarray  # degrees, by channel
    longitude: np.ndarray  # degrees, by channel
    elevation: np.ndarray  # m, by channel

    def select(self, indices: np.ndarray) -> PairTable:
        """The pairs of some indices, int (n,); the channels stay the same."""
        names = ("first", "second", "distance", "azimuth", "back_azimuth")
        return replace(self, **{name: getattr(self, name)[indices] for name in names})

    @property
    def names(self) -> list[str]:
        """``FIRST|SECOND`` of every pair."""
        ids = self.channels
        return [f"{ids[i]}|{ids[j]}" for i, j in zip(self.first, self.second, strict=True)]


@dataclass(frozen=True)
class ChannelDay:
    """The outcome of one channel on one day: a row of summary.csv."""

    day: str
    channel: str  # id
    status: str  # kept | empty (no accepted window) | nodata | refused | failed
    source: str = ""
    n_bytes: int = 0
    fs_raw: float = np.nan  # Hz, as recorded
    samples: int = 0  # within the day
    gaps: int = 0  # between the segments
    coverage: float = 0.0  # share of the day, 0 to 1
    windows: int = 0  # within the requested time
    windows_kept: int = 0
    dropped: str = ""  # windows that quality rules dropped, such as "max_std=3 max_flat=1"
    reason: str = ""  # why no window was accepted, or warnings


@dataclass
class Progress:
    """The progress of a job."""

    stage: str = "starting"
    days_done: int = 0
    days: int = 0
    part: float = 0.0  # days of work done in the days in progress
    pairs: int = 0
    eta: float | None = None  # s
    warnings: list[dict[str, str]] = field(default_factory=list)
