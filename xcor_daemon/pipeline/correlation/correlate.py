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

from ..numerics.fft import RATE, default_rows_per_call, irfft, next_fast_len, rfft
from .kernel import (
    LANE,
    empty_products,
    empty_spectra,
    multiply_tile,
    n_chunks,
    segment_first,
    segment_second,
    spectra_bytes,
    store_spectra,
)
from .tiles import Tile, part_size, tiles_by_block

TILE = 18  # channels on a side, at most: their products and spectra stay in the cache
# Where many windows are averaged the products outweigh the transforms, and a larger tile reads
# the spectra less often.
_TILE_OF_STACKS, _MANY_BLOCKS = 54, 64
# Bytes of block spectra held at a time. Of more channels than fit, those of the second channels are
# made again for every block of first ones: with 200 channels in two blocks, not four, a day of
# stacks takes a seventh less.
MEMORY = 1_000_000_000
_PAIRS = 24  # transformed before they are divided and kept: whole calls of the transform
# Samples of the blocks that are cut before they are transformed: half of a second-level cache.
_SEGMENT_SAMPLES = 1 << 17
# Output rows at a time: enough for long writes, and little memory that is touched the first time.
_ROWS = 4
# Rate of one core (flop/s) that weighs products against transforms (`fft.RATE`) when a block is
# chosen; only their ratio matters, and only for speed.
_RATE_PRODUCT = 40e9

# (channel, indices of windows) -> windows as first and as second of a pair, each float32
# (n, n_components, n_samples)
Cutter = Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
# (consecutive pair rows, first output row, float32 array (n_pairs, n_rows, n_lags))
Sink = Callable[[np.ndarray, int, np.ndarray], None]


@dataclass(frozen=True)
class FftSegments:
    """How a window is cut."""

    n_samples: int  # of a window
    n_lags: int  # on each side of zero
    n_segment: int  # samples of the first channel in a block
    n_fft: int
    circular: bool

    @property
    def n_segments(self) -> int:
        """FftSegments in a window."""
        return -(-self.n_samples // self.n_segment)


def plan_segments(
    n_samples: int, n_lags: int, circular: bool, n_summed: float = 1.0
) -> FftSegments:
    """The cheapest exact way to cut a window; ``n_summed`` of them share one transform.

    >>> plan = plan_segments(n_samples=36000, n_lags=1000, circular=False)
    >>> plan.n_fft == plan.n_segment + 2 * plan.n_lags, plan.n_segments * plan.n_segment >= 36000
    (True, True)

    Above a quarter of the window the blocks save nothing, and it is taken whole.
    """
    if not 0 < n_lags < n_samples:
        raise ValueError(f"n_lags={n_lags} must lie between 0 and n_samples={n_samples}.")
    # Zeros on one side are enough for the wrap-around of a whole window.
    whole = _next_len(n_samples + (2 if circular else 1) * n_lags)
    most = 8 * n_lags + 512  # the products of a tile of longer ones leave the cache
    plans = [FftSegments(n_samples, n_lags, n_samples, whole, circular)]
    if 4 * n_lags > n_samples:
        return plans[0]
    if whole > most:
        plans.clear()
    n_fft = _next_len(2 * n_lags + max(n_lags // 2, 16))
    while n_fft < min(most, whole):
        plans.append(FftSegments(n_samples, n_lags, n_fft - 2 * n_lags, n_fft, circular))
        n_fft = _next_len(n_fft + 2)
    return min(plans, key=lambda plan: _cost(plan, n_summed))


def _next_len(n: int) -> int:
    """The next length of `next_fast_len` that is no multiple of 1024.

    Rows of such a length begin at the same offset of a page of 4096 bytes, and so compete for
    the same few lines of the first-level cache: eight rows of 4096 samples take 1.32 ns a sample
    back to time and those of 4000 take 1.00 (5120: 1.22, 5000: 1.00; 8192: 1.45, 8000: 1.06; ducc0
    0.42 on an AMD processor with AVX-512), sixteen 2.3 to 3.1. The next length is at most 6 %
    longer.
    """
    n_fft = next_fast_len(n)
    while n_fft % 1024 == 0:
        n_fft = next_fast_len(n_fft + 2)
    return n_fft


def _cost(plan: FftSegments, n_summed: float) -> float:
    """Seconds of one core for one correlation of a pair."""
    products = 8 * n_summed * plan.n_segments * n_chunks(plan.n_fft) * LANE / _RATE_PRODUCT
    return products + 2.5 * plan.n_fft * log2(plan.n_fft) / RATE


def correlate(
    cut: Cutter,
    kept: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    plan: FftSegments,
    sink: Sink,
    *,
    n_components: int = 1,
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
        (often one array), float32 of shape (indices.size, n_components, n_samples). Called from
        several threads, only for windows that are kept, once for each.
    kept : bool array, shape (n_channels, n_windows)
        A correlation is NaN where either window is not kept.
    pairs : two int arrays, shape (n_pairs,)
        Channels of every pair, first <= second.
    plan : FftSegments
        Samples of a window, lags to keep; from `plan_segments`.
    sink : callable
        Called as ``sink(rows, row, corr)`` with consecutive rows of the pair list, the first
        output row, and a float32 array of shape (rows.size, n, 2 * n_lags + 1) that it must copy
        or write at once; from several threads at a time, each part once.
    n_components : int
        Correlations are summed over parts.
    groups : int array, shape (n_windows,), optional
        Output row of every window, from 0, not decreasing; windows of one group are averaged
        over those that both channels kept. By default every window is its own.
    threads : int
        The result does not depend on it.

    Raises
    ------
    ValueError
        If shapes do not fit, or a pair is in the list twice.
    """
    _check(kept, pairs, groups)
    n_channels, n_windows = kept.shape
    if not pairs[0].size or not n_windows:
        return
    rows = np.arange(n_windows) if groups is None else groups
    n_segments = int(np.bincount(rows).max()) * n_components * plan.n_segments  # of the largest row
    per_channel = spectra_bytes(1, n_segments, plan.n_fft)
    # Of more channels than fit, a block at a time meets every block that comes after it.
    width = part_size(n_channels, max(TILE, MEMORY // per_channel))
    side = part_size(width, TILE if n_segments <= _MANY_BLOCKS else _TILE_OF_STACKS)
    tiles = tiles_by_block(pairs, width, side, n_channels)
    scratch = local()
    room: list[np.ndarray] = []
    most = max(1, min(MEMORY // (width * per_channel), _ROWS))
    with ThreadPoolExecutor(threads) as pool:
        for a, b in _batches(rows, most):
            windows = [np.flatnonzero(rows == row) for row in range(a, b)]
            batch = _Batch(cut, kept, windows, plan, n_components, width, scratch, room)
            for (i, j), here in tiles.items():
                batch.load(i, j, pool)

                def multiply(tile: Tile, batch: _Batch = batch, row: int = a) -> None:
                    corr = _correlate_tile(tile, batch.spectra, plan, side, scratch)
                    for begin, end in tile.runs:
                        sink(tile.rows[begin:end], row, corr[begin:end])

                list(pool.map(multiply, here))  # list() passes on what a thread raised


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
class _Spectra:
    """Block spectra of a block of first and one of second channels, for one output row."""

    first: np.ndarray
    second: np.ndarray
    count: np.ndarray  # windows that both channels kept, (first channels, second channels)


class _Batch:
    """Some output rows: holds the block spectra of two blocks of channels at a time.

    ``room`` has an array for both sides of each row, and is used again by the next batch: memory
    that is touched for the first time costs as much as the transforms that fill it.
    """

    def __init__(
        self,
        cut: Cutter,
        kept: np.ndarray,
        windows: list[np.ndarray],
        plan: FftSegments,
        n_components: int,
        width: int,
        scratch: local,
        room: list[np.ndarray],
    ) -> None:
        self._cut, self._kept, self._windows = cut, kept, windows
        self._plan, self._n_parts, self._width, self._scratch = plan, n_components, width, scratch
        self._first = -1  # the block held as first channels
        self._room = room
        for k, indices in enumerate(windows):
            n_segments = indices.size * n_components * plan.n_segments
            if k == len(room):
                room.append(np.empty(0))
            if room[k].shape[3:4] != (n_segments,):
                room[k] = empty_spectra(width, n_segments, plan.n_fft)
        self.spectra: list[_Spectra] = []

    def load(self, i: int, j: int, pool: ThreadPoolExecutor) -> None:
        """Transform what is missing of block i as first and block j as second channels."""
        if self._first != i:  # block i meets itself before any other
            list(pool.map(self._transform_both, self._channels(i)))
            self._first = i
        if j != i:
            list(pool.map(self._transform_second, self._channels(j)))
        first, second = (self._kept[self._channels(k)].astype(np.float32) for k in (i, j))
        self.spectra = [
            _Spectra(x, y, first[:, indices] @ second[:, indices].T)
            for (x, y), indices in zip(self._room, self._windows, strict=False)
        ]

    def _channels(self, block: int) -> range:
        return range(block * self._width, min((block + 1) * self._width, len(self._kept)))

    def _transform_both(self, channel: int) -> None:
        self._transform(channel, (0, 1))

    def _transform_second(self, channel: int) -> None:
        self._transform(channel, (1,))

    def _transform(self, channel: int, sides: tuple[int, ...]) -> None:
        """Cut the windows of a channel, then transform them block by block."""
        batch = np.concatenate(self._windows)
        here = self._kept[channel, batch]
        cut = self._cut(channel, batch[here]) if here.any() else None
        self._store(channel, cut, here, sides)

    def _store(
        self,
        channel: int,
        cut: tuple[np.ndarray, np.ndarray] | None,
        here: np.ndarray,
        sides: tuple[int, ...],
    ) -> None:
        """The block spectra of a channel's windows; of those that are not ``here``, zeros."""
        n_segments = self._n_parts * self._plan.n_segments
        at = channel % self._width
        wanted: list[tuple[np.ndarray, int]] = []  # room and first block of every window here
        position = 0
        for indices, room in zip(self._windows, self._room, strict=False):
            for place in range(indices.size):
                # Blocks keep the place of their window: both channels of a pair must agree.
                begin = place * n_segments
                if here[position]:
                    wanted.append((room, begin))
                else:
                    for side in sides:
                        room[side][:, at, begin : begin + n_segments] = 0
                position += 1
        if cut is not None:
            for side in sides:
                self._put(side, at, cut[side], wanted)

    def _put(
        self,
        side: int,
        at: int,
        windows: np.ndarray,
        wanted: list[tuple[np.ndarray, int]],
    ) -> None:
        """The block spectra of windows (n, n_components, n_samples) of the channel at ``at``.

        Blocks of one window after the other fill whole calls of the transform.
        """
        plan = self._plan
        room = _block_room(plan, side, self._scratch)
        filled = 0  # rows of the room
        pieces: list[tuple[int, int, np.ndarray, int]] = []  # rows [a, b), where they go

        def transform() -> None:
            rows = filled + -filled % default_rows_per_call(plan.n_fft)
            spectra = rfft(room[:rows]).view(np.float32)
            for a, b, out, block in pieces:
                store_spectra(spectra[a:b], at, block, out)
            pieces.clear()

        for window, (rooms, begin) in zip(windows, wanted, strict=True):
            for part in window:
                done = 0
                while done < plan.n_segments:
                    a, b = filled, min(filled + plan.n_segments - done, len(room))
                    if side == 0:
                        segment_first(part, done, plan.n_segment, room[a:b])
                    else:
                        segment_second(
                            part, done, plan.n_segment, plan.n_lags, plan.circular, room[a:b]
                        )
                    pieces.append((a, b, rooms[side], begin))
                    begin, done, filled = begin + b - a, done + b - a, b
                    if filled == len(room):
                        transform()
                        filled = 0
        if filled:
            transform()


def _block_room(plan: FftSegments, side: int, scratch: local) -> np.ndarray:
    """The thread's own array for blocks, one for each side of a pair: whole calls of `rfft`."""
    if getattr(scratch, "plan", None) != plan:
        scratch.plan = plan
        rows_per_call = default_rows_per_call(plan.n_fft)
        shape = (
            max(1, _SEGMENT_SAMPLES // plan.n_fft // rows_per_call) * rows_per_call,
            plan.n_fft,
        )
        scratch.blocks = [np.zeros(shape, dtype=np.float32) for _ in range(2)]
    return scratch.blocks[side]


def _correlate_tile(
    tile: Tile, spectra: list[_Spectra], plan: FftSegments, side: int, scratch: local
) -> np.ndarray:
    """(n_pairs, n_rows, n_lags) of a tile; the array is the thread's own and used again."""
    n_kept, n_bins = 2 * plan.n_lags + 1, plan.n_fft // 2 + 1
    size = (side * side, len(spectra), n_kept)
    rows_per_call = default_rows_per_call(plan.n_fft)
    if getattr(scratch, "corr", np.empty(0)).shape != size:
        scratch.corr = np.empty(size, dtype=np.float32)
        scratch.product = empty_products(side * side + -(side * side) % rows_per_call, plan.n_fft)
        scratch.series = np.empty((_PAIRS, plan.n_fft), dtype=np.float32)
    n_pairs = tile.rows.size
    corr, product = scratch.corr[:n_pairs], scratch.product
    i, j = tile.i0 + tile.local // tile.n_j, tile.j0 + tile.local % tile.n_j
    for w, one in enumerate(spectra):
        multiply_tile(
            one.first,
            one.second,
            tile.i0,
            tile.n_i,
            tile.j0,
            tile.n_j,
            tile.ahead,
            tile.place,
            product,
        )
        count = one.count[i, j]
        with np.errstate(divide="ignore"):
            scale = np.where(count > 0, 1 / count, np.nan).astype(np.float32)[:, None]
        for a in range(0, n_pairs, _PAIRS):
            b = min(a + _PAIRS, n_pairs)
            rows = b - a + (a - b) % rows_per_call  # a whole call, over rows that nobody wants
            series = irfft(product[a : a + rows, :n_bins], plan.n_fft, scratch.series[:rows])
            np.multiply(series[: b - a, :n_kept], scale[a:b], out=corr[a:b, w])
    return corr
