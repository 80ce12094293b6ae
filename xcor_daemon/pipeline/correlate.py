"""Windows of all channels -> correlations of all pairs: the engine.

Since the lags kept are few against the samples of a window, each window is cut into blocks: with
X the spectra of the blocks of the first channel and Y those of the second's, widened by maxlag on
both sides, the sum over blocks of conj(X) Y holds every lag exactly, and one short transform gives
them. All pairs of a tile of channels share the spectra while they are in cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil, log2
from threading import local

import numpy as np

from .fft import BACKEND, irfft, next_fast_len, rfft
from .kernel import (
    LANE,
    empty_spectra,
    fill_blocks,
    multiply_tile,
    n_chunks,
    spectra_bytes,
    store_spectra,
)

TILE = 12  # channels on a side: their spectra of one chunk stay in the second-level cache
MEMORY = 600_000_000  # bytes of block spectra held at a time
# Rates of one core (flop/s) that weigh products against transforms when a block is chosen; only
# their ratio matters, and only for speed.
_RATE_PRODUCT = 40e9
_RATE_FFT = {"mkl_fft": 16e9, "scipy.fft": 7e9}[BACKEND]

# (channel, indices of windows) -> float32 arrays (n, n_parts, n_samples) as first and as second
Cutter = Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
# (consecutive pair rows, first output row, float32 array (n_pairs, n_rows, n_lags))
Sink = Callable[[np.ndarray, int, np.ndarray], None]


@dataclass(frozen=True)
class Blocks:
    """How a window is cut."""

    n_samples: int  # of a window
    n_lags: int  # on each side of zero
    n_block: int  # samples of the first channel in a block
    n_fft: int
    circular: bool

    @property
    def n_blocks(self) -> int:
        """Blocks in a window."""
        return -(-self.n_samples // self.n_block)


def plan_blocks(n_samples: int, n_lags: int, circular: bool) -> Blocks:
    """The cheapest exact way to cut a window.

    Above a quarter of the window the blocks save nothing, and it is taken whole.
    """
    if not 0 < n_lags < n_samples:
        raise ValueError(f"n_lags={n_lags} must lie between 0 and n_samples={n_samples}.")
    # Zeros on one side are enough for the wrap-around of a whole window.
    whole = next_fast_len(n_samples + (2 if circular else 1) * n_lags)
    best = Blocks(n_samples, n_lags, n_samples, whole, circular)
    if 4 * n_lags > n_samples:
        return best
    n_fft = next_fast_len(2 * n_lags + max(n_lags // 2, 16))
    while n_fft < min(10 * n_lags + 512, whole):
        plan = Blocks(n_samples, n_lags, n_fft - 2 * n_lags, n_fft, circular)
        if _cost(plan) < _cost(best):
            best = plan
        n_fft = next_fast_len(n_fft + 2)
    return best


def _cost(plan: Blocks) -> float:
    """Seconds of one core for one pair and window."""
    products = 8 * plan.n_blocks * n_chunks(plan.n_fft) * LANE / _RATE_PRODUCT
    return products + 2.5 * plan.n_fft * log2(plan.n_fft) / _RATE_FFT


def correlate(
    cut: Cutter,
    kept: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    plan: Blocks,
    sink: Sink,
    *,
    n_parts: int = 1,
    groups: np.ndarray | None = None,
    threads: int = 1,
) -> None:
    """Correlate pairs of channels, window by window.

    ``c[k] = sum over t of first[t] * second[t + k]``: a wave that passes the first channel before
    the second peaks at positive lag. The sum is not divided by anything.

    Parameters
    ----------
    cut : callable
        ``cut(channel, indices)`` gives windows of a channel as first and as second of a pair
        (often one array), float32 of shape (indices.size, n_parts, n_samples). Called from
        several threads, only for windows that are kept, once for each.
    kept : bool array, shape (n_channels, n_windows)
        A correlation is NaN where either window is not kept.
    pairs : two int arrays, shape (n_pairs,)
        Channels of every pair, first <= second.
    plan : Blocks
        Samples of a window, lags to keep; from `plan_blocks`.
    sink : callable
        Called as ``sink(rows, row, corr)`` with consecutive rows of the pair list, the first
        output row, and a float32 array of shape (rows.size, n, 2 * n_lags + 1) that it must copy
        or write at once; from several threads at a time, each part once.
    n_parts : int
        Correlations are summed over parts.
    groups : int array, shape (n_windows,), optional
        Output row of every window, from 0, not decreasing; windows of one group are averaged
        over those that both channels kept. By default every window is its own.
    threads : int
        The result does not depend on it.

    Raises
    ------
    ValueError
        If shapes do not fit.
    """
    _check(kept, pairs, groups)
    n_channels, n_windows = kept.shape
    rows = np.arange(n_windows) if groups is None else groups
    tiles = list(_tiles(pairs, n_channels))
    scratch = local()
    most = np.bincount(rows, minlength=1).max()  # windows of the largest group
    per_row = 2 * spectra_bytes(n_channels, most * n_parts * plan.n_blocks, plan.n_fft)
    room: list[_Spectra] = []
    with ThreadPoolExecutor(threads) as pool:
        for a, b in _batches(rows, max(1, MEMORY // per_row)):
            windows = [np.flatnonzero(rows == row) for row in range(a, b)]
            spectra = _make_room(room, windows, kept, plan, n_parts)
            batch = _Batch(plan, n_parts, windows, spectra)

            def transform(channel: int, batch: _Batch = batch) -> None:
                batch.transform(channel, cut, kept, scratch)

            def multiply(tile: _Tile, batch: _Batch = batch, row: int = a) -> None:
                corr = _correlate_tile(tile, batch.spectra, plan, scratch)
                for begin, end in tile.runs:
                    sink(tile.rows[begin:end], row, corr[begin:end])

            # list() passes on what a thread raised.
            list(pool.map(transform, range(n_channels)))
            list(pool.map(multiply, tiles))


def _check(
    kept: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], groups: np.ndarray | None
) -> None:
    if kept.ndim != 2 or kept.dtype != bool:
        raise ValueError(f"kept needs booleans of shape (n_channels, n_windows), not {kept.shape}.")
    i, j = pairs
    inside = i.shape == j.shape and (not i.size or (i.min() >= 0 and j.max() < len(kept)))
    if not inside or (i > j).any():
        raise ValueError(f"pairs must be two equal lists with 0 <= first <= second < {len(kept)}.")
    if groups is not None and (groups.shape != kept.shape[1:] or (np.diff(groups) < 0).any()):
        raise ValueError(f"groups need {kept.shape[1]} numbers that do not decrease.")


def _batches(rows: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Runs [a, b) of output rows that fit in memory, of nearly equal length."""
    n = int(rows[-1]) + 1 if rows.size else 0
    n_batches = ceil(n / most)
    for k in range(n_batches):
        yield k * n // n_batches, (k + 1) * n // n_batches


@dataclass(frozen=True)
class _Tile:
    """Pairs of a block of channels with another."""

    i0: int
    n_i: int
    j0: int
    n_j: int
    rows: np.ndarray  # in the pair list
    local: np.ndarray  # i * n_j + j of each
    runs: list[tuple[int, int]]  # stretches of consecutive rows
    batches: list[tuple[int, int]]  # stretches of consecutive ``local``, to transform together


def _tiles(pairs: tuple[np.ndarray, np.ndarray], n_channels: int) -> Iterator[_Tile]:
    """Every pair once, by tiles of channels."""
    i, j = pairs
    n_tiles = ceil(n_channels / TILE)
    code = (i // TILE) * n_tiles + j // TILE
    order = np.argsort(code, kind="stable")
    edges = np.flatnonzero(np.diff(code[order], prepend=-1, append=-1))
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        rows = order[a:b]
        i0, j0 = i[rows[0]] // TILE * TILE, j[rows[0]] // TILE * TILE
        n_i, n_j = min(TILE, n_channels - i0), min(TILE, n_channels - j0)
        inside = (i[rows] - i0) * n_j + (j[rows] - j0)
        yield _Tile(i0, n_i, j0, n_j, rows, inside, _runs(rows), _runs(inside, TILE))


def _runs(numbers: np.ndarray, most: int | None = None) -> list[tuple[int, int]]:
    """Stretches [a, b) of consecutive numbers, none longer than ``most``."""
    cuts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), numbers.size]
    step = most or numbers.size
    return [
        (a, min(a + step, end))
        for begin, end in zip(cuts[:-1], cuts[1:], strict=True)
        for a in range(begin, end, step)
    ]


@dataclass(frozen=True)
class _Spectra:
    """Block spectra of all channels for one output row."""

    first: np.ndarray
    second: np.ndarray
    count: np.ndarray  # windows that both channels kept, (n_channels, n_channels)


def _make_room(
    room: list[_Spectra],
    windows: list[np.ndarray],
    kept: np.ndarray,
    plan: Blocks,
    n_parts: int,
) -> list[_Spectra]:
    """Block spectra for each output row, in the arrays of the batch before where they fit."""
    spectra = []
    for k, indices in enumerate(windows):
        n_blocks = indices.size * n_parts * plan.n_blocks
        both = kept[:, indices].astype(np.float32)
        if k < len(room) and room[k].first.shape[2] == n_blocks:
            arrays = room[k].first, room[k].second
        else:
            arrays = tuple(empty_spectra(len(kept), n_blocks, plan.n_fft) for _ in range(2))
        spectra.append(_Spectra(*arrays, both @ both.T))
    room[:] = spectra
    return spectra


@dataclass
class _Batch:
    """Some output rows: the windows of each, and room for the block spectra of all channels."""

    plan: Blocks
    n_parts: int
    windows: list[np.ndarray]
    spectra: list[_Spectra]

    def transform(self, channel: int, cut: Cutter, kept: np.ndarray, scratch: local) -> None:
        """Cut, and transform block by block, one channel's windows; what is not kept is zero."""
        here = kept[channel, np.concatenate(self.windows)]
        if here.any():
            first, second = cut(channel, np.concatenate(self.windows)[here])
        which = np.cumsum(here) - 1  # of the windows that were cut
        position = 0
        for windows, spectra in zip(self.windows, self.spectra, strict=True):
            for place in range(windows.size):
                # Blocks keep the place of their window: both channels of a pair must agree.
                n_blocks = self.n_parts * self.plan.n_blocks
                blocks = slice(place * n_blocks, (place + 1) * n_blocks)
                if here[position]:
                    k = which[position]
                    self._put(channel, blocks.start, first[k], second[k], spectra, scratch)
                else:
                    spectra.first[:, channel, blocks] = 0
                    spectra.second[:, channel, blocks] = 0
                position += 1

    def _put(
        self,
        channel: int,
        block: int,
        first: np.ndarray,
        second: np.ndarray,
        spectra: _Spectra,
        scratch: local,
    ) -> None:
        """The block spectra of one window (n_parts, n_samples) of a channel, from ``block`` on."""
        plan = self.plan
        narrow, wide = _block_room(plan, scratch)
        shape = (plan.n_block, plan.n_lags, plan.circular)
        for part in range(self.n_parts):
            fill_blocks(first[part], *shape, narrow, wide)
            store_spectra(rfft(narrow), channel, block, spectra.first)
            fill_blocks(second[part], *shape, narrow, wide)
            store_spectra(rfft(wide), channel, block, spectra.second)
            block += plan.n_blocks


def _block_room(plan: Blocks, scratch: local) -> tuple[np.ndarray, np.ndarray]:
    """The thread's own arrays for the blocks of a window."""
    if getattr(scratch, "plan", None) != plan:
        scratch.plan = plan
        scratch.narrow = np.zeros((plan.n_blocks, plan.n_fft), dtype=np.float32)
        scratch.wide = np.zeros_like(scratch.narrow)
    return scratch.narrow, scratch.wide


def _correlate_tile(
    tile: _Tile, spectra: list[_Spectra], plan: Blocks, scratch: local
) -> np.ndarray:
    """(n_pairs, n_rows, n_lags) of a tile; the array is the thread's own and used again."""
    n_kept, n_bins = 2 * plan.n_lags + 1, plan.n_fft // 2 + 1
    size = (TILE * TILE, len(spectra), n_kept)
    if getattr(scratch, "corr", np.empty(0)).shape != size:
        scratch.corr = np.empty(size, dtype=np.float32)
        scratch.product = np.zeros((TILE * TILE, n_chunks(plan.n_fft) * LANE), dtype=np.complex64)
        scratch.series = np.empty((TILE, plan.n_fft), dtype=np.float32)
    corr, product = scratch.corr[: tile.rows.size], scratch.product
    i, j = tile.i0 + tile.local // tile.n_j, tile.j0 + tile.local % tile.n_j
    for w, one in enumerate(spectra):
        multiply_tile(one.first, one.second, tile.i0, tile.n_i, tile.j0, tile.n_j, product)
        for a, b in tile.batches:
            wanted = product[tile.local[a] : tile.local[b - 1] + 1, :n_bins]
            series = irfft(wanted, plan.n_fft, scratch.series[: b - a])
            corr[a:b, w] = series[:, :n_kept]
        count = one.count[i, j]
        if (count != 1).any():
            with np.errstate(divide="ignore"):
                corr[:, w] *= np.where(count > 0, 1 / count, np.nan)[:, None].astype(np.float32)
    return corr
