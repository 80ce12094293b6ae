"""summary.csv and outputs.json: a job's channel-days and its files."""

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
from ..units.records import DayResult

_SMALL = 100e6  # bytes; less is read faster by this process than by children


def write_summary(path: Path, results: Sequence[DayResult]) -> None:
    """Write summary.csv: a row for every channel and day."""
    rows = (map(escape_formula, astuple(row)) for result in results for row in result.channel_days)
    write_csv(path, [field.name for field in fields(ChannelDay)], rows, durable=False)


def escape_formula(value: Any) -> Any:
    """A value of summary.csv; text that a spreadsheet would run as a formula gets a quote.

    Reasons contain text from data centres and file headers, which is untrusted.
    """
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


def describe_outputs(
    folder: Path,
    names: Sequence[str],
    days: DayCounts,
    processes: int,
    warnings: Sequence[dict[str, str]],
    summary: dict[str, Any],
) -> JobOutputs:
    """The content of outputs.json: days, warnings, and the files with their sizes and digests."""
    if sum((folder / name).stat().st_size for name in names) < _SMALL:
        processes = 1
    described: dict[str, dict[str, Any]] = {}
    for outcome in run_units(
        lambda name: correlation_file.describe(folder / name), names, processes
    ):
        if isinstance(outcome.error, DiskError):
            raise outcome.error
        if outcome.result is None:
            raise XcorError(f"{outcome.unit}: {outcome.error}") from outcome.error
        described[outcome.unit] = outcome.result
    return JobOutputs(
        days,
        tuple(OutputFile(name, **described[name]) for name in names),
        tuple(JobWarning(**warning) for warning in warnings[:MAX_WARNINGS]),
        summary,
    )
