"""The plan shared by the units of a job: parameters, source, metadata and the job folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ...request.pairs import Pairs
from ...request.params import XcorParams
from ...request.stations import Channel
from ..datatypes import DAY_NS, NS, Epoch, Metadata, Source, day_start
from ..preprocessing.band import margin

# Called with (items done, items in total, kind of item): "channels", then "pair-windows".
ProgressCallback = Callable[[int, int, str], None]


def ignore_progress(done: int, total: int, kind: str) -> None:
    """A `ProgressCallback` that does nothing."""


@dataclass(frozen=True)
class DayPlan:
    """The plan shared by the units of a job. It can be pickled."""

    folder: Path  # of the job
    params: XcorParams
    source: Source
    metadata: Metadata
    key: str  # digest of the request; records with another key are of another request
    threads: int = 1
    pairs: Pairs = ()  # of pairs.csv; empty means all


def fetch_span(params: XcorParams, day: date) -> tuple[int, int]:
    """The time span to fetch for a day: the day and its margins (ns)."""
    margin_ns = round(margin(params) * NS)
    midnight = day_start(day)
    return midnight - margin_ns, midnight + DAY_NS + margin_ns


def epoch_of(plan: DayPlan, day: date, channel: Channel) -> Epoch | None:
    """The first metadata epoch of a channel that touches a day."""
    epochs = plan.metadata.at(channel.id, day_start(day), day_start(day) + DAY_NS)
    return epochs[0] if epochs else None
