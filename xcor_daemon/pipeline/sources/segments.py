"""Segments of samples in any order -> segments in order, without overlaps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..datatypes import NS, Segment


def contiguous_segments(rows: np.ndarray, data: np.ndarray, fs: float) -> Iterator[Segment]:
    """Combine records that follow each other within half a sampling interval.

    Parameters
    ----------
    rows : structured array, shape (n_records,)
        Headers of one channel, from `mseed_headers`.
    data : array, shape (n_samples,)
        Samples of these records, in counts.
    fs : float
        Sampling rate (Hz).

    Yields
    ------
    segment : Segment
    """
    dt = NS / fs
    begin = np.concatenate([[0], np.cumsum(rows["n_samples"])])
    # Delay of each record after the end of the previous one (sampling intervals).
    late = np.diff(rows["start"]) / dt - rows["n_samples"][:-1]
    breaks = [0, *(np.flatnonzero(np.abs(late) > 0.5) + 1), rows.size]
    for first, last in zip(breaks[:-1], breaks[1:], strict=True):
        while first < last:
            drift = np.cumsum(late[first : last - 1])
            far = np.abs(drift) > 0.5
            stop = first + 1 + int(far.argmax()) if far.any() else last
            offsets = np.concatenate([[0], drift])[: stop - first] * dt
            start = int(rows["start"][first]) + _weighted_median(
                offsets, rows["n_samples"][first:stop], dt
            )
            yield Segment(start, fs, data[begin[first] : begin[stop]])
            first = stop


def _weighted_median(offsets: np.ndarray, weights: np.ndarray, dt: float) -> int:
    """Correction of a start time (ns): the median of offsets, weighted by samples, if not about 0.

    So the clock offset of the neighbouring day's last minutes does not shift a day.
    """
    order = np.argsort(offsets)
    total = np.cumsum(weights[order])
    median = float(offsets[order[np.searchsorted(total, total[-1] / 2)]])
    return round(median) if abs(median) > 0.01 * dt else 0


class _Track:
    """A segment to which records are still appended."""

    def __init__(self, start: int, data: np.ndarray) -> None:
        self.start = start
        self.n = data.size
        self.pieces = [data]
        self.offsets = [0.0]  # ns, delay of each piece after the expected time

    def add(self, data: np.ndarray, start: int, dt: float) -> None:
        """Append samples whose record starts at ``start`` (ns)."""
        if data.size:
            self.offsets.append(start - self.start - self.n * dt)
            self.n += data.size
            self.pieces.append(data)

    def true_start(self, dt: float) -> int:
        """Time of the first sample (ns), by the weighted median over pieces."""
        sizes = np.array([piece.size for piece in self.pieces])
        return self.start + _weighted_median(np.array(self.offsets), sizes, dt)

    def tail(self, n: int) -> np.ndarray:
        """The last samples, (n,)."""
        taken, pieces = 0, []
        for piece in reversed(self.pieces):
            pieces.append(piece)
            taken += piece.size
            if taken >= n:
                break
        joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces[::-1])
        return joined[joined.size - n :]


def merge_segments(runs: list[Segment]) -> tuple[list[Segment], list[str]]:
    """Merge segments of one rate, in any order; return segments without overlaps, and warnings."""
    if not runs:
        return [], []
    fs = runs[0].fs
    dt = NS / fs
    tracks: list[_Track] = []
    conflicts: list[tuple[float, float]] = []
    n_steps = 0
    for run in sorted(runs, key=lambda run: (run.start, -run.data.size)):
        if not tracks:
            tracks.append(_Track(run.start, run.data))
            continue
        last = tracks[-1]
        over = last.n - (run.start - last.start) / dt  # samples in common
        if over < -0.5:
            tracks.append(_Track(run.start, run.data))
            continue
        common = max(0, round(over))
        both = min(common, run.data.size)
        if np.array_equal(last.tail(common)[:both], run.data[:both], equal_nan=True):
            last.add(run.data[common:], run.start + round(common * dt), dt)
            continue
        common = int(np.ceil(over - 1e-3))
        if over < 1.5:
            n_steps += 1
        else:
            conflicts.append((run.start, run.start + both * dt))
        if run.data.size > common:
            start = run.start + round(common * dt)
            tracks.append(_Track(start, run.data[common:]))
    notes = [f"the clock steps back {count(n_steps, 'time')}"] if n_steps else []
    return _without_bad(tracks, fs, conflicts, notes)


def _without_bad(
    tracks: list[_Track], fs: float, conflicts: list[tuple[float, float]], notes: list[str]
) -> tuple[list[Segment], list[str]]:
    """Segments without samples that are not finite or differ between records; and warnings."""
    segments: list[Segment] = []
    n_conflicts = n_odd = 0
    for track in tracks:
        start = track.true_start(NS / fs)
        if segments:
            start = max(start, segments[-1].end)
        data = track.pieces[0] if len(track.pieces) == 1 else np.concatenate(track.pieces)
        if not conflicts and data.dtype.kind != "f":
            segments.append(Segment(start, fs, data))
            continue
        bad = np.zeros(data.size, bool)
        for span in conflicts:
            first, stop = _samples_between(track.start, fs, data.size, *span)
            bad[first:stop] = True
        n_conflicts += int(bad.sum())
        if data.dtype.kind == "f":
            odd = ~np.isfinite(data)
            n_odd += int(odd.sum())
            bad |= odd
        segments.extend(_good_parts(start, fs, data, bad))
    if n_conflicts:
        notes.append(f"{count(n_conflicts, 'sample')} left out where records disagree")
    if n_odd:
        notes.append(f"{count(n_odd, 'sample')} left out, not finite")
    return segments, notes


def _good_parts(start: int, fs: float, data: np.ndarray, bad: np.ndarray) -> Iterator[Segment]:
    if not bad.any():
        yield Segment(start, fs, data)
        return
    edges = np.flatnonzero(np.diff(np.concatenate([[True], bad, [True]]).astype("i1")))
    for first, stop in edges.reshape(-1, 2):
        yield Segment(start + round(int(first) * NS / fs), fs, data[first:stop])


def trim(segment: Segment, start: int, end: int) -> Iterator[Segment]:
    """Trim a segment to [start, end) (ns); no segment if it has no samples there."""
    n = segment.data.size
    first, stop = _samples_between(segment.start, segment.fs, n, start, end)
    if (first, stop) == (0, n):
        yield segment
    elif first < stop:
        begin = segment.start + round(first * NS / segment.fs)
        yield Segment(begin, segment.fs, segment.data[first:stop])


def _samples_between(origin: int, fs: float, n: int, start: float, end: float) -> tuple[int, int]:
    """First and end of the samples of a series that lie in [start, end) (ns).

    The series has ``n`` samples from ``origin`` (ns) on; the tolerance is 0.001 sampling intervals.
    """
    first, stop = (int(np.ceil((time - origin) * fs / NS - 1e-3)) for time in (start, end))
    return min(max(first, 0), n), min(max(stop, 0), n)


def count(n: int, noun: str) -> str:
    """``1 record``, ``2 records``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
