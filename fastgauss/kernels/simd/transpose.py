"""Transposition of square blocks in registers: rows become lanes and lanes rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from .lanes import array_lane, element

_INDEX = ir.IntType(32)


def transpose(source: np.ndarray, i: int, out: np.ndarray, j: int) -> None:
    """Write the square block of lane rows ``source[i:]``, transposed, to ``out[j:]``."""
    side = source.shape[1]
    out[j : j + side] = source[i : i + side].T


@type_callable(transpose)
def _type_transpose(context: Any) -> Any:
    def typer(source: Any, i: Any, out: Any, j: Any) -> Any:
        lane = array_lane(source, i)
        fits = lane is not None and lane == array_lane(out, j) and source.ndim == out.ndim == 2
        return types.none if fits and out.mutable else None

    return typer


def _exchange(builder: Any, rows: list[Any], step: int) -> list[Any]:
    """Exchange the off-diagonal parts of each square of 2 x 2 parts, ``step`` elements wide."""
    side = len(rows)
    kind = ir.VectorType(_INDEX, side)
    low = [k if not k & step else side + k - step for k in range(side)]
    high = [k + step if not k & step else side + k for k in range(side)]
    result = list(rows)
    for i in range(side):
        if not i & step:
            pair = rows[i], rows[i + step]
            result[i] = builder.shuffle_vector(*pair, ir.Constant(kind, low))
            result[i + step] = builder.shuffle_vector(*pair, ir.Constant(kind, high))
    return result


@lower_builtin(transpose, types.Array, types.Integer, types.Array, types.Integer)
def _lower_transpose(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    source, i, out, j = sig.args
    lane = array_lane(source, i)
    assert lane is not None  # says the typer
    align = source.dtype.bitwidth // 8

    def pointers(kind: Any, array: Any, index: Any, integer: Any) -> list[Any]:
        first = context.cast(builder, index, integer, types.intp)
        rows = (builder.add(first, ir.Constant(first.type, k)) for k in range(lane.width))
        return [element(context, builder, kind, array, row, lane) for row in rows]

    rows = [builder.load(pointer) for pointer in pointers(source, args[0], args[1], i)]
    for row in rows:
        row.align = align
    step = lane.width // 2
    while step:
        rows = _exchange(builder, rows, step)
        step //= 2
    for row, pointer in zip(rows, pointers(out, args[2], args[3], j), strict=True):
        builder.store(row, pointer).align = align
    return context.get_dummy_value()
