"""What a finished job shows: stacks, images and the clearest pairs, out of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..request import StackParams, XcorParams
from . import corrfile
from .corrfile import CorrFile
from .datatypes import PairTable
from .day import DayResult
from .stack import METHODS, peak, snr

_BLOCK_BYTES = 128_000_000  # of correlations read at a time
_BEST = 10  # pairs in the summary


@dataclass(frozen=True)
class Stacked:
    """One trace a pair, over all days."""

    pairs: PairTable
    stack: np.ndarray  # (n_pairs, n_lags)
    n_windows: np.ndarray  # (n_pairs,)


def of_correlation(
    folder: Path, results: Sequence[DayResult], params: XcorParams, images: bool = True
) -> tuple[list[str], dict[str, Any]]:
    """The linear stack over all days and the images of a correlation job.

    Returns
    -------
    names : list of str
        Files made, in the job folder.
    summary : dict
        Pairs, windows, and the clearest pairs with SNR, lag and apparent speed.
    """
    made = _draw_availability(folder, results) if images else []
    files = [CorrFile(folder / result.file) for result in results if result.file]
    counts = {"pairs": 0, "windows_kept": sum(r.windows_kept for r in results), "best": []}
    if not files:
        return made, counts
    stacked = _stack_all(files, StackParams("linear", None, True, ""), params)
    days = [file.path.stem for file in files]
    path = folder / "STACK" / "linear.h5"
    corrfile.write_stack(
        path, stacked.pairs, stacked.stack, stacked.n_windows, params, "linear", days
    )
    best = clearest(stacked, params)
    made.append(f"STACK/{path.name}")
    if images:
        made += _draw(folder, files, stacked, best, "linear")
    return made, {**counts, "pairs": stacked.pairs.first.size, "best": best}


def of_stacking(
    folder: Path, paths: Sequence[Path], stacking: StackParams
) -> tuple[list[str], dict[str, Any]]:
    """The stacks and images of a stacking job."""
    files = [CorrFile(path) for path in paths]
    params = files[0].params
    days = [path.stem for path in paths]
    path = folder / "STACK" / f"{stacking.type}.h5"
    stacked = _stack_all(files, stacking, params)
    if stacking.stack_all:
        corrfile.write_stack(
            path, stacked.pairs, stacked.stack, stacked.n_windows, params, stacking.type, days
        )
    else:
        daily, counts = _stack_daily(files, stacked.pairs, stacking, params)
        corrfile.write_stack(path, stacked.pairs, daily, counts, params, stacking.type, days)
    best = clearest(stacked, params)
    made = [f"STACK/{path.name}", *_draw(folder, files, stacked, best, stacking.type)]
    n_windows = int(stacked.n_windows.sum())
    return made, {"pairs": stacked.pairs.first.size, "windows_kept": n_windows, "best": best}


def clearest(stacked: Stacked, params: XcorParams) -> list[dict[str, Any]]:
    """The pairs of two stations with the highest SNR, best first."""
    pairs, lags = stacked.pairs, corrfile.lags(params)
    ratio = _snr(stacked, params)
    lag, _ = peak(stacked.stack, lags)
    apart = (pairs.first != pairs.second) & np.isfinite(ratio)
    order = [int(k) for k in np.argsort(-ratio, kind="stable") if apart[k]][:_BEST]
    names = pairs.names
    return [
        {
            "pair": names[k],
            "distance_km": _rounded(pairs.distance[k], 3),
            "snr": _rounded(ratio[k], 2),
            "lag_s": _rounded(lag[k], 4),
            "speed_km_s": _rounded(abs(pairs.distance[k] / lag[k]), 3) if lag[k] else None,
        }
        for k in order
    ]


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def _stack_all(files: Sequence[CorrFile], stacking: StackParams, params: XcorParams) -> Stacked:
    """Every window of a pair, over all days, as one trace."""
    pairs, places = union([file.pairs for file in files])
    n_lags = 2 * params.n_lags + 1
    stack = np.full((pairs.first.size, n_lags), np.nan, dtype=np.float32)
    count = np.zeros(pairs.first.size, dtype=int)
    method = METHODS[stacking.type](stacking, params.fs, (params.freqmin / 2, 2 * params.freqmax))
    for rows in _blocks(pairs.first.size, sum(file.starts.size for file in files), n_lags):
        windows = _windows(files, places, rows, n_lags)
        count[rows] = np.isfinite(windows).all(axis=-1).sum(axis=-1)
        stack[rows] = method(windows)
    return Stacked(pairs, stack, count)


def _stack_daily(
    files: Sequence[CorrFile], pairs: PairTable, stacking: StackParams, params: XcorParams
) -> tuple[np.ndarray, np.ndarray]:
    """(n_pairs, n_days, n_lags) and how many windows went in."""
    n_lags = 2 * params.n_lags + 1
    stack = np.full((pairs.first.size, len(files), n_lags), np.nan, dtype=np.float32)
    count = np.zeros(stack.shape[:2], dtype=int)
    _, places = union([file.pairs for file in files])
    method = METHODS[stacking.type](stacking, params.fs, (params.freqmin / 2, 2 * params.freqmax))
    for day, file in enumerate(files):
        for rows in _blocks(pairs.first.size, file.starts.size, n_lags):
            windows = _windows([file], [places[day]], rows, n_lags)
            count[rows, day] = np.isfinite(windows).all(axis=-1).sum(axis=-1)
            stack[rows, day] = method(windows)
    return stack, count


def _blocks(n_pairs: int, n_windows: int, n_lags: int) -> Iterator[slice]:
    """Blocks of pairs whose windows fit in memory."""
    size = max(1, _BLOCK_BYTES // (4 * n_windows * n_lags))
    for a in range(0, n_pairs, size):
        yield slice(a, min(n_pairs, a + size))


def _windows(
    files: Sequence[CorrFile], places: Sequence[np.ndarray], rows: slice, n_lags: int
) -> np.ndarray:
    """All windows of some pairs, day after day; NaN where a pair was not there."""
    total = sum(file.starts.size for file in files)
    windows = np.full((rows.stop - rows.start, total, n_lags), np.nan, dtype=np.float32)
    at = 0
    for file, place in zip(files, places, strict=True):
        here = place[rows]
        there = np.flatnonzero(here >= 0)
        if there.size:
            low, high = here[there].min(), here[there].max() + 1
            read = file.read(slice(int(low), int(high)))
            windows[there, at : at + file.starts.size] = read[here[there] - low]
        at += file.starts.size
    return windows


def union(tables: Sequence[PairTable]) -> tuple[PairTable, list[np.ndarray]]:
    """All pairs of several days, and for each day the row of every pair in it (-1: not there)."""
    if all(_same(table, tables[0]) for table in tables):
        return tables[0], [np.arange(tables[0].first.size)] * len(tables)
    channels = tuple(sorted({c for table in tables for c in table.channels}))
    number = {c: k for k, c in enumerate(channels)}
    codes = []
    for table in tables:
        index = np.array([number[c] for c in table.channels], dtype=int)
        codes.append(index[table.first] * len(channels) + index[table.second])
    everything, first_seen = np.unique(np.concatenate(codes), return_index=True)
    joined = {
        name: np.concatenate([getattr(table, name) for table in tables])[first_seen]
        for name in ("distance", "azimuth", "back_azimuth")
    }
    sites = {}
    for name in ("latitude", "longitude", "elevation"):
        values = np.full(len(channels), np.nan)
        for table in reversed(tables):
            values[[number[c] for c in table.channels]] = getattr(table, name)
        sites[name] = values
    first, second = np.divmod(everything, len(channels))
    places = []
    for code in codes:
        place = np.full(everything.size, -1)
        place[np.searchsorted(everything, code)] = np.arange(code.size)
        places.append(place)
    return PairTable(channels, first, second, **joined, **sites), places


def _same(one: PairTable, other: PairTable) -> bool:
    return (
        one.channels == other.channels
        and np.array_equal(one.first, other.first)
        and np.array_equal(one.second, other.second)
    )


def _names(folder: Path, paths: Sequence[Path]) -> list[str]:
    return [str(path.relative_to(folder)) for path in paths]


def span(days: Sequence[str]) -> str:
    """The days in words."""
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]} ({len(days)} days)"


def _snr(stacked: Stacked, params: XcorParams) -> np.ndarray:
    lags = corrfile.lags(params)
    return snr(stacked.stack, lags, stacked.pairs.distance, margin=1 / params.freqmin)


def _draw_availability(folder: Path, results: Sequence[DayResult]) -> list[str]:
    from . import plots  # matplotlib takes most of a second to import

    (folder / "PLOT").mkdir(exist_ok=True)
    rows = [row for result in results for row in result.rows]
    title = f"Windows kept, {span([result.day for result in results])}"
    return _names(folder, plots.availability(rows, title, path=folder / "PLOT" / "availability"))


def _draw(
    folder: Path,
    files: Sequence[CorrFile],
    stacked: Stacked,
    best: Sequence[dict[str, Any]],
    method: str,
) -> list[str]:
    """The images that matter: all pairs, one virtual shot, the clearest pair, the map."""
    from . import plots  # matplotlib takes most of a second to import

    (folder / "PLOT").mkdir(exist_ok=True)
    params, pairs = files[0].params, stacked.pairs
    lags, names = corrfile.lags(params), pairs.names
    what = f"{params.freqmin:g}-{params.freqmax:g} Hz, {method} stack of "
    what += span([file.path.stem for file in files])
    measures = {"snr": _snr(stacked, params), "peak_lags": peak(stacked.stack, lags)[0]}
    section = (stacked.stack, lags, pairs.distance, names)
    plot = folder / "PLOT"
    made = plots.record_section(
        *section, f"All pairs, {what}", path=plot / "record_section", **measures
    )
    made += plots.station_map(
        pairs.longitude,
        pairs.latitude,
        pairs.channels,
        f"{len(pairs.channels)} channels, {pairs.first.size} pairs",
        path=plot / "station_map",
        pairs=np.column_stack([pairs.first, pairs.second]),
    )
    clear = names.index(best[0]["pair"]) if best else 0
    channel = pairs.channels[pairs.first[clear]]
    title = f"Virtual shot at {channel}, {what}"
    made += plots.virtual_shot(*section, channel, title, path=plot / "virtual_shot", **measures)
    _, places = union([file.pairs for file in files])
    windows = _windows(files, places, slice(clear, clear + 1), lags.size)[0]
    made += plots.correlogram(
        windows,
        lags,
        np.concatenate([file.starts for file in files]),
        stacked.stack[clear],
        f"{names[clear].replace('|', ' to ')}, {what}",
        path=plot / "correlogram",
        distance=pairs.distance[clear],
        snr=measures["snr"][clear],
        peak_lag=measures["peak_lags"][clear],
    )
    return _names(folder, made)
