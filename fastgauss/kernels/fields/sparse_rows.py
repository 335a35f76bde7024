"""Symmetric sparse matrices by rows: products, approximate inverses from small blocks.

A row's *block* is the row itself and the few others that it is most strongly coupled to. The
factored sparse approximate inverse G, with G'G near the inverse of K, has rows made
from blocks of rows of lower rank (Kolotilina & Yeremin 1993): with K_S the block and e its last
unit vector, the row of G is y / sqrt(y_last), K_S y = e. The inverse of the whole block has on its
diagonal a lower bound of that of K, which adding rows to the block can only raise.

The diagonal of K is 1. Blocks are solved by Cholesky. A pivot below ``ridge`` of the diagonal is
raised to it, because the block of equal particles is singular.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..numeric.dense_cholesky import factor_row, solve_upper
from ..numeric.packed_cholesky import packed

_LEAST = 1e-3  # smaller couplings, relative to the diagonal, are left out of a block


@kernel
def multiply(starts, columns, values, x, out, low, high):
    """out = K x for rows [low, high)."""
    for i in range(low, high):
        begin, stop = starts[i], starts[i + 1]
        a = b = c = d = 0.0
        k = begin
        while k + 4 <= stop:
            a += values[k] * x[columns[k]]
            b += values[k + 1] * x[columns[k + 1]]
            c += values[k + 2] * x[columns[k + 2]]
            d += values[k + 3] * x[columns[k + 3]]
            k += 4
        while k < stop:
            a += values[k] * x[columns[k]]
            k += 1
        out[i] = (a + b) + (c + d)


@kernel
def diagonal(starts, columns, values, out):
    """out = the diagonal of K, 0 where it is not stored."""
    for i in range(out.size):
        out[i] = 0.0
        for k in range(starts[i], starts[i + 1]):
            if columns[k] == i:
                out[i] = values[k]


@kernel
def scale(starts, columns, values, ridge, factors, low, high):
    """K_ij <- (K_ij + ridge [i = j]) s_i s_j, in place, for rows [low, high)."""
    for i in range(low, high):
        for k in range(starts[i], starts[i + 1]):
            j = columns[k]
            more = ridge if j == i else 0.0
            values[k] = (values[k] + more) * (factors[i] * factors[j])


@device
def rank(i):
    """A pseudo-random rank of rows, independent of their positions."""
    key = np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)
    return key ^ (key >> np.uint64(29))


@device
def _strongest(starts, columns, values, free, i, lower, members, weights):
    """Fill all but the last of members with the free rows most coupled to i; their number.

    With ``lower`` only with rows of lower rank.
    """
    size = 0
    room = members.size - 1
    own = rank(i)
    for k in range(starts[i], starts[i + 1]):
        j = columns[k]
        weight = abs(values[k])
        if j == i or weight <= _LEAST or not free[j] or (lower and rank(j) >= own):
            continue
        if room == 0 or (size == room and weight <= weights[size - 1]):
            continue
        at = size if size < room else room - 1
        while at > 0 and weights[at - 1] < weight:
            if at < room:
                members[at], weights[at] = members[at - 1], weights[at - 1]
            at -= 1
        members[at], weights[at] = j, weight
        size = min(size + 1, room)
    return size


@device
def _factor_block(starts, columns, values, members, size, ridge, place, block):
    """The Cholesky factor of the block of these rows, packed; its last pivot.

    ``place`` is -1 everywhere, and left so.
    """
    for a in range(size):
        place[members[a]] = a
    pivot = 0.0
    for a in range(size):
        at = packed(a, 0)
        for b in range(a + 1):
            block[at + b] = 0.0
        i = members[a]
        for k in range(starts[i], starts[i + 1]):
            b = place[columns[k]]
            if 0 <= b <= a:
                block[at + b] = values[k]
        pivot = factor_row(block, a, 0, size, ridge)
    for a in range(size):
        place[members[a]] = -1
    return pivot


@device
def _touched(starts, columns, values, changed, i):
    """Whether a row's block may have changed."""
    for k in range(starts[i], starts[i + 1]):
        if changed[columns[k]] and abs(values[k]) > _LEAST:
            return True
    return False


@kernel
def approximate_inverse(matrix, ridge, free, changed, inverse, scratch, low, high):
    """Rows [low, high) of G for the free rows and columns of K, where a block has changed.

    ``matrix`` are the starts, columns and values of K. ``inverse`` are the numbers of columns of
    the rows of G, these columns and their values, from i times the room of a block on, and what
    the others of its block leave of the diagonal entry of each row.
    """
    starts, columns, values = matrix
    sizes, columns_of_inverse, values_of_inverse, pivots = inverse
    members, weights, place, block = scratch
    room = members.size
    for i in range(low, high):
        if not free[i]:
            sizes[i] = 0
            pivots[i] = np.inf
            continue
        if not _touched(starts, columns, values, changed, i):
            continue
        size = _strongest(starts, columns, values, free, i, True, members, weights)
        members[size] = i
        size += 1
        pivots[i] = _factor_block(starts, columns, values, members, size, ridge, place, block)
        for a in range(size):
            weights[a] = 0.0
        weights[size - 1] = 1.0
        solve_upper(block, size, weights)
        at = i * room
        sizes[i] = size
        for a in range(size):
            columns_of_inverse[at + a] = members[a]
            values_of_inverse[at + a] = weights[a]


@kernel
def variances(matrix, ridge, free, out, scratch, low, high):
    """The diagonal of the inverse of each row's own block, for rows [low, high)."""
    starts, columns, values = matrix
    members, weights, place, block = scratch
    for i in range(low, high):
        size = _strongest(starts, columns, values, free, i, False, members, weights)
        members[size] = i
        size += 1
        _factor_block(starts, columns, values, members, size, ridge, place, block)
        out[i] = 1.0 / block[packed(size, 0) - 1] ** 2


@kernel
def last_of_neighbours(starts, columns, values, marked, chosen):
    """Choose the marked rows that are coupled to no later marked one."""
    for i in range(marked.size):
        chosen[i] = marked[i]
        if marked[i]:
            for k in range(starts[i], starts[i + 1]):
                j = columns[k]
                if j > i and marked[j] and abs(values[k]) > _LEAST:
                    chosen[i] = False
