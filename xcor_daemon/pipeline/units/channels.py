"""The channels of a day: from the source to ground motion that waits on a shelf."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import NoDataError
from ...request.pairs import Pairs
from ...request.params import XcorParams
from ...request.stations import Channel
from ..datatypes import DAY_NS, NS, ChannelDay, Epoch, Metadata, Samples, Source, day_start
from ..preprocessing import time_normalisation
from ..preprocessing.band import margin
from ..preprocessing.channel import (
    CandidateWindows,
    apply_quality_rules,
    describe_channel_day,
    prepare_channel_day,
)
from ..sources import source_of
from .buffer import Shelf

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
    rows: dict[str, ChannelDay] = {}
    made = Made([], {}, {}, [])

    def one(fetched: tuple[Channel, Samples | NoDataError]) -> None:
        channel, samples = fetched
        if isinstance(samples, NoDataError):
            rows[channel.id] = _without_data(plan, day, channel, samples)
        else:
            first, last = samples.segments[0], samples.segments[-1]
            epochs = plan.metadata.at(channel.id, first.start, last.end)
            row, windows = prepare_channel_day(channel, day, samples, epochs, plan.params)
            rows[channel.id] = row
            if windows is not None:
                finish(channel.id, windows)
        report(len(rows), len(channels), "channels")

    def finish(name: str, windows: CandidateWindows) -> None:
        series = windows.motion()
        rows[name], kept = apply_quality_rules(rows[name], series, windows.candidates, plan.params)
        if kept.any():
            weight = time_normalisation.day_weights(series, windows.band_weights, plan.params)
            if plan.params.ram_shared:
                assert weight is not None  # running means are shared only where there are some
                heard.put(place[name], weight)
            else:
                series = time_normalisation.normalise_day(series, kept, weight, plan.params)
            shelf.put(place[name], series)
            made.kept[name], made.coverage[name] = kept, windows.coverage

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


def _without_data(plan: DayPlan, day: date, channel: Channel, error: NoDataError) -> ChannelDay:
    """The row of a channel that its source has no data of."""
    row = describe_channel_day(channel, day, plan.params)
    name = source_of(plan.source, channel).name
    return replace(row, status=error.status, source=name, reason=str(error))


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
        shelf.put(place, time_normalisation.divide_by_weights(shelf.take(place), weight))
