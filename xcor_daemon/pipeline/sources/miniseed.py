"""miniSEED records -> samples of a channel.

Records are chosen by channel and time before anything is decoded, and a broken record costs itself
and not its file. The samples are decoded by `steim`, or by libmseed through ObsPy's reader of this
one format.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from obspy.core.util.base import ENTRY_POINTS
from obspy.io.mseed import InternalMSEEDError, InternalMSEEDWarning, ObsPyMSEEDError

# What obspy.read(..., format="MSEED", check_compression=False) ends in, less two copies.
from obspy.io.mseed.core import _read_mseed

from ...errors import NoDataError
from ..datatypes import Samples, Segment
from . import steim
from .joining import count, cut, join, runs_of
from .records import Records, alike_rows, distinct, sampled

# Where a format is guessed, ObsPy unpickles the file to see whether it is a pickle.
ENTRY_POINTS["waveform"].pop("PICKLE", None)

MAX_BYTES = 1 << 30  # records of one channel, decoded at one time; a day at 1000 Hz has 0.3 GB
_MAX_REFUSALS = 200  # records that may be refused before the rest is given up
_SAME_RATE = 1e-4  # relative, libmseed's tolerance


def samples(
    parts: Sequence[Records], channel_id: str, start: int, end: int, source: str
) -> Samples:
    """The samples of a channel in [start, end), decoded and joined.

    Repeats that are identical are joined; where records disagree about the same time, those
    samples become a gap. Records whose start is within half a sample of where the segment expects
    it continue that segment, any other begins a segment at its own true start; that of a segment
    is what the clock of most of its samples says. A channel that changes its rate keeps the rate
    of most samples. Not-a-number and infinity are gaps. What was left out stands in ``warnings``.

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
        chosen.append((records, rows[sampled(rows)]))
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
        n_refused += rows.size
        for alike in alike_rows(rows):
            for some, data in _decode(records.data, alike):
                n_refused -= some.size
                runs.extend(runs_of(some, data, fs))
    if n_refused:
        notes.append(f"{count(n_refused, 'record')} could not be decoded")
    segments, more = join(runs)
    segments = tuple(part for segment in segments for part in cut(segment, start, end))
    if not segments:
        reason = "; ".join([*notes, *more])
        if reason:
            raise NoDataError(f"no samples can be used: {reason}.", "failed")
        raise NoDataError("no samples at this time.")
    return Samples(segments, source, n_bytes, (*notes, *more))


def samples_or_reason(
    parts: Sequence[Records], channel_id: str, start: int, end: int, source: str, who: str
) -> Samples | NoDataError:
    """`samples`, or why there are none; ``who`` is said to have none where no record is there."""
    if not any(channel_id in part.codes for part in parts):
        return NoDataError(f"{who} has no samples of this time.")
    try:
        return samples(parts, channel_id, start, end, source)
    except NoDataError as error:
        return error


def _is_rate(rates: np.ndarray, fs: float) -> np.ndarray:
    return np.abs(rates / fs - 1) < _SAME_RATE


def _dominant_rate(rows: np.ndarray) -> tuple[float, list[str]]:
    """The rate of most samples, and what is said of the others."""
    rates = [float(rate) for rate in distinct(rows["fs"])]
    if len(rates) == 1:
        return rates[0], []
    n_samples = {rate: int(rows["n_samples"][rows["fs"] == rate].sum()) for rate in rates}
    fs = max(n_samples, key=lambda rate: n_samples[rate])
    others = [rate for rate in rates if not _is_rate(np.array(rate), fs)]
    return fs, [
        f"{count(n_samples[rate], 'sample')} at {rate:g} Hz left out, the channel has {fs:g} Hz"
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
    if (data := steim.decode(content, rows)) is not None:
        return [(rows, data)]
    if not rows["code"][0].isascii():
        # ObsPy loses libmseed's errors about a channel whose codes it cannot print.
        content = content.copy()
        begins = np.cumsum(rows["length"]) - rows["length"]
        content[begins[:, None] + np.arange(8, 20)] = ord("X")
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
