"""miniSEED records -> samples of a channel.

Records are chosen by channel and time before anything is decoded, and a broken record costs itself
and not its file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import NoDataError
from ..datatypes import Samples, Segment
from .mseed_decode import decode
from .mseed_headers import Records, distinct, rows_by_code_and_quality, sampled
from .segments import contiguous_segments, count, cut, join

MAX_BYTES = 1 << 30  # records of one channel, decoded at one time; a day at 1000 Hz has 0.3 GB
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
        for alike in rows_by_code_and_quality(rows):
            for some, data in decode(records.data, alike):
                n_refused -= some.size
                runs.extend(contiguous_segments(some, data, fs))
    if n_refused:
        notes.append(f"{count(n_refused, 'record')} could not be decoded")
    joined, more = join(runs)
    segments = tuple(part for segment in joined for part in cut(segment, start, end))
    if not segments:
        reason = "; ".join([*notes, *more])
        if reason:
            raise NoDataError(f"no samples can be used; {reason}.", "failed")
        raise NoDataError("no samples at this time.")
    return Samples(segments, source, n_bytes, (*notes, *more))


def channel_samples_or_error(
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
