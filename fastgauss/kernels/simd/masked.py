"""Masked loads, stores and sums; ramps; stores that round.

A window on a grid seldom fills its last register. A mask then says which lanes are accessed. The
memory of the other lanes is neither read nor written, so it need not exist and may belong to
another thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from .._compile import device
from .lane_types import WIDTH, LaneType, MaskType, lane_type, spread
from .lanes import array_lane, element

_BIT = ir.IntType(32)


def lane_count(array: np.ndarray) -> int:
    """Lanes of a register of this array's dtype: a number known at compile time."""
    return WIDTH


@type_callable(lane_count)
def _type_lane_count(context: Any) -> Any:
    def typer(array: Any) -> Any:
        return types.intp if isinstance(array, types.Array) else None

    return typer


@lower_builtin(lane_count, types.Array)
def _lower_lane_count(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return context.get_constant(types.intp, lane_type(sig.args[0].dtype).width)


def ramp(start: float) -> np.ndarray:
    """``start, start + 1, ...``: one more in each lane; in the precision of ``start``.

    Examples
    --------
    >>> ramp(3.0)[:4]
    array([3., 4., 5., 6.])
    """
    return start + np.arange(WIDTH, dtype=np.result_type(start))


@type_callable(ramp)
def _type_ramp(context: Any) -> Any:
    return lambda start: lane_type(start) if isinstance(start, types.Float) else None


@lower_builtin(ramp, types.Float)
def _lower_ramp(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    vector = context.get_value_type(sig.return_type)
    steps = ir.Constant(vector, [float(k) for k in range(vector.count)])
    return builder.fadd(spread(builder, vector, args[0]), steps)


@device
def lanes_within(zero, begin, end):
    """Mask of the lanes k with begin <= k < end; ``zero`` tells the precision.

    Examples
    --------
    >>> lanes_within(0.0, 1, 3)[:4]
    array([False,  True,  True, False])
    """
    kind = type(zero)
    k = ramp(zero)
    return (k >= kind(begin)) & (k < kind(end))


@device
def first_lanes(like, count):
    """Mask of the first ``count`` lanes of a register of the precision of the number ``like``.

    Examples
    --------
    >>> first_lanes(7.5, 2)[:4]
    array([ True,  True, False, False])
    """
    return lanes_within(type(like)(0.0), 0, count)


def load_some(array: np.ndarray, i: int, mask: np.ndarray) -> np.ndarray:
    """``load`` where the mask is true, 0 elsewhere; integers as float64 lanes."""
    value = np.zeros(WIDTH, dtype=array.dtype if array.dtype.kind == "f" else np.float64)
    value[mask] = array[i + np.flatnonzero(mask)]
    return value


def store_some(array: np.ndarray, i: int, value: np.ndarray, mask: np.ndarray) -> None:
    """``store`` where the mask is true."""
    array[i + np.flatnonzero(mask)] = value[mask]


def _pointer(context: Any, builder: Any, sig: Any, args: Any, lane: LaneType) -> Any:
    row = context.cast(builder, args[1], sig.args[1], types.intp)
    return element(context, builder, sig.args[0], args[0], row, lane)


def _suffix(vector: ir.VectorType) -> str:
    letter = "i" if isinstance(vector.element, ir.IntType) else "f"
    bits = {ir.DoubleType(): 64, ir.FloatType(): 32}.get(vector.element)
    return f"v{vector.count}{letter}{bits or vector.element.width}.p0"


def _masked(builder: Any, name: str, result: Any, operands: list[Any], vector: Any) -> Any:
    kind = ir.FunctionType(result, [value.type for value in operands])
    full = f"llvm.masked.{name}.{_suffix(vector)}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), operands)


@type_callable(load_some)
def _type_load_some(context: Any) -> Any:
    def typer(array: Any, index: Any, mask: Any) -> Any:
        lane = array_lane(array, index) or _integer_lane(array, index)
        return lane if lane is not None and mask == MaskType(lane.width) else None

    return typer


def _integer_lane(array: Any, index: Any) -> LaneType | None:
    """The lanes that integers of a 1-D array become."""
    fits = (
        isinstance(array, types.Array)
        and array.layout == "C"
        and array.ndim == 1
        and isinstance(array.dtype, types.Integer)
        and isinstance(index, types.Integer)
    )
    return lane_type(types.float64) if fits else None


def _load_where(context: Any, builder: Any, sig: Any, args: Any, lane: LaneType) -> Any:
    """Masked load of ``lane.width`` elements of the array's dtype; integers are converted."""
    item = sig.args[0].dtype
    vector = ir.VectorType(context.get_data_type(item), lane.width)
    row = context.cast(builder, args[1], sig.args[1], types.intp)
    data = context.make_array(sig.args[0])(context, builder, args[0]).data
    if sig.args[0].ndim == 2:
        row = builder.mul(row, ir.Constant(row.type, lane.width))
    pointer = builder.bitcast(builder.gep(data, [row]), vector.as_pointer())
    zero = ir.Constant(vector, [0] * lane.width)
    alignment = ir.Constant(_BIT, item.bitwidth // 8)
    value = _masked(builder, "load", vector, [pointer, alignment, args[2], zero], vector)
    if isinstance(item, types.Integer):
        convert = builder.sitofp if item.signed else builder.uitofp
        value = convert(value, context.get_value_type(lane))
    return value


def _store_where(context: Any, builder: Any, sig: Any, args: Any, lane: LaneType) -> Any:
    row = context.cast(builder, args[1], sig.args[1], types.intp)
    pointer = element(context, builder, sig.args[0], args[0], row, lane)
    alignment = ir.Constant(_BIT, lane.dtype.bitwidth // 8)
    operands = [args[2], pointer, alignment, args[3]]
    _masked(builder, "store", ir.VoidType(), operands, args[2].type)
    return context.get_dummy_value()


@lower_builtin(load_some, types.Array, types.Integer, MaskType)
def _lower_load_some(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _load_where(context, builder, sig, args, sig.return_type)


@type_callable(store_some)
def _type_store_some(context: Any) -> Any:
    def typer(array: Any, index: Any, value: Any, mask: Any) -> Any:
        lane = array_lane(array, index)
        fits = lane is not None and lane == value and mask == MaskType(lane.width)
        return types.none if fits and array.mutable else None

    return typer


@lower_builtin(store_some, types.Array, types.Integer, LaneType, MaskType)
def _lower_store_some(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _store_where(context, builder, sig, args, sig.args[2])


def store_rounded(array: np.ndarray, i: int, value: np.ndarray) -> None:
    """Write float64 lanes to the elements from i on, rounded to the array's dtype."""
    array[i : i + WIDTH] = value


@type_callable(store_rounded)
def _type_store_rounded(context: Any) -> Any:
    def typer(array: Any, index: Any, value: Any) -> Any:
        fits = array_lane(array, index) is not None and array.ndim == 1 and array.mutable
        return types.none if fits and value == lane_type(types.float64) else None

    return typer


@lower_builtin(store_rounded, types.Array, types.Integer, LaneType)
def _lower_store_rounded(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array, lane = sig.args[0], sig.args[2]
    value = args[2]
    target = LaneType(array.dtype, lane.width)
    if target != lane:
        value = builder.fptrunc(value, context.get_value_type(target))
    row = context.cast(builder, args[1], sig.args[1], types.intp)
    pointer = element(context, builder, array, args[0], row, target)
    builder.store(value, pointer).align = array.dtype.bitwidth // 8
    return context.get_dummy_value()


def total(value: np.ndarray) -> float:
    """Sum of the lanes, halves added to halves.

    Examples
    --------
    >>> total(ramp(1.0)) == WIDTH * (WIDTH + 1) / 2
    np.True_
    """
    while value.size > 1:
        half = value.size // 2
        value = value[:half] + value[half:]
    return value[0]


@type_callable(total)
def _type_total(context: Any) -> Any:
    return lambda value: value.dtype if isinstance(value, LaneType) else None


@lower_builtin(total, LaneType)
def _lower_total(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    value, width = args[0], sig.args[0].width
    while width > 1:
        width //= 2
        halves = [
            builder.shuffle_vector(
                value, value, ir.Constant(ir.VectorType(_BIT, width), list(range(at, at + width)))
            )
            for at in (0, width)
        ]
        value = builder.fadd(*halves)
    return builder.extract_element(value, ir.Constant(_BIT, 0))


def load_double(array: np.ndarray, i: int, mask: np.ndarray) -> np.ndarray:
    """``WIDTH`` elements of a 1-D array of real numbers as float64 lanes, 0 where masked.

    Examples
    --------
    >>> load_double(np.array([5, 6, 7]), 0, lanes_within(0.0, 0, 3))[:4]
    array([5., 6., 7., 0.])
    """
    return load_some(array, i, mask).astype(np.float64)


def store_double(array: np.ndarray, i: int, value: np.ndarray, mask: np.ndarray) -> None:
    """Write float64 lanes where the mask is true, rounded to the array's dtype.

    Examples
    --------
    >>> a = np.zeros(3, dtype=np.float32)
    >>> store_double(a, 0, ramp(1.0), lanes_within(0.0, 0, 3))
    >>> a
    array([1., 2., 3.], dtype=float32)
    """
    store_some(array, i, value, mask)


def _part(array: Any, index: Any, mask: Any) -> LaneType | None:
    """The lanes of the array's dtype that ``WIDTH`` float64 lanes stand for."""
    fits = array_lane(array, index) is not None and array.ndim == 1 and mask == MaskType(WIDTH)
    return LaneType(array.dtype, WIDTH) if fits else None


@type_callable(load_double)
def _type_load_double(context: Any) -> Any:
    def typer(array: Any, index: Any, mask: Any) -> Any:
        fits = _part(array, index, mask)
        whole = _integer_lane(array, index) and mask == MaskType(WIDTH)
        return lane_type(types.float64) if fits or whole else None

    return typer


@lower_builtin(load_double, types.Array, types.Integer, MaskType)
def _lower_load_double(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    value = _load_where(context, builder, sig, args, sig.return_type)
    wide = context.get_value_type(sig.return_type)
    return builder.fpext(value, wide) if sig.args[0].dtype == types.float32 else value


@type_callable(store_double)
def _type_store_double(context: Any) -> Any:
    def typer(array: Any, index: Any, value: Any, mask: Any) -> Any:
        fits = _part(array, index, mask) and value == lane_type(types.float64)
        return types.none if fits and array.mutable else None

    return typer


@lower_builtin(store_double, types.Array, types.Integer, LaneType, MaskType)
def _lower_store_double(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    part = LaneType(sig.args[0].dtype, WIDTH)
    value = args[2]
    if part != sig.args[2]:
        value = builder.fptrunc(value, context.get_value_type(part))
    return _store_where(context, builder, sig, (args[0], args[1], value, args[3]), part)
