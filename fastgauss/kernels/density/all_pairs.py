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
from ..simd.lanes import broadcast, load, minimum
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


@cache
def make_tail_sums(axes: int) -> Callable:
    """Write sums that would underflow, divided by what the nearest source makes of them.

    For points y of [begin, end), (n, axes), with the source z that is ``nearest`` to each: the sum
    of w exp((|y - z|**2 - |y - x|**2) / 2) over sources x in [first, last), and with it the sums of
    y - x along each axis. ``first`` is a multiple of ``WIDTH``; ``sources`` and ``weights`` as
    above. The difference of squares is formed as (x - z)(2 y - x - z), which keeps its digits.
    """

    @kernel
    def tail_sums(points, nearest, first, last, sources, weights, out, begin, end):
        m = weights.shape[0]
        for i in range(begin, end):
            value = broadcast(0.0)
            s0 = value
            s1 = value
            s2 = value
            for j in range(first[i], last[i], WIDTH):
                y, z = np.float64(points[i, 0]), sources[nearest[i]]
                x = load(sources, j)
                t0 = y - x
                t1 = t0
                t2 = t0
                less = (x - z) * (t0 + (y - z))
                if axes > 1:
                    y, z = np.float64(points[i, 1]), sources[m + nearest[i]]
                    x = load(sources, m + j)
                    t1 = y - x
                    less = less + (x - z) * (t1 + (y - z))
                if axes > 2:
                    y, z = np.float64(points[i, 2]), sources[2 * m + nearest[i]]
                    x = load(sources, 2 * m + j)
                    t2 = y - x
                    less = less + (x - z) * (t2 + (y - z))
                # where rounding has named another source the nearest
                less = minimum(less * 0.5, broadcast(0.0))
                w = load(weights, j) * exp_flushed(less)
                value = value + w
                s0 = s0 + w * t0
                s1 = s1 + w * t1
                s2 = s2 + w * t2
            out[i, 0] = total(value)
            out[i, 1] = total(s0)
            if axes > 1:
                out[i, 2] = total(s1)
            if axes > 2:
                out[i, 3] = total(s2)

    return tail_sums
