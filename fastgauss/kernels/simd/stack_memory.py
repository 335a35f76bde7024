"""Arrays on the stack of a compiled function: no allocation, no reference count.

The memory is valid while the function runs, so it must not be returned. If the compiler knows all
indices, it keeps the elements in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.extending import type_callable
from numba.np.arrayobj import populate_array

from .._compile import device, variants
from .._inlining import UNCOUNTED_VIEWS
from .lane_types import WIDTH, LaneType

_LINE = 64  # bytes: the alignment, so that a register lies in one cache line


def stack_rows(rows: int) -> np.ndarray:
    """Lane memory (rows, WIDTH), not initialised; ``rows`` is a compile-time constant."""
    return np.zeros((rows, WIDTH))


def stack_like(array: np.ndarray, count: int) -> np.ndarray:
    """``count`` numbers of the dtype of an array, not initialised; a compile-time constant."""
    return np.zeros(count, dtype=array.dtype)


def _lower(context: Any, builder: Any, kind: Any, shape: tuple[int, ...]) -> Any:
    item = context.get_data_type(kind.dtype)
    size = context.get_abi_sizeof(item)
    count = int(np.prod(shape))
    with builder.goto_entry_block():
        memory = builder.alloca(ir.ArrayType(item, count))
    memory.align = _LINE
    steps = [size * int(np.prod(shape[k + 1 :])) for k in range(len(shape))]
    array = context.make_array(kind)(context, builder)
    populate_array(
        array,
        data=builder.bitcast(memory, item.as_pointer()),
        shape=[context.get_constant(types.intp, n) for n in shape],
        strides=[context.get_constant(types.intp, step) for step in steps],
        itemsize=context.get_constant(types.intp, size),
        meminfo=None,
    )
    return array._getvalue()


@type_callable(stack_rows)
def _type_stack_rows(context: Any) -> Any:
    def typer(rows: Any) -> Any:
        fits = isinstance(rows, types.IntegerLiteral)
        return types.Array(types.float64, 2, "C") if fits else None

    return typer


@lower_builtin(stack_rows, types.IntegerLiteral)
def _lower_stack_rows(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _lower(context, builder, sig.return_type, (sig.args[0].literal_value, WIDTH))


@type_callable(stack_like)
def _type_stack_like(context: Any) -> Any:
    def typer(array: Any, count: Any) -> Any:
        fits = isinstance(array, types.Array) and isinstance(count, types.IntegerLiteral)
        return types.Array(array.dtype, 1, "C") if fits else None

    return typer


@lower_builtin(stack_like, types.Array, types.IntegerLiteral)
def _lower_stack_like(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _lower(context, builder, sig.return_type, (sig.args[1].literal_value,))


def flat_view(array: np.ndarray) -> np.ndarray:
    """All numbers of a C-ordered array in a row; a view that is not counted: never return it.

    numba's own ``reshape`` costs 50 ns.
    """
    return array.reshape(-1)


def row_view(array: np.ndarray) -> np.ndarray:
    """A view of a 1-D array as a 2-D array of one row, likewise."""
    return array.reshape(1, -1)


UNCOUNTED_VIEWS.update((stack_rows, stack_like, flat_view, row_view))


def _lower_view(context: Any, builder: Any, sig: Any, args: Any, rows: bool) -> Any:
    kind, target = sig.args[0], sig.return_type
    source = context.make_array(kind)(context, builder, args[0])
    size = source.itemsize
    shape = [source.nitems]
    strides = [size]
    if rows:
        shape = [context.get_constant(types.intp, 1), *shape]
        strides = [builder.mul(size, source.nitems), *strides]
    view = context.make_array(target)(context, builder)
    populate_array(
        view, data=source.data, shape=shape, strides=strides, itemsize=size, meminfo=None
    )
    return view._getvalue()


def _view_type(array: Any, ndim: int) -> Any:
    return types.Array(array.dtype, ndim, "C", readonly=not array.mutable)


@type_callable(flat_view)
def _type_flat_view(context: Any) -> Any:
    def typer(array: Any) -> Any:
        fits = isinstance(array, types.Array) and array.layout == "C"
        return _view_type(array, 1) if fits else None

    return typer


@lower_builtin(flat_view, types.Array)
def _lower_flat_view(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _lower_view(context, builder, sig, args, False)


@type_callable(row_view)
def _type_row_view(context: Any) -> Any:
    def typer(array: Any) -> Any:
        fits = isinstance(array, types.Array) and (array.layout, array.ndim) == ("C", 1)
        return _view_type(array, 2) if fits else None

    return typer


@lower_builtin(row_view, types.Array)
def _lower_row_view(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _lower_view(context, builder, sig, args, True)


def first_lane(value: Any) -> Any:
    """The number in lane 0; for a tuple of lanes, a tuple of numbers."""
    return tuple(v[0] for v in value) if isinstance(value, tuple) else value[0]


@type_callable(first_lane)
def _type_first_lane(context: Any) -> Any:
    def typer(value: Any) -> Any:
        if isinstance(value, LaneType):
            return value.dtype
        fits = isinstance(value, types.UniTuple) and isinstance(value.dtype, LaneType)
        return types.UniTuple(value.dtype.dtype, value.count) if fits else None

    return typer


_ZERO = ir.Constant(ir.IntType(32), 0)


@lower_builtin(first_lane, LaneType)
def _lower_first_lane(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.extract_element(args[0], _ZERO)


@lower_builtin(first_lane, types.UniTuple)
def _lower_first_lanes(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    lanes = [builder.extract_value(args[0], i) for i in range(sig.args[0].count)]
    numbers = [builder.extract_element(lane, _ZERO) for lane in lanes]
    return context.make_tuple(builder, sig.return_type, numbers)


def put_row(m: np.ndarray, values: Any, count: int) -> None:
    """As many numbers, a tuple or a 1-D array, or one for all, to the elements of a 1-D array."""
    single = not np.ndim(values)
    if not single and len(values) != count:
        raise ValueError(f"a particle needs {count} numbers, got {len(values)}")
    several = (_put_one, _put_two, _put_three)[count - 1]
    put = several if isinstance(values, tuple) else _put_array
    (_put_number if single else put)(m, values, count)


@device
def _put_one(m, values, count):
    m[0] = np.float64(values[0])


@device
def _put_two(m, values, count):
    m[0], m[1] = np.float64(values[0]), np.float64(values[1])


@device
def _put_three(m, values, count):
    m[0], m[1], m[2] = np.float64(values[0]), np.float64(values[1]), np.float64(values[2])


@device
def _put_array(m, values, count):
    for k in range(count):
        m[k] = np.float64(values[k])


@device
def _put_number(m, values, count):
    for k in range(count):
        m[k] = np.float64(values)


@variants(put_row)
def _choose_row(m: Any, values: Any, count: Any) -> Callable | None:
    if isinstance(values, types.BaseTuple):
        wanted = getattr(count, "literal_value", 0)  # numba types it without the literal first
        fits = len(values) == wanted
        return (_put_one, _put_two, _put_three)[wanted - 1] if fits else None
    return _put_number if isinstance(values, types.Number) else _put_array
