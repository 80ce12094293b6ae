"""Recognition of the format of a file that is neither miniSEED nor StationXML."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

BEGINNING = 4096  # bytes that suffice to recognise a format
STATIONXML = "StationXML, not miniSEED"

_WAVEFORMS = (
    ', which is not read; convert it to miniSEED with ObsPy: read(FILE).write(OUT, "MSEED")'
)
_RESPONSES = (
    ", which is not read; convert it to StationXML with ObsPy: "
    'read_inventory(FILE).write(OUT, "STATIONXML")'
)
_NO_RESPONSE = ", which is not read; take the StationXML of its channels from a data centre"
_OTHER = ", which is not read; it has neither waveforms nor responses"
_WRITE = ", which is not read; write its waveforms as miniSEED"
_UNPACK = "; unpack it"


def describe_bytes(beginning: bytes) -> str:
    """Describe the format of a file without miniSEED records, with a remedy.

    Parameters
    ----------
    beginning : bytes
        Its first `BEGINNING` bytes, or all bytes of a smaller file.
    """
    if not beginning:
        return "empty"
    for name, is_it, remedy in _FORMATS:
        if is_it(beginning):
            return name + remedy
    text = beginning[:60]
    if sum(byte < 9 or 13 < byte < 32 or byte > 126 for byte in text) > len(text) // 10:
        return f"not miniSEED: binary data of an unknown format, from 0x{text[:8].hex()} on"
    return f"not miniSEED: {text.decode('ascii', 'replace').strip()!r}"


def _starts(*signs: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(signs)


def _has(pattern: bytes) -> Callable[[bytes], bool]:
    found = re.compile(pattern, re.MULTILINE)
    return lambda data: found.search(data) is not None


def _is_sac(data: bytes) -> bool:
    """Header version 6 or 7 in either byte order, and a positive sampling interval (SAC manual)."""
    if len(data) < 632:
        return False
    for order in "<>":
        (delta,) = struct.unpack_from(f"{order}f", data, 0)
        version, n_points = (struct.unpack_from(f"{order}i", data, k)[0] for k in (304, 316))
        if version in (6, 7) and 0 < delta < 1e6 and n_points >= 0:
            return True
    return False


def _is_segy(data: bytes) -> bool:
    """3200 bytes of EBCDIC or ASCII, then a valid code of the sample format (SEG-Y)."""
    if len(data) < 3600:
        return False
    is_text = data[:1] in (b"\xc3", b"C") or set(data[:3200:40]) <= {0x40, 0x20, 0}
    return is_text and any(
        struct.unpack_from(f"{order}H", data, 3224)[0] in (1, 2, 3, 4, 5, 8) for order in "<>"
    )


def _is_win(data: bytes) -> bool:
    """The time of the first second as binary-coded decimals, after 4 bytes (WIN, WIN32)."""
    if len(data) < 16:
        return False
    for digits, has_century in ((data[4:12].hex(), True), (data[4:10].hex(), False)):
        if not digits.isdigit() or (has_century and not digits.startswith(("19", "20"))):
            continue
        year = 4 if has_century else 2
        month, day, hour, minute, second = (
            int(digits[k : k + 2]) for k in range(year, year + 10, 2)
        )
        if 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61:
            return True
    return False


def _is_seisan(data: bytes) -> bool:
    """Fortran records of 80 characters, with their length (80, ``P``) before and after each."""
    return data[:2] == b"KP" or data[:4] in (b"P\0\0\0", b"\0\0\0P") and data[84:88] == data[:4]


def _is_reftek(data: bytes) -> bool:
    """An event header of Reftek 130; a packet has 1024 bytes."""
    return data[:2] == b"EH" and len(data) >= 1024 and any(byte < 9 for byte in data[:16])


# Recognition of formats, the most reliable first: https://docs.obspy.org/packages/obspy.io.html
_FORMATS: tuple[tuple[str, Callable[[bytes], bool], str], ...] = (
    ("miniSEED 3, which is not read yet", _starts(b"MS\x03"), "; convert it to miniSEED 2"),
    ("HDF5", _starts(b"\x89HDF\r\n\x1a\n"), _WRITE),
    ("numpy's format", _starts(b"\x93NUMPY"), _WRITE),
    (
        "compressed",
        _starts(b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"(\xb5/\xfd"),
        _UNPACK,
    ),
    ("a tar archive", lambda data: data[257:262] == b"ustar", _UNPACK),
    ("a pickle, which is never loaded", _starts(*(bytes([128, k]) for k in range(2, 6))), ""),
    ("dataless SEED", _has(rb"\A\d{6}[VASRT][ *]\d{3}"), _RESPONSES),
    (STATIONXML, _has(rb"<(\w+:)?FDSNStationXML"), ""),
    ("QuakeML", _has(rb"<(\w+:)?quakeml\b|quakeml\.org/xmlns"), _OTHER),
    ("SeisComP's XML", _has(rb"<seiscomp"), _RESPONSES),
    ("XML-SEED", _has(rb"<(xseed|dataless)\b"), _RESPONSES),
    ("XML of another kind", _has(rb"\A(\xef\xbb\xbf)?\s*<\?xml"), ""),
    ("RESP", _has(rb"^B05[0-9]F[0-9]{2}"), _RESPONSES),
    ("SAC poles and zeros", _has(rb"^\s*ZEROS\s|KNETWK"), _NO_RESPONSE),
    ("FDSN's station text", _has(rb"\A#\s*Network\s*\|"), _NO_RESPONSE),
    ("GSE2", _has(rb"\A\s*(BEGIN|WID2)"), _WAVEFORMS),
    ("GSE1", _has(rb"\A\s*(WID1|XW01)"), _WAVEFORMS),
    ("SLIST or TSPAIR", _starts(b"TIMESERIES "), _WAVEFORMS),
    ("K-NET", _has(rb"\AOrigin Time "), _WAVEFORMS),
    ("SEG-2", _starts(b"U:", b":U"), _WAVEFORMS),
    ("AH", _starts(b"\0\0\x04L", b"\0\0\0\x06"), _WAVEFORMS),
    ("Reftek 130", _is_reftek, _WAVEFORMS),
    ("SEISAN", _is_seisan, _WAVEFORMS),
    ("SAC", _is_sac, _WAVEFORMS),
    ("SEG-Y", _is_segy, _WAVEFORMS),
    ("WIN", _is_win, _WAVEFORMS),
)
