"""miniSEED records -> samples of a channel.

Records are selected by channel and time before they are decoded; a corrupt record does not affect
the other records of its file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import NoDataError
from ..datatypes import Samples, Segment
from .mseed_decode import decode
from .mseed_headers import Records, distinct, rows_by_code_and_quality, sampled
from .segments import contiguous_segments, count, merge_segments, trim

MAX_BYTES = 1 << 30  # records of one channel, decoded at one time; a day at 1000 Hz has 0.3 GB
_SAME_RATE = 1e-4  # relative difference of equal rates, as in libmseed


def channel_samples(
    parts: Sequence[Records], channel_id: str, start: int, end: int, source: str
) -> Samples:
    """Decode the samples of a channel in [start, end) and merge them to segments.

    Identical repeated samples are merged; samples that differ between records of the same time
    become a gap. A record that starts within half a sampling interval of the expected time
    continues a segment, any other starts a new one; the start time of a segment is the weighted
    median of those of its records. If the sampling rate changes, the rate of most samples is
    kept. NaN and infinity become gaps. Dropped samples are described in ``warnings``.

    Parameters
    ----------
    parts : sequence of Records
        Files or replies, in any order.
    channel_id : str
        NET.STA.LOC.CHA.
    start, end : int
        ns since 1970.
    source : str
        Name of the source, for the result.

    Returns
    -------
    samples : Samples
        In counts.

    Raises
    ------
    NoDataError
        ``nodata`` if there is no record at that time, ``failed`` if none is readable.
    """
    selected = []
    for records in parts:
        rows = records.of(channel_id)
        rows = rows[(rows["start"] < end) & (rows["end"] > start)]
        selected.append((records, rows[sampled(rows)]))
    n_bytes = int(sum(rows["length"].sum() for _, rows in selected))
    if not n_bytes:
        raise NoDataError("no samples at this time.")
    if n_bytes > MAX_BYTES:
        raise NoDataError(f"more than {MAX_BYTES >> 20} MB of records at one time.", "failed")

    fs, notes = _dominant_rate(np.concatenate([rows for _, rows in selected]))
    runs: list[Segment] = []
    n_refused = 0
    for records, rows in selected:
        rows = rows[_is_rate(rows["fs"], fs)]
        n_refused += rows.size
        for alike in rows_by_code_and_quality(rows):
            for some, data in decode(records.data, alike):
                n_refused -= some.size
                runs.extend(contiguous_segments(some, data, fs))
    if n_refused:
        notes.append(f"{count(n_refused, 'record')} could not be decoded")
    joined, more = merge_segments(runs)
    segments = tuple(part for segment in joined for part in trim(segment, start, end))
    if not segments:
        reason = "; ".join([*notes, *more])
        if reason:
            raise NoDataError(f"no samples can be used; {reason}.", "failed")
        raise NoDataError("no samples at this time.")
    return Samples(segments, source, n_bytes, (*notes, *more))


def channel_samples_or_error(
    parts: Sequence[Records], channel_id: str, start: int, end: int, source: str, owner: str
) -> Samples | NoDataError:
    """`channel_samples`, or the reason for none; ``owner`` is the subject of that reason."""
    if not any(channel_id in part.codes for part in parts):
        return NoDataError(f"{owner} has no samples at this time.")
    try:
        return channel_samples(parts, channel_id, start, end, source)
    except NoDataError as error:
        return error


def _is_rate(rates: np.ndarray, fs: float) -> np.ndarray:
    return np.abs(rates / fs - 1) < _SAME_RATE


def _dominant_rate(rows: np.ndarray) -> tuple[float, list[str]]:
    """The sampling rate of most samples (Hz), and warnings about other rates."""
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
