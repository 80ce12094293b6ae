"""Pairs as CSV and the rows of daily files as JSON, for readers without HDF5.

Texts in HDF5 are scattered over the file, so the page, which reads byte ranges, cannot get them;
the manifest lists the arrays themselves with their offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...atomic_files import write_csv, write_json
from ..numerics.runs import consecutive_runs
from ..stack import apparent_speed, peak
from ..stack.files import Stacked
from ..stack.plan import StackPlan

ROWS = "CORR/rows.json"


def write_pair_table(stacked: Stacked, lags: np.ndarray) -> Path:
    """Write the pairs of a stack file as ``NAME.csv`` beside it: line k is pair k of every array.

    ``lags`` has shape (n_lags,), in s.

    The columns are those of the file; ``snr``, ``lag`` (s, of the largest value) and ``speed``
    (km/s, distance over lag) are of the stack, or of the mean of the intervals. Unknown values
    are empty.
    """
    pairs = stacked.pairs
    lag, _ = peak(stacked.stack, lags)
    numbers = {
        "distance": (pairs.distance, 4),
        "azimuth": (pairs.azimuth, 2),
        "back_azimuth": (pairs.back_azimuth, 2),
        "n_windows": (stacked.n_windows.sum(axis=1), 0),
        "snr": (stacked.snr, 3),
        "lag": (lag, 4),
        "speed": (apparent_speed(pairs.distance, lag), 4),
    }
    path = stacked.path.with_suffix(".csv")

    def lines() -> Iterator[list[str]]:
        texts = [[_number(v, digits) for v in values] for values, digits in numbers.values()]
        for k, row in enumerate(zip(*texts, strict=True)):
            ends = pairs.channels[pairs.first[k]], pairs.channels[pairs.second[k]]
            yield [*ends, *row]

    write_csv(path, ["first", "second", *numbers], lines(), durable=False)
    return path


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else ""


def write_row_index(folder: Path, plan: StackPlan) -> str:
    """Write the positions of pairs and windows in the daily files; gives the name of the file.

    ``rows[file.rows]`` are runs (first, count) of pairs of ``STACK/linear.csv``, in the order of
    the rows of the daily file; a day in blocks has several files. ``file.window`` are runs
    (start, step, count) of the starts of its windows (s since 1970 UTC).
    """
    _, indices = plan.union
    rows: list[list[list[int]]] = []
    files = []
    for file, index in zip(plan.files, indices, strict=True):
        present = np.flatnonzero(index >= 0)
        members = present[np.argsort(index[present], kind="stable")]
        window = [_as_run(run) for run in _evenly_spaced(file.starts)]
        for name, of_day in file.rows_by_file():
            pairs = members[of_day]
            runs = [[int(pairs[a]), b - a] for a, b in consecutive_runs(pairs)]
            if runs not in rows:
                rows.append(runs)
            files.append(
                {
                    "day": file.day,
                    "name": f"CORR/{name}",
                    "rows": rows.index(runs),
                    "window": window,
                }
            )
    content = {"pairs": "STACK/linear.csv", "rows": rows, "files": files}
    write_json(folder / ROWS, content, indent=None, durable=False)
    return ROWS


def _evenly_spaced(times: np.ndarray) -> Iterable[np.ndarray]:
    """Split times into runs of equal step, each as long as possible."""
    start = 0
    while start < times.size:
        end = start + 2
        while end < times.size and times[end] - times[end - 1] == times[start + 1] - times[start]:
            end += 1
        yield times[start:end]
        start = end


def _as_run(times: np.ndarray) -> list[Any]:
    """Start (s), step (s) and count of evenly spaced times."""
    step = float(times[1] - times[0]) if times.size > 1 else 0.0
    return [_integral(times[0]), _integral(step), int(times.size)]


def _integral(value: float) -> int | float:
    """An integral value as int, which JSON writes without a point."""
    return int(value) if value == int(value) else float(value)
