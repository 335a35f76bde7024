"""Short rows: fused multiply-add of one to four neighbouring nodes.

The rows of a stencil have one to four nodes, fewer than a register of lanes. The width is that of a
tuple of weights, known at compile time. The fused multiply-add is written explicitly, so that a
node gets the same bits in a row and alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from .lane_types import spread

_INT = ir.IntType(32)


def add_row(array: np.ndarray, i: int, factor: float, weights: tuple[float, ...]) -> None:
    """``array[i + k] += factor * weights[k]`` with one rounding, in the array's precision."""
    for k, weight in enumerate(weights):
        array[i + k] += array.dtype.type(factor) * array.dtype.type(weight)


@type_callable(add_row)
def _type_add_row(context: Any) -> Any:
    def typer(array: Any, i: Any, factor: Any, weights: Any) -> Any:
        fits = (
            isinstance(array, types.Array)
            and (array.ndim, array.layout, array.mutable) == (1, "C", True)
            and array.dtype in (types.float32, types.float64)
            and isinstance(i, types.Integer)
            and factor == types.float64
            and isinstance(weights, types.UniTuple)
            and weights.dtype == types.float64
        )
        return types.none if fits else None

    return typer


@lower_builtin(add_row, types.Array, types.Integer, types.Float, types.UniTuple)
def _lower_add_row(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array, index, _, tuple_type = sig.args
    count = tuple_type.count
    item = context.get_data_type(array.dtype)
    vector = ir.VectorType(item, count)
    narrow = array.dtype == types.float32
    factor = builder.fptrunc(args[2], item) if narrow else args[2]
    weights: Any = ir.Constant(vector, ir.Undefined)
    for k, weight in enumerate(cgutils.unpack_tuple(builder, args[3], count)):
        value = builder.fptrunc(weight, item) if narrow else weight
        weights = builder.insert_element(weights, value, ir.Constant(_INT, k))
    row = context.cast(builder, args[1], index, types.intp)
    data = context.make_array(array)(context, builder, args[0]).data
    pointer = builder.bitcast(builder.gep(data, [row]), vector.as_pointer())
    old = builder.load(pointer)
    old.align = array.dtype.bitwidth // 8
    name = f"llvm.fma.v{count}f{array.dtype.bitwidth}"
    kind = ir.FunctionType(vector, [vector] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, name)
    new = builder.call(fma, [spread(builder, vector, factor), weights, old])
    builder.store(new, pointer).align = array.dtype.bitwidth // 8
    return context.get_dummy_value()
