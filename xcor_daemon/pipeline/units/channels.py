"""The channels of a day: fetch, preprocess in threads, and combine components."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import numpy as np

from ...errors import NoDataError
from ...request.stations import Channel
from ..datatypes import ChannelDay, Samples
from ..preprocessing import time_normalisation
from ..preprocessing.channel import (
    CandidateWindows,
    apply_quality_rules,
    describe_channel_day,
    prepare_channel_day,
)
from ..sources import source_of
from .buffer import ChannelBuffer
from .plan import DayPlan, ProgressCallback, fetch_span


@dataclass
class PreparedChannels:
    """The outcome of preprocessing the channels of a day; their series are in a buffer."""

    channel_days: list[ChannelDay]
    accepted: dict[str, np.ndarray]  # channel id -> bool (n_windows,); only channels with any
    coverage: dict[str, np.ndarray]  # channel id -> float32 (n_windows,), 0 to 1
    warnings: list[dict[str, str]]


def prepare_channels(
    plan: DayPlan,
    day: date,
    channels: Sequence[Channel],
    buffer: ChannelBuffer,
    report: ProgressCallback,
) -> PreparedChannels:
    """Fetch and preprocess channels; their ground motion goes into ``buffer``, by their order.

    Raises
    ------
    DiskError
        If the disk is full.
    """
    n_weights = len(channels) if plan.params.ram_shared else 0
    with ChannelBuffer(plan.folder, n_weights, buffer.size) as weights:
        return _prepare(plan, day, channels, buffer, weights, report)


def _prepare(
    plan: DayPlan,
    day: date,
    channels: Sequence[Channel],
    buffer: ChannelBuffer,
    weights: ChannelBuffer,
    report: ProgressCallback,
) -> PreparedChannels:
    """`prepare_channels`; ``weights`` holds the day weights where components share them."""
    params = plan.params
    index = {channel.id: k for k, channel in enumerate(channels)}
    rows: dict[str, ChannelDay] = {}
    prepared = PreparedChannels([], {}, {}, [])

    def prepare_one(fetched: tuple[Channel, Samples | NoDataError]) -> None:
        channel, samples = fetched
        if isinstance(samples, NoDataError):
            rows[channel.id] = _row_without_data(plan, day, channel, samples)
        else:
            first, last = samples.segments[0], samples.segments[-1]
            epochs = plan.metadata.at(channel.id, first.start, last.end)
            row, windows = prepare_channel_day(channel, day, samples, epochs, params)
            rows[channel.id] = row
            if windows is not None:
                add(channel.id, windows)
        report(len(rows), len(channels), "channels")

    def add(name: str, windows: CandidateWindows) -> None:
        series = windows.motion()
        rows[name], accepted = apply_quality_rules(rows[name], series, windows.candidates, params)
        if not accepted.any():
            return
        weight = time_normalisation.day_weights(series, windows.band_weights, params)
        if params.ram_shared:
            assert weight is not None  # ram_shared implies a running absolute mean of the day
            weights.write(index[name], weight)
        else:
            series = time_normalisation.normalise_day(series, accepted, weight, params)
        buffer.write(index[name], series)
        prepared.accepted[name], prepared.coverage[name] = accepted, windows.coverage

    with ThreadPoolExecutor(plan.threads) as pool:
        fetched = plan.source.fetch(channels, *fetch_span(params, day))
        _for_each(pool, prepare_one, fetched, plan.threads)
        if params.ram_shared:
            groups = group_components({name: index[name] for name in prepared.accepted})
            list(pool.map(partial(divide_components, buffer, weights), groups))
    for channel in channels:
        row = rows[channel.id]
        prepared.channel_days.append(row)
        if row.reason:
            warning = {"channel": channel.id, "day": str(day), "text": row.reason}
            prepared.warnings.append({"code": row.status, **warning})
    return prepared


def _row_without_data(plan: DayPlan, day: date, channel: Channel, error: NoDataError) -> ChannelDay:
    """The row of a channel-day for which the source has no data."""
    row = describe_channel_day(channel, day, plan.params)
    name = source_of(plan.source, channel).name
    return replace(row, status=error.status, source=name, reason=str(error))


def _for_each(
    pool: Executor,
    prepare_one: Callable[[tuple[Channel, Samples | NoDataError]], None],
    fetched: Iterable[tuple[Channel, Samples | NoDataError]],
    ahead: int,
) -> None:
    """Prepare channels as they arrive; at most ``ahead`` wait, since raw samples take memory."""
    pending: deque[Future[None]] = deque()
    for item in fetched:
        pending.append(pool.submit(prepare_one, item))
        while len(pending) > ahead:
            pending.popleft().result()
    for future in pending:
        future.result()


def group_components(indices: Mapping[str, int]) -> list[list[int]]:
    """Group indices of channels by all of the channel id but the component letter."""
    groups: dict[str, list[int]] = {}
    for name, index in indices.items():
        groups.setdefault(name[:-1], []).append(index)
    return list(groups.values())


def divide_components(
    buffer: ChannelBuffer, weights: ChannelBuffer, indices: Sequence[int]
) -> None:
    """Divide the components of a station by the largest of their day weights, in the buffer."""
    weight = np.max([weights.read(index) for index in indices], axis=0)
    for index in indices:
        buffer.write(index, time_normalisation.divide_by_weights(buffer.read(index), weight))
