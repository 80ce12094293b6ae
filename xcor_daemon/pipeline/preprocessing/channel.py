"""One channel on one day: samples -> ground motion, and the windows of it that can be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import ceil, floor
from typing import Any

import numpy as np

from ...errors import NoDataError
from ...request.params import XcorParams
from ...request.stations import Channel
from ..datatypes import DAY_NS, NS, ChannelDay, Epoch, Samples, day_start
from . import quality, time_normalisation
from .band import Grid
from .ground_motion import MotionSpectrum, to_grid, to_spectrum

_NO_METADATA = (
    "no metadata of the channel at this time, so no response to remove; "
    "add its StationXML to the source, or set response=none in params.csv"
)


@dataclass(frozen=True)
class CandidateWindows:
    """The windows of a channel-day with enough samples; the time series is computed on demand."""

    grid: Grid
    spectrum: MotionSpectrum | None  # of the ground motion; None without a candidate
    coverage: np.ndarray  # float32 (n_windows,): share of real samples
    candidates: np.ndarray  # bool (n_windows,)
    band_weights: np.ndarray | None = None  # float32 (n_day,): `time_normalisation.band_weights`

    def motion(self) -> np.ndarray:
        """The time series of the day, float32 (grid.n_day,); zero without a candidate."""
        if self.spectrum is None:
            return np.zeros(self.grid.n_day, dtype=np.float32)
        return to_grid(self.spectrum, self.grid)


def describe_channel_day(channel: Channel, day: date, params: XcorParams) -> ChannelDay:
    """The row of a channel-day before its data are read: how many windows the request asks for."""
    asked = params.windows.samples(day.toordinal(), channel.spans)
    n_asked = sum(end - first for first, end in params.windows.inside(asked))
    return ChannelDay(str(day), channel.id, "nodata", windows=n_asked)


def prepare_channel_day(
    channel: Channel, day: date, samples: Samples, epochs: Sequence[Epoch], params: XcorParams
) -> tuple[ChannelDay, CandidateWindows | None]:
    """Turn the samples of a channel-day into candidate windows, and describe the channel-day.

    Parameters
    ----------
    channel : Channel
        The channel.
    day : date
        The UTC day.
    samples : Samples
        The day and `band.margin` seconds on both sides, in counts.
    epochs : sequence of Epoch
        Metadata that touch that time.
    params : XcorParams
        Parameters of the job.

    Returns
    -------
    row : ChannelDay
        With the reason where no window can be used.
    windows : CandidateWindows or None
        None where no window passed the quality rules on recorded samples.
    """
    row = describe_channel_day(channel, day, params)
    midnight = day_start(day)
    found = _availability(samples, midnight, midnight + DAY_NS)
    row = replace(row, source=samples.source, n_bytes=samples.n_bytes, fs_raw=samples.fs, **found)
    if not row.samples:
        return replace(row, reason="no samples on this day"), None
    asked = params.windows.samples(day.toordinal(), channel.spans)
    try:
        if params.response != "none" and not epochs:
            raise NoDataError(_NO_METADATA, "refused")
        windows = prepare(samples, epochs, asked, day, params)
        weights = time_normalisation.band_weights(samples, epochs, day, params)
        accepted, dropped = quality.check_samples(samples, windows.candidates, midnight, params)
    except NoDataError as error:
        return replace(row, status=error.status, reason=str(error)), None
    notes = [*samples.warnings, *sorted({e.warning for e in epochs if e.warning})]
    n_accepted = int(accepted.sum())
    if not n_accepted:
        notes.append(_no_window(bool(windows.candidates.any())))
    row = replace(
        row,
        status="kept" if n_accepted else "empty",
        windows_kept=n_accepted,
        dropped=dropped,
        reason="; ".join(notes),
    )
    if not n_accepted:
        return row, None
    return row, replace(windows, candidates=accepted, band_weights=weights)


def _no_window(is_covered: bool) -> str:
    """Why a channel-day with samples has no window."""
    return "no window passed the quality rules" if is_covered else "no window has enough samples"


def apply_quality_rules(
    row: ChannelDay, motion: np.ndarray, candidates: np.ndarray, params: XcorParams
) -> tuple[ChannelDay, np.ndarray]:
    """Apply the quality rules on ground motion to the candidate windows of a channel-day.

    Parameters
    ----------
    row : ChannelDay
        Description of the channel-day.
    motion : float32 array, shape (n_day,)
        Ground motion.
    candidates : bool array, shape (n_windows,)
        Windows with enough samples.
    params : XcorParams
        Parameters of the job.

    Returns
    -------
    row : ChannelDay
        With the number of accepted windows, and the reason where none is left.
    accepted : bool array, shape (n_windows,)
    """
    try:
        accepted, dropped = quality.check_motion(motion, candidates, params)
    except NoDataError as error:
        row = replace(row, status=error.status, windows_kept=0, reason=str(error))
        return row, np.zeros_like(candidates)
    dropped = " ".join(filter(None, (row.dropped, dropped)))
    row = replace(row, windows_kept=int(accepted.sum()), dropped=dropped)
    if not accepted.any():
        reason = "; ".join(filter(None, (row.reason, _no_window(is_covered=True))))
        row = replace(row, status="empty", reason=reason)
    return row, accepted


def _availability(samples: Samples, start: int, end: int) -> dict[str, Any]:
    """Number of samples, number of gaps, and coverage (0 to 1) between two times (ns)."""
    n, covered, pieces = 0, 0, 0
    for segment in samples.segments:
        step = NS / segment.fs
        a = max(0, int(np.ceil((start - segment.start) / step - 1e-6)))
        b = min(segment.data.size, int(np.ceil((end - segment.start) / step - 1e-6)))
        if b > a:
            n += b - a
            pieces += 1
            covered += min(segment.end, end) - max(segment.start, start)
    share = min(1.0, covered / (end - start))
    return {"samples": n, "gaps": max(0, pieces - 1), "coverage": round(share, 6)}


def prepare(
    samples: Samples,
    epochs: Sequence[Epoch],
    requested: Sequence[tuple[int, int]],
    day: date,
    params: XcorParams,
) -> CandidateWindows:
    """Compute the spectrum of the ground motion of a channel-day, and the candidate windows.

    Parameters
    ----------
    samples : Samples
        The day and `margin` seconds on both sides, in counts.
    epochs : sequence of Epoch
        Metadata that overlap with that time.
    requested : sequence of (int, int)
        Runs of requested samples of the day (`WindowGrid.samples`): first and end of each. Other
        samples count as missing.
    day : date
        The UTC day.
    params : XcorParams
        Parameters of the job.

    Returns
    -------
    windows : CandidateWindows
        Windows with enough samples.

    Raises
    ------
    NoDataError
        If the samples cannot be used; the message gives the reason.
    """
    grid = Grid.of(day, params)
    n_real = count_real(real_samples(samples, requested, grid), params)
    candidates = n_real >= params.windows.least
    spectrum = to_spectrum(samples, epochs, grid, params) if candidates.any() else None
    coverage = (n_real / params.n_samples).astype(np.float32)
    return CandidateWindows(grid, spectrum, coverage, candidates)


def real_samples(samples: Samples, requested: Sequence[tuple[int, int]], grid: Grid) -> np.ndarray:
    """Find the samples of the day that were recorded and requested.

    A segment extends by one recorded sample beyond its ends: between two recorded samples nothing
    is missing.

    Parameters
    ----------
    samples : Samples
        Recorded samples.
    requested : sequence of (int, int)
        Runs of requested samples of the day: first and end of each.
    grid : Grid
        Sample times of the day.

    Returns
    -------
    real : bool array, shape (grid.n_day,)
    """
    real = np.zeros(grid.n_day, dtype=bool)
    step = NS / samples.fs
    for segment in samples.segments:
        low = segment.start - step
        high = segment.start + segment.data.size * step
        a = floor((low - grid.midnight) * grid.fs / NS) + 1
        b = ceil((high - grid.midnight) * grid.fs / NS - 1e-6)
        for first, end in requested:
            real[max(a, first) : max(a, first, min(b, end))] = True
    return real


def count_real(real: np.ndarray, params: XcorParams) -> np.ndarray:
    """Count the real samples (n_day,) in every window: float64 (n_windows,)."""
    # Real samples form a few long runs: their cumulative count is linear between the edges.
    inner = np.flatnonzero(real[1:] != real[:-1]) + 1
    edges = np.concatenate([[0], inner, [real.size]])
    count = np.concatenate([[0], np.cumsum(np.diff(edges) * real[edges[:-1]])])
    start = np.arange(params.n_windows) * params.n_step
    return np.interp(start + params.n_samples, edges, count) - np.interp(start, edges, count)
