"""A day as one unit of work, from the source to its file of correlations; and what became of it.

The record of a day (`DayResult`, kept in the job folder) is what a later run, the summary and the
manifest know of it: present and whole means done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ...atomic_files import make_folder, remove, write_json
from ...errors import DiskError
from ...request.stations import Channel
from ..correlation.pairs import pair_table
from ..datatypes import ChannelDay
from ..hdf5 import correlation_file
from ..preprocessing.band import Grid
from ..preprocessing.windows import paired_windows
from ..sources import forget
from .buffer import Shelf
from .channels import DayPlan, Report, epoch_of, prepare_all, time_of
from .write_correlations import Rows, fill


@dataclass(frozen=True)
class DayResult:
    """What became of a day."""

    day: str
    key: str
    files: list[str]  # names in the job folder; none where no pair has data
    pairs: int
    windows_kept: int  # pair-windows with data
    rows: list[ChannelDay]
    warnings: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0  # that its processes worked
    lost: list[str] = field(default_factory=list)  # blocks that could not be done, with reasons

    @property
    def failed(self) -> bool:
        """Whether something failed in a way that another try may mend."""
        return bool(self.lost) or any(row.status == "failed" for row in self.rows)


def correlate_day(
    plan: DayPlan, day: date, channels: Sequence[Channel], report: Report = lambda *_: None
) -> DayResult:
    """Fetch, prepare, correlate and write one day.

    A channel that cannot be used is a row with its reason; what ends the day is a full disk.

    Raises
    ------
    DiskError
        If the file cannot be written.
    """
    began = perf_counter()
    params = plan.params
    with Shelf(plan.folder, len(channels), Grid.of(day, params).n_day) as shelf:
        made = prepare_all(plan, day, channels, shelf, report)
        present = [k for k, channel in enumerate(channels) if channel.id in made.kept]
        some = [channels[k] for k in present]
        pairs = pair_table(some, [epoch_of(plan, day, c) for c in some], params, plan.pairs)
        kept = np.array([made.kept[c.id] for c in some], dtype=bool)
        kept = kept.reshape(len(some), params.n_windows)
        together = int((kept[pairs.first] & kept[pairs.second]).sum())
        name = f"CORR/{day}.h5"
        if together:
            fill(
                plan.folder / name,
                pairs,
                Rows.of(day, kept.sum(axis=0), params),
                lambda k, indices: paired_windows(shelf.take(present[k]), indices, params),
                kept,
                np.array([made.coverage[c.id] for c in some]),
                params,
                plan.threads,
                report,
            )
    result = DayResult(
        day=str(day),
        key=plan.key,
        files=[name] if together else [],
        pairs=pairs.first.size if together else 0,
        windows_kept=together,
        rows=made.rows,
        warnings=made.warnings,
        seconds=round(perf_counter() - began, 3),
    )
    settle(plan, day, result)
    return result


def settle(plan: DayPlan, day: date, result: DayResult) -> None:
    """Record what became of a day, and let go of what it alone needed."""
    corr = plan.folder / "CORR"
    if not any(name.startswith(f"CORR/{day}/") for name in result.files):
        remove(corr / str(day))  # of another request in this folder
    elif (whole := corr / f"{day}.h5").exists():
        remove(whole)
    save_record(plan.folder, str(day), asdict(result))
    if not result.failed:
        forget(plan.source, *time_of(plan.params, day))


def finished(plan: DayPlan, day: date) -> DayResult | None:
    """The record of a day that an earlier run finished; None where it must be done (again)."""
    saved = read_record(plan.folder, str(day), plan.key)
    try:
        result = DayResult(**{**saved, "rows": [ChannelDay(**row) for row in saved["rows"]]})
        for name in result.files:
            correlation_file.check(plan.folder / name)
    except (DiskError, KeyError, TypeError):
        return None  # killed while writing: the day is done again
    return None if result.failed else result


def _record(folder: Path, name: str) -> Path:
    return folder / ".units" / f"{name}.json"


def save_record(folder: Path, name: str, content: dict[str, Any]) -> None:
    """Write what is known of a unit, or of a day, at once."""
    path = _record(folder, name)
    make_folder(path.parent)
    # Not flushed: a record that a power failure takes costs its unit's work, and is found missing.
    write_json(path, content, indent=None, durable=False, shared=True)


def read_record(folder: Path, name: str, key: str) -> dict[str, Any]:
    """What is known of a unit, or of a day; empty where nothing is, or of another job's."""
    path = _record(folder, name)
    try:
        saved: dict[str, Any] = json.loads(path.read_bytes())
        return saved if saved.get("key") == key else {}
    except (FileNotFoundError, ValueError):
        return {}


def clear_partial_records(folder: Path) -> None:
    """Remove what workers that were killed, or met a full disk, have left of records."""
    for path in (folder / ".units").rglob("*.partial"):
        remove(path)


def forget_records(folder: Path, pattern: str) -> None:
    """Remove the records of some units."""
    for path in (folder / ".units").glob(f"{pattern}.json"):
        remove(path)
