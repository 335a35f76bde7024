"""Hints to the memory: what will be wanted soon."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

_FLAG = ir.IntType(32)


def prefetch(array: np.ndarray, i: int) -> None:
    """Ask for row ``i`` of an array, which will be written. Any ``i`` is allowed."""


@type_callable(prefetch)
def _type_prefetch(context: Any) -> Any:
    def typer(array: Any, i: Any) -> Any:
        fits = isinstance(array, types.Array) and isinstance(i, types.Integer)
        return types.none if fits else None

    return typer


@lower_builtin(prefetch, types.Array, types.Integer)
def _lower_prefetch(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array = context.make_array(sig.args[0])(context, builder, args[0])
    row = context.cast(builder, args[1], sig.args[1], types.intp)
    stride = cgutils.unpack_tuple(builder, array.strides)[0]
    byte = ir.IntType(8).as_pointer()
    pointer = builder.gep(builder.bitcast(array.data, byte), [builder.mul(row, stride)])
    kind = ir.FunctionType(ir.VoidType(), [byte, _FLAG, _FLAG, _FLAG])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, *(ir.Constant(_FLAG, flag) for flag in (1, 3, 1))])
    return context.get_dummy_value()
