"""Attributes of correlation and stack files: parameters, processing steps and software."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from ... import __version__
from ...request.params import XcorParams

LAG_CONVENTION = "positive lag: the wave reaches the second channel after the first"
_MOTION = {"velocity": "m2 s-2", "displacement": "m2", "acceleration": "m2 s-4", "none": "counts2"}


def units(params: XcorParams) -> str:
    """Return the unit of correlations: that of the ground motion squared, or 1 without unit."""
    plain = params.time_norm in ("none", "clip", "clamp", "mute")
    compared = params.whiten or params.method != "cross-correlation"
    if compared or params.normalisation == "coefficient" or not plain:
        return "1"
    return _MOTION[params.response]


def attributes(params: XcorParams) -> dict[str, Any]:
    """Return the attributes of a correlation or stack file."""
    written = {
        name: "all" if value == () else ";".join(value) if isinstance(value, tuple) else value
        for name, value in asdict(params).items()
        if value is not None
    }
    return {
        "Conventions": "CF-1.8",
        **{name: int(v) if isinstance(v, bool) else v for name, v in written.items()},
        "lag_convention": LAG_CONVENTION,
        "units": units(params),
        "software": f"xcor-daemon {__version__}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "history": history(params),
    }


def history(params: XcorParams) -> str:
    """Describe the processing steps in their order, in one line."""
    steps = [
        "each contiguous segment detrended and tapered",
        f"decimated without phase and resampled to {params.fs:g} Hz on a grid from midnight UTC",
        "counts kept (no response removed)"
        if params.response == "none"
        else f"instrument response removed to ground {params.response}, "
        f"pre-filter flat from {params.freqmin / 2:g} Hz",
        f"zero-phase 4th-order Butterworth band-pass {params.freqmin:g} to {params.freqmax:g} Hz",
        f"windows of {params.cc_len:g} s every {params.cc_step:g} s, detrended and tapered; "
        f"those with less than {params.min_coverage:g} of their samples left out",
    ]
    rules = ("drop_dead", "max_flat", "drop_clipped", "max_std", "max_median", "max_steps")
    used = [f"{rule}={value}" for rule in rules if (value := getattr(params, rule))]
    if used:
        steps.append(f"windows left out by {', '.join(used)}")
    if params.time_norm != "none":
        steps.append(f"normalised in time: {params.time_norm}")
    if params.whiten:
        steps.append(f"whitened {params.freqmin:g} to {params.freqmax:g} Hz")
    if params.whiten and params.autocorrelations:
        steps.append("autocorrelations of whitened windows show the band, whatever the data")
    kind = "circular" if params.circular else "linear"
    steps.append(f"{kind} {params.method}, normalisation {params.normalisation}")
    if params.substack:
        steps.append(f"averaged over the windows that start within {params.substack:g} s")
    return "; ".join(steps)
