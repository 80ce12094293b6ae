"""What a reader without HDF5 needs to find a pair: names, rows and times as CSV and JSON.

Texts in HDF5 are scattered over the file, so a page that reads byte ranges cannot get them; the
arrays themselves stand in the manifest with their offsets.
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


def write_pairs(stacked: Stacked, lags: np.ndarray) -> Path:
    """Write a stack file's pairs beside it as ``NAME.csv``: row k is pair k of every array.

    The columns are those of the file; ``snr``, ``lag`` (s, of the largest value) and ``speed``
    (km/s, distance over lag) are of the stack, or of the mean of the intervals. What is unknown
    is left empty.
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

    def rows() -> Iterator[list[str]]:
        texts = [[_number(v, digits) for v in values] for values, digits in numbers.values()]
        for k, row in enumerate(zip(*texts, strict=True)):
            ends = pairs.channels[pairs.first[k]], pairs.channels[pairs.second[k]]
            yield [*ends, *row]

    write_csv(path, ["first", "second", *numbers], rows(), durable=False)
    return path


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else ""


def write_rows(folder: Path, plan: StackPlan) -> str:
    """Write where pairs and windows stand in the daily files; gives the name of the file.

    ``rows[file.rows]`` are runs (first, count) of rows of ``STACK/linear.csv``: those pairs, one
    after the other, are the rows of the daily file; a day in blocks has several files.
    ``file.window`` are runs (start, step, count) of the starts of its windows (s since 1970 UTC).
    """
    _, places = plan.union
    rows: list[list[list[int]]] = []
    files = []
    for file, place in zip(plan.files, places, strict=True):
        there = np.flatnonzero(place >= 0)
        members = there[np.argsort(place[there], kind="stable")]
        window = [_progression(run) for run in _even(file.starts)]
        for name, of_day in file.rows_by_file():
            some = members[of_day]
            runs = [[int(some[a]), b - a] for a, b in consecutive_runs(some)]
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


def _even(times: np.ndarray) -> Iterable[np.ndarray]:
    """Parts of evenly spaced times; a part takes as many as fit."""
    start = 0
    while start < times.size:
        end = start + 2
        while end < times.size and times[end] - times[end - 1] == times[start + 1] - times[start]:
            end += 1
        yield times[start:end]
        start = end


def _progression(times: np.ndarray) -> list[Any]:
    step = float(times[1] - times[0]) if times.size > 1 else 0.0
    return [_plain(times[0]), _plain(step), int(times.size)]


def _plain(value: float) -> int | float:
    """A whole number without its point: the times of most jobs."""
    return int(value) if value == int(value) else float(value)
