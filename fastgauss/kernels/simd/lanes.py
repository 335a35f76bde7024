"""Lanes: values that hold one number for each of several independent problems.

To numba a *lane value* is a SIMD register: a type of its own with a dtype and a width
(``LaneType(float64, 8)`` with AVX-512, ``LaneType(float64, 4)`` elsewhere, see ``registers``), so
that eight or four spots, or points, go through the same arithmetic at once. LLVM cannot prove that
numba's arrays do not overlap, so it does not vectorise such loops; lane values are vectors by their
type.

Memory for lane values is a C-ordered array of shape ``(rows, WIDTH)``:
``load(a, i)`` is row i, ``store(a, i, v)`` writes it. In a one-dimensional
array ``load(a, i)`` is the lanes from element i on.

Arithmetic (``+ - * /``, unary minus), comparisons (giving a mask), ``& | ^ ~`` on masks work as
operators; a scalar operand is broadcast. Functions here also take scalars where that has a meaning,
so that the same code serves both.

Every function is written twice: as a few lines of numpy, which define its meaning and run under
``NUMBA_DISABLE_JIT=1``, and as the LLVM instruction that numba emits.
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
from numba.extending import type_callable

from .._compile import device
from .lane_types import (
    WIDTH,
    LaneType,
    MaskType,
    _binary,
    _common,
    _same,
    _simple,
    as_lanes,
    lane_type,
    spread,
)

for _symbol, _name in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _binary(_symbol, lambda b, x, y, name=_name: b.fcmp_ordered(name, x, y), masks=True)


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


# -- memory ------------------------------------------------------------------------------------


def load(array: np.ndarray, i: int) -> np.ndarray:
    """Row ``i`` of a ``(rows, WIDTH)`` array, or the lanes from element ``i`` of a 1-D one.

    Examples
    --------
    >>> load(np.arange(20.0), 4)[:4]
    array([4., 5., 6., 7.])
    """
    return array[i].copy() if array.ndim == 2 else array[i : i + WIDTH].copy()


def store(array: np.ndarray, i: int, value: np.ndarray) -> None:
    """Write a lane value where ``load`` would read it.

    Examples
    --------
    >>> a = np.zeros(10)
    >>> store(a, 1, broadcast(2.0))
    >>> a[:5]
    array([0., 2., 2., 2., 2.])
    """
    if array.ndim == 2:
        array[i] = value
    else:
        array[i : i + WIDTH] = value


def element(context: Any, builder: Any, kind: Any, array: Any, index: Any, lane: LaneType) -> Any:
    """Pointer to the lanes that ``load`` and ``store`` access."""
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
    >>> lane_rows(3).shape == (3, WIDTH)
    True
    """
    raw = np.zeros(rows * WIDTH + 8)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + rows * WIDTH].reshape(rows, WIDTH)


# -- values ------------------------------------------------------------------------------------


def broadcast(value: float) -> np.ndarray:
    """The same number in every lane.

    Examples
    --------
    >>> broadcast(1.5)[:4]
    array([1.5, 1.5, 1.5, 1.5])
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
    >>> select(load(np.arange(8.0), 0) > 2.0, 1.0, 0.0)[:4]
    array([0., 0., 0., 1.])
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


def square(x: np.ndarray) -> np.ndarray:
    """``x * x`` of lanes, rounded before it is added to anything.

    ``x * x + y`` may be one fused operation here and two there, with different last digits.
    """
    return x * x


@type_callable(square)
def _type_square(context: Any) -> Any:
    return lambda x: x if isinstance(x, LaneType) else None


@lower_builtin(square, LaneType)
def _lower_square(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    # without a flag numba would give it that of contraction; this one changes no product
    return builder.fmul(args[0], args[0], flags=("arcp",))


@device
def maximum(a: Any, b: Any) -> Any:
    """The larger of a and b; b where one of them is NaN.

    Examples
    --------
    >>> maximum(2.0, 3.0)
    np.float64(3.0)
    """
    return select(a > b, a, b)


@device
def minimum(a: Any, b: Any) -> Any:
    """The smaller of a and b; b where one of them is NaN.

    Examples
    --------
    >>> minimum(2.0, 3.0)
    np.float64(2.0)
    """
    return select(a < b, a, b)
