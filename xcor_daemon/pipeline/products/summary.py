"""What a job leaves in writing beside its results: summary.csv and outputs.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from ...atomic_files import write_csv
from ...errors import DiskError, XcorError
from ...request.job_files import MAX_WARNINGS, DayCounts, JobOutputs, JobWarning, OutputFile
from ..datatypes import ChannelDay
from ..executors import run_units
from ..hdf5 import correlation_file
from ..units.day import DayResult

_LITTLE = 100e6  # bytes of files that are read faster than processes start to read them


def write_summary(path: Path, results: Sequence[DayResult]) -> None:
    """summary.csv: a row for every channel and day."""
    rows = (map(cell, astuple(row)) for result in results for row in result.rows)
    write_csv(path, [field.name for field in fields(ChannelDay)], rows, durable=False)


def cell(value: Any) -> Any:
    """A value of summary.csv; text that a spreadsheet would take for a formula gets a quote.

    Reasons hold what data centres, files and their headers say.
    """
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


def outputs_of(
    folder: Path,
    names: Sequence[str],
    days: DayCounts,
    processes: int,
    warnings: Sequence[dict[str, str]],
    summary: dict[str, Any],
) -> JobOutputs:
    """The content of outputs.json: days, warnings, and the files with their sizes and digests."""
    if sum((folder / name).stat().st_size for name in names) < _LITTLE:
        processes = 1
    about: dict[str, dict[str, Any]] = {}
    for outcome in run_units(
        lambda name: correlation_file.describe(folder / name), names, processes
    ):
        if isinstance(outcome.error, DiskError):
            raise outcome.error
        if outcome.result is None:
            raise XcorError(f"{outcome.unit}: {outcome.error}") from outcome.error
        about[outcome.unit] = outcome.result
    return JobOutputs(
        days,
        tuple(OutputFile(name, **about[name]) for name in names),
        tuple(JobWarning(**warning) for warning in warnings[:MAX_WARNINGS]),
        summary,
    )
