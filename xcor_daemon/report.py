"""The results of a job as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import reason_lines

_UNITS = ("B", "kB", "MB", "GB", "TB")


def job_report(outputs: Mapping[str, Any], folder: Path) -> list[str]:
    """The report of a job folder: days, pairs, windows, pairs with the highest SNR, files.

    Parameters
    ----------
    outputs : mapping
        The content of outputs.json.
    folder : Path
        The job's folder.
    """
    units, summary = outputs["units"], outputs["summary"]
    lines = [
        f"{summary['pairs']} pairs, {summary['windows_kept']} pair-windows kept, "
        f"{units['done']} of {_days(units)} days with data",
        *(f"{failed['day']} failed: {failed['reason']}" for failed in units["failed"]),
    ]
    lines += reason_lines(summary.get("reasons", ()))
    if summary["best"]:
        lines += highest_snr_table(summary["best"])
    names = [file["name"] for file in outputs["files"]]
    lines += [f"{len(names)} files in {folder}, among them:"]
    return lines + [f"  {name}" for name in names if name.startswith(("STACK/", "PLOT/"))]


def published_job_report(manifest: Mapping[str, Any], folder: Path, results: str) -> list[str]:
    """The report of a published job, with its files here and in S3.

    Parameters
    ----------
    manifest : mapping
        The content of manifest.json.
    folder : Path
        The job's folder on this machine.
    results : str
        URL of the bucket.
    """
    summary, units = manifest["summary"], manifest["units"]
    channels = len(manifest["request"]["channels"])
    prefix = f"processed/{manifest['id']}/runs/{manifest['attempt']}/"
    names = {file["key"].removeprefix(prefix): file["size"] for file in manifest["files"]}
    return [
        f"Job {manifest['id']} is done: {channels} channels, {summary['pairs']} pairs, "
        f"{summary['windows_kept']} pair-windows kept, "
        f"{units['done']} of {_days(units)} days with data",
        *reason_lines(summary.get("reasons", ())),
        "",
        *highest_snr_table(summary["best"]),
        "",
        f"Local files  {folder}",
        f"Files in S3  {results}/{prefix}",
        *(f"  {_size(size):>8}  {name}" for name, size in names.items()),
        "",
        "Images",
        *(f"  {folder / name}" for name in names if name.endswith(".png")),
    ]


def highest_snr_table(best: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the pairs in ``summary["best"]`` of outputs.json, a line each."""
    title = "Pairs with the highest SNR (lag > 0: the wave reaches the second station later)"
    head = f"  {'pair':<36}{'distance':>10}{'SNR':>7}{'lag':>9}  apparent speed"
    rows = [
        f"  {row['pair'].replace('|', ' - '):<36}"
        + _cell(row["distance_km"], "8.1f", "km", 10)
        + _cell(row["snr"], "7.1f", "", 7)
        + _cell(row["lag_s"], "+7.2f", "s", 9)
        + _cell(_speed(row["speed_km_s"]), "8.2f", "km/s", 15)
        for row in best
    ]
    return [title, head, *rows]


def _days(units: Mapping[str, Any]) -> int:
    return int(units["done"] + units["empty"]) + len(units["failed"])


def _speed(speed: float | None) -> float | None:
    """A speed (km/s), None where 0.00 would be shown, as version 0.1.0 wrote for no distance."""
    return speed if speed and speed >= 0.005 else None


def _cell(value: float | None, form: str, unit: str, width: int) -> str:
    """A cell of the table; a dash where the value is unknown."""
    text = "-" if value is None else f"{value:{form}} {unit}".rstrip()
    return f"{text:>{width}}"


def _size(n_bytes: float) -> str:
    """1536 -> 1.5 kB, in powers of 1000."""
    power = 0
    while n_bytes >= 1000 and power < len(_UNITS) - 1:
        n_bytes, power = n_bytes / 1000, power + 1
    return f"{n_bytes:.{0 if n_bytes >= 100 or not power else 1}f} {_UNITS[power]}"
