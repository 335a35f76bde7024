"""Transposition of square blocks in registers: rows become lanes and lanes rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from .._compile import device
from .lane_types import WIDTH
from .lanes import array_lane, element, store
from .masked import lanes_within, load_double
from .stack_memory import stack_rows

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


@device
def _put_block(flat, at, present, count, mask, m, to) -> None:
    """Put up to ``WIDTH`` neighbouring numbers of each row into lanes."""
    block = stack_rows(WIDTH)
    for lane in range(WIDTH):
        store(block, lane, load_double(flat, at + min(lane, present - 1) * count, mask))
    transpose(block, 0, m, to)


@device
def put_rows(flat, first, present, count, m, to) -> None:
    """Put rows of an array (n, count) into lanes, from row ``first`` on: m[to + k] holds number k.

    ``flat`` is the array as one row, of any real dtype. Lanes beyond the ``present`` ones get the
    last of these rows. Up to ``WIDTH - 1`` lane rows after the ``count`` are overwritten.
    """
    at = first * count
    whole = count - count % WIDTH
    every, rest = lanes_within(0.0, 0, WIDTH), lanes_within(0.0, 0, count - whole)
    for k in range(0, whole, WIDTH):
        _put_block(flat, at + k, present, count, every, m, to + k)
    if whole < count:
        _put_block(flat, at + whole, present, count, rest, m, to + whole)
