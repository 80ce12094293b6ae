"""What came out of a job, as lines that a seismologist can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import reason_lines


def job_report(outputs: Mapping[str, Any], folder: Path) -> list[str]:
    """What a worker's outputs.json says: days, pairs, windows, the clearest pairs, the files."""
    units, summary = outputs["units"], outputs["summary"]
    days = units["done"] + units["empty"] + len(units["failed"])
    lines = [
        f"{summary['pairs']} pairs, {summary['windows_kept']} pair-windows kept, "
        f"{units['done']} of {days} days with data",
        *(f"{lost['day']} failed: {lost['reason']}" for lost in units["failed"]),
    ]
    lines += reason_lines(summary.get("reasons", ()))
    if summary["best"]:
        lines += clearest_pairs(summary["best"])
    names = [file["name"] for file in outputs["files"]]
    lines += [f"{len(names)} files in {folder}, among them:"]
    return lines + [f"  {name}" for name in names if name.startswith(("STACK/", "PLOT/"))]


def clearest_pairs(best: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the pairs in ``summary["best"]`` of outputs.json, a line each."""
    title = "The clearest pairs (lag > 0: the wave reaches the second station later)"
    head = f"  {'pair':<36}{'distance':>10}{'SNR':>7}{'lag':>9}  apparent speed"
    rows = [
        f"  {row['pair'].replace('|', ' - '):<36}"
        + _number(row["distance_km"], "8.1f", "km", 10)
        + _number(row["snr"], "7.1f", "", 7)
        + _number(row["lag_s"], "+7.2f", "s", 9)
        + _number(_shown(row["speed_km_s"]), "8.2f", "km/s", 15)
        for row in best
    ]
    return [title, head, *rows]


def _shown(speed: float | None) -> float | None:
    """A speed (km/s) that is more than 0.00; version 0.1.0 gave 0 to channels of one place."""
    return speed if speed and speed >= 0.005 else None


def _number(value: float | None, form: str, unit: str, width: int) -> str:
    """A cell of the table; a dash where the value is unknown."""
    text = "-" if value is None else f"{value:{form}} {unit}".rstrip()
    return f"{text:>{width}}"
