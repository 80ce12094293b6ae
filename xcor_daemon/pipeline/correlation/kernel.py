"""Compiled inner loops of the correlation: segment spectra in memory, and their products.

Layout of segment spectra: (chunk, channel, segment, re/im, LANE). A chunk holds LANE neighbouring
frequencies, as many as a vector register has floats, so that a product over segments reads
contiguous memory and the spectra of a tile of channels stay in the first-level cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types

from ..numerics.jit import intrinsic, jit

# Result of an intrinsic for numba: types of its arguments and result; a function that emits LLVM.
Generated = tuple[Any, Callable[..., ir.Value]]


def _floats_in_a_register() -> int:
    """Floats in a vector register of the processor that numba compiles for.

    That is this processor, or one with the features in NUMBA_CPU_FEATURES. Compiled code contains
    this number, and numba's cache distinguishes code by those features.
    """
    features = numba.config.CPU_FEATURES  # type: ignore[attr-defined]  # set at import
    if features is None:
        features = llvmlite.binding.get_host_cpu_features().flatten()
    return 16 if "+avx512f" in features.split(",") else 8


LANE = _floats_in_a_register()
_ROWS, _COLUMNS = 3, 2  # first and second channels whose products are summed in one loop
# Bytes of spectra multiplied at a time: about a second-level cache. With fewer, loading the sums
# again takes longer than the cache saves.
_AT_A_TIME = 500_000
_SUMS = 240_000  # bytes of sums held in the cache before they are written to their pairs
_LINE = 64  # bytes of a cache line


def n_chunks(n_fft: int) -> int:
    """Number of chunks for the n_fft // 2 + 1 frequencies of a segment."""
    return -(-(n_fft // 2 + 1) // LANE)


def empty_spectra(n_channels: int, n_segments: int, n_fft: int) -> np.ndarray:
    """Allocate segment spectra as first and as second of a pair, for one output row.

    Returns zeros, float32 (2, n_chunks, n_channels, n_segments, 2, LANE).
    """
    shape = (2, n_chunks(n_fft), n_channels, n_segments, 2, LANE)
    return _zeros(spectra_bytes(n_channels, n_segments, n_fft)).view(np.float32).reshape(shape)


def empty_products(n_pairs: int, n_fft: int) -> np.ndarray:
    """Allocate cross-spectra of pairs: zeros, complex64 (n_pairs, n_chunks * LANE)."""
    n_bins = n_chunks(n_fft) * LANE
    return _zeros(n_pairs * n_bins * 8).view(np.complex64).reshape(n_pairs, n_bins)


def _zeros(n_bytes: int) -> np.ndarray:
    """Zeros, uint8 (n_bytes,), aligned to a cache line: no register's values lie in two lines."""
    buffer = np.zeros(n_bytes + _LINE, dtype=np.uint8)
    begin = -buffer.ctypes.data % _LINE
    return buffer[begin : begin + n_bytes]


def spectra_bytes(n_channels: int, n_segments: int, n_fft: int) -> int:
    """Size of the result of `empty_spectra` (bytes)."""
    return 2 * n_chunks(n_fft) * n_channels * n_segments * 2 * LANE * 4


@jit()
def segment_first(window: np.ndarray, first: int, n_segment: int, out: np.ndarray) -> None:
    """Cut a window of a first channel into segments for the transform.

    Parameters
    ----------
    window : float32 array, shape (n_samples,)
        In any unit.
    first : int
        Number of the first segment to cut.
    n_segment : int
        Samples in a segment.
    out : float32 array, shape (n, n_fft)
        Receives ``n`` segments; must be zero from sample ``n_segment`` on.
    """
    for b in range(out.shape[0]):
        start = (first + b) * n_segment
        length = min(n_segment, window.size - start)
        out[b, :length] = window[start : start + length]
        out[b, length:n_segment] = 0


@jit()
def segment_second(
    window: np.ndarray, first: int, n_segment: int, n_lags: int, circular: bool, out: np.ndarray
) -> None:
    """Cut a window of a second channel into segments, extended by ``n_lags`` on both sides.

    Parameters
    ----------
    window : float32 array, shape (n_samples,)
        In any unit.
    first : int
        Number of the first segment to cut.
    n_segment : int
        Samples in a segment, without the extension.
    n_lags : int
        Samples of the extension, on each side.
    circular : bool
        Whether samples beyond an end of the window are those at its other end, or zeros.
    out : float32 array, shape (n, n_fft)
        Receives ``n`` segments.
    """
    n = window.size
    for b in range(out.shape[0]):
        begin = (first + b) * n_segment - n_lags
        low, high = max(0, -begin), min(out.shape[1], n - begin)
        out[b, low:high] = window[begin + low : begin + high]
        if circular:
            for k in range(low):
                out[b, k] = window[begin + k + n]
            for k in range(high, out.shape[1]):
                out[b, k] = window[(begin + k) % n]
        else:
            out[b, :low] = 0
            out[b, high:] = 0


@intrinsic
def _deinterleave(typingctx: Any, source: Any, target: Any) -> Generated:
    """Copy LANE complex64 from an address to another: their real parts, then the imaginary ones.

    Stored past the cache: the spectra exceed it, and whole lines need not be read before.
    """
    signature = types.void(source, target)

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        both = ir.VectorType(ir.FloatType(), 2 * LANE)
        half = ir.VectorType(ir.FloatType(), LANE)
        loaded = builder.load(builder.inttoptr(arguments[0], both.as_pointer()))
        loaded.align = 4
        for part in range(2):
            order = ir.Constant(
                ir.VectorType(ir.IntType(32), LANE), [2 * k + part for k in range(LANE)]
            )
            half_of_them = builder.shuffle_vector(loaded, ir.Constant(both, ir.Undefined), order)
            address = builder.add(arguments[1], ir.Constant(ir.IntType(64), part * LANE * 4))
            _store_past_cache(builder, half_of_them, builder.inttoptr(address, half.as_pointer()))
        return context.get_dummy_value()

    return signature, generate


def _store_past_cache(builder: ir.IRBuilder, value: ir.Value, pointer: ir.Value) -> None:
    """Store a vector at an address aligned to its size, past the cache.

    Such stores may complete late; other threads read the values after a lock, which waits for
    them.
    """
    stored = builder.store(value, pointer)
    stored.align = min(_LINE, value.type.count * 4)
    streaming = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
    stored.set_metadata("nontemporal", streaming)


@jit()
def store_spectra(spectra: np.ndarray, channel: int, first_segment: int, out: np.ndarray) -> None:
    """Copy the segment spectra of a channel into the layout that `multiply_tile` reads.

    Parameters
    ----------
    spectra : float32 array, shape (n, 2 * n_frequencies)
        A view of complex64 spectra, contiguous.
    channel : int
        Index of the channel in ``out``.
    first_segment : int
        Index in ``out`` of the first of the segments.
    out : float32 array, shape (n_chunks, n_channels, n_segments, 2, LANE)
        One side of `empty_spectra`.

    Raises
    ------
    ValueError
        If ``out`` is not aligned to a cache line.
    """
    if out.ctypes.data % _LINE:
        raise ValueError("out is not aligned to a cache line; allocate it with empty_spectra")
    n_floats = spectra.shape[1]
    whole = n_floats // (2 * LANE)
    target = out.ctypes.data + channel * out.strides[1] + first_segment * out.strides[2]
    for c in range(whole):
        for b in range(spectra.shape[0]):
            source = spectra.ctypes.data + b * spectra.strides[0] + c * 8 * LANE
            _deinterleave(source, target + c * out.strides[0] + b * out.strides[2])
    base = whole * 2 * LANE
    for b in range(spectra.shape[0]):
        for q in range((n_floats - base) // 2):
            out[whole, channel, first_segment + b, 0, q] = spectra[b, base + 2 * q]
            out[whole, channel, first_segment + b, 1, q] = spectra[b, base + 2 * q + 1]


@intrinsic
def _multiply_3x2(
    typingctx: Any, x: Any, y: Any, out: Any, n_segments: Any, fresh: Any
) -> Generated:
    """Sum of conj(x_i) y_j over segments for three channels by two, LANE frequencies at a time.

    ``x`` and ``y`` are addresses of the channels' segments, ``out`` six addresses of results, real
    parts and then imaginary ones; the sums are added to them unless ``fresh``. Written as vector
    instructions, since the compiler would keep the sums in memory, not in registers, and be half
    as fast. Twelve sums hide the latency of a multiplication, and with one channel of either side
    at a time they fill the sixteen registers of AVX2.
    """
    signature = types.void(x, y, out, n_segments, fresh)

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        x, y, out, n_segments, fresh = arguments
        vector = ir.VectorType(ir.FloatType(), LANE)
        integer = ir.IntType(64)
        multiply_add = builder.module.globals.get(f"llvm.fma.v{LANE}f32") or ir.Function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANE}f32"
        )
        parts = [ir.Constant(integer, part * LANE * 4) for part in range(2)]

        def pointer(address: ir.Value, offset: ir.Value) -> ir.Value:
            return builder.inttoptr(builder.add(address, offset), vector.as_pointer())

        def load(address: ir.Value, offset: ir.Value) -> ir.Value:
            loaded = builder.load(pointer(address, offset))
            loaded.align = 4
            return loaded

        def unknown(address: ir.Value) -> ir.Value:
            """The same address, hidden from the optimiser, which would merge the loads."""
            identity = ir.FunctionType(integer, [integer])
            return builder.asm(identity, "", "=r,0", [address], side_effect=False)

        xs = [builder.extract_value(x, i) for i in range(_ROWS)]
        ys = [builder.extract_value(y, j) for j in range(_COLUMNS)]
        outs = [builder.extract_value(out, k) for k in range(_ROWS * _COLUMNS)]
        # The first channels are loaded again for the second column: registers would not suffice.
        xs_of = [xs, [unknown(address) for address in xs]]
        zero = ir.Constant(vector, [0.0] * LANE)
        starts = [builder.select(fresh, zero, load(o, part)) for o in outs for part in parts]
        before = builder.block
        loop = builder.append_basic_block("segments")
        after = builder.append_basic_block("sums")
        builder.branch(loop)

        builder.position_at_end(loop)
        segment = builder.phi(integer)
        segment.add_incoming(ir.Constant(integer, 0), before)
        sums = []
        for start in starts:
            total = builder.phi(vector)
            total.add_incoming(start, before)
            sums.append(total)
        real = builder.mul(segment, ir.Constant(integer, 2 * LANE * 4))
        imaginary = builder.add(real, parts[1])
        new = list(sums)
        for j, address in enumerate(ys):
            y_re, y_im = load(address, real), load(address, imaginary)
            for i, other in enumerate(xs_of[j]):
                x_re, x_im = load(other, real), load(other, imaginary)
                k = 2 * (_COLUMNS * i + j)
                new[k] = builder.call(multiply_add, [x_re, y_re, new[k]])
                new[k + 1] = builder.call(multiply_add, [x_re, y_im, new[k + 1]])
                new[k] = builder.call(multiply_add, [x_im, y_im, new[k]])
                new[k + 1] = builder.call(multiply_add, [builder.fneg(x_im), y_re, new[k + 1]])
        following = builder.add(segment, ir.Constant(integer, 1))
        segment.add_incoming(following, loop)
        for total, value in zip(sums, new, strict=True):
            total.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, n_segments), loop, after)

        builder.position_at_end(after)
        for k, value in enumerate(new):
            builder.store(value, pointer(outs[k // 2], parts[k % 2])).align = 4
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _interleave(typingctx: Any, source: Any, target: Any) -> Generated:
    """Copy LANE real parts and as many imaginary ones from an address to another as complex64.

    The compiler would store them one by one, which took a third of the products' time. Stored
    past the cache, since whole lines need not be read before.
    """
    signature = types.void(source, target)

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        vector = ir.VectorType(ir.FloatType(), LANE)
        integer = ir.IntType(64)
        re_im = []
        for part in range(2):
            address = builder.add(arguments[0], ir.Constant(integer, part * LANE * 4))
            loaded = builder.load(builder.inttoptr(address, vector.as_pointer()))
            loaded.align = 4
            re_im.append(loaded)
        order = [k // 2 + k % 2 * LANE for k in range(2 * LANE)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), 2 * LANE), order)
        both = builder.shuffle_vector(*re_im, mask)
        pair = ir.VectorType(ir.FloatType(), 2 * LANE)
        _store_past_cache(builder, both, builder.inttoptr(arguments[1], pair.as_pointer()))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _prefetch(typingctx: Any, address: Any) -> Generated:
    """Prefetch the cache line at an address; an invalid address has no effect."""
    signature = types.void(address)

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        number = ir.IntType(32)
        pointer = ir.IntType(8).as_pointer()
        name = "llvm.prefetch.p0i8"
        prefetch = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(ir.VoidType(), [pointer, number, number, number]), name
        )
        # Read access, second-level cache, data.
        hints = [ir.Constant(number, hint) for hint in (0, 2, 1)]
        builder.call(prefetch, [builder.inttoptr(arguments[0], pointer), *hints])
        return context.get_dummy_value()

    return signature, generate


@jit()
def multiply_tile(
    first: np.ndarray,
    second: np.ndarray,
    i0: int,
    n_i: int,
    j0: int,
    n_j: int,
    ahead: int,
    row_of: np.ndarray,
    out: np.ndarray,
) -> None:
    """Compute the cross-spectra of a tile of pairs, sums of conj(first_i) second_j over segments.

    Parameters
    ----------
    first, second : float32 arrays, shape (n_chunks, n_channels, n_segments, 2, LANE)
        Contiguous, from `empty_spectra`.
    i0, n_i, j0, n_j : int
        First channel and number of channels on either side of the tile.
    ahead : int
        All listed pairs have i0 + i <= j0 + j + ahead.
    row_of : int array, shape (n_i * n_j,)
        Row of ``out`` for channels i0 + i and j0 + j at ``i * n_j + j``; -1 for a pair that is not
        listed.
    out : complex64 array, shape (rows, n_chunks * LANE)
        From `empty_products`; receives the cross-spectra. Rows that are not in ``row_of`` are not
        changed.

    Raises
    ------
    ValueError
        If ``out`` is not aligned to a cache line.
    """
    if out.ctypes.data % _LINE:
        raise ValueError("out is not aligned to a cache line; allocate it with empty_products")
    n_all, n_segments = first.shape[0], first.shape[2]
    x_chunk, x_channel, segment = first.strides[0], first.strides[1], first.strides[2]
    y_chunk, y_channel = second.strides[0], second.strides[1]
    # Segments at a time; while these are multiplied, the next are prefetched.
    n_steps = -(-n_segments * segment * (n_i + n_j) // _AT_A_TIME)
    step = -(-n_segments // n_steps)
    # Sums of several chunks are collected first: in ``out`` each pair is on a page of its own.
    n_group = min(8, max(1, _SUMS // (n_i * n_j * 8 * LANE)))
    sums = np.empty((n_group, n_i * n_j, 2, LANE), dtype=np.float32)
    pair = sums.strides[1]
    for c in range(n_all):
        z = sums.ctypes.data + c % n_group * sums.strides[0]
        x_here = first.ctypes.data + c * x_chunk + i0 * x_channel
        y_here = second.ctypes.data + c * y_chunk + j0 * y_channel
        for b in range(0, n_segments, step):
            x, y = x_here + b * segment, y_here + b * segment
            n_step = min(step, n_segments - b)
            is_last = b + step >= n_segments
            next_x = x_here + x_chunk if is_last else x + step * segment
            next_y = y_here + y_chunk if is_last else y + step * segment
            n_next = (step if is_last else min(step, n_segments - b - step)) * segment // _LINE
            for i in range(0, n_i, _ROWS):
                i1, i2 = (
                    min(i + 1, n_i - 1),
                    min(i + 2, n_i - 1),
                )  # at an edge one is computed twice
                # The next segments are prefetched line by line, during the products of these.
                j_first = max(0, i0 + i - ahead - j0)
                if j_first >= n_j:
                    break  # no pair of this row or of the following rows is listed
                share = -(-n_next // -(-(n_j - j_first) // _COLUMNS))
                prefetched = 0
                for j in range(j_first, n_j, _COLUMNS):
                    j1 = min(j + 1, n_j - 1)
                    for at in range(prefetched, min(prefetched + share, n_next)):
                        _prefetch(next_x + i * x_channel + at * _LINE)
                        _prefetch(next_x + i1 * x_channel + at * _LINE)
                        _prefetch(next_x + i2 * x_channel + at * _LINE)
                    prefetched += share
                    n_rows = min(n_i - 1, ahead + j0 + j1 - i0) // _ROWS + 1
                    row = i // _ROWS
                    for at in range(row * n_next // n_rows, (row + 1) * n_next // n_rows):
                        _prefetch(next_y + j * y_channel + at * _LINE)
                        _prefetch(next_y + j1 * y_channel + at * _LINE)
                    _multiply_3x2(
                        (x + i * x_channel, x + i1 * x_channel, x + i2 * x_channel),
                        (y + j * y_channel, y + j1 * y_channel),
                        (
                            z + (i * n_j + j) * pair,
                            z + (i * n_j + j1) * pair,
                            z + (i1 * n_j + j) * pair,
                            z + (i1 * n_j + j1) * pair,
                            z + (i2 * n_j + j) * pair,
                            z + (i2 * n_j + j1) * pair,
                        ),
                        n_step,
                        b == 0,
                    )
        if (c + 1) % n_group == 0 or c + 1 == n_all:
            c_first = c // n_group * n_group
            for i in range(n_i):
                for j in range(max(0, i0 + i - ahead - j0), n_j):
                    k = i * n_j + j
                    if row_of[k] < 0:
                        continue
                    to = out.ctypes.data + row_of[k] * out.strides[0] + c_first * 8 * LANE
                    for g in range(c + 1 - c_first):
                        at = sums.ctypes.data + g * sums.strides[0] + k * pair
                        _interleave(at, to + g * 8 * LANE)
