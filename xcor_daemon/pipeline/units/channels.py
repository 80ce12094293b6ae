"""The channels of a day: from the source to ground motion that waits on a shelf."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import NoDataError
from ...request.pairs import Pairs
from ...request.params import XcorParams
from ...request.stations import Channel
from ..datatypes import NS, ChannelDay, Epoch, Metadata, Samples, Source, day_start
from ..preprocessing import quality, time_normalisation
from ..preprocessing.band import margin
from ..preprocessing.channel import Covered, prepare
from ..sources import source_of
from .buffer import Shelf

_NO_METADATA = (
    "no metadata of the channel at this time, so no response to remove; "
    "add its StationXML to the source, or set response=none in params.csv"
)
DAY_NS = 86400 * NS
# (channels or tiles done, all, what is being done)
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class DayPlan:
    """What every day of a job has in common."""

    folder: Path
    params: XcorParams
    source: Source
    metadata: Metadata
    key: str  # of the request: a record with another key is another job's
    threads: int = 1
    pairs: Pairs = ()  # of pairs.csv; empty means all


def time_of(params: XcorParams, day: date) -> tuple[int, int]:
    """The day with its margins (ns)."""
    aside = round(margin(params) * NS)
    midnight = day_start(day)
    return midnight - aside, midnight + DAY_NS + aside


@dataclass
class Made:
    """What became of the channels of a day; their series lie on the shelf."""

    rows: list[ChannelDay]
    kept: dict[str, np.ndarray]  # channel id -> bool (n_windows,); only those with any
    coverage: dict[str, np.ndarray]  # channel id -> float32 (n_windows,)
    warnings: list[dict[str, str]]


def prepare_all(
    plan: DayPlan,
    day: date,
    channels: Sequence[Channel],
    shelf: Shelf,
    report: Report,
) -> Made:
    """Every channel as motion on the shelf, or as a row that says why not."""
    n_heard = len(channels) if plan.params.ram_shared else 0
    with Shelf(plan.folder, n_heard, shelf.size) as heard:
        return _prepared(plan, day, channels, shelf, heard, report)


def _prepared(
    plan: DayPlan,
    day: date,
    channels: Sequence[Channel],
    shelf: Shelf,
    heard: Shelf,
    report: Report,
) -> Made:
    """`prepare_all`; ``heard`` has room for what components share, where they do."""
    start, end = time_of(plan.params, day)
    place = {channel.id: k for k, channel in enumerate(channels)}
    weights: dict[str, np.ndarray] = {}
    rows: dict[str, ChannelDay] = {}
    made = Made([], {}, {}, [])

    def one(fetched: tuple[Channel, Samples | NoDataError]) -> None:
        channel, samples = fetched
        rows[channel.id], covered = _prepare_one(plan, day, channel, samples, weights)
        if covered is not None:
            finish(channel.id, covered)
        report(len(rows), len(channels), "channels")

    def finish(name: str, covered: Covered) -> None:
        series = covered.motion()
        rows[name], kept = _judged(rows[name], series, covered.kept, plan.params)
        if kept.any():
            weight = time_normalisation.heard(series, weights.pop(name, None), plan.params)
            if plan.params.ram_shared:
                assert weight is not None  # running means are shared only where there are some
                heard.put(place[name], weight)
            else:
                series = time_normalisation.normalise_day(series, kept, weight, plan.params)
            shelf.put(place[name], series)
            made.kept[name], made.coverage[name] = kept, covered.coverage

    with ThreadPoolExecutor(plan.threads) as pool:
        _for_each(pool, one, plan.source.fetch(channels, start, end), plan.threads)
        if plan.params.ram_shared:
            places = {name: place[name] for name in made.kept}
            list(
                pool.map(
                    partial(divide_components, shelf, heard),
                    group_components(places),
                )
            )
    for channel in channels:
        row = rows[channel.id]
        made.rows.append(row)
        if row.reason:
            warning = {"channel": channel.id, "day": str(day), "text": row.reason}
            made.warnings.append({"code": row.status, **warning})
    return made


def _for_each(
    pool: Executor,
    one: Callable[[tuple[Channel, Samples | NoDataError]], None],
    fetched: Iterable[tuple[Channel, Samples | NoDataError]],
    ahead: int,
) -> None:
    """Prepare channels as they come, no more than ``ahead`` waiting: samples fill the memory."""
    pending: deque[Future[None]] = deque()
    for item in fetched:
        pending.append(pool.submit(one, item))
        while len(pending) > ahead:
            pending.popleft().result()
    for future in pending:
        future.result()


def _prepare_one(
    plan: DayPlan,
    day: date,
    channel: Channel,
    samples: Samples | NoDataError,
    weights: dict[str, np.ndarray],
) -> tuple[ChannelDay, Covered | None]:
    """One channel's row; and what becomes its motion, if any window is covered.

    What its motion is to be divided by goes into ``weights``.
    """
    windows = plan.params.windows
    asked = windows.samples(day.toordinal(), channel.spans)
    n_asked = sum(end - first for first, end in windows.inside(asked))
    row = ChannelDay(str(day), channel.id, "nodata", windows=n_asked)
    if isinstance(samples, NoDataError):
        name = source_of(plan.source, channel).name
        return replace(row, status=samples.status, source=name, reason=str(samples)), None
    midnight = day_start(day)
    inside = _inside(samples, midnight, midnight + DAY_NS)
    row = replace(row, source=samples.source, n_bytes=samples.n_bytes, fs_raw=samples.fs, **inside)
    if not row.samples:
        return replace(row, reason="no samples on this day"), None
    epochs = plan.metadata.at(channel.id, samples.segments[0].start, samples.segments[-1].end)
    try:
        if plan.params.response != "none" and not epochs:
            raise NoDataError(_NO_METADATA, "refused")
        covered = prepare(samples, epochs, asked, day, plan.params)
        if (weight := time_normalisation.weight(samples, epochs, day, plan.params)) is not None:
            weights[channel.id] = weight
        good, dropped = quality.check_samples(samples, covered.kept, midnight, plan.params)
    except NoDataError as error:
        return replace(row, status=error.status, reason=str(error)), None
    notes = [*samples.warnings, *sorted({e.warning for e in epochs if e.warning})]
    n_kept = int(good.sum())
    if not n_kept:
        notes.append(_no_window(bool(covered.kept.any())))
    row = replace(
        row,
        status="kept" if n_kept else "empty",
        windows_kept=n_kept,
        dropped=dropped,
        reason="; ".join(notes),
    )
    return row, replace(covered, kept=good) if n_kept else None


def _no_window(is_covered: bool) -> str:
    """Why a channel-day with samples has no window."""
    return "no window is good" if is_covered else "no window has enough samples"


def _judged(
    row: ChannelDay, series: np.ndarray, kept: np.ndarray, params: XcorParams
) -> tuple[ChannelDay, np.ndarray]:
    """A channel's row, and which windows of its motion are good; none may be left."""
    try:
        good, dropped = quality.check_motion(series, kept, params)
    except NoDataError as error:
        row = replace(row, status=error.status, windows_kept=0, reason=str(error))
        return row, np.zeros_like(kept)
    dropped = " ".join(filter(None, (row.dropped, dropped)))
    row = replace(row, windows_kept=int(good.sum()), dropped=dropped)
    if not good.any():
        reason = "; ".join(filter(None, (row.reason, "no window is good")))
        row = replace(row, status="empty", reason=reason)
    return row, good


def _inside(samples: Samples, start: int, end: int) -> dict[str, Any]:
    """Samples, gaps and coverage between two times."""
    n, covered, pieces = 0, 0, 0
    for segment in samples.segments:
        step = NS / segment.fs
        a = max(0, int(np.ceil((start - segment.start) / step - 1e-6)))
        b = min(segment.data.size, int(np.ceil((end - segment.start) / step - 1e-6)))
        if b > a:
            n += b - a
            pieces += 1
            covered += min(segment.end, end) - max(segment.start, start)
    share = min(1.0, covered / (end - start))
    return {"samples": n, "gaps": max(0, pieces - 1), "coverage": round(share, 6)}


def epoch_of(plan: DayPlan, day: date, channel: Channel) -> Epoch | None:
    epochs = plan.metadata.at(channel.id, day_start(day), day_start(day) + DAY_NS)
    return epochs[0] if epochs else None


def group_components(places: Mapping[str, int]) -> list[list[int]]:
    """Places on a shelf by network, station, location, band and instrument of the channel id."""
    together: dict[str, list[int]] = {}
    for name, place in places.items():
        together.setdefault(name[:-1], []).append(place)
    return list(together.values())


def divide_components(shelf: Shelf, heard: Shelf, places: Sequence[int]) -> None:
    """Divide the components of a station by the largest of their weights, on their shelf."""
    weight = np.max([heard.take(place) for place in places], axis=0)
    for place in places:
        shelf.put(place, time_normalisation.divided(shelf.take(place), weight))
