"""Which windows and which channel-days are not worth to be correlated, by rules of params.csv.

Every rule is off unless a column asks for it, as in the original; what a rule leaves out is
counted, and stands in summary.csv.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...errors import NoDataError
from ...request.params import XcorParams
from ..datatypes import NS, Samples, Segment
from ..numerics.jit import jit

_CLIPPED_RUN = 3  # samples in a row at the extreme; a wave's own crest rarely has them
# Peterson (1993), USGS Open-File Report 93-322, table 3: from a period (s) on, A + B log10(period)
# is the acceleration of the quietest ground in dB of (m/s^2)^2/Hz.
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
_POWER = {"acceleration": 0, "velocity": 2, "displacement": 4}  # of 1/omega, from acceleration


def low_noise(frequency: np.ndarray) -> np.ndarray:
    """Peterson's (1993) new low-noise model: acceleration, (m/s^2)^2/Hz, from 1e-5 to 10 Hz."""
    period = 1 / np.asarray(frequency)
    row = np.searchsorted(_LOW_NOISE[:, 0], period * (1 + 1e-12), side="right") - 1
    _, a, b = _LOW_NOISE[np.clip(row, 0, None)].T
    return 10 ** ((a + b * np.log10(period)) / 10)


def low_noise_rms(params: XcorParams) -> float:
    """Root mean square of the quietest ground on Earth between freqmin and freqmax."""
    frequency = np.linspace(params.freqmin, min(params.freqmax, 10.0), 1000)
    power = low_noise(frequency) / (2 * np.pi * frequency) ** _POWER[params.response]
    return float(np.sqrt(np.trapezoid(power, frequency)))


def clock_steps(samples: Samples) -> int:
    """How often a segment begins within two samples of the end of the one before: a clock set."""
    steps = 0
    for before, after in zip(samples.segments, samples.segments[1:], strict=False):
        steps += after.start - before.end < 2 * NS / samples.fs
    return steps


@jit()
def _run_at(data: np.ndarray, k: int) -> tuple[int, int]:
    """From where to where the samples around the ``k``-th have its value."""
    begin, end = k, k + 1
    while begin > 0 and data[begin - 1] == data[k]:
        begin -= 1
    while end < data.size and data[end] == data[k]:
        end += 1
    return begin, end


@jit()
def _runs(data: np.ndarray, least: int) -> list[tuple[int, int]]:
    """From where to where at least ``least`` samples (2 or more) in a row have one value.

    Such a run holds two neighbours of those that are ``least // 2`` apart, so few are looked at.
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
    """From where to where at least ``least`` samples in a row are ``low``, or ``high``."""
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
    """Times (ns) at which one value is recorded for longer than so many seconds."""
    least = int(seconds * samples.fs) + 1
    for segment in samples.segments:
        for begin, end in _runs(segment.data, max(least, 2)):
            yield _times(segment, begin, end)


def _clipped(samples: Samples) -> Iterator[tuple[int, int]]:
    """Times (ns) at which samples in a row stand at the largest or smallest value of all."""
    low = min(segment.data.min() for segment in samples.segments)
    high = max(segment.data.max() for segment in samples.segments)
    if low == high:
        return  # flat, not clipped
    for segment in samples.segments:
        for begin, end in _runs_of(segment.data, low, high, _CLIPPED_RUN):
            yield _times(segment, begin, end)


def _times(segment: Segment, begin: int, end: int) -> tuple[int, int]:
    first, last = (segment.start + round(k * NS / segment.fs) for k in (begin, end - 1))
    return first, last


def _touched(spans: Iterator[tuple[int, int]], midnight: int, params: XcorParams) -> np.ndarray:
    """Which windows hold a sample of these times: bool (n_windows,)."""
    touched = np.zeros(params.n_windows, dtype=bool)
    starts = np.arange(params.n_windows) * params.cc_step * NS
    for begin, end in spans:
        touched |= (starts <= end - midnight) & (starts + params.cc_len * NS > begin - midnight)
    return touched


@jit()
def _amplitude(window: np.ndarray) -> tuple[float, float]:
    """Largest distance from the mean, and standard deviation."""
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
    motion: np.ndarray, kept: np.ndarray, params: XcorParams
) -> tuple[np.ndarray, np.ndarray]:
    """Largest amplitude and standard deviation of every window that is kept, else 0."""
    largest = np.zeros(params.n_windows)
    std = np.zeros(params.n_windows)
    for k in np.flatnonzero(kept):
        window = motion[k * params.n_step : k * params.n_step + params.n_samples]
        largest[k], std[k] = _amplitude(window)
    return largest, std


def check_samples(
    samples: Samples, kept: np.ndarray, midnight: int, params: XcorParams
) -> tuple[np.ndarray, str]:
    """Leave out windows by what was recorded: ``max_steps``, ``max_flat``, ``drop_clipped``.

    Parameters
    ----------
    samples : Samples
    kept : bool array, shape (n_windows,)
        Windows that are covered.
    midnight : int
        Start of the day, ns.

    Returns
    -------
    kept : bool array
        Those that are left.
    dropped : str
        How many each rule left out, such as ``max_flat=3``; a window may break several.

    Raises
    ------
    NoDataError
        If the whole channel-day is left out; the message names the rule and the figures.
    """
    if params.max_steps is not None and (n := clock_steps(samples)) > params.max_steps:
        raise NoDataError(
            f"the clock steps more often than max_steps={params.max_steps:g}; {n} times", "refused"
        )
    rules: dict[str, np.ndarray] = {}
    if params.max_flat is not None:
        rules["max_flat"] = _touched(_flat(samples, params.max_flat), midnight, params)
    if params.drop_clipped:
        rules["drop_clipped"] = _touched(_clipped(samples), midnight, params)
    return _without(kept, rules)


def check_motion(
    motion: np.ndarray, kept: np.ndarray, params: XcorParams
) -> tuple[np.ndarray, str]:
    """Leave out windows by their ground motion: ``drop_dead``, ``max_std``, ``max_median``.

    Parameters
    ----------
    motion : float32 array, shape (n_day,)
    kept : bool array, shape (n_windows,)

    Returns and raises as `check_samples`.
    """
    if not (params.max_std or params.max_median or params.drop_dead) or not kept.any():
        return kept, ""
    largest, std = _amplitudes(motion, kept, params)
    median = float(np.median(std[kept]))
    if params.drop_dead and median < low_noise_rms(params) / 2:
        raise NoDataError(
            f"dead channel; half of its windows move less than {median:.2g} (rms), the quietest "
            f"ground on Earth {low_noise_rms(params):.2g}",
            "refused",
        )
    rules: dict[str, np.ndarray] = {}
    if params.max_std is not None:
        rules["max_std"] = (largest >= params.max_std * std) & (std > 0)
    if params.max_median is not None:
        rules["max_median"] = std >= params.max_median * median
    return _without(kept, rules)


def _without(kept: np.ndarray, rules: dict[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """Windows that break no rule, and how many each left out."""
    dropped = {name: int((bad & kept).sum()) for name, bad in rules.items()}
    good = kept & ~np.any([np.zeros_like(kept), *rules.values()], axis=0)
    return good, " ".join(f"{name}={n}" for name, n in dropped.items() if n)
