"""Least squares of a dense matrix by Householder reflections with exchange of columns.

The matrix is held by columns: row i of ``columns`` is column i of A. Each round takes the column
that has most left beyond those taken, and reflects all others at it (Golub & Van Loan, Matrix
Computations, 4th ed., algorithm 5.4.1). With P the order in which the columns were taken,
A P = Q R; R' is kept by packed rows, as ``kernels/numeric/dense_cholesky.py`` keeps L.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..numeric.dense_cholesky import dot
from ..numeric.packed_cholesky import packed

_KNOWN = 1e-6  # part of a sum of squares that is known after it was lessened step by step


@device
def _reflect(x, at, normals, normal, count, scale):
    """Reflect numbers of x at the plane whose normal stands in ``normals`` from ``normal`` on."""
    part = scale * dot(x, at, normals, normal, count)
    for k in range(count):
        x[at + k] -= part * normals[normal + k]


@kernel
def factorise(columns, least, order, factor, left, first, scales):
    """Factorise until no column has more left than ``least`` of the first one's length.

    ``columns`` becomes the normals of the mirrors, each from its own row on and with its scale,
    ``factor`` R' by packed rows, ``left`` the squared length that a column has left and ``first``
    what it had when that was last summed. Returns how many columns were taken; ``order`` names
    them first.
    """
    n, m = columns.shape
    flat = columns.reshape(-1)
    for j in range(n):
        order[j] = j
        left[j] = dot(flat, j * m, flat, j * m, m)
        first[j] = left[j]
    longest = 0.0
    for k in range(min(n, m)):
        best = k
        for q in range(k, n):
            j = order[q]
            if left[j] < _KNOWN * first[j]:
                left[j] = dot(flat, j * m + k, flat, j * m + k, m - k)
                first[j] = left[j]
            if left[j] > left[order[best]]:
                best = q
        j = order[best]
        at, count = j * m + k, m - k
        length = np.sqrt(dot(flat, at, flat, at, count))
        if k == 0:
            longest = length
        left[j] = length * length
        if not length > least * longest:
            return k
        order[best] = order[k]
        order[k] = j
        row = packed(k, 0)
        for q in range(k):
            factor[row + q] = columns[j, q]
        factor[row + k] = -length if flat[at] > 0.0 else length
        flat[at] -= factor[row + k]
        scales[k] = 2.0 / dot(flat, at, flat, at, count)
        for q in range(k + 1, n):
            other = order[q]
            _reflect(flat, other * m + k, flat, at, count, scales[k])
            left[other] -= columns[other, k] * columns[other, k]
    return min(n, m)


@kernel
def apply(columns, order, scales, rank, right):
    """right <- Q' right."""
    m = columns.shape[1]
    flat = columns.reshape(-1)
    for k in range(rank):
        _reflect(right, k, flat, order[k] * m + k, m - k, scales[k])
