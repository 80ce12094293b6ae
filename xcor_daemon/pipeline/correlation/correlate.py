"""Windows of all channels -> correlations of all pairs.

A correlation has few lags compared with the samples of a window, so each window is cut into
segments. With X the spectra of the segments of the first channel, and Y those of the second
channel's, extended by maxlag on both sides, the inverse transform of the sum of conj(X) Y over
the segments has all lags exactly: one short transform a pair. All pairs of a tile of channels
share the spectra while these are in the cache.
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

TILE = 18  # largest number of channels on a side: products and spectra stay in the cache
# If many windows are averaged the products take longer than the transforms, and a larger tile
# reads the spectra less often.
_TILE_OF_STACKS, _MANY_SEGMENTS = 54, 64
# Bytes of spectra in memory at a time. With more channels than fit, the spectra of second channels
# are computed again for every block of first channels: with 200 channels in two blocks instead of
# four, a day of substacks takes 14 % less time.
MEMORY = 1_000_000_000
_PAIRS = 24  # pairs in a call of the inverse transform
# Samples of the segments that are cut before they are transformed: half of a second-level cache.
_SEGMENT_SAMPLES = 1 << 17
# Output rows at a time: enough for long writes, and few pages of memory to be allocated.
_ROWS = 4
# Rate of one core (flop/s) for products, against `fft.RATE` for transforms, to choose the length
# of a segment; their ratio affects the speed only.
_RATE_PRODUCT = 40e9

# (channel, indices of windows) -> windows as first and as second of a pair, each float32
# (n, n_components, n_samples)
Cutter = Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
# (consecutive pair rows, first output row, float32 array (n_pairs, n_rows, n_lags))
Sink = Callable[[np.ndarray, int, np.ndarray], None]


@dataclass(frozen=True)
class FftSegments:
    """How a window is cut into segments."""

    n_samples: int  # in a window
    n_lags: int  # on each side of 0
    n_segment: int  # samples of the first channel in a segment
    n_fft: int  # length of the transform, in samples
    circular: bool

    @property
    def n_segments(self) -> int:
        """Number of segments in a window."""
        return -(-self.n_samples // self.n_segment)


def plan_segments(
    n_samples: int, n_lags: int, circular: bool, n_summed: float = 1.0
) -> FftSegments:
    """Choose the segments that make the correlation of a window fastest; each choice is exact.

    Parameters
    ----------
    n_samples : int
        Samples in a window.
    n_lags : int
        Lags on each side of 0, in samples.
    circular : bool
        Whether samples beyond the end of a window are those at its beginning, or zeros.
    n_summed : float
        Windows, or components of windows, that are summed before one inverse transform.

    Returns
    -------
    plan : FftSegments
        One segment, the whole window, if ``n_lags`` exceeds a quarter of it: shorter segments
        save nothing then.

    Raises
    ------
    ValueError
        If ``n_lags`` does not lie between 0 and ``n_samples``.

    Examples
    --------
    >>> plan = plan_segments(n_samples=36000, n_lags=1000, circular=False)
    >>> plan.n_fft == plan.n_segment + 2 * plan.n_lags, plan.n_segments * plan.n_segment >= 36000
    (True, True)
    """
    if not 0 < n_lags < n_samples:
        raise ValueError(f"n_lags = {n_lags} is not between 1 and n_samples - 1 ({n_samples - 1})")
    # A whole window needs zeros on one side only to avoid wrap-around.
    whole = _next_len(n_samples + (2 if circular else 1) * n_lags)
    most = 8 * n_lags + 512  # the products of a tile with longer transforms exceed the cache
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
    """Return the next length of `next_fast_len` that is not a multiple of 1024.

    Rows of such a length start at the same offset in a page of 4096 bytes and so compete for the
    same few lines of the first-level cache: the inverse transform of eight rows of 4096 samples
    takes 1.32 ns a sample, that of 4000 samples 1.00 (5120: 1.22, 5000: 1.00; 8192: 1.45, 8000:
    1.06; ducc0 0.42 on an AMD processor with AVX-512), and sixteen rows 2.3 to 3.1. The next
    length is at most 6 % longer.
    """
    n_fft = next_fast_len(n)
    while n_fft % 1024 == 0:
        n_fft = next_fast_len(n_fft + 2)
    return n_fft


def _cost(plan: FftSegments, n_summed: float) -> float:
    """Time of one core for one correlation of a pair (s)."""
    products = 8 * n_summed * plan.n_segments * n_chunks(plan.n_fft) * LANE / _RATE_PRODUCT
    return products + 2.5 * plan.n_fft * log2(plan.n_fft) / RATE


def correlate(
    cut: Cutter,
    accepted: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    plan: FftSegments,
    sink: Sink,
    *,
    n_components: int = 1,
    groups: np.ndarray | None = None,
    threads: int = 1,
) -> None:
    """Correlate pairs of channels, window by window.

    ``c[k] = sum over t of first[t] * second[t + k]``: a wave that reaches the first channel before
    the second peaks at positive lag. The sum is not divided by anything.

    Parameters
    ----------
    cut : callable
        ``cut(channel, indices)`` returns windows of a channel as first and as second of a pair
        (often one array), float32 of shape (indices.size, n_components, n_samples). Called from
        several threads, once for each accepted window.
    accepted : bool array, shape (n_channels, n_windows)
        Windows that passed the quality rules. A correlation is NaN where either did not.
    pairs : two int arrays, shape (n_pairs,)
        Channels of every pair, first <= second.
    plan : FftSegments
        Samples of a window and lags; from `plan_segments`.
    sink : callable
        Called as ``sink(rows, row, corr)`` with consecutive rows of the pair list, the first
        output row, and a float32 array of shape (rows.size, n, 2 * n_lags + 1) in the product of
        both channels' units. It must copy or write the array before it returns. Called from
        several threads at a time, once for each part of the result.
    n_components : int
        Correlations are summed over components: 1, or 2 of complex windows.
    groups : int array, shape (n_windows,), optional
        Output row of every window, from 0, not decreasing: the mean over the windows of a group
        that both channels have. By default every window has a row of its own.
    threads : int
        The result does not depend on their number.

    Raises
    ------
    ValueError
        If shapes do not fit, or a pair is listed twice.
    """
    _check(accepted, pairs, groups)
    n_channels, n_windows = accepted.shape
    if not pairs[0].size or not n_windows:
        return
    rows = np.arange(n_windows) if groups is None else groups
    n_segments = int(np.bincount(rows).max()) * n_components * plan.n_segments  # of the largest row
    per_channel = spectra_bytes(1, n_segments, plan.n_fft)
    # If not all channels fit, each block of channels is paired with itself and those after it.
    width = part_size(n_channels, max(TILE, MEMORY // per_channel))
    side = part_size(width, TILE if n_segments <= _MANY_SEGMENTS else _TILE_OF_STACKS)
    tiles = tiles_by_block(pairs, width, side, n_channels)
    scratch = local()
    buffers: list[np.ndarray] = []
    most = max(1, min(MEMORY // (width * per_channel), _ROWS))
    with ThreadPoolExecutor(threads) as pool:
        for a, b in _batches(rows, most):
            windows = [np.flatnonzero(rows == row) for row in range(a, b)]
            batch = _Batch(cut, accepted, windows, plan, n_components, width, scratch, buffers)
            for (i, j), some in tiles.items():
                batch.load(i, j, pool)

                def multiply(tile: Tile, batch: _Batch = batch, row: int = a) -> None:
                    corr = _correlate_tile(tile, batch.spectra, plan, side, scratch)
                    for begin, end in tile.runs:
                        sink(tile.rows[begin:end], row, corr[begin:end])

                list(pool.map(multiply, some))  # list() raises the exceptions of the threads


def _check(
    accepted: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], groups: np.ndarray | None
) -> None:
    if accepted.ndim != 2 or accepted.dtype != bool:
        raise ValueError(
            f"accepted is {accepted.dtype} of shape {accepted.shape}; "
            "use booleans of shape (n_channels, n_windows)"
        )
    i, j = pairs
    inside = i.shape == j.shape and (not i.size or (i.min() >= 0 and j.max() < len(accepted)))
    if not inside or (i > j).any():
        raise ValueError(
            f"pairs must be two lists of equal length with 0 <= first <= second < {len(accepted)}"
        )
    if groups is not None and (groups.shape != accepted.shape[1:] or (np.diff(groups) < 0).any()):
        raise ValueError(f"groups must be {accepted.shape[1]} numbers that do not decrease")


def _batches(rows: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Ranges [a, b) of output rows that fit in memory, of nearly equal length."""
    n = int(rows[-1]) + 1 if rows.size else 0
    n_batches = ceil(n / most)
    for k in range(n_batches):
        yield k * n // n_batches, (k + 1) * n // n_batches


@dataclass(frozen=True)
class _Spectra:
    """Segment spectra of a block of first and one of second channels, for one output row."""

    first: np.ndarray  # float32, as `kernel.empty_spectra` lays them out
    second: np.ndarray
    count: np.ndarray  # windows that both channels have, (first channels, second channels)


class _Batch:
    """Segment spectra of some output rows, for two blocks of channels at a time.

    ``buffers`` has an array for both sides of each row; the next batch uses them again, since the
    first access to new memory takes as long as the transforms that fill it.
    """

    def __init__(
        self,
        cut: Cutter,
        accepted: np.ndarray,
        windows: list[np.ndarray],
        plan: FftSegments,
        n_components: int,
        width: int,
        scratch: local,
        buffers: list[np.ndarray],
    ) -> None:
        self._cut, self._accepted, self._windows = cut, accepted, windows
        self._plan, self._n_components, self._width, self._scratch = (
            plan,
            n_components,
            width,
            scratch,
        )
        self._first = -1  # the block that is loaded as first channels
        self._buffers = buffers
        for k, indices in enumerate(windows):
            n_segments = indices.size * n_components * plan.n_segments
            if k == len(buffers):
                buffers.append(np.empty(0))
            if buffers[k].shape[3:4] != (n_segments,):
                buffers[k] = empty_spectra(width, n_segments, plan.n_fft)
        self.spectra: list[_Spectra] = []

    def load(self, i: int, j: int, pool: ThreadPoolExecutor) -> None:
        """Transform block i as first and block j as second channels, unless that is done."""
        if self._first != i:  # block i is paired with itself before any other
            list(pool.map(self._transform_both, self._channels(i)))
            self._first = i
        if j != i:
            list(pool.map(self._transform_second, self._channels(j)))
        first, second = (self._accepted[self._channels(k)].astype(np.float32) for k in (i, j))
        self.spectra = [
            _Spectra(x, y, first[:, indices] @ second[:, indices].T)
            for (x, y), indices in zip(self._buffers, self._windows, strict=False)
        ]

    def _channels(self, block: int) -> range:
        return range(block * self._width, min((block + 1) * self._width, len(self._accepted)))

    def _transform_both(self, channel: int) -> None:
        self._transform(channel, (0, 1))

    def _transform_second(self, channel: int) -> None:
        self._transform(channel, (1,))

    def _transform(self, channel: int, sides: tuple[int, ...]) -> None:
        """Cut the windows of a channel and transform their segments."""
        batch = np.concatenate(self._windows)
        present = self._accepted[channel, batch]
        cut = self._cut(channel, batch[present]) if present.any() else None
        self._store(channel, cut, present, sides)

    def _store(
        self,
        channel: int,
        cut: tuple[np.ndarray, np.ndarray] | None,
        present: np.ndarray,
        sides: tuple[int, ...],
    ) -> None:
        """Store the segment spectra of a channel's windows, zeros for those not ``present``."""
        n_segments = self._n_components * self._plan.n_segments
        at = channel % self._width
        targets: list[tuple[np.ndarray, int]] = []  # buffer and first segment of each window
        position = 0
        for indices, buffer in zip(self._windows, self._buffers, strict=False):
            for k in range(indices.size):
                # Both channels of a pair have the segments of a window at the same index.
                begin = k * n_segments
                if present[position]:
                    targets.append((buffer, begin))
                else:
                    for side in sides:
                        buffer[side][:, at, begin : begin + n_segments] = 0
                position += 1
        if cut is not None:
            for side in sides:
                self._transform_windows(side, at, cut[side], targets)

    def _transform_windows(
        self,
        side: int,
        at: int,
        windows: np.ndarray,
        targets: list[tuple[np.ndarray, int]],
    ) -> None:
        """Store the segment spectra of windows (n, n_components, n_samples) of a channel.

        Segments of consecutive windows share calls of the transform.
        """
        plan = self._plan
        segments = _segment_buffer(plan, side, self._scratch)
        filled = 0  # rows of the buffer
        pieces: list[tuple[int, int, np.ndarray, int]] = []  # rows [a, b), target, first segment

        def transform() -> None:
            rows = filled + -filled % default_rows_per_call(plan.n_fft)
            spectra = rfft(segments[:rows]).view(np.float32)
            for a, b, out, segment in pieces:
                store_spectra(spectra[a:b], at, segment, out)
            pieces.clear()

        for window, (buffer, begin) in zip(windows, targets, strict=True):
            for component in window:
                done = 0
                while done < plan.n_segments:
                    a, b = filled, min(filled + plan.n_segments - done, len(segments))
                    if side == 0:
                        segment_first(component, done, plan.n_segment, segments[a:b])
                    else:
                        cut = done, plan.n_segment, plan.n_lags, plan.circular
                        segment_second(component, *cut, segments[a:b])
                    pieces.append((a, b, buffer[side], begin))
                    begin, done, filled = begin + b - a, done + b - a, b
                    if filled == len(segments):
                        transform()
                        filled = 0
        if filled:
            transform()


def _segment_buffer(plan: FftSegments, side: int, scratch: local) -> np.ndarray:
    """The thread's array for segments of one side, float32 (rows, n_fft): whole calls of `rfft`."""
    if getattr(scratch, "plan", None) != plan:
        scratch.plan = plan
        rows_per_call = default_rows_per_call(plan.n_fft)
        shape = (
            max(1, _SEGMENT_SAMPLES // plan.n_fft // rows_per_call) * rows_per_call,
            plan.n_fft,
        )
        scratch.segments = [np.zeros(shape, dtype=np.float32) for _ in range(2)]
    return scratch.segments[side]


def _correlate_tile(
    tile: Tile, spectra: list[_Spectra], plan: FftSegments, side: int, scratch: local
) -> np.ndarray:
    """Correlations of a tile, float32 (n_pairs, n_rows, n_lags); the thread reuses the array."""
    n_out, n_bins = 2 * plan.n_lags + 1, plan.n_fft // 2 + 1
    size = (side * side, len(spectra), n_out)
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
            tile.row_of,
            product,
        )
        count = one.count[i, j]
        with np.errstate(divide="ignore"):
            scale = np.where(count > 0, 1 / count, np.nan).astype(np.float32)[:, None]
        for a in range(0, n_pairs, _PAIRS):
            b = min(a + _PAIRS, n_pairs)
            rows = b - a + (a - b) % rows_per_call  # a whole call; the last rows are not used
            series = irfft(product[a : a + rows, :n_bins], plan.n_fft, scratch.series[:rows])
            np.multiply(series[: b - a, :n_out], scale[a:b], out=corr[a:b, w])
    return corr
