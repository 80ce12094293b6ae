"""What a request costs, before anything is downloaded: pairs, windows, bytes, core-seconds."""

from __future__ import annotations

from dataclasses import dataclass

from .csvtable import LIMITS
from .errors import Problem, RequestError
from .request import XcorRequest, count_pairs
from .stations import STATIONS

# Shared with the page. Bytes of miniSEED (Steim2) per sample of ground noise: 1.1 to 1.9 in the
# archives' day files. fs_unknown, in Hz: the usual rate of a BH channel. Core-seconds, from
# scripts/benchmark: of a channel-day, each of its windows, each pair-window.
_PRICE = LIMITS["price"]


@dataclass(frozen=True)
class Estimate:
    """The price of a job; upper bounds, since gaps and missing days only make it cheaper."""

    channels: int
    days: int
    pairs: int  # different pairs over the whole job
    pair_days: int
    windows_per_day: int
    pair_windows: int
    bytes_in: int
    bytes_out: int
    core_seconds: float


def estimate(request: XcorRequest) -> Estimate:
    """Price a correlation job.

    Raises
    ------
    RequestError
        If it is larger than ``limits.json`` allows, with the figures.
    """
    params = request.params
    channel_days = 0
    pair_days = 0
    bytes_in = 0.0
    counted: dict[tuple[str, ...], int] = {}
    for first, last, channels in request.periods:
        if len(channels) == 1 and not params.autocorrelations:
            continue
        n_days = (last - first).days + 1
        pairs = count_pairs(channels, params, request.pairs)
        counted[tuple(c.id for c in channels)] = pairs
        pair_days += n_days * pairs
        channel_days += n_days * len(channels)
        samples = sum((c.sample_rate or _PRICE["fs_unknown"]) * 86400 for c in channels)
        bytes_in += n_days * samples * _PRICE["bytes_per_sample"]
    pair_windows = pair_days * params.n_windows
    price = Estimate(
        channels=len(request.channels),
        days=len(request.days),
        pairs=max(counted.values())
        if len(counted) == 1
        else count_pairs(request.channels, params, request.pairs),
        pair_days=pair_days,
        windows_per_day=params.n_windows,
        pair_windows=pair_windows,
        bytes_in=round(bytes_in),
        bytes_out=pair_days * params.n_kept * (2 * params.n_lags + 1) * 4,
        core_seconds=round(
            channel_days
            * (_PRICE["per_channel_day"] + _PRICE["per_channel_window"] * params.n_windows)
            + pair_windows * _PRICE["per_pair_window"],
            1,
        ),
    )
    _refuse_what_is_too_large(price)
    return price


def _refuse_what_is_too_large(price: Estimate) -> None:
    problems = [
        Problem(
            STATIONS,
            0,
            "",
            "",
            f"with params.csv makes {getattr(price, name):,.0f} {words}; at most {most:,.0f} are "
            "allowed in one job: take fewer channels or days, or a longer cc_step",
        )
        for name, words, most in (
            ("pair_days", "pair-days", LIMITS["job"]["max_pair_days"]),
            ("bytes_out", "bytes of correlations", LIMITS["job"]["max_bytes_out"]),
            ("core_seconds", "core-seconds of work", LIMITS["job"]["max_core_seconds"]),
        )
        if getattr(price, name) > most
    ]
    if problems:
        raise RequestError(problems)
