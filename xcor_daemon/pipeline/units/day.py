"""A day as one unit of work, from the source to its file of correlations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from time import perf_counter

import numpy as np

from ...request.stations import Channel
from ..correlation.pairs import pair_table
from ..preprocessing.band import Grid
from ..preprocessing.windows import paired_windows
from .buffer import ChannelBuffer
from .channels import prepare_channels
from .plan import DayPlan, ProgressCallback, epoch_of, ignore_progress
from .records import DayResult, record_day
from .write_correlations import OutputWindows, write_correlations


def correlate_day(
    plan: DayPlan,
    day: date,
    channels: Sequence[Channel],
    report: ProgressCallback = ignore_progress,
) -> DayResult:
    """Fetch, preprocess and correlate one day, and write its file and its record.

    A channel that cannot be used becomes a row with its reason; only a full disk ends the day.

    Raises
    ------
    DiskError
        If the file cannot be written.
    """
    began = perf_counter()
    params = plan.params
    with ChannelBuffer(plan.folder, len(channels), Grid.of(day, params).n_day) as buffer:
        prepared = prepare_channels(plan, day, channels, buffer, report)
        used = [k for k, channel in enumerate(channels) if channel.id in prepared.accepted]
        members = [channels[k] for k in used]
        epochs = [epoch_of(plan, day, channel) for channel in members]
        pairs = pair_table(members, epochs, params, plan.pairs)
        accepted = np.array([prepared.accepted[c.id] for c in members], dtype=bool)
        accepted = accepted.reshape(len(members), params.n_windows)
        n_pair_windows = int((accepted[pairs.first] & accepted[pairs.second]).sum())
        name = f"CORR/{day}.h5"
        if n_pair_windows:
            write_correlations(
                plan.folder / name,
                pairs,
                OutputWindows.of(day, accepted.sum(axis=0), params),
                lambda k, indices: paired_windows(buffer.read(used[k]), indices, params),
                accepted,
                np.array([prepared.coverage[c.id] for c in members]),
                params,
                plan.threads,
                report,
            )
    result = DayResult(
        day=str(day),
        key=plan.key,
        files=[name] if n_pair_windows else [],
        pairs=pairs.first.size if n_pair_windows else 0,
        pair_windows=n_pair_windows,
        channel_days=prepared.channel_days,
        warnings=prepared.warnings,
        seconds=round(perf_counter() - began, 3),
    )
    record_day(plan, day, result)
    return result
