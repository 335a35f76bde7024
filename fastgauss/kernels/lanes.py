"""Lanes: values that hold one number for each of several independent problems.

A *lane value* is a SIMD register in numba's eyes: a type of its own with a
dtype and a width (``LaneType(float64, 8)``), so that eight spots, or eight
points, go through the same arithmetic at once. LLVM cannot prove that numba's
arrays do not overlap and leaves such loops scalar; here the vector is said,
not hoped for.

Memory for lane values is a C-ordered array of shape ``(rows, WIDTH)``:
``load(a, i)`` is row i, ``store(a, i, v)`` writes it. In a one-dimensional
array ``load(a, i)`` is the lanes from element i on.

Arithmetic (``+ - * /``, unary minus), comparisons (giving a mask), ``& | ^ ~``
on masks work as operators; a scalar operand is broadcast. Functions here also
take scalars where that has a meaning, so that one text serves both.

Every function is written twice: as a few lines of numpy, which is what runs
under ``NUMBA_DISABLE_JIT=1`` and documents the meaning, and as the LLVM
instruction that numba emits.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model, type_callable

from ._compile import device

REGISTER_BITS = 512
WIDTH = REGISTER_BITS // 64  # lanes of a float64 value
ALL_LANES = (1 << WIDTH) - 1  # mask_bits of a mask that is true everywhere

FLAGS = ("contract",)
_INDEX = ir.IntType(32)


class LaneType(types.Type):
    """numba's type of a lane value: ``width`` numbers of ``dtype``."""

    def __init__(self, dtype: types.Float, width: int) -> None:
        self.dtype, self.width = dtype, width
        super().__init__(name=f"lanes({dtype}, {width})")


class MaskType(types.Type):
    """numba's type of a mask: one truth value for each lane."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"mask({width})")


def lane_type(dtype: types.Float) -> LaneType:
    """The lane type of ``dtype`` that fills one register, for signatures of one's own.

    Examples
    --------
    >>> lane_type(types.float32).width
    16
    """
    return LaneType(dtype, REGISTER_BITS // dtype.bitwidth)


def _llvm_scalar(dtype: types.Float) -> ir.Type:
    return ir.DoubleType() if dtype == types.float64 else ir.FloatType()


def _llvm_bits(lane: LaneType) -> ir.Type:
    return ir.VectorType(ir.IntType(lane.dtype.bitwidth), lane.width)


@register_model(LaneType)
class _LaneModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: LaneType) -> None:
        vector = ir.VectorType(_llvm_scalar(fe_type.dtype), fe_type.width)
        super().__init__(dmm, fe_type, vector)


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: MaskType) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(ir.IntType(1), fe_type.width))


# -- operators ---------------------------------------------------------------------------------


def _common(a: Any, b: Any) -> LaneType | None:
    """The lane type of a binary operation, None if no lane takes part."""
    lanes = [t for t in (a, b) if isinstance(t, LaneType)]
    if not lanes or any(t != lanes[0] for t in lanes):
        return None
    others = [t for t in (a, b) if not isinstance(t, LaneType)]
    return lanes[0] if all(isinstance(t, (types.Float, types.Integer)) for t in others) else None


def spread(builder: Any, vector: ir.VectorType, value: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INDEX, 0))
    zeros = ir.Constant(ir.VectorType(_INDEX, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, zeros)


def as_lanes(context: Any, builder: Any, lane: LaneType, value: Any, kind: Any) -> Any:
    if isinstance(kind, LaneType):
        return value
    scalar = context.cast(builder, value, kind, lane.dtype)
    return spread(builder, context.get_value_type(lane), scalar)


def _binary(symbol: Any, emit: Any, masks: bool = False) -> None:
    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            lane = _common(*args) if len(args) == 2 else None
            if lane is not None:
                return signature(MaskType(lane.width) if masks else lane, *args)
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lane = next(t for t in sig.args if isinstance(t, LaneType))
        both = [as_lanes(context, builder, lane, v, t) for v, t in zip(args, sig.args, strict=True)]
        return emit(builder, *both)

    for kinds in (
        (LaneType, LaneType),
        (LaneType, types.Number),
        (types.Number, LaneType),
    ):
        lower_builtin(symbol, *kinds)(lower)


_binary(operator.add, lambda b, x, y: b.fadd(x, y, flags=FLAGS))
_binary(operator.sub, lambda b, x, y: b.fsub(x, y, flags=FLAGS))
_binary(operator.mul, lambda b, x, y: b.fmul(x, y, flags=FLAGS))
_binary(operator.truediv, lambda b, x, y: b.fdiv(x, y, flags=FLAGS))
for _symbol, _name in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _binary(_symbol, lambda b, x, y, name=_name: b.fcmp_ordered(name, x, y), masks=True)
_binary(operator.ne, lambda b, x, y: b.fcmp_unordered("!=", x, y), masks=True)


def _simple(symbol: Any, kinds: tuple, result: Any, emit: Any) -> None:
    """Type ``symbol`` for operands of exactly these kinds and lower it by ``emit``."""

    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == len(kinds) and all(map(isinstance, args, kinds)):
                kind = result(*args)
                return None if kind is None else signature(kind, *args)
            return None

    lower_builtin(symbol, *kinds)(emit)


def _same(a: Any, *others: Any) -> Any:
    return a if all(t == a for t in others) else None


for _symbol, _name in (
    (operator.and_, "and_"),
    (operator.or_, "or_"),
    (operator.xor, "xor"),
):
    _simple(
        _symbol,
        (MaskType, MaskType),
        _same,
        lambda c, b, sig, args, name=_name: getattr(b, name)(*args),
    )
_simple(operator.invert, (MaskType,), _same, lambda c, b, sig, args: b.not_(args[0]))
_simple(operator.neg, (LaneType,), _same, lambda c, b, sig, args: b.fneg(args[0], flags=FLAGS))


# -- memory ------------------------------------------------------------------------------------


def load(array: np.ndarray, i: int) -> np.ndarray:
    """Row ``i`` of a ``(rows, WIDTH)`` array, or the lanes from element ``i`` of a 1-D one.

    Examples
    --------
    >>> load(np.arange(20.0), 4)
    array([ 4.,  5.,  6.,  7.,  8.,  9., 10., 11.])
    """
    return array[i].copy() if array.ndim == 2 else array[i : i + WIDTH].copy()


def store(array: np.ndarray, i: int, value: np.ndarray) -> None:
    """Write a lane value where ``load`` would read it.

    Examples
    --------
    >>> a = np.zeros(10)
    >>> store(a, 1, broadcast(2.0))
    >>> a
    array([0., 2., 2., 2., 2., 2., 2., 2., 2., 0.])
    """
    if array.ndim == 2:
        array[i] = value
    else:
        array[i : i + WIDTH] = value


def element(context: Any, builder: Any, kind: Any, array: Any, index: Any, lane: LaneType) -> Any:
    """Pointer to the lanes that ``load`` and ``store`` mean."""
    data = context.make_array(kind)(context, builder, array).data
    if kind.ndim == 2:
        index = builder.mul(index, ir.Constant(index.type, lane.width))
    pointer = builder.gep(data, [index])
    return builder.bitcast(pointer, context.get_value_type(lane).as_pointer())


def array_lane(array: Any, index: Any) -> LaneType | None:
    fits = (
        isinstance(array, types.Array)
        and array.layout == "C"
        and array.ndim in (1, 2)
        and isinstance(array.dtype, types.Float)
        and isinstance(index, types.Integer)
    )
    return lane_type(array.dtype) if fits else None


@type_callable(load)
def _type_load(context: Any) -> Any:
    return array_lane


@lower_builtin(load, types.Array, types.Integer)
def _lower_load(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array, index = sig.args
    row = context.cast(builder, args[1], index, types.intp)
    pointer = element(context, builder, array, args[0], row, sig.return_type)
    value = builder.load(pointer)
    value.align = array.dtype.bitwidth // 8
    return value


@type_callable(store)
def _type_store(context: Any) -> Any:
    def typer(array: Any, index: Any, value: Any) -> Any:
        return types.none if array_lane(array, index) == value and array.mutable else None

    return typer


@lower_builtin(store, types.Array, types.Integer, LaneType)
def _lower_store(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array, index, lane = sig.args
    row = context.cast(builder, args[1], index, types.intp)
    builder.store(args[2], element(context, builder, array, args[0], row, lane)).align = (
        array.dtype.bitwidth // 8
    )
    return context.get_dummy_value()


@device
def lane_rows(rows: int) -> np.ndarray:
    """Zeroed float64 lane memory of shape ``(rows, WIDTH)``, aligned to a cache line.

    An access that straddles two cache lines costs two.

    Examples
    --------
    >>> lane_rows(3).shape
    (3, 8)
    """
    raw = np.zeros((rows + 1) * WIDTH)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + rows * WIDTH].reshape(rows, WIDTH)


# -- values ------------------------------------------------------------------------------------


def broadcast(value: float) -> np.ndarray:
    """The same number in every lane.

    Examples
    --------
    >>> broadcast(1.5)
    array([1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5])
    """
    return np.full(WIDTH, value)


@type_callable(broadcast)
def _type_broadcast(context: Any) -> Any:
    return lambda value: lane_type(value) if isinstance(value, types.Float) else None


@lower_builtin(broadcast, types.Float)
def _lower_broadcast(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return spread(builder, context.get_value_type(sig.return_type), args[0])


def select(mask: Any, yes: Any, no: Any) -> Any:
    """``yes`` where the mask is true, else ``no``; for lanes and for scalars.

    Examples
    --------
    >>> select(load(np.arange(8.0), 0) > 4.0, 1.0, 0.0)
    array([0., 0., 0., 0., 0., 1., 1., 1.])
    """
    return np.where(mask, yes, no)[()]


@infer_global(select)
class _TypeSelect(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if len(args) != 3:
            return None
        mask, yes, no = args
        if isinstance(mask, MaskType):
            lane = _common(yes, no)
            return None if lane is None else signature(lane, *args)
        if isinstance(mask, types.Boolean) and isinstance(yes, types.Float):
            return signature(yes, types.boolean, yes, yes)
        return None


def _lower_select(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    lane = sig.return_type
    yes, no = (
        as_lanes(context, builder, lane, v, t) for v, t in zip(args[1:], sig.args[1:], strict=True)
    )
    return builder.select(args[0], yes, no)


for _kinds in (
    (LaneType, LaneType),
    (LaneType, types.Number),
    (types.Number, LaneType),
):
    lower_builtin(select, MaskType, *_kinds)(_lower_select)


@lower_builtin(select, types.Boolean, types.Float, types.Float)
def _lower_select_scalar(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    flag = context.get_value_as_data(builder, types.boolean, args[0])
    return builder.select(cgutils.as_bool_bit(builder, flag), args[1], args[2])


def sqrt(x: Any) -> Any:
    """Square root of lanes or of a scalar.

    Examples
    --------
    >>> sqrt(broadcast(4.0))[0]
    np.float64(2.0)
    """
    return np.sqrt(x)


def absolute(x: Any) -> Any:
    """Magnitude of lanes or of a scalar.

    Examples
    --------
    >>> absolute(-2.0)
    np.float64(2.0)
    """
    return np.abs(x)


def floor(x: Any) -> Any:
    """Largest integer not above x, of lanes or of a scalar.

    Examples
    --------
    >>> floor(-1.5)
    np.float64(-2.0)
    """
    return np.floor(x)


def _unary(symbol: Any, name: str) -> None:
    @type_callable(symbol)
    def typing(context: Any) -> Any:
        return lambda x: x if isinstance(x, (LaneType, types.Float)) else None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = context.get_value_type(sig.return_type)
        kind = sig.return_type
        is_lane = isinstance(kind, LaneType)
        dtype = kind.dtype if is_lane else kind
        suffix = (f"v{kind.width}" if is_lane else "") + f"f{dtype.bitwidth}"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(value, [value]), f"{name}.{suffix}"
        )
        return builder.call(function, args)

    lower_builtin(symbol, LaneType)(lower)
    lower_builtin(symbol, types.Float)(lower)


_unary(sqrt, "llvm.sqrt")
_unary(absolute, "llvm.fabs")
_unary(floor, "llvm.floor")


@device
def maximum(a: Any, b: Any) -> Any:
    """The larger; ``b`` where a comparison with NaN decides nothing.

    Examples
    --------
    >>> maximum(2.0, 3.0)
    np.float64(3.0)
    """
    return select(a > b, a, b)


@device
def minimum(a: Any, b: Any) -> Any:
    """The smaller; ``b`` where a comparison with NaN decides nothing.

    Examples
    --------
    >>> minimum(2.0, 3.0)
    np.float64(2.0)
    """
    return select(a < b, a, b)


def mask_bits(mask: np.ndarray) -> int:
    """The mask as an integer, lane 0 in the lowest bit.

    Examples
    --------
    >>> mask_bits(load(np.arange(8.0), 0) < 2.0)
    3
    """
    return int(np.packbits(mask, bitorder="little")[0])


def mask_from_bits(bits: int) -> np.ndarray:
    """The mask whose lane k is bit k of the integer."""
    return (bits >> np.arange(WIDTH)) & 1 == 1


def lowest_bit(bits: int) -> int:
    """Position of the lowest set bit; 64 if there is none.

    Examples
    --------
    >>> lowest_bit(12)
    2
    """
    return (bits & -bits).bit_length() - 1 if bits else 64


@type_callable(lowest_bit)
def _type_lowest_bit(context: Any) -> Any:
    return lambda bits: types.int64 if bits == types.int64 else None


@lower_builtin(lowest_bit, types.int64)
def _lower_lowest_bit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))


@type_callable(mask_bits)
def _type_mask_bits(context: Any) -> Any:
    return lambda mask: types.int64 if isinstance(mask, MaskType) else None


@lower_builtin(mask_bits, MaskType)
def _lower_mask_bits(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    word = builder.bitcast(args[0], ir.IntType(sig.args[0].width))
    return builder.zext(word, ir.IntType(64))


@type_callable(mask_from_bits)
def _type_mask_from_bits(context: Any) -> Any:
    return lambda bits: MaskType(WIDTH) if isinstance(bits, types.Integer) else None


@lower_builtin(mask_from_bits, types.Integer)
def _lower_mask_from_bits(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    word = context.cast(builder, args[0], sig.args[0], types.int64)
    narrow = builder.trunc(word, ir.IntType(sig.return_type.width))
    return builder.bitcast(narrow, ir.VectorType(ir.IntType(1), sig.return_type.width))
