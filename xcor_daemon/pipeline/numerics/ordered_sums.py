"""Sums in compiled kernels whose order of additions is the same on every processor.

A compiler that may reorder a sum uses as many partial sums as suit the processor: with the same
instructions (AVX-512) a filter then has other last digits on AMD's processors than on Intel's.
Here the number of partial sums is fixed: `LANES`, the k-th over the values k, k + LANES, ..., by
one fused multiply-add after the other; then they are added in pairs. They fill one register of
AVX-512, two of AVX2, four of arm64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types

from .jit import intrinsic

LANES = 16
# Result of an intrinsic for numba: types of its arguments and result; a function that emits LLVM.
Generated = tuple[Any, Callable[..., ir.Value]]
_INT, _FLOAT, _DOUBLE = ir.IntType(64), ir.FloatType(), ir.DoubleType()


@intrinsic
def four_dots(typingctx: Any, taps: Any, data: Any, step: Any, n: Any) -> Generated:
    """Dot products of ``n`` floats at ``taps`` with those at ``data``, + step, ... + 3 step.

    ``taps`` and ``data`` are addresses, ``step`` is in bytes, ``n`` a multiple of `LANES`.
    Returns four float32.
    """
    result = types.UniTuple(types.float32, 4)

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        taps, data, step, n = arguments
        vector = ir.VectorType(_FLOAT, LANES)
        starts = [builder.add(data, builder.mul(step, ir.Constant(_INT, m))) for m in range(4)]

        def load(address: ir.Value, k: ir.Value) -> ir.Value:
            at = builder.add(address, builder.mul(k, ir.Constant(_INT, 4)))
            loaded = builder.load(builder.inttoptr(at, vector.as_pointer()))
            loaded.align = 4
            return loaded

        def add(k: ir.Value, sums: Sequence[ir.Value]) -> list[ir.Value]:
            tap = load(taps, k)
            return [
                _multiply_add(builder, tap, load(start, k), total)
                for start, total in zip(starts, sums, strict=True)
            ]

        sums = _for_each_group(builder, n, [ir.Constant(vector, [0.0] * LANES)] * 4, add)
        totals = [_added_up(builder, total) for total in sums]
        return context.make_tuple(builder, result, totals)

    return result(taps, data, step, n), generate


@intrinsic
def sum_and_moment(typingctx: Any, data: Any, n: Any, reference: Any, middle: Any) -> Generated:
    """Sums of x and of x (i - middle) over the first ``n`` values, x = data[i] - reference.

    ``data`` is a contiguous array (of 32-bit integers or floats), ``n`` a multiple of `LANES`.
    Returns two float64.
    """
    result = types.UniTuple(types.float64, 2)
    is_integer = isinstance(data.dtype, types.Integer)

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        data, n, reference, middle = arguments
        vector = ir.VectorType(_DOUBLE, LANES)
        first = context.make_array(signature.args[0])(context, builder, data).data
        loaded_type = ir.VectorType(first.type.pointee, LANES)
        convert = builder.sitofp if is_integer else builder.fpext
        reference, middle = (_repeated(builder, value) for value in (reference, middle))
        zero = ir.Constant(vector, [0.0] * LANES)
        step = ir.Constant(vector, [float(LANES)] * LANES)
        counted = ir.Constant(vector, [float(k) for k in range(LANES)])

        def add(k: ir.Value, sums: Sequence[ir.Value]) -> list[ir.Value]:
            total, moment, away = sums
            address = builder.bitcast(builder.gep(first, [k]), loaded_type.as_pointer())
            loaded = builder.load(address)
            loaded.align = 4
            x = builder.fsub(convert(loaded, vector), reference)
            moment = _multiply_add(builder, x, away, moment)
            return [builder.fadd(total, x), moment, builder.fadd(away, step)]

        before = [zero, zero, builder.fsub(counted, middle)]
        total, moment, _ = _for_each_group(builder, n, before, add)
        totals = [_added_up(builder, value) for value in (total, moment)]
        return context.make_tuple(builder, result, totals)

    return result(data, n, reference, middle), generate


def _for_each_group(
    builder: ir.IRBuilder,
    n: ir.Value,
    starts: Sequence[ir.Value],
    add: Callable[[ir.Value, Sequence[ir.Value]], list[ir.Value]],
) -> list[ir.Value]:
    """The sums after ``add(k, sums)`` for k = 0, LANES, ... below ``n``; at least once."""
    before, loop = builder.block, builder.append_basic_block("groups")
    after = builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_INT)
    k.add_incoming(ir.Constant(_INT, 0), before)
    sums = [builder.phi(start.type) for start in starts]
    for total, start in zip(sums, starts, strict=True):
        total.add_incoming(start, before)
    new = add(k, sums)
    following = builder.add(k, ir.Constant(_INT, LANES))
    k.add_incoming(following, loop)
    for total, value in zip(sums, new, strict=True):
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, n), loop, after)
    builder.position_at_end(after)
    return new


def _multiply_add(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
    """``x * y + total``, rounded once."""
    kind = "f32" if x.type.element == _FLOAT else "f64"
    name = f"llvm.fma.v{LANES}{kind}"
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(x.type, [x.type] * 3), name
    )
    return builder.call(function, [x, y, total])


def _repeated(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A number in every lane."""
    empty = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    one = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, empty, zeros)


def _added_up(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """Sum of the lanes, in pairs: the upper half is added to the lower until one lane is left."""
    width = LANES
    while width > 1:
        width //= 2
        halves = [
            ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(a, a + width)))
            for a in (0, width)
        ]
        undefined = ir.Constant(vector.type, ir.Undefined)
        vector = builder.fadd(*(builder.shuffle_vector(vector, undefined, h) for h in halves))
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))
