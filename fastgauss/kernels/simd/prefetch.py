"""Prefetch: load memory into the caches before it is used."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

MANY = 32  # elements of a stream that one call prefetches
_LINE = 64  # bytes of a line of the caches
_FLAG = ir.IntType(32)
_BYTES = ir.IntType(8).as_pointer()


def prefetch(array: np.ndarray, i: int) -> None:
    """Prefetch row ``i`` of an array, which will be written. Any ``i`` is allowed."""


def prefetch_stream(array: np.ndarray, i: int) -> None:
    """Prefetch `MANY` elements from ``i`` on of an array that is read once, from end to end.

    Processors prefetch such streams themselves, but not reliably between reads at random places.
    The elements go into the second-level cache, so that they displace nothing in the first.
    """


@type_callable(prefetch)
def _type_prefetch(context: Any) -> Any:
    def typer(array: Any, i: Any) -> Any:
        fits = isinstance(array, types.Array) and isinstance(i, types.Integer)
        return types.none if fits else None

    return typer


@type_callable(prefetch_stream)
def _type_prefetch_stream(context: Any) -> Any:
    def typer(array: Any, i: Any) -> Any:
        fits = isinstance(array, types.Array) and (array.ndim, array.layout) == (1, "C")
        return types.none if fits and isinstance(i, types.Integer) else None

    return typer


def _ask(builder: Any, pointer: Any, for_writing: int, locality: int) -> None:
    """The prefetch instruction; locality 3 means the nearest cache."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTES, _FLAG, _FLAG, _FLAG])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    flags = (ir.Constant(_FLAG, flag) for flag in (for_writing, locality, 1))
    builder.call(function, [pointer, *flags])


@lower_builtin(prefetch, types.Array, types.Integer)
def _lower_prefetch(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array = context.make_array(sig.args[0])(context, builder, args[0])
    row = context.cast(builder, args[1], sig.args[1], types.intp)
    if (sig.args[0].ndim, sig.args[0].layout) == (1, "C"):
        pointer = builder.bitcast(builder.gep(array.data, [row]), _BYTES)
    else:
        stride = cgutils.unpack_tuple(builder, array.strides)[0]
        pointer = builder.gep(builder.bitcast(array.data, _BYTES), [builder.mul(row, stride)])
    _ask(builder, pointer, 1, 3)
    return context.get_dummy_value()


@lower_builtin(prefetch_stream, types.Array, types.Integer)
def _lower_prefetch_stream(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array = context.make_array(sig.args[0])(context, builder, args[0])
    first = context.cast(builder, args[1], sig.args[1], types.intp)
    pointer = builder.bitcast(builder.gep(array.data, [first]), _BYTES)
    size = context.get_abi_sizeof(context.get_data_type(sig.args[0].dtype))
    for byte in range(0, MANY * size, _LINE):
        _ask(builder, builder.gep(pointer, [ir.Constant(ir.IntType(64), byte)]), 0, 2)
    return context.get_dummy_value()
