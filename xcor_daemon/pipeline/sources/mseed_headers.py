"""Headers of miniSEED records, parsed all at once and validated; samples are not decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..datatypes import NS

_TEXT, _UNKNOWN = 0, 255  # encodings: text, and not in the header
_STEP = 64  # bytes; records start at multiples of it
_WINDOW = 1 << 20  # bytes whose possible headers are parsed at a time
_AHEAD = 4096  # records parsed at a time, at first: most files have records of one length

_HEADER = np.dtype(
    [
        ("sequence", "6u1"), ("quality", "u1"), ("reserved", "u1"), ("code", "S12"),
        ("year", "u2"), ("day", "u2"), ("hour", "u1"), ("minute", "u1"), ("second", "u1"),
        ("unused", "u1"), ("fraction", "u2"), ("n_samples", "u2"), ("factor", "i2"),
        ("multiplier", "i2"), ("activity", "u1"), ("io", "u1"), ("data_quality", "u1"),
        ("n_blockettes", "u1"), ("correction", "i4"), ("data_begin", "u2"), ("blockette", "u2"),
    ]
)  # fmt: skip
_BIG, _LITTLE = _HEADER.newbyteorder(">"), _HEADER.newbyteorder("<")
_ROW = np.dtype(
    [
        ("offset", "i8"), ("length", "i8"), ("code", "S12"), ("quality", "u1"), ("start", "i8"),
        ("end", "i8"), ("fs", "f8"), ("n_samples", "i8"), ("encoding", "u1"), ("valid", "?"),
        ("data_begin", "i8"), ("swapped", "?"),
    ]
)  # fmt: skip
_IS_SEQUENCE, _IS_QUALITY, _IS_BLANK = (
    np.isin(np.arange(256), list(letters)) for letters in (b"0123456789 \0", b"DRQM", b" \0")
)


@dataclass(frozen=True)
class Records:
    """The records of a file or reply: their headers as rows, in order."""

    data: np.ndarray  # uint8 (n_bytes,)
    rows: np.ndarray  # _ROW (n_records,): offsets and lengths in bytes, times in ns since 1970
    n_cut: int  # bytes of a truncated last record
    codes: dict[str, tuple[bytes, ...]] = field(init=False)  # channel id -> codes in the headers

    def __post_init__(self) -> None:
        codes: dict[str, tuple[bytes, ...]] = {}
        for code in distinct(self.rows["code"]):
            codes[channel_id_of(code)] = (*codes.get(channel_id_of(code), ()), code)
        object.__setattr__(self, "codes", codes)

    def of(self, channel_id: str) -> np.ndarray:
        """Return the rows (n,) of a channel."""
        codes = self.codes.get(channel_id, ())
        if len(self.codes) == 1 and codes:
            return self.rows
        return self.rows[np.isin(self.rows["code"], np.array(codes, "S12"))]

    def spans(self) -> dict[str, tuple[int, int]]:
        """First and last time of the samples of each channel (ns since 1970), without text."""
        spans = {}
        for channel_id in self.codes:
            rows = self.of(channel_id)
            rows = rows[sampled(rows)]
            if rows.size:
                spans[channel_id] = (int(rows["start"].min()), int(rows["end"].max()))
        return spans


def scan(content: bytes | np.ndarray) -> Records:
    """Find the records in bytes; other content (SEED control headers, noise) is skipped.

    Parameters
    ----------
    content : bytes or uint8 array, shape (n_bytes,)
        Any bytes.

    Returns
    -------
    records : Records
        Its ``rows`` are empty if there is no record.
    """
    data = np.frombuffer(content, np.uint8)
    blocks, offset, n_cut = [np.empty(0, _ROW)], 0, 0
    while offset + _HEADER.itemsize <= data.size:
        rows = _scan_equal_lengths(data, offset)
        if rows.size < 32:
            rows, offset, cut = _scan_any_lengths(data, offset)
            n_cut = cut or n_cut
        else:
            offset = int(rows["offset"][-1] + rows["length"][-1])
        blocks.append(rows)
    return Records(data, np.concatenate(blocks), n_cut)


def _scan_equal_lengths(data: np.ndarray, offset: int) -> np.ndarray:
    """Rows of records from ``offset`` on, as far as all have the length of the first."""
    blocks = [_parse(data, np.array([offset]))]
    length = int(blocks[0]["length"][0])
    if not blocks[0]["valid"][0] or not length or offset + length > data.size:
        return blocks[0][:0]
    offset, ahead = offset + length, _AHEAD
    while offset + length <= data.size:
        rows = _parse(data, np.arange(offset, data.size - length + 1, length)[:ahead])
        alike = rows["valid"] & (rows["length"] == length)
        if not alike.all():
            blocks.append(rows[: alike.argmin()])
            break
        blocks.append(rows)
        offset, ahead = offset + rows.size * length, min(8 * ahead, 1 << 20)
    return np.concatenate(blocks)


def _scan_any_lengths(data: np.ndarray, offset: int) -> tuple[np.ndarray, int, int]:
    """Rows of records in the next `_WINDOW` bytes, the next offset, and bytes of a truncated one.

    All possible headers are parsed; a record without blockette 1000 ends at the next header.
    """
    limit = min(offset + _WINDOW, data.size - _HEADER.itemsize + 1)
    rows = _parse(data, np.arange(offset, limit, _STEP))
    headers = np.flatnonzero(rows["valid"])
    lengths = rows["length"][headers]
    for k in np.flatnonzero(lengths == 0):
        after = headers[headers >= headers[k] + 2]
        end = rows["offset"][after[0]] if after.size else min(data.size, offset + _WINDOW)
        lengths[k] = end - rows["offset"][headers[k]]
    rows["length"][headers] = lengths
    taken, goal, n_cut = [], offset, 0
    for header, start, length in zip(
        headers.tolist(), rows["offset"][headers].tolist(), lengths.tolist(), strict=True
    ):
        if start < goal:
            continue  # within the previous record
        if start + length > data.size:
            n_cut = data.size - start
            continue
        taken.append(header)
        goal = start + length
    return rows[taken], max(goal, int(rows["offset"][-1]) + _STEP), n_cut


def parse_heads(heads: bytes, step: int) -> np.ndarray:
    """Parse the headers of records whose first ``step`` bytes are concatenated: rows (n,)."""
    data = np.frombuffer(heads, np.uint8)
    return _parse(data, np.arange(0, data.size - step + 1, step))


def distinct(values: np.ndarray) -> list[Any]:
    """Return the distinct values of an array (n,); fast if there is only one."""
    if values.size and (values == values[0]).all():
        return [values[0]]
    return list(np.unique(values))


def rows_by_code_and_quality(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Group rows (n,) by channel code and quality, as libmseed does; each group in order."""
    for code in distinct(rows["code"]):
        of_code = rows[rows["code"] == code]
        for quality in distinct(of_code["quality"]):
            yield of_code[of_code["quality"] == quality]


def sampled(rows: np.ndarray) -> np.ndarray:
    """Whether rows (n,) have samples that are not text: bool (n,)."""
    return (rows["n_samples"] > 0) & (rows["fs"] > 0) & (rows["encoding"] != _TEXT)


def channel_id_of(code: bytes) -> str:
    """Return the channel id of a header's code: ``b"WBM    LHZCI"`` -> ``CI.WBM..LHZ``."""
    parts = (code[10:12], code[:5], code[5:7], code[7:10])
    return ".".join(part.decode("ascii", "ignore").strip(" \0") for part in parts)


def _gather(data: np.ndarray, offsets: np.ndarray, n: int) -> np.ndarray:
    """``n`` bytes from each offset on, uint8 (n_offsets, n); fast if they are evenly spaced."""
    steps = np.diff(offsets)
    if steps.size and steps[0] > 0 and (steps == steps[0]).all():
        shape, strides = (offsets.size, n), (int(steps[0]), 1)
        return as_strided(data[offsets[0] :], shape, strides, writeable=False).copy()
    return data[offsets[:, None] + np.arange(n)]


def _parse(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Rows of the headers at ``offsets``; other content is not ``valid``."""
    header = _gather(data, offsets, _HEADER.itemsize)
    big, little = header.view(_BIG)[:, 0], header.view(_LITTLE)[:, 0]
    swapped = ~_is_date(big)

    any_swapped = bool(swapped.any())

    def value(name: str) -> np.ndarray:
        right = np.where(swapped, little[name], big[name]) if any_swapped else big[name]
        return right.astype("i8")

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
    # With invalid blockettes the offset of the samples is not trusted either.
    rows["data_begin"] = np.where(found["invalid"], 0, value("data_begin"))
    # Byte order of the samples, for a little-endian machine; by default that of the header.
    rows["swapped"] = np.where(found["order"] < 2, found["order"] == 1, ~swapped)
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
    most = np.where(rows["length"] > 0, 2 * rows["length"], 1 << 20)
    rows["valid"] &= (rows["n_samples"] <= most) & ~(lasts > 1e17)
    return rows


def _is_date(header: np.ndarray) -> np.ndarray:
    """Whether year and day are valid, which shows the byte order."""
    year, day = header["year"], header["day"]
    return (year >= 1900) & (year <= 2100) & (day >= 1) & (day <= 366)


def _rate(factor: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    """Sampling rate (Hz) from the two numbers of a header; 0 without samples."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(factor >= 0, factor, -1.0 / factor)
        rate = np.where(multiplier > 0, rate * multiplier, rate)
        return np.where(multiplier < 0, -rate / multiplier, rate)


def _blockettes(
    data: np.ndarray, offsets: np.ndarray, first: np.ndarray, swapped: np.ndarray
) -> dict[str, np.ndarray]:
    """Values of blockettes 100 (rate), 1000 (length, encoding, byte order), 1001 (microseconds)."""
    found = {
        "length": np.zeros(offsets.size, "i8"),
        "encoding": np.full(offsets.size, _UNKNOWN, "u1"),
        "order": np.full(
            offsets.size, 2, "u1"
        ),  # byte order of the samples: 0 little-endian, 1 big, 2 not given
        "invalid": (first != 0) & (first < _HEADER.itemsize),  # impossible offset
        "micro": np.zeros(offsets.size, "i8"),
        "fs": np.zeros(offsets.size),
    }
    offset = furthest = first
    for _ in range(16):
        live = (offset >= _HEADER.itemsize) & (offsets + offset + 8 <= data.size)
        if not live.any():
            break
        at = np.where(live, offsets + offset, 0)
        block = _gather(data, at, 8)
        order = np.where(swapped[:, None], block.view("<u2"), block.view(">u2"))
        kind = np.where(live, order[:, 0], 0)
        is_length = (kind == 1000) & (block[:, 6] >= 7) & (block[:, 6] <= 20)
        found["length"][is_length] = np.left_shift(1, block[is_length, 6].astype("i8"))
        found["encoding"][is_length] = block[is_length, 4]
        found["order"][is_length] = block[is_length, 5] > 0
        is_micro = kind == 1001
        found["micro"][is_micro] = block[is_micro, 5].astype("i1")
        is_rate = kind == 100
        rate = np.where(swapped, block.view("<f4")[:, 1], block.view(">f4")[:, 1])
        found["fs"][is_rate] = np.where(np.isfinite(rate), rate, 0)[is_rate]
        following = np.where(live, order[:, 1], 0).astype("i8")
        found["invalid"] |= (following != 0) & (following <= offset)
        offset = np.where(following > offset, following, 0)
        furthest = np.maximum(furthest, offset)
    limit = np.where(found["length"] > 0, found["length"], data.size)
    found["invalid"] |= furthest + 4 > limit
    return found
