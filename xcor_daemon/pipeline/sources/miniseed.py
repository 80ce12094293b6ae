"""miniSEED records -> samples, looking at every header and trusting none.

Headers are parsed here, all at once: so records are chosen by channel and time before anything is
decoded, a broken record costs itself and not its file, and a clock that drifts or jumps is seen.
The samples are decoded by libmseed, through ObsPy's reader of this one format.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import as_strided
from obspy.core.util.base import ENTRY_POINTS
from obspy.io.mseed import InternalMSEEDError, InternalMSEEDWarning, ObsPyMSEEDError

# What obspy.read(..., format="MSEED", check_compression=False) ends in, less two copies.
from obspy.io.mseed.core import _read_mseed

from ...errors import NoDataError
from ..datatypes import NS, Samples, Segment

# Where a format is guessed, ObsPy unpickles the file to see whether it is a pickle.
ENTRY_POINTS["waveform"].pop("PICKLE", None)

MAX_BYTES = 1 << 30  # records of one channel, decoded at one time; a day at 1000 Hz has 0.3 GB
_MAX_REFUSALS = 200  # records that may be refused before the rest is given up
_TEXT, _UNKNOWN = 0, 255  # encodings: of a log, and not said
_STEP = 64  # bytes; every place where a record can begin after something else
_SAME_RATE = 1e-4  # relative, libmseed's tolerance

_HEADER = np.dtype(
    [
        ("sequence", "6u1"), ("quality", "u1"), ("reserved", "u1"), ("code", "S12"),
        ("year", "u2"), ("day", "u2"), ("hour", "u1"), ("minute", "u1"), ("second", "u1"),
        ("unused", "u1"), ("fraction", "u2"), ("n_samples", "u2"), ("factor", "i2"),
        ("multiplier", "i2"), ("activity", "u1"), ("io", "u1"), ("data_quality", "u1"),
        ("n_blockettes", "u1"), ("correction", "i4"), ("data_begin", "u2"), ("blockette", "u2"),
    ]
)  # fmt: skip
_ROW = np.dtype(
    [
        ("offset", "i8"), ("length", "i8"), ("code", "S12"), ("quality", "u1"), ("start", "i8"),
        ("end", "i8"), ("fs", "f8"), ("n_samples", "i8"), ("encoding", "u1"), ("valid", "?"),
    ]
)  # fmt: skip
_IS_SEQUENCE, _IS_QUALITY, _IS_BLANK = (
    np.isin(np.arange(256), list(letters)) for letters in (b"0123456789 \0", b"DRQM", b" \0")
)


@dataclass(frozen=True)
class Records:
    """The records of a file or of a reply: their headers, a row each, in their order."""

    data: np.ndarray  # uint8, the bytes
    rows: np.ndarray  # of _ROW: places in bytes, times in ns
    n_cut: int  # bytes of a last record that is cut off
    codes: dict[str, tuple[bytes, ...]] = field(init=False)  # channel id -> codes as they stand

    def __post_init__(self) -> None:
        codes: dict[str, tuple[bytes, ...]] = {}
        for code in _distinct(self.rows["code"]):
            codes[_channel_id(code)] = (*codes.get(_channel_id(code), ()), code)
        object.__setattr__(self, "codes", codes)

    def of(self, channel_id: str) -> np.ndarray:
        """The rows of a channel."""
        codes = self.codes.get(channel_id, ())
        if len(self.codes) == 1 and codes:
            return self.rows
        return self.rows[np.isin(self.rows["code"], np.array(codes, "S12"))]

    def spans(self) -> dict[str, tuple[int, int]]:
        """From when to when (ns) there are samples of each channel, text apart."""
        spans = {}
        for channel_id in self.codes:
            rows = self.of(channel_id)
            rows = rows[_sampled(rows)]
            if rows.size:
                spans[channel_id] = (int(rows["start"].min()), int(rows["end"].max()))
        return spans


def scan(content: bytes | np.ndarray) -> Records:
    """Find the records among bytes; what is no record (SEED control headers, noise) is passed over.

    Parameters
    ----------
    content : bytes or uint8 array
        Any bytes at all; without a record in them, ``rows`` is empty.
    """
    data = np.frombuffer(content, np.uint8)
    blocks, offset, ahead, n_cut = [np.empty(0, _ROW)], 0, 64, 0
    while (offset := _next_record(data, offset)) >= 0:
        length = _length(data, offset)
        if offset + length > data.size:
            n_cut = data.size - offset
            offset += _STEP
            continue
        offsets = np.arange(offset, data.size - length + 1, length)[:ahead]
        rows = _parse(data, offsets)
        alike = rows["valid"] & ((rows["length"] == length) | (rows["length"] == 0))
        n_alike = rows.size if alike.all() else int(alike.argmin())
        rows["length"] = length
        blocks.append(rows[:n_alike])
        offset += n_alike * length
        # Look further ahead while all records are alike; so a mixture costs no look at the whole.
        ahead = min(8 * ahead, 1 << 20) if n_alike == rows.size else 8
    return Records(data, np.concatenate(blocks), n_cut)


def start_times(heads: bytes, step: int) -> np.ndarray | None:
    """When records start (ns) whose first ``step`` bytes are given; None if any is no record."""
    data = np.frombuffer(heads, np.uint8)
    rows = _parse(data, np.arange(0, data.size - step + 1, step))
    return rows["start"] if rows["valid"].all() else None


def samples(
    parts: Sequence[Records], channel_id: str, start: int, end: int, source: str
) -> Samples:
    """The samples of a channel in [start, end), decoded and joined.

    Repeats that are identical are joined; where records disagree about the same time, those
    samples become a gap; records whose start is within half a sample of where the segment
    expects it continue that segment, any other begins a segment at its own true start. A channel
    that changes its rate keeps the rate of most samples. Not-a-number and infinity are gaps.
    What was left out stands in ``warnings``.

    Parameters
    ----------
    parts : sequence of Records
        Files or replies; their order decides nothing.
    start, end : int
        ns since 1970.

    Raises
    ------
    NoDataError
        ``nodata`` if there is no record of that time, ``failed`` if none of them can be read.
    """
    chosen = []
    for records in parts:
        rows = records.of(channel_id)
        rows = rows[(rows["start"] < end) & (rows["end"] > start)]
        chosen.append((records, rows[_sampled(rows)]))
    n_bytes = int(sum(rows["length"].sum() for _, rows in chosen))
    if not n_bytes:
        raise NoDataError("no samples at this time.")
    if n_bytes > MAX_BYTES:
        raise NoDataError(f"more than {MAX_BYTES >> 20} MB of records at one time.", "failed")

    fs, notes = _dominant_rate(np.concatenate([rows for _, rows in chosen]))
    runs: list[Segment] = []
    n_refused = 0
    for records, rows in chosen:
        rows = rows[_is_rate(rows["fs"], fs)]
        for quality in _distinct(rows["quality"]):
            same = rows[rows["quality"] == quality]
            decoded = list(_decode(records.data, same))
            n_refused += same.size - sum(rows.size for rows, _ in decoded)
            for rows_, data in decoded:
                runs.extend(_runs(rows_, data, fs))
    if n_refused:
        notes.append(f"{_count(n_refused, 'record')} could not be decoded")
    segments, more = _join(runs)
    segments = tuple(part for segment in segments for part in _cut(segment, start, end))
    if not segments:
        reason = "; ".join([*notes, *more])
        if reason:
            raise NoDataError(f"no samples can be used: {reason}.", "failed")
        raise NoDataError("no samples at this time.")
    return Samples(segments, source, n_bytes, (*notes, *more))


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _distinct(values: np.ndarray) -> list:
    """The different values; quick where there is only one."""
    if values.size and (values == values[0]).all():
        return [values[0]]
    return list(np.unique(values))


def _sampled(rows: np.ndarray) -> np.ndarray:
    """Which rows hold samples, not text and not nothing."""
    return (rows["n_samples"] > 0) & (rows["fs"] > 0) & (rows["encoding"] != _TEXT)


def _channel_id(code: bytes) -> str:
    """``b"WBM    LHZCI"`` -> ``CI.WBM..LHZ``"""
    parts = (code[10:12], code[:5], code[5:7], code[7:10])
    return ".".join(part.decode("ascii", "ignore").strip(" \0") for part in parts)


def _next_record(data: np.ndarray, offset: int) -> int:
    """Where the next header is, at ``offset`` or beyond in steps; -1 where there is none."""
    ahead = 1
    while offset + _HEADER.itemsize <= data.size:
        offsets = np.arange(offset, data.size - _HEADER.itemsize + 1, _STEP)[:ahead]
        valid = _parse(data, offsets)["valid"]
        if valid.any():
            return int(offsets[valid.argmax()])
        offset = int(offsets[-1]) + _STEP
        ahead = min(4 * ahead, 1 << 16)
    return -1


def _length(data: np.ndarray, offset: int) -> int:
    """Bytes of the record at ``offset``; without blockette 1000, as far as the next header."""
    length = int(_parse(data, np.array([offset]))["length"][0])
    if not length:
        follows = _next_record(data, offset + 2 * _STEP)
        length = (follows if follows >= 0 else data.size) - offset
    return length


def _gather(data: np.ndarray, offsets: np.ndarray, n: int) -> np.ndarray:
    """``n`` bytes from each of ``offsets`` on, a row each; quick where these are evenly spaced."""
    steps = np.diff(offsets)
    if steps.size and steps[0] > 0 and (steps == steps[0]).all():
        shape, strides = (offsets.size, n), (int(steps[0]), 1)
        return as_strided(data[offsets[0] :], shape, strides, writeable=False).copy()
    return data[offsets[:, None] + np.arange(n)]


def _parse(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The headers at ``offsets`` as rows; one that is no header is not ``valid``."""
    header = _gather(data, offsets, _HEADER.itemsize)
    big = header.view(_HEADER.newbyteorder(">"))[:, 0]
    little = header.view(_HEADER.newbyteorder("<"))[:, 0]
    swapped = ~_is_date(big)

    def value(name: str) -> np.ndarray:
        if not swapped.any():
            return big[name].astype("i8")
        return np.where(swapped, little[name], big[name]).astype("i8")

    rows = np.zeros(offsets.size, _ROW)
    rows["offset"], rows["code"], rows["quality"] = offsets, big["code"], big["quality"]
    rows["valid"] = (
        _IS_SEQUENCE[big["sequence"]].all(axis=1)
        & _IS_QUALITY[big["quality"]]
        & _IS_BLANK[big["reserved"]]
        & (~swapped | _is_date(little))
        & (big["hour"] <= 23)
        & (big["minute"] <= 59)
        & (big["second"] <= 60)
    )
    rows["n_samples"] = value("n_samples")
    found = _blockettes(data, offsets, value("blockette"), swapped)
    rows["length"], rows["encoding"] = found["length"], found["encoding"]
    rows["fs"] = np.where(found["fs"] > 0, found["fs"], _rate(value("factor"), value("multiplier")))
    applied = value("activity") & 2 > 0
    year, day = value("year"), value("day")
    days = (year - 1970) * 365 + (year - 1969) // 4 - (year - 1901) // 100 + (year - 1601) // 400
    seconds = ((days + day - 1) * 24 + big["hour"]) * 60 + big["minute"]
    seconds = seconds * 60 + big["second"]
    tenths = value("fraction") + np.where(applied, 0, value("correction"))  # of milliseconds
    rows["start"] = seconds * NS + tenths * 100_000 + found["micro"] * 1000
    with np.errstate(divide="ignore", invalid="ignore"):
        lasts = np.where(rows["fs"] > 0, rows["n_samples"] * (NS / rows["fs"]), 0)
    rows["end"] = rows["start"] + np.clip(lasts, 0, 1e17).astype("i8")
    # No encoding packs more than 7 differences into 4 bytes.
    room = np.where(rows["length"] > 0, 2 * rows["length"], 1 << 20)
    rows["valid"] &= (rows["n_samples"] <= room) & ~(lasts > 1e17)
    return rows


def _is_date(header: np.ndarray) -> np.ndarray:
    """Whether year and day are possible, so the byte order is right."""
    year, day = header["year"], header["day"]
    return (year >= 1900) & (year <= 2100) & (day >= 1) & (day <= 366)


def _rate(factor: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    """Samples a second, from the two numbers of a header; 0 where there are none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(factor >= 0, factor, -1.0 / factor)
        rate = np.where(multiplier > 0, rate * multiplier, rate)
        return np.where(multiplier < 0, -rate / multiplier, rate)


def _blockettes(
    data: np.ndarray, offsets: np.ndarray, first: np.ndarray, swapped: np.ndarray
) -> dict[str, np.ndarray]:
    """What blockettes 100 (rate), 1000 (length, encoding) and 1001 (microseconds) say."""
    found = {
        "length": np.zeros(offsets.size, "i8"),
        "encoding": np.full(offsets.size, _UNKNOWN, "u1"),
        "micro": np.zeros(offsets.size, "i8"),
        "fs": np.zeros(offsets.size),
    }
    place = first
    for _ in range(16):
        live = (place >= _HEADER.itemsize) & (offsets + place + 8 <= data.size)
        if not live.any():
            break
        at = np.where(live, offsets + place, 0)
        block = _gather(data, at, 8)
        order = np.where(swapped[:, None], block.view("<u2"), block.view(">u2"))
        kind = np.where(live, order[:, 0], 0)
        is_length = (kind == 1000) & (block[:, 6] >= 7) & (block[:, 6] <= 20)
        found["length"][is_length] = np.left_shift(1, block[is_length, 6].astype("i8"))
        found["encoding"][is_length] = block[is_length, 4]
        is_micro = kind == 1001
        found["micro"][is_micro] = block[is_micro, 5].astype("i1")
        is_rate = kind == 100
        rate = np.where(swapped, block.view("<f4")[:, 1], block.view(">f4")[:, 1])
        found["fs"][is_rate] = np.where(np.isfinite(rate), rate, 0)[is_rate]
        place = np.where(live & (order[:, 1] > place), order[:, 1], 0).astype("i8")
    return found


def _is_rate(rates: np.ndarray, fs: float) -> np.ndarray:
    return np.abs(rates / fs - 1) < _SAME_RATE


def _dominant_rate(rows: np.ndarray) -> tuple[float, list[str]]:
    """The rate of most samples, and what is said of the others."""
    rates = [float(rate) for rate in _distinct(rows["fs"])]
    if len(rates) == 1:
        return rates[0], []
    count = {rate: int(rows["n_samples"][rows["fs"] == rate].sum()) for rate in rates}
    fs = max(count, key=lambda rate: count[rate])
    others = [rate for rate in rates if not _is_rate(np.array(rate), fs)]
    return fs, [
        f"{_count(count[rate], 'sample')} at {rate:g} Hz left out, the channel has {fs:g} Hz"
        for rate in others
    ]


def _decode(data: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and their samples, end to end; less the records that libmseed refuses."""
    waiting, refusals = [rows], 0
    while waiting and refusals < _MAX_REFUSALS:
        some = waiting.pop()
        try:
            yield from _unpack(data, some)
        except (InternalMSEEDError, ObsPyMSEEDError, ValueError, struct.error):
            refusals += some.size == 1
            if some.size > 1:
                middle = some.size // 2
                waiting += [some[middle:], some[:middle]]


def _unpack(data: np.ndarray, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and samples of records of one channel; a ValueError where a header is contradicted."""
    ends = rows["offset"] + rows["length"]
    apart = np.flatnonzero(rows["offset"][1:] != ends[:-1]) + 1
    pieces = [
        data[rows["offset"][a] : ends[b - 1]]
        for a, b in zip([0, *apart], [*apart, rows.size], strict=True)
    ]
    content = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        traces = _read_mseed(content.view(np.int8))
    if any(w.category is InternalMSEEDWarning and "ntegrity" in str(w.message) for w in caught):
        raise ValueError("the last sample of a record is not what its header says.")
    # libmseed begins an array where it sees a gap.
    ends = np.cumsum(rows["n_samples"])
    stops = np.cumsum([trace.data.size for trace in traces])
    last = np.searchsorted(ends, stops)
    if not stops.size or stops[-1] != ends[-1] or (ends[last] != stops).any():
        raise ValueError("not as many samples as the headers say.")
    return [(part, t.data) for part, t in zip(np.split(rows, last[:-1] + 1), traces, strict=True)]


def _runs(rows: np.ndarray, data: np.ndarray, fs: float) -> Iterator[Segment]:
    """Records that follow each other within half a sample, told by their own clock, as segments."""
    dt = NS / fs
    begin = np.concatenate([[0], np.cumsum(rows["n_samples"])])
    # Samples by which a record begins later than the one before it ends.
    late = np.diff(rows["start"]) / dt - rows["n_samples"][:-1]
    breaks = [0, *(np.flatnonzero(np.abs(late) > 0.5) + 1), rows.size]
    for first, last in zip(breaks[:-1], breaks[1:], strict=True):
        while first < last:
            drift = np.concatenate([[0], np.cumsum(late[first : last - 1])])
            stop = first + int((np.abs(drift) > 0.5).argmax()) if drift.size else last
            stop = stop if stop > first else last
            yield Segment(int(rows["start"][first]), fs, data[begin[first] : begin[stop]])
            first = stop


@dataclass
class _Track:
    """A segment that still grows."""

    start: int
    n: int
    pieces: list[np.ndarray]

    def add(self, data: np.ndarray) -> None:
        if data.size:
            self.n += data.size
            self.pieces.append(data)

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


def _join(runs: list[Segment]) -> tuple[list[Segment], list[str]]:
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
            tracks.append(_Track(run.start, run.data.size, [run.data]))
            continue
        last = tracks[-1]
        over = last.n - (run.start - last.start) / dt  # samples that both have
        if over < -0.5:
            tracks.append(_Track(run.start, run.data.size, [run.data]))
            continue
        common = max(0, round(over))
        both = min(common, run.data.size)
        if np.array_equal(last.tail(common)[:both], run.data[:both], equal_nan=True):
            last.add(run.data[common:])
            continue
        common = int(np.ceil(over - 1e-3))
        if over < 1.5:
            n_steps += 1
        else:
            conflicts.append((run.start, run.start + both * dt))
        if run.data.size > common:
            start = run.start + round(common * dt)
            tracks.append(_Track(start, run.data.size - common, [run.data[common:]]))
    notes = [f"the clock steps back {_count(n_steps, 'time')}"] if n_steps else []
    return _without_bad(tracks, fs, conflicts, notes)


def _without_bad(
    tracks: list[_Track], fs: float, conflicts: list[tuple[float, float]], notes: list[str]
) -> tuple[list[Segment], list[str]]:
    """Segments without the samples that are not finite or that records disagree about."""
    segments: list[Segment] = []
    n_conflicts = n_odd = 0
    for track in tracks:
        data = track.pieces[0] if len(track.pieces) == 1 else np.concatenate(track.pieces)
        bad = np.zeros(data.size, bool)
        for start, end in conflicts:
            first, stop = _samples_between(track.start, fs, data.size, start, end)
            bad[first:stop] = True
        n_conflicts += int(bad.sum())
        if data.dtype.kind == "f":
            odd = ~np.isfinite(data)
            n_odd += int(odd.sum())
            bad |= odd
        segments.extend(_good_parts(track.start, fs, data, bad))
    if n_conflicts:
        notes.append(f"{_count(n_conflicts, 'sample')} left out where records disagree")
    if n_odd:
        notes.append(f"{_count(n_odd, 'sample')} left out, not finite")
    return segments, notes


def _good_parts(start: int, fs: float, data: np.ndarray, bad: np.ndarray) -> Iterator[Segment]:
    if not bad.any():
        yield Segment(start, fs, data)
        return
    edges = np.flatnonzero(np.diff(np.concatenate([[True], bad, [True]]).astype("i1")))
    for first, stop in edges.reshape(-1, 2):
        yield Segment(start + round(int(first) * NS / fs), fs, data[first:stop])


def _cut(segment: Segment, start: int, end: int) -> Iterator[Segment]:
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
