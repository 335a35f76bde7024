"""Second derivatives of spots times the residual: what Gauss-Newton leaves out of the Hessian.

With m the model, r the weighted residual and C the columns of derivatives, the Hessian of half
the objective is  C'WC - sum over pixels of r d2m.  Spots add up, so that the second term is one
block for each spot. This block is small where the residual is noise and the spots are far apart.
Where two spots hardly differ from one, only this block distinguishes a minimum from a slope.

A separable spot is a product of profiles f of the axes, and along an axis there are six numbers,

    f,  df/dx0,  df/ds,  d2f/dx0**2,  d2f/dx0 ds,  d2f/ds**2,

in this order below. A second derivative of the product is a product of one of these numbers for
each axis, whose orders sum to two. For points, with u = (x - x0) / s, the last three are

    f (u**2 - 1) / s**2,   f (u**3 - 2 u) / s**2,   f (u**4 - 3 u**2) / s**2,

and for means over a pixel, with l and r its ends counted from x0 and g = exp(-x**2 / (2 s**2)),

    (l g(l) - r g(r)) / s**2,   (l**2 g(l) - r**2 g(r)) / s**3,   (l**3 g(l) - r**3 g(r)) / s**4.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..models import profiles
from ..numeric.special import exp_flushed
from ..results.pixel_owners import box_of
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load, store
from ..simd.masked import lanes_within, load_some, ramp, store_rounded, total

NUMBERS = 6  # along an axis
TABLES = 3 * NUMBERS  # rows of the tables of all axes
_ORDERS = ((), (0,), (1,), (0, 0), (0, 1), (1, 1))  # of each: 0 by the centre, 1 by the width

# The number of x and the number of y whose products each sum over a plane adds.
_PLANE = (
    (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2),
    (0, 3), (0, 4), (0, 5),
)  # fmt: skip
# Further sums of a volume: a sum over a plane, of order one at most, and a number of z.
_DEEP = (*((e, k) for k in (1, 2) for e in (0, 1, 2, 6, 9)), (0, 3), (0, 4), (0, 5))
CURVATURE_ROWS = 2 * len(_PLANE) + len(_DEEP) + NUMBERS


def _entries(axes: int) -> np.ndarray:
    """Row, column and sum of each entry of the lower triangle, and whether one is the amplitude."""
    meet = [(x, y, 0) for x, y in _PLANE]
    if axes == 3:
        meet += [(*_PLANE[e], k) for e, k in _DEEP]
    entries = []
    for place, numbers in enumerate(meet):
        columns = [
            1 + axes * order + axis
            for axis, number in enumerate(numbers)
            for order in _ORDERS[number]
        ]
        if len(columns) == 1:
            entries.append((columns[0], 0, place, 1))
        elif columns:
            entries.append((max(columns), min(columns), place, 0))
    return np.array(entries)


@device
def _fill(table, at, stride, first, count, centre, sigma, integrate):
    """The six numbers of an axis."""
    inverse = 1.0 / sigma
    twice = inverse * inverse
    for k in range(0, count, WIDTH):
        x = ramp(float(first + k))
        if integrate:
            f, by_centre, by_width = profiles.integrated(x, broadcast(centre), broadcast(sigma))
            left, right = x - (centre + 0.5), x - (centre - 0.5)
            a = exp_flushed(left * left * (-0.5 * twice)) * left
            b = exp_flushed(right * right * (-0.5 * twice)) * right
            second = (a - b) * twice
            mixed = (left * a - right * b) * (twice * inverse)
            by_widths = (left * left * a - right * right * b) * (twice * twice)
        else:
            u = (x - centre) * inverse
            square = u * u
            f = exp_flushed(square * -0.5)
            by_centre = f * (u * inverse)
            by_width = by_centre * u
            second = f * ((square - 1.0) * twice)
            mixed = f * (u * (square - 2.0) * twice)
            by_widths = f * (square * (square - 3.0) * twice)
        store_rounded(table, at + k, f)
        store_rounded(table, at + stride + k, by_centre)
        store_rounded(table, at + 2 * stride + k, by_width)
        store_rounded(table, at + 3 * stride + k, second)
        store_rounded(table, at + 4 * stride + k, mixed)
        store_rounded(table, at + 5 * stride + k, by_widths)


@cache
def make_curvature(axes: int) -> Callable:
    """The kernel of the sums of separable spots of ``axes`` axes, in the parameters of a fit.

    ``out[i]`` becomes J_i S J_i', J the Jacobian, for each of ``spots``; the curvature of the map
    from parameters of a fit to those of light is not part of it.
    """
    columns, planes, deep = 2 * axes + 1, len(_PLANE), len(_DEEP) if axes == 3 else 0
    entries, plane, further = _entries(axes), np.array(_PLANE), np.array(_DEEP)
    wide = axes + 1

    # -- one spot ------------------------------------------------------------------------------

    @device
    def transform(block, jacobian, at, out):
        size = jacobian.shape[1]
        for p in range(size):
            for q in range(size):
                part = 0.0
                for a in range(columns):
                    for b in range(columns):
                        part += jacobian[at, p, a] * block[a, b] * jacobian[at, q, b]
                out[p, q] = part

    # -- all spots -----------------------------------------------------------------------------

    @kernel
    def curvature(lights, jacobian, spots, extent, residual, out, table, block, m):
        plain, stride = lights.plain, table.size // TABLES
        height, width = extent[1], extent[2]
        y_table, x_table = NUMBERS * stride, 2 * NUMBERS * stride
        for s in range(spots.size):
            i = spots[s]
            first, count = box_of(lights.windows, i)
            if axes == 3:
                _fill(
                    table, 0, stride, first[0], count[0], plain[i, 3], plain[i, wide + 2],
                    lights.integrate,
                )  # fmt: skip
            _fill(
                table, y_table, stride, first[1], count[1], plain[i, 2], plain[i, wide + 1],
                lights.integrate,
            )  # fmt: skip
            _fill(
                table, x_table, stride, first[2], count[2], plain[i, 1], plain[i, wide],
                lights.integrate,
            )  # fmt: skip
            for e in range(planes + deep):
                store(m, planes + e, broadcast(0.0))
            for z in range(count[0]):
                for e in range(planes):
                    store(m, e, broadcast(0.0))
                for y in range(count[1]):
                    at = ((first[0] + z) * height + first[1] + y) * width + first[2]
                    s0 = broadcast(0.0)
                    s1, s2, s3, s4, s5 = s0, s0, s0, s0, s0
                    for k in range(0, count[2], WIDTH):
                        r = load_some(residual, at + k, lanes_within(0.0, 0, count[2] - k))
                        to = x_table + k
                        s0 = s0 + r * load(table, to)
                        s1 = s1 + r * load(table, to + stride)
                        s2 = s2 + r * load(table, to + 2 * stride)
                        s3 = s3 + r * load(table, to + 3 * stride)
                        s4 = s4 + r * load(table, to + 4 * stride)
                        s5 = s5 + r * load(table, to + 5 * stride)
                    row = planes + deep + planes
                    store(m, row, s0)
                    store(m, row + 1, s1)
                    store(m, row + 2, s2)
                    store(m, row + 3, s3)
                    store(m, row + 4, s4)
                    store(m, row + 5, s5)
                    for e in range(planes):
                        f = table[y_table + plane[e, 1] * stride + y]
                        store(m, e, load(m, e) + load(m, row + plane[e, 0]) * f)
                f = table[z] if axes == 3 else 1.0
                for e in range(planes):
                    store(m, planes + e, load(m, planes + e) + load(m, e) * f)
                for e in range(deep):
                    f = table[further[e, 1] * stride + z]
                    to = 2 * planes + e
                    store(m, to, load(m, to) + load(m, further[e, 0]) * f)
            block[:, :] = 0.0
            for e in range(entries.shape[0]):
                value = total(load(m, planes + entries[e, 2]))
                if not entries[e, 3]:
                    value *= plain[i, 0]
                block[entries[e, 0], entries[e, 1]] = value
                block[entries[e, 1], entries[e, 0]] = value
            transform(block, jacobian, i if jacobian.shape[0] > 1 else 0, out[i])

    return curvature
