"""Hints to the memory: what will be wanted soon."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.extending import type_callable


def prefetch(array: np.ndarray, i: int) -> None:
    """Ask for the memory of element i of a 1-D array, to be written to soon."""


@type_callable(prefetch)
def _type_prefetch(context: Any) -> Any:
    def typer(array: Any, index: Any) -> Any:
        fits = isinstance(array, types.Array) and array.ndim == 1
        return types.none if fits and isinstance(index, types.Integer) else None

    return typer


@lower_builtin(prefetch, types.Array, types.Integer)
def _lower_prefetch(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    own = context.make_array(sig.args[0])(context, builder, args[0])
    index = context.cast(builder, args[1], sig.args[1], types.intp)
    stride = cgutils.unpack_tuple(builder, own.strides, 1)[0]
    base = builder.bitcast(own.data, ir.IntType(8).as_pointer())
    pointer = builder.gep(base, [builder.mul(index, stride)])
    flag = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, flag, flag, flag])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    write, keep, data = (ir.Constant(flag, k) for k in (1, 3, 1))
    builder.call(function, [pointer, write, keep, data])
    return context.get_dummy_value()
