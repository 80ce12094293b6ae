"""Records of miniSEED -> samples, by libmseed: one call a record, and a broken one costs itself."""

from __future__ import annotations

import numpy as np
import pymseed
from pymseed import clibmseed, ffi

_STEIM1, _UNKNOWN = 10, 255
_STEIM = (10, 11)
# The numbers that an encoding decodes to, where they are not whole: GEOSCOPE's three are gains.
_FLOATS = {4: np.float32, 5: np.float64, 12: np.float32, 13: np.float32, 14: np.float32}
_MAX_REFUSALS = 200  # records of an encoding that may be refused before the rest is given up


def decode(data: np.ndarray, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and their samples, end to end; less the records that libmseed refuses.

    Parameters
    ----------
    data : uint8 array
        The bytes that the rows tell of.
    rows : array of records' headers
        Of one channel, from `mseed_headers.scan`.

    Returns
    -------
    decoded : list of (rows, samples)
        One for every kind of number among the encodings; most often a single one of int32.
    """
    encodings = np.where(rows["encoding"] == _UNKNOWN, _STEIM1, rows["encoding"])
    kinds = np.array([np.dtype(_FLOATS.get(int(code), np.int32)).num for code in range(256)])
    kind = kinds[encodings]
    pymseed.configure_logging()  # of this thread: messages into a ring, not to stderr
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
    """Those of the rows that can be decoded, and their samples."""
    ends = np.cumsum(rows["n_samples"])
    samples = np.empty(int(ends[-1]), dtype)
    source = ffi.cast("char *", data.ctypes.data)
    target = ffi.cast("char *", samples.ctypes.data)
    kind, name = ffi.new("char *"), ffi.new("char[]", b"")
    # Bytes of samples; a header that points outside its record leaves none.
    begins = rows["offset"] + rows["data_begin"]
    rooms = np.minimum(rows["offset"] + rows["length"], data.size) - begins
    rooms = np.where(rows["data_begin"] >= 48, np.maximum(rooms, 0), 0)
    sizes = rows["n_samples"] * dtype.itemsize
    places = ends * dtype.itemsize - sizes
    columns = (begins, rooms, encodings, rows["n_samples"], places, sizes, rows["swapped"])
    decode_one = clibmseed.ms_decode_data
    refused: list[int] = []
    # libmseed is told its output's room: of the record, so that none writes into the next.
    for k, (begin, room, encoding, n, place, size, swapped) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        got = decode_one(
            source + begin, room, encoding, n, target + place, size, kind, swapped, name, 0
        )
        if got != n:
            refused.append(k)
            if len(refused) == _MAX_REFUSALS:
                refused.extend(range(k + 1, rows.size))
                break
    right = _ends_right(data, rows, encodings, samples[ends - 1])
    right[refused] = False
    if right.all():
        return rows, samples
    return rows[right], samples[np.repeat(right, rows["n_samples"])]


def _ends_right(
    data: np.ndarray, rows: np.ndarray, encodings: np.ndarray, lasts: np.ndarray
) -> np.ndarray:
    """Which records end as they say: those of differences tell their last sample beforehand."""
    right = np.ones(rows.size, bool)
    steim = np.flatnonzero(np.isin(encodings, _STEIM))
    at = rows["offset"][steim] + rows["data_begin"][steim] + 8  # after control word and first
    word = data[np.minimum(at[:, None] + np.arange(4), data.size - 1)].copy()
    told = np.where(rows["swapped"][steim], word.view(">i4")[:, 0], word.view("<i4")[:, 0])
    right[steim] = told == lasts[steim]
    return right
