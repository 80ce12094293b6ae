"""What came out of a job, as text for a seismologist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import reason_lines
from ..report import clearest_pairs

_UNITS = ("B", "kB", "MB", "GB", "TB")


def summarise(manifest: Mapping[str, Any], folder: Path, results: str) -> str:
    """Pairs, windows, the clearest pairs, and where the files are.

    Parameters
    ----------
    manifest : mapping
        The published manifest.json.
    folder : Path
        The job's folder on this machine.
    results : str
        URL of the bucket.
    """
    summary, units = manifest["summary"], manifest["units"]
    channels = len(manifest["request"]["channels"])
    prefix = f"processed/{manifest['id']}/runs/{manifest['attempt']}/"
    lines = [
        f"Job {manifest['id']} is done: {channels} channels, {summary['pairs']} pairs, "
        f"{summary['windows_kept']} pair-windows kept, {units['done']} of {_days(units)} day(s).",
        *reason_lines(summary.get("reasons", ())),
        "",
        *clearest_pairs(summary["best"]),
        "",
        f"Files, here   {folder}",
        f"Files, in S3  {results}/{prefix}",
        *(f"  {_size(f['size']):>8}  {f['key'].removeprefix(prefix)}" for f in manifest["files"]),
        "",
        "Images",
        *(f"  {folder / name}" for name in _images(manifest["files"], prefix)),
    ]
    return "\n".join(lines)


def _days(units: Mapping[str, Any]) -> int:
    return int(units["done"] + units["empty"]) + len(units["failed"])


def _images(files: Sequence[Mapping[str, Any]], prefix: str) -> list[str]:
    return [f["key"].removeprefix(prefix) for f in files if f["key"].endswith(".png")]


def _size(n_bytes: float) -> str:
    """1536 -> 1.5 kB, in powers of 1000."""
    power = 0
    while n_bytes >= 1000 and power < len(_UNITS) - 1:
        n_bytes, power = n_bytes / 1000, power + 1
    return f"{n_bytes:.{0 if n_bytes >= 100 or not power else 1}f} {_UNITS[power]}"
