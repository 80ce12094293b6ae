"""Text for the files beside the images: facts about traces, numbers and times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from ..datatypes import SAME_PLACE

LAG_SIGN = "Positive lag: the wave reaches the second channel of a pair after the first."


def peak_facts(
    names: Sequence[str],
    distances: np.ndarray,
    snr: np.ndarray | None,
    peak_lags: np.ndarray | None,
) -> list[str]:
    """Medians of all traces, and the ten with the highest signal-to-noise ratio.

    Parameters
    ----------
    names : sequence of str, length n_traces
        Of the pairs or channels.
    distances : array, shape (n_traces,)
        In km; NaN where unknown.
    snr, peak_lags : array, shape (n_traces,), or None
        Signal-to-noise ratio and lag of the largest value (s); no facts without them.
    """
    if snr is None or peak_lags is None or not len(names):
        return []
    snr, peak_lags = np.asarray(snr, dtype=np.float64), np.asarray(peak_lags, dtype=np.float64)
    measured = np.flatnonzero(np.isfinite(snr) & np.isfinite(peak_lags))
    if not len(measured):
        return ["No trace has a measurable peak."]
    speed = np.array([apparent_speed(distances[k], peak_lags[k]) for k in measured])
    facts = [f"Median signal-to-noise ratio {np.median(snr[measured]):.3g}."]
    if np.isfinite(speed).any():
        facts.append(
            "Median apparent speed (distance / lag of the largest value) "
            f"{np.median(speed[np.isfinite(speed)]):.3g} km/s."
        )
    best = measured[np.argsort(-snr[measured], kind="stable")[:10]]
    facts.append("Highest signal-to-noise ratios:")
    facts += [
        f"  {names[k]}: " + " ".join(pair_facts(distances[k], snr[k], peak_lags[k])) for k in best
    ]
    return facts


def pair_facts(distance: float, snr: float, peak_lag: float) -> list[str]:
    """Facts about a pair: distance (km), signal-to-noise ratio, lag (s) and speed of its peak."""
    facts = []
    if np.isfinite(distance):
        facts.append(f"Distance {distance:.4g} km.")
    if np.isfinite(snr):
        facts.append(f"Signal-to-noise ratio {snr:.3g}.")
    if np.isfinite(peak_lag):
        speed = apparent_speed(distance, peak_lag)
        apparent = f", an apparent speed of {speed:.3g} km/s" if np.isfinite(speed) else ""
        facts.append(f"Largest value at a lag of {peak_lag:+.3f} s{apparent}.")
    return facts


def apparent_speed(distance: float, lag: float) -> float:
    """Apparent speed (km/s) from distance (km) and lag (s); NaN where it is not defined."""
    return abs(distance / lag) if lag and distance > SAME_PLACE else math.nan


def counted(n: int, noun: str) -> str:
    """Number and noun, such as ``1 pair`` or ``1,200 pairs``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def ordinal(n: int) -> str:
    """Such as ``2nd``."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{ending}"


def first_of(names: Sequence[str]) -> str:
    """The first 20 names, and the number of the others."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")


def utc(seconds: float) -> str:
    """A time (s since 1970 UTC) in ISO format."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(seconds))
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def duration(seconds: float) -> str:
    """A duration in its largest fitting unit."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
