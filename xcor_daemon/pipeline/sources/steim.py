"""Steim-compressed records -> samples, a third of libmseed's time; or not at all.

Only plain records are decoded here: Steim-1 or Steim-2, big-endian, with the blockettes 1000 and
maybe 1001, and as many samples as the header says, the last of which is what the record says. For
all others libmseed is asked, which knows the odd ones and says what is wrong.

SEED Reference Manual 2.4 (FDSN 2012), appendix B.
"""

from __future__ import annotations

import numba
import numpy as np

STEIM1, STEIM2 = 10, 11  # encodings
_DATE, _DATA, _FIRST, _ORDER = 20, 44, 46, 53  # bytes of a header that are looked at
_HEADER = 48


def decode(content: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """Samples of records that lie one after the other; None where one of them is not plain.

    Parameters
    ----------
    content : uint8 array
        The records' bytes.
    rows : structured array
        Their headers, see `Records`; of one channel.

    Returns
    -------
    samples : int32 array, or None
    """
    encoding = int(rows["encoding"][0])
    if encoding not in (STEIM1, STEIM2) or (rows["encoding"] != encoding).any():
        return None
    begins = np.cumsum(rows["length"]) - rows["length"]
    data = _big(content, begins + _DATA)
    years = _big(content, begins + _DATE)
    after = _big(content, begins + _HEADER + 2)  # where the next blockette is
    is_last = after == 0
    is_1001 = (after == _HEADER + 8) & (_big(content, begins + _HEADER + 8) == 1001)
    is_1001 &= _big(content, begins + _HEADER + 10) == 0
    is_plain = (
        (years > 1900)
        & (years < 2200)
        & (_big(content, begins + _FIRST) == _HEADER)
        & (_big(content, begins + _HEADER) == 1000)
        & (content[begins + _ORDER] == 1)
        & (is_last | is_1001)
        & (data >= _HEADER + 8 * (2 - is_last))
        & (data % 4 == 0)
        & (data + 64 <= rows["length"])
    )
    if not is_plain.all() or content.size % 4:
        return None
    words = content.view(">u4").astype(np.uint32)
    samples = np.empty(int(rows["n_samples"].sum()), np.int32)
    frames = (rows["length"] - data) // 64
    places = (begins + data) // 4
    is_whole = _unpack(words, places, frames, rows["n_samples"], encoding == STEIM2, samples)
    return samples if is_whole else None


def _big(content: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Big-endian numbers of two bytes."""
    return content[places].astype("i8") << 8 | content[places + 1]


@numba.njit(nogil=True, cache=True)
def _unpack(
    words: np.ndarray,
    places: np.ndarray,
    frames: np.ndarray,
    counts: np.ndarray,
    is_second: bool,
    samples: np.ndarray,
) -> bool:
    """Fill ``samples``; False at the first record that is not what it says."""
    begin = 0
    few = np.empty(8, np.int32)
    for record in range(places.size):
        end = begin + counts[record]
        place = places[record]
        # Of the first sample; what its difference is to the record before is not used.
        value, last = np.int64(np.int32(words[place + 1])), np.int32(words[place + 2])
        at = begin
        for frame in range(frames[record]):
            control = np.int64(words[place])
            for k in range(3 if frame == 0 else 1, 16):
                kind = control >> (30 - 2 * k) & 3
                if kind == 0:
                    continue
                word = np.int64(words[place + k])
                if at > begin and at + 8 <= end:
                    n, value = _differences(kind, word, is_second, value, samples, at)
                    at += n
                    if n == 0:
                        return False
                    continue
                # At both ends of a record a word may hold more than is wanted.
                before = value
                n, value = _differences(kind, word, is_second, value, few, 0)
                if n == 0:
                    return False
                skew = few[0] - before if at == begin else 0
                n = min(n, end - at)
                for i in range(n):
                    samples[at + i] = few[i] - skew
                if n:
                    value = np.int64(samples[at + n - 1])
                at += n
            if at == end:
                break
            place += 16
        if at < end or np.int32(value) != last:
            return False
        begin = end
    return True


@numba.njit(inline="always")
def _differences(
    kind: int, word: int, is_second: bool, value: int, samples: np.ndarray, at: int
) -> tuple[int, int]:
    """How many differences a word holds (0: there is no such kind), and the last sample."""
    if kind == 1:
        return 4, _add(word, 4, 8, value, samples, at)
    if not is_second:
        if kind == 2:
            return 2, _add(word, 2, 16, value, samples, at)
        return 1, _add(word, 1, 32, value, samples, at)
    sub = word >> 30
    if kind == 3:
        if sub == 0:
            return 5, _add(word, 5, 6, value, samples, at)
        if sub == 1:
            return 6, _add(word, 6, 5, value, samples, at)
        if sub == 2:
            return 7, _add(word, 7, 4, value, samples, at)
        return 0, value
    if sub == 1:
        return 1, _add(word, 1, 30, value, samples, at)
    if sub == 2:
        return 2, _add(word, 2, 15, value, samples, at)
    if sub == 3:
        return 3, _add(word, 3, 10, value, samples, at)
    return 0, value


@numba.njit(inline="always")
def _add(word: int, n: int, width: int, value: int, samples: np.ndarray, at: int) -> int:
    """Sum up ``n`` differences of so many bits; a shift to the right brings down the sign."""
    for i in range(n):
        value += word << (64 - (n - i) * width) >> (64 - width)
        samples[at + i] = value
    return value
