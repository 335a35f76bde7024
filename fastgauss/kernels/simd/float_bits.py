"""Exponent and mantissa of floating-point numbers, by their bits; for scalars and lanes."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from .lane_types import LaneType

_LAYOUT = {  # dtype: (integer, explicit fraction bits, exponent bias)
    64: (np.int64, 52, 1023),
    32: (np.int32, 23, 127),
}


def power_of_two(t: Any) -> Any:
    """``2**k`` for the integer k that the low bits of ``t`` hold.

    ``t`` is k + 1.5 * 2**52 (2**23 for float32); 2**k must be a normal number.
    """
    t = np.asarray(t)
    integer, fraction, bias = _LAYOUT[8 * t.itemsize]
    bits = (t.view(integer) + integer(bias)) << integer(fraction)
    return bits.view(t.dtype)[()]


def exponent_and_mantissa(x: Any) -> tuple[Any, Any]:
    """``(k, m)`` with x = 2**k * m and 1 <= m < 2, for positive normal x; k is a float."""
    x = np.asarray(x)
    integer, fraction, bias = _LAYOUT[8 * x.itemsize]
    bits = x.view(integer)
    exponent = (bits >> integer(fraction)) - integer(bias)
    one = integer(bias << fraction)
    mantissa = (bits & integer((1 << fraction) - 1)) | one
    return exponent.astype(x.dtype)[()], mantissa.view(x.dtype)[()]


def ratio_power(a: Any, b: Any) -> tuple[Any, Any]:
    """``(k, c)``, c = 2**-k a, of two positive normal numbers: 2**k is near a / b; k is a float.

    The bits of a number, read as an integer, are its exponent and then its fraction, which is
    log2(x) within 0.0861 (Mitchell 1962, IRE Trans. EC-11, 512). So 2/3 < c / b < 1.502, without
    a division. For a = 0, c stays finite.
    """
    a, b = np.asarray(a), np.asarray(b)
    integer, fraction, _ = _LAYOUT[8 * a.itemsize]
    bits = a.view(integer)
    k = (bits - b.view(integer) + integer(1 << (fraction - 1))) >> integer(fraction)
    near = bits - (k << integer(fraction))
    return k.astype(a.dtype)[()], near.view(a.dtype)[()]


def _bit_type(kind: Any) -> tuple[ir.Type, int, int]:
    dtype = kind.dtype if isinstance(kind, LaneType) else kind
    _, fraction, bias = _LAYOUT[dtype.bitwidth]
    integer = ir.IntType(dtype.bitwidth)
    vector = ir.VectorType(integer, kind.width) if isinstance(kind, LaneType) else integer
    return vector, fraction, bias


def _integer(kind: ir.Type, value: int) -> ir.Constant:
    count = getattr(kind, "count", None)
    return ir.Constant(kind, value if count is None else [value] * count)


@type_callable(power_of_two)
def _type_power(context: Any) -> Any:
    return lambda t: t if isinstance(t, (LaneType, types.Float)) else None


def _lower_power(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    integer, fraction, bias = _bit_type(sig.return_type)
    bits = builder.bitcast(args[0], integer)
    bits = builder.shl(builder.add(bits, _integer(integer, bias)), _integer(integer, fraction))
    return builder.bitcast(bits, context.get_value_type(sig.return_type))


@type_callable(exponent_and_mantissa)
def _type_split(context: Any) -> Any:
    return lambda x: types.UniTuple(x, 2) if isinstance(x, (LaneType, types.Float)) else None


def _lower_split(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind = sig.args[0]
    integer, fraction, bias = _bit_type(kind)
    value = context.get_value_type(kind)
    bits = builder.bitcast(args[0], integer)
    exponent = builder.ashr(bits, _integer(integer, fraction))
    exponent = builder.sitofp(builder.sub(exponent, _integer(integer, bias)), value)
    bits = builder.and_(bits, _integer(integer, (1 << fraction) - 1))
    bits = builder.or_(bits, _integer(integer, bias << fraction))
    return context.make_tuple(builder, sig.return_type, (exponent, builder.bitcast(bits, value)))


@type_callable(ratio_power)
def _type_ratio_power(context: Any) -> Any:
    def typer(a: Any, b: Any) -> Any:
        return types.UniTuple(a, 2) if a == b and isinstance(a, (LaneType, types.Float)) else None

    return typer


def _lower_ratio_power(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind = sig.args[0]
    integer, fraction, _ = _bit_type(kind)
    value, shift = context.get_value_type(kind), _integer(integer, fraction)
    bits, other = (builder.bitcast(arg, integer) for arg in args)
    apart = builder.add(builder.sub(bits, other), _integer(integer, 1 << (fraction - 1)))
    k = builder.ashr(apart, shift)
    near = builder.bitcast(builder.sub(bits, builder.shl(k, shift)), value)
    return context.make_tuple(builder, sig.return_type, (builder.sitofp(k, value), near))


for _kind in (LaneType, types.Float):
    lower_builtin(ratio_power, _kind, _kind)(_lower_ratio_power)
    lower_builtin(power_of_two, _kind)(_lower_power)
    lower_builtin(exponent_and_mantissa, _kind)(_lower_split)
