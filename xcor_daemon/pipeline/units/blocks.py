"""A large day in blocks of channels: each block is prepared once, then pairs of blocks correlated.

Units exchange files in the job folder, so any process on any machine that mounts it can run any
unit: the windows of a block's channels are in ``.shelf/DAY/I000.f4``, and the array of accepted
windows in ``I000.npz``. The record of a unit is written last.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any, BinaryIO

import numpy as np

from ...atomic_files import create_partial, disk_errors, make_folder, open_atomic, write_at
from ...errors import DiskError
from ...request.params import XcorParams
from ...request.stations import Channel
from ...request.units import CorrelateUnit, PrepareUnit, SplitDay, Units
from ..correlation.pairs import pair_table
from ..datatypes import ChannelDay, PairTable
from ..hdf5 import correlation_file
from ..numerics.runs import consecutive_runs
from ..preprocessing.band import Grid
from ..preprocessing.spectral_normalisation import n_components
from ..preprocessing.windows import paired_windows
from .buffer import ChannelBuffer
from .channels import PreparedChannels, prepare_channels
from .plan import DayPlan, ProgressCallback, epoch_of, ignore_progress
from .records import (
    CorrelatedBlocks,
    DayResult,
    PreparedBlock,
    delete_records,
    read_record,
    record_day,
    save_record,
)
from .write_correlations import OutputWindows, write_correlations

_PREPARED = ".shelf"  # folder of prepared blocks in the job folder
_FILE_TIMEOUT = 60.0  # s until a network folder shows a file that another machine wrote


def prepare_block(
    plan: DayPlan,
    units: Units,
    unit: PrepareUnit,
    report: ProgressCallback = ignore_progress,
) -> PreparedBlock:
    """Fetch and preprocess the channels of a block for a day; write their windows to a file.

    Raises
    ------
    DiskError
        If the disk is full.
    """
    began = perf_counter()
    channels = units.blocks(unit.day)[unit.block]
    size = Grid.of(unit.day, plan.params).n_day
    path = _windows_file(plan.folder, unit.day, unit.block)
    make_folder(path.parent)
    with ChannelBuffer(plan.folder, len(channels), size) as buffer:
        prepared = prepare_channels(plan, unit.day, channels, buffer, report)
        with create_partial(path, shared=True) as partial:
            _write_windows(partial, plan, channels, prepared, buffer)
    used = [channel.id for channel in channels if channel.id in prepared.accepted]
    shape = (len(used), plan.params.n_windows)
    arrays: dict[str, Any] = {
        "channels": np.array(used, dtype="U"),
        "kept": np.array([prepared.accepted[name] for name in used], dtype=bool).reshape(shape),
        "coverage": np.array([prepared.coverage[name] for name in used], "f4").reshape(shape),
    }
    with open_atomic(path.with_suffix(".npz"), shared=True, steady=True) as file:
        np.savez(file, **arrays)
    seconds = round(perf_counter() - began, 3)
    record = PreparedBlock(plan.key, prepared.channel_days, prepared.warnings, seconds)
    delete_records(plan.folder, f"{unit.day}/*-J*")  # their input has changed
    save_record(plan.folder, unit.name, record)
    return record


def correlate_blocks(
    plan: DayPlan,
    units: Units,
    unit: CorrelateUnit,
    report: ProgressCallback = ignore_progress,
) -> CorrelatedBlocks:
    """Correlate the channels of two blocks.

    All blocks of the day but ``unit.failed_blocks`` must be prepared, because a file's windows are
    those of all channels of the day.

    Raises
    ------
    DiskError
        If the file cannot be written.
    """
    began = perf_counter()
    params = plan.params
    blocks = units.blocks(unit.day)
    arrays = {
        block: _block_arrays(_windows_file(plan.folder, unit.day, block))
        for block in blocks
        if block not in unit.failed_blocks
    }
    n_channels = np.sum([of_block["kept"].sum(axis=0) for of_block in arrays.values()], axis=0)
    both = sorted({unit.first, unit.second})
    files = [_windows_file(plan.folder, unit.day, block) for block in both]
    with _BlockWindows(params, files, [arrays[block] for block in both]) as prepared:
        by_id = {channel.id: channel for block in both for channel in blocks[block]}
        channels = [by_id[name] for name in prepared.channels]
        epochs = [epoch_of(plan, unit.day, channel) for channel in channels]
        pairs = pair_table(channels, epochs, params, plan.pairs)
        if len(both) > 1:
            pairs = _between_blocks(pairs, prepared.n_first)
        accepted = prepared.accepted
        n_pair_windows = int((accepted[pairs.first] & accepted[pairs.second]).sum())
        name = f"CORR/{unit.name}.h5"
        if n_pair_windows:
            write_correlations(
                plan.folder / name,
                pairs,
                OutputWindows.of(unit.day, n_channels, params),
                prepared.read,
                accepted,
                prepared.coverage,
                params,
                plan.threads,
                report,
            )
    record = CorrelatedBlocks(
        key=plan.key,
        file=name if n_pair_windows else None,
        pairs=pairs.first.size if n_pair_windows else 0,
        pair_windows=n_pair_windows,
        seconds=round(perf_counter() - began, 3),
    )
    save_record(plan.folder, unit.name, record)
    return record


def load_prepared(plan: DayPlan, unit: PrepareUnit) -> PreparedBlock | None:
    """The record of a block that an earlier run prepared; None if it has to be prepared.

    A block with a failed channel is prepared again.
    """
    try:
        record = PreparedBlock.from_json(read_record(plan.folder, unit.name, plan.key))
    except (KeyError, TypeError):
        return None
    path = _windows_file(plan.folder, unit.day, unit.block)
    is_complete = path.exists() and path.with_suffix(".npz").exists()
    has_failed = any(row.status == "failed" for row in record.channel_days)
    return record if is_complete and not has_failed else None


def load_correlated(plan: DayPlan, unit: CorrelateUnit) -> CorrelatedBlocks | None:
    """The record of blocks that an earlier run correlated; None if that has to be done."""
    try:
        record = CorrelatedBlocks.from_json(read_record(plan.folder, unit.name, plan.key))
        if record.file:
            correlation_file.check(plan.folder / record.file)
    except (DiskError, KeyError):
        return None
    return record


def combine_blocks(
    plan: DayPlan,
    units: Units,
    split: SplitDay,
    prepared: Mapping[PrepareUnit, PreparedBlock],
    correlated: Mapping[CorrelateUnit, CorrelatedBlocks],
    failed: Mapping[PrepareUnit | CorrelateUnit, str],
) -> DayResult:
    """Combine the records of the units of a day to the day's own; delete its prepared blocks.

    Parameters
    ----------
    plan : DayPlan
        What all days have in common.
    units : Units
        How the job is divided into units.
    split : SplitDay
        The units of the day.
    prepared, correlated : mapping
        Units that were done -> their records.
    failed : mapping
        Units that could not be done -> reasons.
    """
    day = split.day
    blocks = [prepared[unit] for unit in split.prepare if unit in prepared]
    pairs_of_blocks = [correlated[unit] for unit in split.correlate if unit in correlated]
    rows = [row for block in blocks for row in block.channel_days]
    for unit, reason in failed.items():
        if isinstance(unit, PrepareUnit):
            reason = f"its block could not be prepared; {reason}"
            rows += [
                ChannelDay(str(day), channel.id, "failed", reason=reason)
                for channel in units.blocks(day)[unit.block]
            ]
    seconds = sum(record.seconds for record in blocks)
    seconds += sum(record.seconds for record in pairs_of_blocks)
    result = DayResult(
        day=str(day),
        key=plan.key,
        files=[record.file for record in pairs_of_blocks if record.file],
        pairs=sum(record.pairs for record in pairs_of_blocks),
        pair_windows=sum(record.pair_windows for record in pairs_of_blocks),
        channel_days=sorted(rows, key=lambda row: row.channel),
        warnings=[warning for block in blocks for warning in block.warnings],
        seconds=round(seconds, 3),
        failed_units=[f"{unit.name}: {reason}" for unit, reason in failed.items()],
    )
    record_day(plan, day, result)
    if not result.failed:
        shutil.rmtree(plan.folder / _PREPARED / str(day), ignore_errors=True)
    return result


def clear_prepared(folder: Path) -> None:
    """Delete the prepared blocks of all days, done or failed."""
    shutil.rmtree(folder / _PREPARED, ignore_errors=True)


def _windows_file(folder: Path, day: date, block: int) -> Path:
    return folder / _PREPARED / f"{PrepareUnit(day, block).name}.f4"


def _block_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays ``channels``, ``kept`` (accepted windows) and ``coverage`` of a block."""
    with _open(path.with_suffix(".npz")) as raw, np.load(raw, allow_pickle=False) as file:
        return dict(file)


def _open(path: Path) -> BinaryIO:
    """Open a file that another machine may just have written: a network folder shows it late."""
    end = monotonic() + _FILE_TIMEOUT
    while True:
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            if monotonic() > end:
                reason = f"not found for {_FILE_TIMEOUT:.0f} s"
                need = "mount the same job folder on all workers"
                raise DiskError(f"{path}: {reason}; {need}.") from error
            sleep(0.5)


def _window_shape(params: XcorParams) -> tuple[int, int, int]:
    """Shape of a window in the file: (sides of a pair that differ, components, samples)."""
    return 1 + (params.method == "deconvolution"), n_components(params), params.n_samples


def _write_windows(
    path: Path,
    plan: DayPlan,
    channels: Sequence[Channel],
    prepared: PreparedChannels,
    buffer: ChannelBuffer,
) -> None:
    """Write the accepted windows of every used channel at their offsets; the rest are holes."""
    params = plan.params
    sides, *_ = shape = _window_shape(params)
    size = 4 * int(np.prod(shape))
    used = [k for k, channel in enumerate(channels) if channel.id in prepared.accepted]

    def write(index: int) -> None:
        channel = used[index]
        accepted = np.flatnonzero(prepared.accepted[channels[channel].id])
        both = paired_windows(buffer.read(channel), accepted, params)
        data = np.stack(both[:sides], axis=1)
        for a, b in consecutive_runs(accepted):
            offset = (index * params.n_windows + int(accepted[a])) * size
            write_at(file.fileno(), data[a:b], offset)

    with path.open("wb") as file:
        file.truncate(len(used) * params.n_windows * size)
        with ThreadPoolExecutor(plan.threads) as pool:
            list(pool.map(write, range(len(used))))


def _between_blocks(pairs: PairTable, n_first: int) -> PairTable:
    """The pairs of one of the first ``n_first`` channels with one of the others."""
    return pairs.select(np.flatnonzero((pairs.first < n_first) & (pairs.second >= n_first)))


class _BlockWindows:
    """The prepared windows of one or two blocks of a day, read on demand.

    Parameters
    ----------
    params : XcorParams
        Parameters of the job.
    paths : sequence of Path
        Files of windows, one per block.
    arrays : sequence of dict
        `_block_arrays` of the same blocks.
    """

    def __init__(
        self, params: XcorParams, paths: Sequence[Path], arrays: Sequence[dict[str, np.ndarray]]
    ) -> None:
        self._shape = _window_shape(params)
        self.channels = [str(name) for block in arrays for name in block["channels"]]
        self.accepted = np.concatenate([block["kept"] for block in arrays])
        self.coverage = np.concatenate([block["coverage"] for block in arrays])
        self.n_first = arrays[0]["channels"].size
        self._files = [_open(path) for path in paths]

    def read(self, channel: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Windows of a channel as first and as second of a pair, (n, components, samples) each."""
        block, index = (0, channel) if channel < self.n_first else (1, channel - self.n_first)
        n_windows, size = self.accepted.shape[1], 4 * int(np.prod(self._shape))
        out = np.empty((indices.size, *self._shape), dtype=np.float32)
        for a, b in consecutive_runs(indices):
            view = out[a:b].data.cast("B")
            offset = (index * n_windows + int(indices[a])) * size
            while view:
                with disk_errors(Path(self._files[block].name), action="read"):
                    n = os.preadv(self._files[block].fileno(), [view], offset)
                if not n:
                    raise DiskError(f"{self._files[block].name} is truncated.")
                view, offset = view[n:], offset + n
        return out[:, 0], out[:, -1]

    def __enter__(self) -> _BlockWindows:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
