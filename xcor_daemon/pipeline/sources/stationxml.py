"""StationXML -> coordinates and instrument responses, a curve for every epoch.

A response is evaluated by evalresp once, at some 2000 frequencies; `transfer` (in
`preprocessing/response.py`) interpolates. This module is loaded only when StationXML is read,
since ObsPy takes 0.1 s to load.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from lxml.etree import XMLSyntaxError
from obspy import UTCDateTime, read_inventory
from obspy.core import inventory
from obspy.core.inventory import Inventory, Response
from obspy.core.inventory import PolynomialResponseStage as Polynomial
from obspy.core.util.base import ENTRY_POINTS
from obspy.core.util.obspy_types import ObsPyException

from ...request.stations import Channel
from ..datatypes import Epoch, Metadata, ResponseCurve, nanoseconds
from ..lazy_imports import defer_package

# To recognise a format ObsPy would unpickle the file.
ENTRY_POINTS["waveform"].pop("PICKLE", None)

MAX_XML_BYTES = 256 << 20
# Hz; freqmin is at least 1/86400 Hz, and the pre-filter is zero below a quarter of it.
LOWEST = 2e-6
_OUTPUT = {"velocity": "VEL", "displacement": "DISP", "acceleration": "ACC"}
_POWER = {"VEL": 0, "DISP": -1, "ACC": 1}  # of omega, from this unit to velocity
_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["']""")
_PLAIN = re.compile(rb"(?i)utf-?8|(us-)?ascii|iso-8859-\d{1,2}|latin-?1|windows-125\d")
_ALWAYS = 1 << 62  # ns; an epoch without a start or an end
# Units that ObsPy recognises and scales (it takes cm/(s**2) for m/s**2, and strain for metres):
# kind of ground motion, and number of them in the unit with metres.
_MOTION = {
    prefix + unit: (output, scale)
    for unit, output in {"M": "DISP", "M/S": "VEL", "M/SEC": "VEL", "M/S**2": "ACC"}.items()
    for prefix, scale in {"": 1.0, "C": 1e2, "M": 1e3, "N": 1e9}.items()
} | dict.fromkeys(("M/(S**2)", "M/SEC**2", "M/(SEC**2)", "M/S/S"), ("ACC", 1.0))
# (fingerprint of a response, Nyquist frequency) -> its curve, or the reason for none.
_Curves = dict[tuple[str, float], ResponseCurve | ValueError]
_OBSPY_ERRORS = (
    ObsPyException,
    ValueError,
    NotImplementedError,
    ArithmeticError,
    LookupError,
    OSError,
    EOFError,
    TypeError,
    AttributeError,
)


def read_stationxml(content: bytes) -> Inventory:
    """Parse StationXML from an untrusted source.

    Raises
    ------
    ValueError
        If it is too large, has a document type (entity expansion), or is not StationXML.
    """
    if len(content) > MAX_XML_BYTES:
        raise ValueError(f"is larger than {MAX_XML_BYTES >> 20} MB")
    check_xml(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_inventory(io.BytesIO(content), format="STATIONXML")
    except (XMLSyntaxError, *_OBSPY_ERRORS) as error:
        raise ValueError(f"is not valid StationXML: {error}") from error


def check_xml(content: bytes) -> None:
    """Reject XML that declares entities, against entity expansion, or could hide a declaration.

    Raises
    ------
    ValueError
        If it has a document type, or an encoding in which the search would not find one (UTF-16,
        UTF-7, EBCDIC ...); station services and buckets use neither.
    """
    begin = content[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    declared = _ENCODING.match(begin)
    is_odd = b"\0" in content[:64] or bool(begin and not begin.startswith(b"<"))
    if is_odd or (declared and not _PLAIN.fullmatch(declared[1])):
        raise ValueError("is not XML in UTF-8")
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError("has a document type, which is not allowed")


def curve(response: Response, units: str, nyquist: float) -> ResponseCurve:
    """Evaluate a response from 2e-6 Hz to the Nyquist frequency.

    At 1024 frequencies with equal steps of their logarithm and 1024 with equal steps from 1/16 of
    the Nyquist frequency on, where anti-alias filters ripple and fall off; both are doubled up to
    four times while the phase changes by more than 90 degrees between two points. The curve ends
    below the Nyquist frequency if the response falls to 1e-6 of its maximum (as velocity): the
    ground motion cannot be recovered there.

    Parameters
    ----------
    response : obspy Response
        With all stages.
    units : str
        ``velocity``, ``displacement`` or ``acceleration``.
    nyquist : float
        Half the channel's sampling rate (Hz).

    Returns
    -------
    curve : ResponseCurve
        Counts per m, m/s or m/s^2.

    Raises
    ------
    ValueError
        If there is no response to ground motion; the message is the reason.
    """
    if problem := _problem(response):
        raise ValueError(problem)
    output = _OUTPUT[units]
    for density in (1, 2, 4, 8, 16):
        log_steps = np.geomspace(min(LOWEST, nyquist / 1e3), nyquist, 1024 * density)
        frequency = np.union1d(log_steps, np.linspace(nyquist / 16, nyquist, 1024 * density))
        # Slopes between nearly equal frequencies are round-off.
        frequency = frequency[np.diff(np.log(frequency), prepend=-np.inf) > 1e-6]
        values = _evaluate(response, frequency, output)
        velocity = np.abs(values) * frequency ** _POWER[output]
        top = int(velocity.argmax())
        gone = np.flatnonzero(velocity[top:] < 1e-6 * velocity[top])
        stop = top + int(gone[0]) if gone.size else frequency.size
        phase = np.unwrap(np.angle(values[:stop]))
        if stop < 4 or not np.isfinite(values[:stop]).all() or not values[:stop].all():
            raise ValueError("the response is zero or not finite within the band of the channel")
        if np.abs(np.diff(phase)).max() < np.pi / 2:
            break
    return ResponseCurve(frequency[:stop], np.log(np.abs(values[:stop])), phase)


def metadata_from_inventory(
    inventories: Inventory | Iterable[Inventory], channels: Iterable[Channel], response: str
) -> Metadata:
    """Collect the epochs of channels: coordinates, and the response or the reason for none.

    Parameters
    ----------
    inventories : Inventory or iterable of Inventory
        The first that contains an epoch is used.
    channels : iterable of Channel
        Channels to find; those in no inventory are missing from the result.
    response : str
        As in params.csv; with ``none`` responses are not evaluated.
    """
    if isinstance(inventories, Inventory):
        inventories = [inventories]
    wanted = {channel.id: channel for channel in channels}
    found: dict[str, list[Epoch]] = {}
    cache: _Curves = {}
    for one in inventories:
        for network in one:
            for station in network:
                for described in station:
                    location = (described.location_code or "").strip().strip("-")
                    channel_id = f"{network.code}.{station.code}.{location}.{described.code}"
                    if channel_id not in wanted:
                        continue
                    epoch = _epoch(described, station, wanted[channel_id], response, cache)
                    if epoch is not None:
                        found.setdefault(channel_id, []).append(epoch)
    return Metadata({channel_id: _in_order(epochs) for channel_id, epochs in found.items()})


def _epoch(
    described: inventory.Channel,
    station: inventory.Station,
    channel: Channel,
    response: str,
    cache: _Curves,
) -> Epoch | None:
    """One epoch; None if it does not overlap with the times of the channel."""
    start = -_ALWAYS if described.start_date is None else described.start_date.ns
    end = _ALWAYS if described.end_date is None else described.end_date.ns
    spans = [tuple(map(nanoseconds, span)) for span in channel.spans]
    if start >= end or (spans and not any(a < end and b > start for a, b in spans)):
        return None
    epoch = Epoch(
        start,
        end,
        latitude=_number(described.latitude, station.latitude),
        longitude=_number(described.longitude, station.longitude),
        elevation=_number(described.elevation, station.elevation),
    )
    if response == "none":
        return epoch
    if described.response is None:
        return replace(epoch, problem="no response in the StationXML")
    nyquist = _sampling_rate(described, channel) / 2
    key = (_fingerprint(described.response), nyquist)
    if key not in cache:
        try:
            cache[key] = curve(described.response, response, nyquist)
        except ValueError as error:
            cache[key] = error
    known = cache[key]
    if isinstance(known, ValueError):
        return replace(epoch, problem=str(known))
    warning = _mismatch(described.response, nyquist)
    return replace(epoch, response=known, warning=warning)


def _in_order(epochs: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """Epochs in order of their starts, without overlaps."""
    ordered: list[Epoch] = []
    for epoch in sorted(epochs, key=lambda epoch: epoch.start):
        if ordered and ordered[-1].start == epoch.start:
            if ordered[-1].response is None and epoch.response is not None:
                ordered[-1] = epoch
            continue
        if ordered and ordered[-1].end > epoch.start:
            last = ordered.pop()
            ordered.append(Epoch(**{**vars(last), "end": epoch.start}))
        ordered.append(epoch)
    return tuple(ordered)


def _number(value: float | None, instead: float | None) -> float:
    chosen = instead if value is None else value
    return np.nan if chosen is None else float(chosen)


def _sampling_rate(described: inventory.Channel, channel: Channel) -> float:
    """Sampling rate (Hz) from the StationXML, else the request, else the last stage."""
    stages = described.response.response_stages or []
    last = [s for s in stages if s.decimation_input_sample_rate and s.decimation_factor]
    from_stages = last[-1].decimation_input_sample_rate / last[-1].decimation_factor if last else 0
    return float(described.sample_rate or channel.sample_rate or from_stages or 200.0)


def _problem(response: Response) -> str:
    """The reason why a response is not one of ground motion in counts; empty if it is."""
    stages = response.response_stages
    sensitivity = response.instrument_sensitivity
    if response.instrument_polynomial is not None or any(isinstance(s, Polynomial) for s in stages):
        return "the response is a polynomial, which has no frequency response"
    if not stages:
        return (
            "the StationXML has a sensitivity but no response stages"
            if sensitivity
            else ("no response in the StationXML")
        )
    numbers = sorted(stage.stage_sequence_number for stage in stages)
    if numbers != list(range(1, len(numbers) + 1)):
        shown = ", ".join(map(str, numbers[:20]))
        return f"the response has the stages {shown}; they must be numbered from 1 without gaps"
    units = _input_units(response)
    if units.upper() not in _MOTION:
        shown = repr(units[:20]) if units else "missing"
        return f"the input units of the response are {shown}, not of ground motion in metres"
    last = max(stages, key=lambda stage: stage.stage_sequence_number)
    if (last.output_units or "").upper() in ("V", "VOLT", "VOLTS"):
        return "the response ends in volts, not in counts"
    return ""


def _input_units(response: Response) -> str:
    first = min(response.response_stages, key=lambda stage: stage.stage_sequence_number)
    total = response.instrument_sensitivity
    return (first.input_units or (total.input_units if total else "") or "").strip()


def _evaluate(response: Response, frequency: np.ndarray, output: str) -> np.ndarray:
    """evalresp's values at frequencies (Hz), complex128 (n,); else ValueError with the reason."""
    # ObsPy imports the latter for response lists.
    for package in ("obspy.signal", "scipy.interpolate"):
        defer_package(package)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values: np.ndarray = response.get_evalresp_response_for_frequencies(
                frequency, output=output, hide_sensitivity_mismatch_warning=True
            )
            return values
    except _OBSPY_ERRORS as error:
        raise ValueError(f"evalresp cannot evaluate the response: {error}") from error


def _mismatch(response: Response, nyquist: float) -> str:
    """A warning if the reported sensitivity differs by more than 5 % from the stages; else empty.

    If its frequency is near the Nyquist frequency or above, the product of the gains is compared.
    """
    total = response.instrument_sensitivity
    if not total or not total.value or not total.frequency:
        return ""
    output, scale = _MOTION[_input_units(response).upper()]
    if total.frequency < 0.8 * nyquist:
        actual = abs(_evaluate(response, np.array([float(total.frequency)]), output)[0]) / scale
    else:
        actual = abs(math.prod(stage.stage_gain or 1.0 for stage in response.response_stages))
    off = actual / abs(total.value) - 1
    if abs(off) <= 0.05:
        return ""
    return (
        f"the stages give a sensitivity of {actual:.4g} at {total.frequency:g} Hz, "
        f"{off:+.0%} from the {total.value:.4g} that is reported; the stages are used"
    )


def _fingerprint(thing: object) -> str:
    """The content of a response as text, with all digits of numbers, to compare responses."""
    if isinstance(thing, float):
        return repr(float(thing))
    if isinstance(thing, list | tuple):
        return "[" + ",".join(map(_fingerprint, thing)) + "]"
    if isinstance(thing, UTCDateTime) or not hasattr(thing, "__dict__"):
        return repr(thing)
    inner = ",".join(f"{name}={_fingerprint(value)}" for name, value in sorted(vars(thing).items()))
    return f"{type(thing).__name__}({inner})"
