"""Cholesky factors of small dense matrices."""

from __future__ import annotations

import numpy as np

from .._compile import device
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast
from ..simd.masked import lanes_within, load_some, store_some, total

_TINY = 1e-290
_LEAST_PIVOT = 1e-13  # relative to the diagonal entry, of a matrix that is positive


@device
def is_pivot(part, entry):
    """Whether a pivot is positive, by more than the rounding of its diagonal entry ``entry``."""
    return part > _LEAST_PIVOT * abs(entry) and part > _TINY


@device
def factorise(a, edge, size):
    """Cholesky factor in the lower triangle of ``a``, in place.

    False if a pivot from ``edge`` on is not positive. A parameter before ``edge`` whose pivot is
    not positive is taken as known: its pivot is infinite.
    """
    sound = True
    for i in range(size):
        for j in range(i + 1):
            part = a[i, j]
            for k in range(j):
                part -= a[i, k] * a[j, k]
            if i > j:
                a[i, j] = part / a[j, j]
            elif is_pivot(part, a[i, i]):
                a[i, i] = np.sqrt(part)
            elif i < edge:
                a[i, i] = np.inf
            else:
                sound = False
                a[i, i] = np.sqrt(abs(a[i, i])) + 1.0
    return sound


@device
def substitute(a, first, size, x, at):
    """Solve in place for x[at : at + size], given ``factorise``'s result from a[first] on, flat."""
    for i in range(size):
        row, part = first + i * size, broadcast(0.0)
        for k in range(0, i, WIDTH):
            some = lanes_within(0.0, 0, i - k)
            part = part + load_some(a, row + k, some) * load_some(x, at + k, some)
        x[at + i] = (x[at + i] - total(part)) / a[row + i]
    for i in range(size - 1, -1, -1):
        row = first + i * size
        known = x[at + i] / a[row + i]
        x[at + i] = known
        for k in range(0, i, WIDTH):
            some = lanes_within(0.0, 0, i - k)
            left = load_some(x, at + k, some) - load_some(a, row + k, some) * known
            store_some(x, at + k, left, some)
