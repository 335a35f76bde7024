"""Cholesky factors of dense symmetric matrices, whose rows are packed one after another.

A row of L stands from ``packed(i, 0)`` to ``packed(i, i)``, as the row of the matrix did before. A
row needs those above it alone, so that a matrix may grow by a row, and so that the rows below a
panel of columns can be shared out. The sums of a row run in an order that depends on its length
alone.

A pivot that falls below ``floor`` of its diagonal entry is raised to that.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load, store
from ..simd.masked import lanes_within, load_some, total
from .packed_cholesky import packed

COLUMNS = 2 * WIDTH  # columns of an inverse that are made at once


@device
def dot(a, i, b, j, count):
    """The scalar product of ``count`` numbers of a, from i on, and of b, from j on."""
    first = broadcast(0.0)
    second = broadcast(0.0)
    k = 0
    while k + 2 * WIDTH <= count:
        first = first + load(a, i + k) * load(b, j + k)
        second = second + load(a, i + k + WIDTH) * load(b, j + k + WIDTH)
        k += 2 * WIDTH
    while k < count:
        mask = lanes_within(0.0, 0, count - k)
        first = first + load_some(a, i + k, mask) * load_some(b, j + k, mask)
        k += WIDTH
    return total(first + second)


@device
def factor_row(m, i, first, last, floor):
    """Columns [first, last) of row i, up to the diagonal, from the rows above it.

    Returns the pivot before it was raised; infinity where the diagonal is not among the columns.
    """
    row = packed(i, 0)
    for a in range(first, min(last, i)):
        at = packed(a, 0)
        m[row + a] = (m[row + a] - dot(m, row, m, at, a)) / m[at + a]
    if i >= last:
        return np.inf
    diagonal = m[row + i]
    pivot = diagonal - dot(m, row, m, row, i)
    m[row + i] = np.sqrt(max(pivot, floor * diagonal if diagonal > 0.0 else 1.0))
    return pivot


@device
def solve_lower(m, begin, size, x):
    """x <- the solution y of L y = x, whose numbers before ``begin`` are 0."""
    for a in range(begin, size):
        at = packed(a, 0)
        x[a] = (x[a] - dot(m, at + begin, x, begin, a - begin)) / m[at + a]


@device
def solve_upper(m, size, x):
    """x <- the solution y of L' y = x."""
    for a in range(size - 1, -1, -1):
        at = packed(a, 0)
        part = x[a] / m[at + a]
        x[a] = part
        for k in range(a):
            x[k] -= part * m[at + k]


@kernel
def factor_rows(m, first, last, floor, pivots, low, high):
    """``factor_row`` of rows [low, high); ``pivots`` gets those of which it made the pivot."""
    for i in range(low, high):
        pivot = factor_row(m, i, first, last, floor)
        if pivot < np.inf:
            pivots[i] = pivot


@kernel
def solve(m, x):
    """x <- the solution y of L L' y = x."""
    solve_lower(m, 0, x.size, x)
    solve_upper(m, x.size, x)


@kernel
def solve_transposed(m, size, x):
    """x <- the solution y of L' y = x, for the first ``size`` rows."""
    solve_upper(m, size, x)


@kernel
def inverse_diagonal(m, size, scratch, out, low, high):
    """The diagonal of (L L')**-1, from ``low``, a multiple of COLUMNS, to ``high``.

    It is the sum of squares of each column of L**-1.
    """
    for c in range(low, high, COLUMNS):
        left = broadcast(0.0)
        right = broadcast(0.0)
        for i in range(c, size):
            at = packed(i, 0)
            a = broadcast(0.0)
            b = broadcast(0.0)
            for k in range(c, i):
                a = a - load(scratch, k * COLUMNS) * m[at + k]
                b = b - load(scratch, k * COLUMNS + WIDTH) * m[at + k]
            store(scratch, i * COLUMNS, a)
            store(scratch, i * COLUMNS + WIDTH, b)
            if i < c + COLUMNS:
                scratch[i * COLUMNS + i - c] += 1.0
            inverse = 1.0 / m[at + i]
            a = load(scratch, i * COLUMNS) * inverse
            b = load(scratch, i * COLUMNS + WIDTH) * inverse
            store(scratch, i * COLUMNS, a)
            store(scratch, i * COLUMNS + WIDTH, b)
            left = left + a * a
            right = right + b * b
        store(scratch, c * COLUMNS, left)
        store(scratch, c * COLUMNS + WIDTH, right)
        for k in range(min(COLUMNS, high - c)):
            out[c + k] = scratch[c * COLUMNS + k]
