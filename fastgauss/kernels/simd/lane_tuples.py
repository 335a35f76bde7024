"""Tuples of lane rows."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from .lane_types import as_lanes, lane_type
from .lanes import element, load, store


def load_all(m, row, count):
    """Lane rows row .. row + count - 1 as a tuple; ``count`` is a compile-time constant."""
    return tuple(load(m, row + i) for i in range(count))


def store_all(m, row, values):
    """Write a tuple of lanes and numbers to the lane rows from ``row`` on."""
    for i, value in enumerate(values):
        store(m, row + i, value)


@type_callable(load_all)
def _type_load_all(context: Any) -> Any:
    def typer(m, row, count):
        fits = isinstance(m, types.Array) and isinstance(count, types.IntegerLiteral)
        return types.UniTuple(lane_type(m.dtype), count.literal_value) if fits else None

    return typer


@lower_builtin(load_all, types.Array, types.Integer, types.IntegerLiteral)
def _lower_load_all(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind, lane = sig.args[0], sig.return_type.dtype
    first = context.cast(builder, args[1], sig.args[1], types.intp)
    values = []
    for i in range(sig.return_type.count):
        row = builder.add(first, context.get_constant(types.intp, i))
        value = builder.load(element(context, builder, kind, args[0], row, lane))
        value.align = kind.dtype.bitwidth // 8
        values.append(value)
    return context.make_tuple(builder, sig.return_type, values)


@type_callable(store_all)
def _type_store_all(context: Any) -> Any:
    def typer(m, row, values):
        if not isinstance(m, types.Array) or not isinstance(values, types.BaseTuple):
            return None
        lane = lane_type(m.dtype)
        fits = all(kind == lane or isinstance(kind, types.Number) for kind in values)
        return types.none if fits else None

    return typer


@lower_builtin(store_all, types.Array, types.Integer, types.BaseTuple)
def _lower_store_all(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind, _, kinds = sig.args
    lane = lane_type(kind.dtype)
    first = context.cast(builder, args[1], sig.args[1], types.intp)
    for i, each in enumerate(kinds):
        value = builder.extract_value(args[2], i)
        row = builder.add(first, context.get_constant(types.intp, i))
        pointer = element(context, builder, kind, args[0], row, lane)
        value = as_lanes(context, builder, lane, value, each)
        builder.store(value, pointer).align = kind.dtype.bitwidth // 8
    return context.get_dummy_value()
