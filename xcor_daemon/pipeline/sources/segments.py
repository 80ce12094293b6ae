"""Runs of samples in any order -> segments apart from each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..datatypes import NS, Segment


def contiguous_segments(rows: np.ndarray, data: np.ndarray, fs: float) -> Iterator[Segment]:
    """Records that follow each other within half a sample, told by their own clock, as segments."""
    dt = NS / fs
    begin = np.concatenate([[0], np.cumsum(rows["n_samples"])])
    # Samples by which a record begins later than the one before it ends.
    late = np.diff(rows["start"]) / dt - rows["n_samples"][:-1]
    breaks = [0, *(np.flatnonzero(np.abs(late) > 0.5) + 1), rows.size]
    for first, last in zip(breaks[:-1], breaks[1:], strict=True):
        while first < last:
            drift = np.cumsum(late[first : last - 1])
            far = np.abs(drift) > 0.5
            stop = first + 1 + int(far.argmax()) if far.any() else last
            offsets = np.concatenate([[0], drift])[: stop - first] * dt
            start = int(rows["start"][first]) + _usual(offsets, rows["n_samples"][first:stop], dt)
            yield Segment(start, fs, data[begin[first] : begin[stop]])
            first = stop


def _usual(offsets: np.ndarray, weights: np.ndarray, dt: float) -> int:
    """What most samples say about a start (ns): the weighted median, if it is not next to 0.

    So a day is not moved by the other clock of its neighbour's last minutes.
    """
    order = np.argsort(offsets)
    total = np.cumsum(weights[order])
    usual = float(offsets[order[np.searchsorted(total, total[-1] / 2)]])
    return round(usual) if abs(usual) > 0.01 * dt else 0


class _Track:
    """A segment that still grows."""

    def __init__(self, start: int, data: np.ndarray) -> None:
        self.start = start
        self.n = data.size
        self.pieces = [data]
        self.offsets = [0.0]  # ns, by which each piece starts later than its place says

    def add(self, data: np.ndarray, start: int, dt: float) -> None:
        """Append samples that say that they begin at ``start``."""
        if data.size:
            self.offsets.append(start - self.start - self.n * dt)
            self.n += data.size
            self.pieces.append(data)

    def true_start(self, dt: float) -> int:
        """When the first sample was, as most pieces tell."""
        sizes = np.array([piece.size for piece in self.pieces])
        return self.start + _usual(np.array(self.offsets), sizes, dt)

    def tail(self, n: int) -> np.ndarray:
        """The last ``n`` samples."""
        taken, pieces = 0, []
        for piece in reversed(self.pieces):
            pieces.append(piece)
            taken += piece.size
            if taken >= n:
                break
        joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces[::-1])
        return joined[joined.size - n :]


def join(runs: list[Segment]) -> tuple[list[Segment], list[str]]:
    """Runs of one rate, in any order -> segments apart from each other, and what was left out."""
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
        over = last.n - (run.start - last.start) / dt  # samples that both have
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
    """Segments without the samples that are not finite or that records disagree about."""
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


def cut(segment: Segment, start: int, end: int) -> Iterator[Segment]:
    """The part of a segment with samples in [start, end), if there is one."""
    n = segment.data.size
    first, stop = _samples_between(segment.start, segment.fs, n, start, end)
    if (first, stop) == (0, n):
        yield segment
    elif first < stop:
        begin = segment.start + round(first * NS / segment.fs)
        yield Segment(begin, segment.fs, segment.data[first:stop])


def _samples_between(origin: int, fs: float, n: int, start: float, end: float) -> tuple[int, int]:
    """Which of ``n`` samples from ``origin`` on lie in [start, end), up to a thousandth of one."""
    first, stop = (int(np.ceil((time - origin) * fs / NS - 1e-3)) for time in (start, end))
    return min(max(first, 0), n), min(max(stop, 0), n)


def count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
