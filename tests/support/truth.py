"""Synthetic ground noise whose travel times are known, sampled as anybody likes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np

from xcor_daemon.pipeline.datatypes import NS, Samples, Segment, day_start
from xcor_daemon.pipeline.preprocessing.channel import CandidateWindows, prepare
from xcor_daemon.request.parse import XcorParams

DAY = date(2020, 1, 1)
MIDNIGHT = day_start(DAY)
PARAMS = XcorParams(
    fs=10, freqmin=0.1, freqmax=2, cc_step=1800, cc_len=3600, maxlag=60, response="none"
)
SPAN = [(0, 10**12)]  # samples: the whole day at any rate
# The arrival times of one wave at three stations, and so their lags: 5.5, 12.0 and 6.5 s.
DELAYS = {"XX.S00..BHZ": 0.0, "XX.S01..BHZ": 5.5, "XX.S02..BHZ": 12.0}


class Noise:
    """A wave field below 5 Hz, known at every instant from 400 s before midnight on.

    It is a Fourier series, so a delay and any sampling are exact.
    """

    LENGTH = 86400 + 2 * 400  # s
    TOP = 4.0  # Hz

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.n = round(self.TOP * self.LENGTH)
        self.spectrum = rng.standard_normal(self.n) + 1j * rng.standard_normal(self.n)
        self.spectrum[0] = 0
        self.own = {key: np.random.default_rng([seed, k + 1]) for k, key in enumerate(DELAYS)}

    def sampled(self, delay: float, fs: float, start: float = -400.0) -> np.ndarray:
        """Counts at ``start + k / fs`` s after midnight (start within a second of -400)."""
        size = round(fs * self.LENGTH)
        frequency = np.arange(self.n) / self.LENGTH
        shift = np.exp(2j * np.pi * frequency * (start + 400.0 - delay))
        full = np.zeros(size // 2 + 1, dtype=complex)
        full[: min(self.n, full.size)] = (self.spectrum * shift)[: full.size]
        return np.fft.irfft(full, size) * size / np.sqrt(self.n) * 300


def record(
    noise: Noise,
    delay: float,
    fs: float = 20.0,
    offset: float = 0.0,
    gaps: Sequence[tuple[float, float]] = (),
) -> Samples:
    """The recording of a station: int32 counts, its clock ``offset`` s after the second.

    ``gaps`` are missing, in seconds after midnight.
    """
    first = -400.0 + offset
    data = np.round(noise.sampled(delay, fs, first)).astype(np.int32)
    edges = [0]
    for a, b in gaps:
        edges += [round((a - first) * fs), round((b - first) * fs)]
    edges.append(data.size)
    segments = tuple(
        Segment(MIDNIGHT + round((first + a / fs) * NS), fs, data[a:b])
        for a, b in zip(edges[::2], edges[1::2], strict=True)
        if b > a
    )
    return Samples(segments, "truth", data.nbytes)


def prepared(samples: Samples, params: XcorParams = PARAMS) -> CandidateWindows:
    """The chain up to the ground motion of the day, and which windows are covered."""
    return prepare(samples, (), SPAN, DAY, params)


def utc(text: str) -> datetime:
    """A UTC time from ISO text."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
