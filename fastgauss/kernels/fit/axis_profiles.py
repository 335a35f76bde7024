"""Tables of one axis: a Gaussian and its derivatives at every coordinate of the axis.

With u = (x - x0) / sigma, three numbers a coordinate,

    f,  x = sigma df/dx0,  s = sigma df/dsigma,

which for the point-sampled profile are f, u f and u**2 f. Integrated over the pixel, the
profile is a difference of error functions at the pixel's edges e = (edge - x0) / sigma,

    F = sigma [G(e_right) - G(e_left)],  G(e) = sqrt(pi / 2) erf(e / sqrt(2)),
    x = -sigma [g(e_right) - g(e_left)],  g(e) = exp(-e**2 / 2),
    s = F - sigma [e g(e)]_left^right,

one error function and one exponential an edge, good to rounding relative to the peak.
"""

from __future__ import annotations

import math

from .._compile import device
from ..numeric.contraction import FACTOR_ROWS, TABLE_ROWS
from ..numeric.special import erf, exp_negative
from ..simd.lane_types import ALL_LANES
from ..simd.lanes import absolute, broadcast, load, select, store
from ..simd.mask_bits import mask_bits

MOST_STEPS = 40  # pixels along an axis up to which the recurrence loses under 1e-13
_SQRT_HALF = math.sqrt(0.5)
_SQRT_HALF_PI = math.sqrt(0.5 * math.pi)


@device
def fill_outwards(m, n, start, up, down, square, table, stride) -> None:
    """Fill lane rows table + stride * i with a Gaussian, i = 0 .. n - 1, from its middle value.

    Outwards each value is the one before times a ratio, and each ratio (``up``, ``down``)
    the one before times ``square`` = exp(-1 / sigma**2) (Greengard & Lee 2004, SIAM Review
    46, 443): three exponentials instead of n (``square`` is ``up`` times ``down``). Rounding
    grows with the square of the number of steps, and neither the middle nor a ratio may leave
    the range of float64.
    """
    middle = n // 2
    right = start
    left = start
    store(m, table + stride * middle, start)
    for k in range(1, n - middle):
        right = right * up
        up = up * square
        store(m, table + stride * (middle + k), right)
    for k in range(1, middle + 1):
        left = left * down
        down = down * square
        store(m, table + stride * (middle - k), left)


@device
def _gaussian(m, n, shift, sigma, table, stride) -> None:
    """Fill table rows with exp(-u**2 / 2), u = (i - n // 2 - shift) / sigma, i = 0 .. n - 1.

    By recurrence where that is safe; other lanes one by one.
    """
    curve = 1.0 / (sigma * sigma)
    away = shift * curve
    up = exp_negative(away - 0.5 * curve)
    down = exp_negative(-away - 0.5 * curve)
    middle = exp_negative(shift * away * -0.5)
    fill_outwards(m, n, middle, up, down, up * down, table, stride)
    safe = (absolute(shift) < 20.0 * sigma) & (sigma > 0.07)
    if n > MOST_STEPS:
        safe = safe & ~safe
    if mask_bits(safe) != ALL_LANES:
        for i in range(n):
            u = float(i - n // 2) - shift
            f = exp_negative(u * u * (curve * -0.5))
            store(m, table + stride * i, select(safe, load(m, table + stride * i), f))


@device
def fill_sampled(m, n, places, centre, sigma, table, stride) -> None:
    """Rows table + stride * i + (0, 1, 2) receive f, u f, u**2 f at coordinate i."""
    shift = centre - float(n // 2)
    _gaussian(m, n, shift, sigma, table, stride)
    inverse = 1.0 / sigma
    for i in range(n):
        u = (float(i - n // 2) - shift) * inverse
        fu = load(m, table + stride * i) * u
        store(m, table + stride * i + 1, fu)
        store(m, table + stride * i + 2, fu * u)


@device
def fill_placed(m, n, places, centre, sigma, table, stride) -> None:
    """The same at the coordinates that the lane rows ``places`` hold."""
    inverse = 1.0 / sigma
    for i in range(n):
        u = (load(m, places + i) - centre) * inverse
        f = exp_negative(u * u * -0.5)
        fu = f * u
        store(m, table + stride * i, f)
        store(m, table + stride * i + 1, fu)
        store(m, table + stride * i + 2, fu * u)


@device
def _edge(e):
    """G, g and e g at an edge."""
    g = exp_negative(e * e * -0.5)
    return erf(e * _SQRT_HALF) * _SQRT_HALF_PI, g, e * g


@device
def fill_integrated(m, n, places, centre, sigma, table, stride) -> None:
    """The same for the profile's mean over each pixel."""
    inverse = 1.0 / sigma
    area, height, moment = _edge((-0.5 - centre) * inverse)
    for i in range(n):
        right_area, right_height, right_moment = _edge((float(i) + 0.5 - centre) * inverse)
        f = sigma * (right_area - area)
        store(m, table + stride * i, f)
        store(m, table + stride * i + 1, sigma * (height - right_height))
        store(m, table + stride * i + 2, f - sigma * (right_moment - moment))
        area, height, moment = right_area, right_height, right_moment


@device
def sum_products(m, n, table, target) -> None:
    """The sums over an axis of the packed products of f, x, s and 1, to ten lane rows."""
    zero = broadcast(0.0)
    ff = zero
    xf = zero
    xx = zero
    sf = zero
    sx = zero
    ss = zero
    f1 = zero
    x1 = zero
    s1 = zero
    for i in range(n):
        f = load(m, table + FACTOR_ROWS * i)
        x = load(m, table + FACTOR_ROWS * i + 1)
        s = load(m, table + FACTOR_ROWS * i + 2)
        ff = ff + f * f
        xf = xf + x * f
        xx = xx + x * x
        sf = sf + s * f
        sx = sx + s * x
        ss = ss + s * s
        f1 = f1 + f
        x1 = x1 + x
        s1 = s1 + s
    store(m, target, ff)
    store(m, target + 1, xf)
    store(m, target + 2, xx)
    store(m, target + 3, sf)
    store(m, target + 4, sx)
    store(m, target + 5, ss)
    store(m, target + 6, f1)
    store(m, target + 7, x1)
    store(m, target + 8, s1)
    store(m, target + 9, broadcast(float(n)))


@device
def expand_products(m, n, table) -> None:
    """Complete rows of ten, whose first three are f, x, s, to the packed products."""
    for i in range(n):
        at = table + TABLE_ROWS * i
        f = load(m, at)
        x = load(m, at + 1)
        s = load(m, at + 2)
        store(m, at, f * f)
        store(m, at + 1, x * f)
        store(m, at + 2, x * x)
        store(m, at + 3, s * f)
        store(m, at + 4, s * x)
        store(m, at + 5, s * s)
        store(m, at + 6, f)
        store(m, at + 7, x)
        store(m, at + 8, s)
        store(m, at + 9, broadcast(1.0))
