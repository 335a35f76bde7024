"""Sums over all pairs of points and sources: exact, and fastest where there are few.

``what`` names the function of the distance t = y - x, product of one an axis:

    value      phi(t)
    slope      phi(t), and t phi(t) along one axis
    integral   Phi(t)

with the standard normal density phi and its integral Phi. A register holds sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import kernel
from ..numeric.special import erfc, exp_flushed
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load
from ..simd.masked import total

_ROOT_HALF = math.sqrt(0.5)
_PHI_0 = 1 / math.sqrt(2 * math.pi)


@cache
def make_pairs(what: str) -> Callable:
    """Write the sums at points [begin, end) of (n, axes).

    ``sources`` are (axes, m) flattened, m a multiple of ``WIDTH``; ``weights`` (m,), 0 where there
    is none. ``axis`` is that of the slope.
    """
    integral, slope = what == "integral", what == "slope"

    @kernel
    def pairs(points, sources, weights, axis, out, begin, end):
        axes, m = points.shape[1], weights.shape[0]
        scale = 1.0 if integral else _PHI_0**axes
        for i in range(begin, end):
            value = broadcast(0.0)
            for j in range(0, m, WIDTH):
                w = load(weights, j)
                if integral:
                    for a in range(axes):
                        t = load(sources, a * m + j) - np.float64(points[i, a])
                        w = w * (erfc(t * _ROOT_HALF) * 0.5)
                else:
                    square = broadcast(0.0)
                    for a in range(axes):
                        t = load(sources, a * m + j) - np.float64(points[i, a])
                        square = square + t * t
                    w = w * exp_flushed(square * -0.5)
                if slope:
                    w = w * (np.float64(points[i, axis]) - load(sources, axis * m + j))
                value = value + w
            out[i] = total(value) * scale

    return pairs
