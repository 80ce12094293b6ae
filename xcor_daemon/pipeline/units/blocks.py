"""A day in blocks of channels: each block is prepared once, then every two of them are correlated.

What is handed over lies in files of the job folder, so any process of any machine that sees the
folder does any unit: the windows of a block's channels in ``.shelf/DAY/I000.f4``, which of them
are kept beside it. A unit's record is written last; present and whole means done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any, BinaryIO

import numpy as np

from ...atomic_files import create_partial, disk_errors, make_folder, open_atomic, write_at
from ...errors import DiskError
from ...request.params import XcorParams
from ...request.stations import Channel
from ...request.units import Unit, Units
from ..correlation.pairs import pair_table
from ..datatypes import ChannelDay, PairTable
from ..hdf5 import correlation_file
from ..numerics.runs import consecutive_runs
from ..preprocessing.band import Grid
from ..preprocessing.spectral_normalisation import n_components
from ..preprocessing.windows import paired_windows
from .buffer import Shelf
from .channels import DayPlan, Made, Report, epoch_of, prepare_all
from .day import DayResult, forget_records, read_record, save_record, settle
from .write_correlations import Rows, fill

_SHELF = ".shelf"
PATIENCE = 60.0  # s after which a network folder has shown what another machine wrote

Record = dict[str, Any]  # of a unit, as it lies in the job folder


def prepare_block(
    plan: DayPlan, units: Units, unit: Unit, report: Report = lambda *_: None
) -> Record:
    """Fetch and prepare the channels of a block for a day; their windows wait in a file.

    Raises
    ------
    DiskError
        If the disk is full.
    """
    began = perf_counter()
    assert unit.first is not None
    channels = units.blocks(unit.day)[unit.first]
    size = Grid.of(unit.day, plan.params).n_day
    path = _windows_file(plan.folder, unit)
    make_folder(path.parent)
    with Shelf(plan.folder, len(channels), size) as shelf:
        made = prepare_all(plan, unit.day, channels, shelf, report)
        with create_partial(path, shared=True) as partial:
            _write_windows(partial, plan, channels, made, shelf)
    present = [channel for channel in channels if channel.id in made.kept]
    shape = (len(present), plan.params.n_windows)
    arrays: dict[str, Any] = {
        "channels": np.array([c.id for c in present], dtype="U"),
        "kept": np.array([made.kept[c.id] for c in present], dtype=bool).reshape(shape),
        "coverage": np.array([made.coverage[c.id] for c in present], "f4").reshape(shape),
    }
    with open_atomic(path.with_suffix(".npz"), shared=True, steady=True) as file:
        np.savez(file, **arrays)
    seconds = round(perf_counter() - began, 3)
    rows = [asdict(row) for row in made.rows]
    record = {"key": plan.key, "rows": rows, "warnings": made.warnings, "seconds": seconds}
    forget_records(plan.folder, f"{unit.day}/*-J*")  # made of what was prepared before
    save_record(plan.folder, unit.name, record)
    return record


def correlate_blocks(
    plan: DayPlan, units: Units, unit: Unit, report: Report = lambda *_: None
) -> Record:
    """Correlate the channels of two blocks; all of the day but ``unit.without`` must be prepared.

    Raises
    ------
    DiskError
        If the file cannot be written.
    """
    began = perf_counter()
    assert unit.first is not None
    assert unit.second is not None
    params = plan.params
    blocks = units.blocks(unit.day)
    prepared = {
        block: _prepared(_windows_file(plan.folder, Unit(unit.day, block)))
        for block in blocks
        if block not in unit.without
    }
    count = np.sum([about["kept"].sum(axis=0) for about in prepared.values()], axis=0)
    wanted = sorted({unit.first, unit.second})
    files = [_windows_file(plan.folder, Unit(unit.day, block)) for block in wanted]
    with _Windows(plan.params, files, [prepared[block] for block in wanted]) as held:
        by_id = {channel.id: channel for block in wanted for channel in blocks[block]}
        channels = [by_id[name] for name in held.channels]
        epochs = [epoch_of(plan, unit.day, channel) for channel in channels]
        pairs = pair_table(channels, epochs, params, plan.pairs)
        if len(wanted) > 1:
            pairs = _across(pairs, held.n_first)
        kept = held.kept
        together = int((kept[pairs.first] & kept[pairs.second]).sum())
        name = f"CORR/{unit.name}.h5"
        if together:
            fill(
                plan.folder / name,
                pairs,
                Rows.of(unit.day, count, params),
                held.take,
                kept,
                held.coverage,
                params,
                plan.threads,
                report,
            )
    seconds = round(perf_counter() - began, 3)
    record = {
        "key": plan.key,
        "file": name if together else None,
        "pairs": pairs.first.size if together else 0,
        "windows_kept": together,
        "seconds": seconds,
    }
    save_record(plan.folder, unit.name, record)
    return record


def done_before(plan: DayPlan, unit: Unit) -> Record:
    """The record of a unit that an earlier run did, its file being whole; empty where none did."""
    record = read_record(plan.folder, unit.name, plan.key)
    if not record:
        return {}
    if unit.second is None:
        path = _windows_file(plan.folder, unit)
        failed = any(row["status"] == "failed" for row in record["rows"])
        there = path.exists() and path.with_suffix(".npz").exists()
        return record if there and not failed else {}
    try:
        if record["file"]:
            correlation_file.check(plan.folder / record["file"])
    except DiskError:
        return {}
    return record


def join_day(
    plan: DayPlan,
    units: Units,
    day: date,
    records: Mapping[Unit, Record],
    lost: Mapping[Unit, str],
) -> DayResult:
    """What became of a day, from its units; its prepared channels are let go.

    Parameters
    ----------
    records : mapping
        Units that were done -> what `prepare_block` or `correlate_blocks` gave.
    lost : mapping
        Units that could not be done -> why.
    """
    prepare, correlate = units.of(day)
    prepared = [records[unit] for unit in prepare if unit in records]
    correlated = [records[unit] for unit in correlate if unit in records]
    done = [record for record in correlated if record["file"]]
    rows = [ChannelDay(**row) for record in prepared for row in record["rows"]]
    for unit in lost:
        if unit.second is None and unit.first is not None:
            reason = f"its block could not be prepared; {lost[unit]}"
            rows += [
                ChannelDay(str(day), channel.id, "failed", reason=reason)
                for channel in units.blocks(day)[unit.first]
            ]
    result = DayResult(
        day=str(day),
        key=plan.key,
        files=[record["file"] for record in done],
        pairs=sum(record["pairs"] for record in done),
        windows_kept=sum(record["windows_kept"] for record in done),
        rows=sorted(rows, key=lambda row: row.channel),
        warnings=[warning for record in prepared for warning in record["warnings"]],
        seconds=round(sum(record["seconds"] for record in (*prepared, *correlated)), 3),
        lost=[f"{unit.name}: {reason}" for unit, reason in lost.items()],
    )
    settle(plan, day, result)
    if not result.failed:
        shutil.rmtree(plan.folder / _SHELF / str(day), ignore_errors=True)
    return result


def clear_shelf(folder: Path) -> None:
    """Remove what waited for days that are done, or that could not be."""
    shutil.rmtree(folder / _SHELF, ignore_errors=True)


def _windows_file(folder: Path, unit: Unit) -> Path:
    return folder / _SHELF / f"{unit.name}.f4"


def _prepared(path: Path) -> dict[str, np.ndarray]:
    """Which channels and windows a block has."""
    with _opened(path.with_suffix(".npz")) as raw, np.load(raw, allow_pickle=False) as file:
        return dict(file)


def _opened(path: Path) -> BinaryIO:
    """A file that another machine may have written just now: a network folder shows it later."""
    end = monotonic() + PATIENCE
    while True:
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            if monotonic() > end:
                need = "is not there; do all workers see the same job folder?"
                raise DiskError(f"{path} {need}") from error
            sleep(0.5)


def _slot(params: XcorParams) -> tuple[int, int, int]:
    """What is kept of a window: as first and as second of a pair where these differ."""
    return 1 + (params.method == "deconvolution"), n_components(params), params.n_samples


def _write_windows(
    path: Path, plan: DayPlan, channels: Sequence[Channel], made: Made, shelf: Shelf
) -> None:
    """Every kept window of every channel that has some, at its place; others are holes."""
    params = plan.params
    sides, *_ = slot = _slot(params)
    size = 4 * int(np.prod(slot))
    present = [k for k, channel in enumerate(channels) if channel.id in made.kept]

    def write(place: int) -> None:
        channel = present[place]
        kept = np.flatnonzero(made.kept[channels[channel].id])
        both = paired_windows(shelf.take(channel), kept, params)
        data = np.stack(both[:sides], axis=1)
        for a, b in consecutive_runs(kept):
            offset = (place * params.n_windows + int(kept[a])) * size
            write_at(file.fileno(), data[a:b], offset)

    with path.open("wb") as file:
        file.truncate(len(present) * params.n_windows * size)
        with ThreadPoolExecutor(plan.threads) as pool:
            list(pool.map(write, range(len(present))))


def _across(pairs: PairTable, n_first: int) -> PairTable:
    """The pairs of a channel before ``n_first`` with one from there on."""
    across = (pairs.first < n_first) & (pairs.second >= n_first)
    return pairs.some(np.flatnonzero(across))


class _Windows:
    """The windows of one or two blocks of a day, read as they are needed."""

    def __init__(
        self, params: XcorParams, paths: Sequence[Path], about: Sequence[dict[str, np.ndarray]]
    ) -> None:
        self._slot = _slot(params)
        self.channels = [str(name) for block in about for name in block["channels"]]
        self.kept = np.concatenate([block["kept"] for block in about])
        self.coverage = np.concatenate([block["coverage"] for block in about])
        self.n_first = about[0]["channels"].size
        self._files = [_opened(path) for path in paths]

    def take(self, channel: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Some windows of a channel, as first and as second of a pair."""
        block, place = (0, channel) if channel < self.n_first else (1, channel - self.n_first)
        n_windows, size = self.kept.shape[1], 4 * int(np.prod(self._slot))
        out = np.empty((indices.size, *self._slot), dtype=np.float32)
        for a, b in consecutive_runs(indices):
            view = out[a:b].data.cast("B")
            offset = (place * n_windows + int(indices[a])) * size
            while view:
                with disk_errors(Path(self._files[block].name), action="read"):
                    n = os.preadv(self._files[block].fileno(), [view], offset)
                if not n:
                    raise DiskError(f"{self._files[block].name} is cut off.")
                view, offset = view[n:], offset + n
        return out[:, 0], out[:, -1]

    def __enter__(self) -> _Windows:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
