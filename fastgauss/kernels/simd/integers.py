"""Whole numbers in lanes: rounded products, spread bits, conversion to integers, range checks.

Lanes hold float64, in which whole numbers below 2**52 are exact. Indices are therefore computed
in lanes of float64 and converted to integers when they are stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from .._compile import device
from .lane_types import WIDTH, LaneType, lane_type, spread
from .prefetch import MANY

_WORD = ir.IntType(64)
_SPREAD = (  # (shift, mask) that move the bits of a 32-bit number to the even places
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)


def rounded_product(a: float, b: float) -> float:
    """a b, rounded and never fused with a following sum; float64 scalars."""
    return np.float64(a) * np.float64(b)


@type_callable(rounded_product)
def _type_rounded_product(context: Any) -> Any:
    def typer(a: Any, b: Any) -> Any:
        return types.float64 if a == b == types.float64 else None

    return typer


@lower_builtin(rounded_product, types.float64, types.float64)
def _lower_rounded_product(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    # without a flag numba adds "contract"; this flag has no effect on a product
    return builder.fmul(*args, flags=("afn",))


@device
def spread_bits(x: int) -> int:
    """The binary digits of an integer 0 <= x < 2**32 in the even places."""
    for shift, mask in _SPREAD:
        x = (x | (x << shift)) & mask
    return x


def spread_digits(x: np.ndarray) -> np.ndarray:
    """``spread_bits`` for lanes that hold whole numbers 0 <= x < 2**26."""
    return spread_bits(x.astype(np.int64)).astype(np.float64)


def _constant(vector: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(vector, [value] * vector.count)


_TWO_52 = 0x4330000000000000  # the bits of 2**52, to which those of a whole number are added


def _to_words(builder: Any, value: Any) -> Any:
    """Integers of lanes that hold whole numbers below 2**52."""
    vector = ir.VectorType(_WORD, value.type.count)
    two = builder.bitcast(_constant(vector, _TWO_52), value.type)
    return builder.xor(
        builder.bitcast(builder.fadd(value, two), vector), _constant(vector, _TWO_52)
    )


@type_callable(spread_digits)
def _type_spread_digits(context: Any) -> Any:
    return lambda x: x if x == lane_type(types.float64) else None


@lower_builtin(spread_digits, LaneType)
def _lower_spread_digits(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    word = _to_words(builder, args[0])
    for shift, mask in _SPREAD:
        moved = builder.shl(word, _constant(word.type, shift))
        word = builder.and_(builder.or_(word, moved), _constant(word.type, mask))
    two = _constant(word.type, _TWO_52)
    value = builder.bitcast(builder.or_(word, two), args[0].type)
    return builder.fsub(value, builder.bitcast(two, args[0].type))


def store_whole(array: np.ndarray, i: int, value: np.ndarray) -> None:
    """Write lanes of whole numbers 0 <= value < 2**52 to the int64 elements from i on."""
    array[i : i + WIDTH] = value


def _is_index_array(array: Any) -> bool:
    return (
        isinstance(array, types.Array)
        and array.layout == "C"
        and array.ndim == 1
        and array.dtype == types.int64
    )


@type_callable(store_whole)
def _type_store_whole(context: Any) -> Any:
    def typer(array: Any, index: Any, value: Any) -> Any:
        fits = _is_index_array(array) and array.mutable and isinstance(index, types.Integer)
        return types.none if fits and value == lane_type(types.float64) else None

    return typer


@lower_builtin(store_whole, types.Array, types.Integer, LaneType)
def _lower_store_whole(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    word = _to_words(builder, args[2])
    index = context.cast(builder, args[1], sig.args[1], types.intp)
    data = context.make_array(sig.args[0])(context, builder, args[0]).data
    pointer = builder.bitcast(builder.gep(data, [index]), word.type.as_pointer())
    builder.store(word, pointer).align = 8
    return context.get_dummy_value()


def all_below(array: np.ndarray, i: int, size: int) -> bool:
    """Whether the `MANY` integers from element i on are in [0, size)."""
    part = array[i : i + MANY]
    return bool(((part >= 0) & (part < size)).all())


@type_callable(all_below)
def _type_all_below(context: Any) -> Any:
    def typer(array: Any, i: Any, size: Any) -> Any:
        fits = (
            isinstance(array, types.Array)
            and (array.ndim, array.layout) == (1, "C")
            and isinstance(array.dtype, types.Integer)
            and isinstance(i, types.Integer)
            and size == types.int64
        )
        return types.boolean if fits else None

    return typer


@lower_builtin(all_below, types.Array, types.Integer, types.Integer)
def _lower_all_below(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array, index, _ = sig.args
    item = context.get_data_type(array.dtype)
    vector = ir.VectorType(item, MANY)
    first = context.cast(builder, args[1], index, types.intp)
    data = context.make_array(array)(context, builder, args[0]).data
    found = builder.load(builder.bitcast(builder.gep(data, [first]), vector.as_pointer()))
    found.align = item.width // 8
    # unsigned, so that one comparison is enough: negative numbers become large
    most = 2 ** (item.width - 1 if array.dtype.signed else item.width) - 1
    limit = builder.sub(args[2], ir.Constant(_WORD, 1))
    narrow = item.width < 64
    if narrow:
        most = ir.Constant(_WORD, most)
        limit = builder.select(builder.icmp_signed("<", limit, most), limit, most)
        limit = builder.trunc(limit, item)
    below = builder.icmp_unsigned("<=", found, spread(builder, vector, limit))
    bits = builder.bitcast(below, ir.IntType(MANY))
    whole = builder.icmp_unsigned("==", bits, ir.Constant(ir.IntType(MANY), 2**MANY - 1))
    some = builder.icmp_signed(">", args[2], ir.Constant(_WORD, 0))
    return builder.and_(whole, some)
