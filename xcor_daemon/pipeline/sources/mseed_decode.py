"""Decoding of miniSEED records by libmseed, one call a record; corrupt records are dropped."""

from __future__ import annotations

import numpy as np
import pymseed
from pymseed import clibmseed, ffi

_STEIM1, _UNKNOWN = 10, 255
_STEIM = (10, 11)
# Types of encodings that are not integers; GEOSCOPE's three have gains.
_FLOATS = {4: np.float32, 5: np.float64, 12: np.float32, 13: np.float32, 14: np.float32}
_MAX_CORRUPT = 200  # records of an encoding; after as many the rest is not decoded


def decode(data: np.ndarray, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Decode the samples of records, except of those that libmseed rejects.

    Parameters
    ----------
    data : uint8 array, shape (n_bytes,)
        A file or reply.
    rows : structured array, shape (n_records,)
        Headers of one channel, from `mseed_headers.scan`.

    Returns
    -------
    decoded : list of (rows, samples)
        One for each type of samples, mostly int32 only: the headers (n_decoded,), and the samples
        of all these records (n_samples,) in counts.
    """
    encodings = np.where(rows["encoding"] == _UNKNOWN, _STEIM1, rows["encoding"])
    kinds = np.array([np.dtype(_FLOATS.get(int(code), np.int32)).num for code in range(256)])
    kind = kinds[encodings]
    pymseed.configure_logging()  # of this thread: messages to a buffer, not to stderr
    decoded = []
    for number in np.unique(kind):
        some = np.flatnonzero(kind == number)
        dtype = np.dtype(_FLOATS.get(int(encodings[some[0]]), np.int32))
        decoded.append(_decode(data, rows[some], encodings[some], dtype))
    pymseed.clear_error_messages()
    return [(kept, samples) for kept, samples in decoded if kept.size]


def _decode(
    data: np.ndarray, rows: np.ndarray, encodings: np.ndarray, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n_decoded,) that can be decoded, and their samples (n_samples,)."""
    ends = np.cumsum(rows["n_samples"])
    samples = np.empty(int(ends[-1]), dtype)
    source = ffi.cast("char *", data.ctypes.data)
    target = ffi.cast("char *", samples.ctypes.data)
    kind, name = ffi.new("char *"), ffi.new("char[]", b"")
    # Bytes with samples; none if the header points outside its record.
    begins = rows["offset"] + rows["data_begin"]
    capacities = np.minimum(rows["offset"] + rows["length"], data.size) - begins
    capacities = np.where(rows["data_begin"] >= 48, np.maximum(capacities, 0), 0)
    sizes = rows["n_samples"] * dtype.itemsize
    places = ends * dtype.itemsize - sizes
    columns = (begins, capacities, encodings, rows["n_samples"], places, sizes, rows["swapped"])
    decode_one = clibmseed.ms_decode_data
    corrupt: list[int] = []
    # The size of the output is that of the record, so that none writes into the next.
    for k, (begin, capacity, encoding, n, place, size, swapped) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        got = decode_one(
            source + begin, capacity, encoding, n, target + place, size, kind, swapped, name, 0
        )
        if got != n:
            corrupt.append(k)
            if len(corrupt) == _MAX_CORRUPT:
                corrupt.extend(range(k + 1, rows.size))
                break
    right = _have_right_ends(data, rows, encodings, samples[ends - 1])
    right[corrupt] = False
    if right.all():
        return rows, samples
    return rows[right], samples[np.repeat(right, rows["n_samples"])]


def _have_right_ends(
    data: np.ndarray, rows: np.ndarray, encodings: np.ndarray, lasts: np.ndarray
) -> np.ndarray:
    """Whether the last sample is that in the header of a Steim record: bool (n_records,)."""
    right = np.ones(rows.size, bool)
    steim = np.flatnonzero(np.isin(encodings, _STEIM))
    at = rows["offset"][steim] + rows["data_begin"][steim] + 8  # after control word and first
    word = data[np.minimum(at[:, None] + np.arange(4), data.size - 1)].copy()
    expected = np.where(rows["swapped"][steim], word.view(">i4")[:, 0], word.view("<i4")[:, 0])
    right[steim] = expected == lasts[steim]
    return right
