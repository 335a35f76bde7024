"""Two-loop recursion of limited-memory BFGS (Nocedal & Wright 2006, algorithm 7.4), with bounds.

Variables that a bound holds are left out of every product, so that the recursion is that of a
problem of the free variables alone. All sums have one order.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast
from ..simd.masked import lanes_within, load_double, total


@device
def _product(a, b):
    """Sum of a[i] b[i]."""
    sums = broadcast(0.0)
    for i in range(0, a.size, WIDTH):
        inside = lanes_within(0.0, 0, a.size - i)
        sums = sums + load_double(a, i, inside) * load_double(b, i, inside)
    return total(sums)


@device
def _add(out, factor, row, free):
    """Add the free elements of a row times a factor."""
    for i in range(out.size):
        out[i] += factor * row[i] * free[i]


@kernel
def quasi_newton_step(steps, changes, begin, count, slope, free, out):
    """Write minus the approximate inverse Hessian times the gradient, 0 where not free.

    ``steps`` and ``changes`` (m, n) are rings of the last steps and of the changes of the gradient
    along them; the oldest of ``count`` pairs is row ``begin``. ``free`` is 1 or 0. Pairs without
    positive curvature along the free variables are left out.
    """
    most, n = steps.shape
    curvatures, factors = np.zeros(most), np.zeros(most)
    own = np.empty(n)  # the free elements of a change
    for i in range(n):
        out[i] = slope[i] * free[i]
    length = 1.0
    for age in range(count):
        row = (begin + count - 1 - age) % most
        for i in range(n):
            own[i] = changes[row, i] * free[i]
        curvature = _product(steps[row], own)
        if curvature > 0.0:
            if not curvatures.any():  # of the newest pair
                length = curvature / _product(own, own)
            curvatures[row] = curvature
            factors[row] = _product(steps[row], out) / curvature
            _add(out, -factors[row], own, free)
    for i in range(n):
        out[i] *= length
    for age in range(count - 1, -1, -1):
        row = (begin + count - 1 - age) % most
        if curvatures[row] > 0.0:
            rate = factors[row] - _product(changes[row], out) / curvatures[row]
            _add(out, rate, steps[row], free)
    for i in range(n):
        out[i] = -out[i]
