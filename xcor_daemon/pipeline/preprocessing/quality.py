"""Quality rules: they drop windows and channel-days before correlation.

Each rule is off unless a column of params.csv turns it on. The windows that each rule drops are
counted in summary.csv.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...errors import NoDataError
from ...request.params import XcorParams
from ..datatypes import NS, Samples, Segment
from ..numerics.jit import jit

_CLIPPED_RUN = 3  # equal samples at the extreme value; an unclipped wave rarely has as many
# New low-noise model of Peterson (1993), USGS Open-File Report 93-322, table 3: from a period (s)
# on, A + B log10(period) is the power of acceleration in dB of (m/s^2)^2/Hz.
_LOW_NOISE = np.array(
    [
        (0.10, -162.36, 5.64), (0.17, -166.7, 0.0), (0.40, -170.0, -8.3), (0.80, -166.4, 28.9),
        (1.24, -168.6, 52.48), (2.40, -159.98, 29.81), (4.30, -141.1, 0.0), (5.0, -71.36, -99.77),
        (6.0, -97.26, -66.49), (10.0, -132.18, -31.57), (12.0, -205.27, 36.16),
        (15.6, -37.65, -104.33), (21.9, -114.37, -47.10), (31.6, -160.58, -16.28),
        (45.0, -187.5, 0.0), (70.0, -216.47, 15.7), (101.0, -185.0, 0.0), (154.0, -168.34, -7.61),
        (328.0, -217.43, 11.9), (600.0, -258.28, 26.60), (10000.0, -346.88, 48.75),
    ]
)  # fmt: skip
_UNIT = {"acceleration": "m/s^2", "velocity": "m/s", "displacement": "m", "none": "counts"}
_POWER = {"acceleration": 0, "velocity": 2, "displacement": 4}  # of 1/omega, from acceleration


def low_noise(frequency: np.ndarray) -> np.ndarray:
    """Return Peterson's (1993) new low-noise model.

    Parameters
    ----------
    frequency : array, shape (n,)
        1e-5 to 10 Hz.

    Returns
    -------
    power : float64 array, shape (n,)
        Power spectral density of acceleration, (m/s^2)^2/Hz.
    """
    period = 1 / np.asarray(frequency)
    row = np.searchsorted(_LOW_NOISE[:, 0], period * (1 + 1e-12), side="right") - 1
    _, a, b = _LOW_NOISE[np.clip(row, 0, None)].T
    return 10 ** ((a + b * np.log10(period)) / 10)


def low_noise_rms(params: XcorParams) -> float:
    """Root mean square of the low-noise model between freqmin and freqmax (m, m/s or m/s^2)."""
    frequency = np.linspace(params.freqmin, min(params.freqmax, 10.0), 1000)
    power = low_noise(frequency) / (2 * np.pi * frequency) ** _POWER[params.response]
    return float(np.sqrt(np.trapezoid(power, frequency)))


def clock_steps(samples: Samples) -> int:
    """Count the segments that start within two samples of the end of the previous: clock steps."""
    steps = 0
    for before, after in zip(samples.segments, samples.segments[1:], strict=False):
        steps += after.start - before.end < 2 * NS / samples.fs
    return steps


@jit()
def _run_at(data: np.ndarray, k: int) -> tuple[int, int]:
    """First and end of the run of samples around the ``k``-th that have its value."""
    begin, end = k, k + 1
    while begin > 0 and data[begin - 1] == data[k]:
        begin -= 1
    while end < data.size and data[end] == data[k]:
        end += 1
    return begin, end


@jit()
def _runs(data: np.ndarray, least: int) -> list[tuple[int, int]]:
    """First and end of each run of at least ``least`` (2 or more) equal samples.

    Two samples at a distance of ``least // 2`` lie in each such run, so only those are compared.
    """
    found = [(0, 0)]
    step = max(1, least // 2)
    end = 0
    for k in range(0, data.size - step, step):
        if k >= end and data[k] == data[k + step]:
            begin, stop = _run_at(data, k)
            if stop - begin >= least:
                found.append((begin, stop))
                end = stop
    return found[1:]


@jit()
def _runs_of(data: np.ndarray, low: float, high: float, least: int) -> list[tuple[int, int]]:
    """First and end of each run of at least ``least`` samples that are all ``low`` or ``high``."""
    found = [(0, 0)]
    end = 0
    for k in range(least - 1, data.size, least):
        if k >= end and (data[k] == low or data[k] == high):
            begin, stop = _run_at(data, k)
            if stop - begin >= least:
                found.append((begin, stop))
                end = stop
    return found[1:]


def _flat(samples: Samples, seconds: float) -> Iterator[tuple[int, int]]:
    """Times (ns) of runs of one value that are longer than ``seconds``."""
    least = int(seconds * samples.fs) + 1
    for segment in samples.segments:
        for begin, end in _runs(segment.data, max(least, 2)):
            yield _times(segment, begin, end)


def _clipped(samples: Samples) -> Iterator[tuple[int, int]]:
    """Times (ns) of runs at the largest or smallest value of all samples."""
    low = min(segment.data.min() for segment in samples.segments)
    high = max(segment.data.max() for segment in samples.segments)
    if low == high:
        return  # constant, not clipped
    for segment in samples.segments:
        for begin, end in _runs_of(segment.data, low, high, _CLIPPED_RUN):
            yield _times(segment, begin, end)


def _times(segment: Segment, begin: int, end: int) -> tuple[int, int]:
    first, last = (segment.start + round(k * NS / segment.fs) for k in (begin, end - 1))
    return first, last


def _overlapping(spans: Iterator[tuple[int, int]], midnight: int, params: XcorParams) -> np.ndarray:
    """Find the windows that overlap with the given times: bool (n_windows,)."""
    overlaps = np.zeros(params.n_windows, dtype=bool)
    starts = np.arange(params.n_windows) * params.cc_step * NS
    for begin, end in spans:
        overlaps |= (starts <= end - midnight) & (starts + params.cc_len * NS > begin - midnight)
    return overlaps


@jit()
def _amplitude(window: np.ndarray) -> tuple[float, float]:
    """Largest deviation from the mean, and standard deviation, in the unit of the window."""
    total = 0.0
    for value in window:
        total += value
    mean = total / window.size
    power = 0.0
    low = high = window[0]
    for value in window:
        power += (value - mean) ** 2
        low, high = min(low, value), max(high, value)
    return max(high - mean, mean - low), np.sqrt(power / window.size)


def _amplitudes(
    motion: np.ndarray, candidates: np.ndarray, params: XcorParams
) -> tuple[np.ndarray, np.ndarray]:
    """Largest amplitude and standard deviation of each candidate window, else 0: (n_windows,)."""
    largest = np.zeros(params.n_windows)
    std = np.zeros(params.n_windows)
    for k in np.flatnonzero(candidates):
        window = motion[k * params.n_step : k * params.n_step + params.n_samples]
        largest[k], std[k] = _amplitude(window)
    return largest, std


def check_samples(
    samples: Samples, candidates: np.ndarray, midnight: int, params: XcorParams
) -> tuple[np.ndarray, str]:
    """Apply the rules on recorded samples: ``max_steps``, ``max_flat``, ``drop_clipped``.

    Parameters
    ----------
    samples : Samples
        Recorded samples of the channel-day, in counts.
    candidates : bool array, shape (n_windows,)
        Windows with enough samples.
    midnight : int
        Start of the day (ns since 1970 UTC).
    params : XcorParams
        The rules: ``max_flat`` in seconds, ``max_steps`` as a number.

    Returns
    -------
    accepted : bool array, shape (n_windows,)
        Candidates that violate no rule.
    dropped : str
        Windows dropped by each rule, such as ``max_flat=3``; a window may violate several.

    Raises
    ------
    NoDataError
        If the whole channel-day is dropped; the message has the rule and the values.
    """
    if params.max_steps is not None and (n := clock_steps(samples)) > params.max_steps:
        raise NoDataError(
            f"too many clock steps; {n} exceed max_steps = {params.max_steps:g}", "refused"
        )
    rules: dict[str, np.ndarray] = {}  # windows that violate each
    if params.max_flat is not None:
        rules["max_flat"] = _overlapping(_flat(samples, params.max_flat), midnight, params)
    if params.drop_clipped:
        rules["drop_clipped"] = _overlapping(_clipped(samples), midnight, params)
    return _without(candidates, rules)


def check_motion(
    motion: np.ndarray, candidates: np.ndarray, params: XcorParams
) -> tuple[np.ndarray, str]:
    """Apply the rules on ground motion: ``drop_dead``, ``max_std``, ``max_median``.

    Parameters
    ----------
    motion : float32 array, shape (n_day,)
        Ground motion, in m, m/s or m/s^2.
    candidates : bool array, shape (n_windows,)
        Windows to check.
    params : XcorParams
        The rules: ``max_std`` in standard deviations of a window, ``max_median`` in medians of
        the standard deviations of the day's windows.

    Returns
    -------
    accepted : bool array, shape (n_windows,)
        Candidates that violate no rule.
    dropped : str
        Windows dropped by each rule, such as ``max_std=3``; a window may violate several.

    Raises
    ------
    NoDataError
        If the whole channel-day is dropped; the message has the rule and the values.
    """
    if not (params.max_std or params.max_median or params.drop_dead) or not candidates.any():
        return candidates, ""
    largest, std = _amplitudes(motion, candidates, params)
    median = float(np.median(std[candidates]))
    unit = _UNIT[params.response]
    if params.drop_dead and median < low_noise_rms(params) / 2:
        raise NoDataError(
            f"dead channel; its median RMS ({median:.2g} {unit}) is below half of Peterson's "
            f"low-noise model ({low_noise_rms(params):.2g} {unit})",
            "refused",
        )
    rules: dict[str, np.ndarray] = {}
    if params.max_std is not None:
        rules["max_std"] = (largest >= params.max_std * std) & (std > 0)
    if params.max_median is not None:
        rules["max_median"] = std >= params.max_median * median
    return _without(candidates, rules)


def _without(candidates: np.ndarray, rules: dict[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """Accepted windows, bool (n_windows,), and the number that each rule drops."""
    dropped = {name: int((violates & candidates).sum()) for name, violates in rules.items()}
    accepted = candidates & ~np.any([np.zeros_like(candidates), *rules.values()], axis=0)
    return accepted, " ".join(f"{name}={n}" for name, n in dropped.items() if n)
