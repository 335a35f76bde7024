"""Contraction: sums of products of lane rows, from which normal equations are built.

Along one axis a separable model has the columns f, x (its derivative by the centre),
s (by the width) and 1. Their products at one coordinate, the packed triangle

    ff, xf, xx, sf, sx, ss, 1f, 1x, 1s, 11

are a *table*. With one more axis, each column of the larger model is a column of the smaller model
times one of the four factors of the new axis:

    f = f f,  x = x f,  y = f x',  s_x = s f,  s_y = f s',  1 = 1 1,

so that its Gram matrix is a sum, over the coordinates of the new axis, of products of an
entry of the smaller Gram matrix and an entry of the table. ``contract`` is that sum. The
same holds, with f, x and s alone, for the sums of the data times the columns, and in one
step for a *dense* model, whose columns are there as rows.

A *pattern* says which entries are multiplied. It is an integer that is known when the kernel is
compiled; the sum is emitted with one register for each result, which a loop over memory would not
have. Where a processor has fewer registers than a pattern has results, the sum is emitted as
several loops with some of the results each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from ..simd.lane_types import FLAGS, REGISTER_BITS, lane_type
from ..simd.lanes import element
from .packed_cholesky import packed_symmetric

GRAM = (0, 10, 20, 30)  # pattern of a Gram matrix, by the number of axes
MOMENTS = (0, 11, 21, 31)  # pattern of sums over data
DENSE = 1000  # + the number of columns
CROSS = 100_000  # + 100 times the entries of ``left`` + those of ``right``: all products
FACTOR_ROWS = 3  # of f, x, s
TABLE_ROWS = 10  # of their packed products with each other and 1
SUMS = 11 if REGISTER_BITS == 256 else 26  # that stay in the 16 or 32 registers of a processor

Pairs = list[tuple[int, int]]


def _columns(axes: int) -> Pairs:
    """For each column, the column of the model with one axis less and the new factor."""
    if axes == 1:
        return [(0, 0), (0, 1), (0, 2), (1, 3)]
    centres = [(1 + k, 0) for k in range(axes - 1)] + [(0, 1)]
    widths = [(axes + k, 0) for k in range(axes - 1)] + [(0, 2)]
    return [(0, 0), *centres, *widths, (2 * axes - 1, 3)]


def _pairs(pattern: int) -> Pairs:
    """The row of ``left`` and the row of ``right`` that each entry of the result multiplies."""
    if pattern > CROSS:
        rows, across = divmod(pattern - CROSS, 100)
        return [(i, j) for i in range(rows) for j in range(across)]
    if pattern > DENSE:
        size = pattern - DENSE
        gram = [(i, j) for i in range(size) for j in range(i + 1)]
        return gram + [(size, j) for j in range(size)]
    columns = _columns(pattern // 10)
    if pattern in MOMENTS:
        return columns[:-1]
    return [
        (packed_symmetric(a, b), packed_symmetric(k, h))
        for i, (a, k) in enumerate(columns)
        for b, h in columns[: i + 1]
    ]


def _in_registers(pairs: Pairs) -> list[tuple[int, Pairs]]:
    """The pairs in groups whose sums stay in registers, with the index of each group's first."""
    size = -(-len(pairs) // -(-len(pairs) // SUMS))
    return [(first, pairs[first : first + size]) for first in range(0, len(pairs), size)]


def contract(m, target, left, left_stride, right, right_stride, count, pattern):
    """Write sum over k of left[k, a] * right[k, b] for each pair (a, b) of the pattern.

    ``left[k, a]`` is lane row left + left_stride * k + a of ``m``, ``right`` likewise, and
    the results go to the rows from ``target`` on.
    """
    for e, (a, b) in enumerate(_pairs(pattern)):
        total = np.zeros(m.shape[1])
        for k in range(count):
            total = total + m[left + left_stride * k + a] * m[right + right_stride * k + b]
        m[target + e] = total


@type_callable(contract)
def _type_contract(context: Any) -> Any:
    def typer(m, target, left, left_stride, right, right_stride, count, pattern):
        rows = (target, left, left_stride, right, right_stride, count)
        fits = isinstance(m, types.Array) and all(isinstance(n, types.Integer) for n in rows)
        return types.none if fits and isinstance(pattern, types.IntegerLiteral) else None

    return typer


@lower_builtin(contract, types.Array, *[types.Integer] * 6, types.IntegerLiteral)
def _lower_contract(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind = sig.args[0]
    lane = lane_type(kind.dtype)
    target, left, left_stride, right, right_stride, count = (
        context.cast(builder, args[k], sig.args[k], types.intp) for k in range(1, 7)
    )
    pairs = _pairs(sig.args[7].literal_value)

    def pointer(row: Any, i: int) -> Any:
        index = builder.add(row, context.get_constant(types.intp, i))
        return element(context, builder, kind, args[0], index, lane)

    def load(row: Any, i: int) -> Any:
        value = builder.load(pointer(row, i))
        value.align = kind.dtype.bitwidth // 8
        return value

    zero = cgutils.get_null_value(context.get_value_type(lane))
    for first, group in _in_registers(pairs):
        totals = [cgutils.alloca_once_value(builder, zero) for _ in group]
        with cgutils.for_range(builder, count) as loop:
            left_row = builder.add(left, builder.mul(left_stride, loop.index))
            right_row = builder.add(right, builder.mul(right_stride, loop.index))
            lefts = {a: load(left_row, a) for a, _ in dict.fromkeys(group)}
            rights = {b: load(right_row, b) for _, b in dict.fromkeys(group)}
            for total, (a, b) in zip(totals, group, strict=True):
                product = builder.fmul(lefts[a], rights[b], flags=FLAGS)
                builder.store(builder.fadd(builder.load(total), product, flags=FLAGS), total)
        for e, total in enumerate(totals, first):
            builder.store(builder.load(total), pointer(target, e)).align = kind.dtype.bitwidth // 8
    return context.get_dummy_value()
