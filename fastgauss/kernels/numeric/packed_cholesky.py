"""Small symmetric positive systems in lane memory: damped solve and inverse.

A symmetric matrix of size P is its lower triangle, row by row: entry (i, j), j <= i, is lane row i
(i + 1) / 2 + j. The factors are A = L D L' with unit lower L, which needs no square roots. A pivot
that is only rounding error is set to ``_PIVOT`` times its diagonal entry and reported, so that an
undetermined direction gives a finite step.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from .._compile import device
from ..simd.lane_types import FLAGS, LaneType, lane_type
from ..simd.lanes import element, load, store

_PIVOT = 1e-14
_TINY = 1e-300  # avoids 0 / 0 in a direction on which the data do not depend


@device
def packed_size(size: int) -> int:
    """Number of entries of the lower triangle of a symmetric matrix of this size."""
    return size * (size + 1) // 2


@device
def packed(i: int, j: int) -> int:
    """Index of entry (i, j), j <= i."""
    return i * (i + 1) // 2 + j


@device
def packed_symmetric(i: int, j: int) -> int:
    """Index of entries (i, j) and (j, i), which are one."""
    return packed(max(i, j), min(i, j))


@device
def scale_packed(m, matrix, size, k, factor) -> None:
    """Multiply row and column k of a packed matrix by a factor."""
    for i in range(size):
        at = matrix + packed_symmetric(i, k)
        scaled = load(m, at) * factor
        store(m, at, scaled * factor if i == k else scaled)


def solve_damped(m, matrix, damping, right, solution, size):
    """Solve (A + damping diag A) x = right for matrices of ``size``, a compile-time constant.

    The code is emitted without loops, all in registers: loops over lane memory take four times as
    long, because of their stores and loads.
    """
    do = _Numpy(m)
    pivots, below = _factorise(do, matrix, damping, size)
    for i, value in enumerate(_substitute(do, pivots, below, right, size)):
        m[solution + i] = value


def invert(m, matrix, inverse, size):
    """Write A**-1, packed, for matrices of ``size``, a compile-time constant.

    Returns the smallest pivot relative to its diagonal entry: at 1e-14 A is singular except for
    rounding, and the result is meaningless.
    """
    do = _Numpy(m)
    pivots, below = _factorise(do, matrix, np.zeros(m.shape[1]), size)
    for i, value in enumerate(_inverse(do, pivots, below, size)):
        m[inverse + i] = value
    return _smallest_pivot(do, matrix, pivots, size)


class _Numpy:
    """Arithmetic of the numpy twin."""

    def __init__(self, m: np.ndarray) -> None:
        self.load = m.__getitem__

    row = staticmethod(operator.add)
    mul = staticmethod(operator.mul)
    add = staticmethod(operator.add)
    neg = staticmethod(operator.neg)
    sub = staticmethod(operator.sub)
    inverse = staticmethod(lambda x: 1.0 / x)
    smaller = staticmethod(np.minimum)
    at_least = staticmethod(lambda x, diagonal: np.maximum(np.maximum(x, diagonal * _PIVOT), _TINY))


class _Emit:
    """The same arithmetic as LLVM instructions."""

    def __init__(self, context, builder, kind, lane, array):
        self.context, self.builder, self.kind, self.lane = context, builder, kind, lane
        self.array = array
        self.value = context.get_value_type(lane)

    def constant(self, number: float) -> Any:
        return ir.Constant(self.value, [number] * self.lane.width)

    def _pointer(self, row: Any) -> Any:
        return element(self.context, self.builder, self.kind, self.array, row, self.lane)

    def row(self, first: Any, i: int) -> Any:
        return self.builder.add(first, ir.Constant(first.type, i))

    def load(self, row: Any) -> Any:
        value = self.builder.load(self._pointer(row))
        value.align = 8
        return value

    def store(self, row: Any, value: Any) -> None:
        self.builder.store(value, self._pointer(row)).align = 8

    def mul(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=FLAGS)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=FLAGS)

    def sub(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b, flags=FLAGS)

    def neg(self, a: Any) -> Any:
        return self.builder.fneg(a, flags=FLAGS)

    def inverse(self, x: Any) -> Any:
        return self.builder.fdiv(self.constant(1.0), x, flags=FLAGS)

    def _larger(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def smaller(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def at_least(self, x: Any, diagonal: Any) -> Any:
        floor = self.mul(diagonal, self.constant(_PIVOT))
        return self._larger(self._larger(x, floor), self.constant(_TINY))


def _factorise(do, matrix, damping, size):
    """1 / D and the rows of L of A + damping diag A = L D L'."""
    pivots: list[Any] = []
    below: list[list[Any]] = []
    for i in range(size):
        scaled: list[Any] = []  # row i of L D
        row: list[Any] = []
        for j in range(i):
            s = do.load(do.row(matrix, packed(i, j)))
            for k in range(j):
                s = do.sub(s, do.mul(scaled[k], below[j][k]))
            scaled.append(s)
            row.append(do.mul(s, pivots[j]))
        diagonal = do.load(do.row(matrix, packed(i, i)))
        s = do.add(diagonal, do.mul(diagonal, damping))
        for k in range(i):
            s = do.sub(s, do.mul(scaled[k], row[k]))
        pivots.append(do.inverse(do.at_least(s, diagonal)))
        below.append(row)
    return pivots, below


def _substitute(do, pivots, below, right, size):
    """x of L D L' x = right."""
    x: list[Any] = []
    for i in range(size):
        s = do.load(do.row(right, i))
        for k in range(i):
            s = do.sub(s, do.mul(below[i][k], x[k]))
        x.append(s)
    for i in reversed(range(size)):
        s = do.mul(x[i], pivots[i])
        for k in range(i + 1, size):
            s = do.sub(s, do.mul(below[k][i], x[k]))
        x[i] = s
    return x


def _inverse(do, pivots, below, size):
    """L^-T D^-1 L^-1, packed; ``below`` becomes the rows of L^-1."""
    for i in range(size):
        for j in range(i):
            s = below[i][j]
            for k in range(j + 1, i):
                s = do.add(s, do.mul(below[i][k], below[k][j]))
            below[i][j] = do.neg(s)
    entries = []
    for i in range(size):
        for j in range(i + 1):
            s = pivots[i] if i == j else do.mul(pivots[i], below[i][j])
            for k in range(i + 1, size):
                s = do.add(s, do.mul(do.mul(below[k][i], pivots[k]), below[k][j]))
            entries.append(s)
    return entries


def _smallest_pivot(do, matrix, pivots, size):
    """The smallest of D_i / A_ii; 1 / D_i is what ``pivots`` holds."""
    worst = None
    for i in range(size):
        diagonal = do.load(do.row(matrix, packed(i, i)))
        ratio = do.inverse(do.mul(diagonal, pivots[i]))
        worst = ratio if worst is None else do.smaller(ratio, worst)
    return worst


@type_callable(solve_damped)
def _type_solve(context):
    def typer(m, matrix, damping, right, solution, size):
        rows = all(isinstance(row, types.Integer) for row in (matrix, right, solution))
        lane = isinstance(m, types.Array) and isinstance(damping, LaneType)
        return types.none if rows and lane and isinstance(size, types.IntegerLiteral) else None

    return typer


@lower_builtin(
    solve_damped,
    types.Array,
    types.Integer,
    LaneType,
    types.Integer,
    types.Integer,
    types.IntegerLiteral,
)
def _lower_solve(context, builder, sig, args):
    m, matrix, damping, right, solution, _ = args
    matrix, right, solution = (
        context.cast(builder, args[k], sig.args[k], types.intp) for k in (1, 3, 4)
    )
    size = sig.args[5].literal_value
    do = _Emit(context, builder, sig.args[0], sig.args[2], m)
    pivots, below = _factorise(do, matrix, damping, size)
    for i, value in enumerate(_substitute(do, pivots, below, right, size)):
        do.store(do.row(solution, i), value)
    return context.get_dummy_value()


@type_callable(invert)
def _type_invert(context):
    def typer(m, matrix, inverse, size):
        rows = isinstance(matrix, types.Integer) and isinstance(inverse, types.Integer)
        fits = rows and isinstance(m, types.Array) and isinstance(size, types.IntegerLiteral)
        return lane_type(m.dtype) if fits else None

    return typer


@lower_builtin(invert, types.Array, types.Integer, types.Integer, types.IntegerLiteral)
def _lower_invert(context, builder, sig, args):
    matrix, inverse = (context.cast(builder, args[k], sig.args[k], types.intp) for k in (1, 2))
    size = sig.args[3].literal_value
    do = _Emit(context, builder, sig.args[0], sig.return_type, args[0])
    pivots, below = _factorise(do, matrix, do.constant(0.0), size)
    worst = _smallest_pivot(do, matrix, pivots, size)
    for i, value in enumerate(_inverse(do, pivots, below, size)):
        do.store(do.row(inverse, i), value)
    return worst
