"""The estimated cost of a request: pairs, windows, bytes, core-seconds.

Windows are those that lie inside the spans of channels, as the pipeline cuts them (`windows`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import Problem, RequestError
from .csv_table import LIMITS
from .params import n_lags
from .parse import Draft, Request, XcorRequest
from .periods import Periods
from .stations import STATIONS
from .units import Units

# Shared with the page. Bytes of miniSEED (Steim2) per sample of ground noise: 1.1 to 1.9 in the
# archives' day files. fs_unknown, in Hz: the usual rate of a BH channel. Core-seconds, from
# scripts/benchmark: of a channel-day, each of its windows, each pair-window.
_COST = LIMITS["cost"]
# Bytes/s at most from a data centre to one user, however many machines download: five connections
# of 8 MB/s.
_CENTRE_RATE = 40e6


@dataclass(frozen=True)
class Estimate:
    """An estimate of a job: upper bounds, since gaps and missing days only reduce the work."""

    channels: int
    days: int  # on which at least one pair can be made
    pairs: int  # different pairs of the whole job
    pair_days: int  # pairs of channels that have a window, summed over days
    windows_per_day: int  # at most
    pair_windows: int  # windows inside the spans of both channels, summed over pairs
    bytes_in: int
    bytes_out: int
    core_seconds: float


@dataclass(frozen=True)
class Requirements:
    """Requirements of a job beyond its `Estimate`."""

    core_hours: float
    units: int  # units of work
    files: int  # of correlations, each a PUT request to S3
    scratch_bytes: int  # of prepared channels on the disk, besides the results
    days_of_download: float  # at least, from an FDSN centre

    def to_json(self) -> dict[str, Any]:
        """The fields as `xcor-daemon estimate` prints them."""
        names = {"scratch_bytes": "bytes_waiting"}
        return {names.get(name, name): value for name, value in asdict(self).items()}


def estimate(request: XcorRequest) -> Estimate:
    """Estimate a correlation job.

    Raises
    ------
    RequestError
        If it exceeds the limits of ``limits.json``.
    """
    found = _estimate_of(request.periods, request.params.n_lags)
    if problems := _too_large(found):
        raise RequestError(problems)
    return found


def requirements(request: XcorRequest, cost: Estimate) -> Requirements:
    """Work out the requirements of a job beyond its estimate."""
    units = Units(request)
    return Requirements(
        core_hours=round(cost.core_seconds / 3600, 2),
        units=units.n_units,
        files=units.n_files,
        scratch_bytes=2 * units.scratch_bytes,  # of the day that ends and the one that begins
        days_of_download=round(cost.bytes_in / _CENTRE_RATE / 86400, 2),
    )


def check_files(contents: Mapping[str, bytes]) -> tuple[Request, Estimate | None]:
    """The files of a job as a checked request, and its estimate if it correlates.

    Raises
    ------
    RequestError
        With every problem: of each file, of the files together, and of the size of the job.
    """
    draft, found = examine_files(contents)
    return draft.request(), found


def examine_files(contents: Mapping[str, bytes]) -> tuple[Draft, Estimate | None]:
    """As `check_files`, with the problems in the draft; an estimate wherever one can be made."""
    draft = Draft(contents)
    if draft.periods is None or not draft.periods.with_pairs or "maxlag" not in draft.values:
        return draft, None
    found = _estimate_of(draft.periods, n_lags(draft.values["maxlag"], draft.periods.windows.fs))
    draft.problems += _too_large(found)
    return draft, found


def _estimate_of(periods: Periods, lags: int) -> Estimate:
    """The estimate of ``periods``; ``lags`` are the samples on each side of zero lag."""
    with_pairs = periods.with_pairs
    channel_days = sum(p.n_days * p.n_channels for p in with_pairs)
    channel_windows = sum(p.n_days * p.channel_windows for p in with_pairs)
    pair_windows = sum(p.n_days * p.pair_windows for p in with_pairs)
    output = sum(p.n_days * p.n_pairs * p.n_rows for p in with_pairs)  # of all pairs
    # The pipeline downloads whole days, whatever part of them is requested.
    samples = sum(
        (channel.sample_rate or _COST["fs_unknown"]) * 86400 * n_days
        for channel, n_days in zip(periods.channels, periods.days_of, strict=True)
    )
    return Estimate(
        channels=len(periods.channels),
        days=sum(period.n_days for period in with_pairs),
        pairs=periods.n_pairs,
        pair_days=sum(p.n_days * p.n_pairs for p in with_pairs),
        windows_per_day=periods.windows.n_windows,
        pair_windows=pair_windows,
        bytes_in=round(samples * _COST["bytes_per_sample"]),
        bytes_out=output * (2 * lags + 1) * 4,
        core_seconds=round(
            channel_days * _COST["per_channel_day"]
            + channel_windows * _COST["per_channel_window"]
            + pair_windows * _COST["per_pair_window"],
            1,
        ),
    )


def _too_large(found: Estimate) -> list[Problem]:
    return [
        Problem(
            STATIONS,
            0,
            "",
            "",
            f"with params.csv amounts to {getattr(found, name):,.0f} {words}; at most {most:,.0f} "
            "are allowed in one job: choose fewer channels or days, or a longer cc_step",
        )
        for name, words, most in (
            ("pair_days", "pair-days", LIMITS["job"]["max_pair_days"]),
            ("bytes_out", "bytes of correlations", LIMITS["job"]["max_bytes_out"]),
            ("core_seconds", "core-seconds of work", LIMITS["job"]["max_core_seconds"]),
        )
        if getattr(found, name) > most
    ]
