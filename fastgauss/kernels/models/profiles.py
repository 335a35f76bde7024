"""Gaussian profiles of unit height and their derivatives, for scalars and lanes.

With d = x - x0, s = sigma and the pixel [x - 1/2, x + 1/2]:

    sampled      f = exp(-d**2 / (2 s**2)),   df/dx0 = f d / s**2,   df/ds = f d**2 / s**3
    integrated   F = integral of f over the pixel

**integrated** is even in d, so let d >= 0. With c = d / s**2, a, b = (d -+ 1/2) / (s sqrt(2)),
A = exp(-a**2) and B = exp(-b**2) = A exp(-c),

    F      = s sqrt(pi / 2) (erfc(a) - erfc(b)),   erfc(a) = A erfcx(a), 2 - A erfcx(-a) if a < 0
    dF/dx0 = A - B = A exp(-c / 2) 2 sinh(c / 2)
    dF/ds  = (F + d (A - B) - (A + B) / 2) / s

which loses no digits unless the pixel is small both compared with s and with the length s**2 / d on
which f falls. In that case (c < 1/2 and s**2 > 2) the factor exp(-d**2 / (2 s**2)) is split off,
and the rest is expanded: with y = c**2 / 4, h = 1 / (4 s**2) and E = A exp(-c / 2),

    F     = (A + B) / 2 + E (h g - y k),   dF/ds = (d**2 F + E (g / 4 - c d k / 2)) / s**3,
    g     = sum y**n m[n+1] / (2 n)!,      k = sum y**n m[n+1] / (2 n + 1)!,
    m[n]  = (1 + h m[n+1]) / (2 n + 1)     (4**n exp(h / 2) int t**(2 n) exp(-2 h t**2) dt)

in which no term is a difference of large ones. The relative error of all three is a few 1e-16 times
1 + d**2 / s**2, which rounding of d alone causes, wherever they are normal numbers, for any s from
1e-3 up.

The **rotated** profile is f = exp(-(u**2 + v**2) / 2) with u, v as in ``models/model.py``. Its
mean over the pixel has no closed form and is a sum over 5 x 5 Gauss-Legendre points. The sum's
error is below 3e-8 (0.7 / s)**10 of the peak, s the smaller sigma in pixels: 3e-8 at 0.7, 9e-10
at 1, 9e-13 at 2. Its derivatives are those of the sum. At the point (p, q) from the pixel's
centre the exponent is

    -w.w / 2 - p w.w_x - q w.w_y - |p w_x + q w_y|**2 / 2,   w = (u, v), w_x = dw/dx, w_y = dw/dy

so that f = X(p) Y(q) C(p, q) takes 5 + 5 exponentials a pixel, and C is the same for all pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .._compile import device
from ..numeric.special import erfcx, exp_flushed, exp_negative
from ..simd.lanes import absolute, load, maximum, minimum, select, store

PIXELS = ("sample", "integrate")  # the value at the point, or the mean over the pixel

_SQRT_HALF = math.sqrt(0.5)
_SQRT_HALF_PI = math.sqrt(0.5 * math.pi)
_FAR = 1e100  # largest coordinate, in place of infinity: its square is finite
_EMPTY = 40.0  # exp(-40**2) is 0
_TERMS = 6
_EVEN = tuple(1.0 / math.factorial(2 * n) for n in range(_TERMS))
_ODD = tuple(1.0 / math.factorial(2 * n + 1) for n in range(_TERMS))


def _legendre(points: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes and weights for the mean over [-1/2, 1/2]."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return tuple((0.5 * nodes).tolist()), tuple((0.5 * weights).tolist())


POINTS = 5
HALF = (POINTS * POINTS + 1) // 2  # points of the other half are mirror images of these
NODES, WEIGHTS = _legendre(POINTS)
_STEEP = 600.0  # largest exponent; reached when sigma is below 0.02, where no digit is right


@device
def distance(x, centre):
    """x - centre, with infinity replaced by a large number; NaN stays NaN."""
    return minimum(_FAR, maximum(-_FAR, x - centre))


def make_over_pixel(pixel: str, add: Callable) -> Callable:
    """Sums over the points of a pixel, or at its centre.

    ``add(shape, weight, u, v, sums)`` returns the sums with those of a point u, v.
    """
    points = POINTS if pixel == "integrate" else 1

    @device
    def over_pixel(shape, weight, x, y, sums):
        for n in range(points * points):
            u, v, part = x, y, weight
            if points > 1:
                u, v = u + NODES[n % points], v + NODES[n // points]
                part = part * (WEIGHTS[n % points] * WEIGHTS[n // points])
            sums = add(shape, part, u, v, sums)
        return sums

    return over_pixel


@device
def sampled(x, centre, sigma):
    """``(f, df/dcentre, df/dsigma)`` at x."""
    inverse = 1.0 / sigma
    u = distance(x, centre) * inverse
    f = exp_flushed(u * u * -0.5)
    slope = f * (u * inverse)
    return f, slope, slope * u


@device
def _series(y, h):
    """The sums g and k of the text above, for y < 1/16 and h < 1/8."""
    m = h * (1.0 / (15.0 * 17.0)) + 1.0 / 15.0
    g = y * 0.0
    k = g
    for n in range(_TERMS - 1, -1, -1):
        m = (h * m + 1.0) * (1.0 / (2 * n + 3))
        g = g * y + m * _EVEN[n]
        k = k * y + m * _ODD[n]
    return g, k


@device
def _twice_sinh_half(c, y):
    """2 sinh(c / 2) for c <= 1/2, y = c**2 / 4."""
    p = y * _ODD[5] + _ODD[4]
    for n in range(3, -1, -1):
        p = p * y + _ODD[n]
    return c * p


@device
def integrated(x, centre, sigma):
    """``(F, dF/dcentre, dF/dsigma)`` for the pixel around x."""
    d = distance(x, centre)
    size = absolute(d)
    inverse = 1.0 / sigma
    c = size * inverse * inverse
    y = c * c * 0.25
    h = inverse * inverse * 0.25
    even = c < 0.5  # over the pixel
    near = (size - 0.5) * inverse
    far = (size + 0.5) * inverse
    fall = exp_negative(c * -0.5)
    at_near = exp_flushed(near * near * -0.5)
    middle = at_near * fall
    at_far = middle * fall
    ends = (at_near + at_far) * 0.5
    slope = select(even, middle * _twice_sinh_half(c, y), at_near - at_far)
    tail = at_near * erfcx(minimum(_EMPTY, absolute(near) * _SQRT_HALF))
    beyond = at_far * erfcx(minimum(_EMPTY, far * _SQRT_HALF))
    area = (select(near < 0.0, 2.0 - tail, tail) - beyond) * (sigma * _SQRT_HALF_PI)
    by_sigma = (area + size * slope - ends) * inverse
    g, k = _series(y, h)
    smooth = even & (h < 0.125)
    value = select(smooth, ends + middle * (h * g - y * k), area)
    bent = size * size * value + middle * (0.25 * g - 0.5 * (c * size) * k)
    by_sigma = select(smooth, bent * inverse * inverse * inverse, by_sigma)
    return value, select(d < 0.0, -slope, slope), by_sigma


@device
def rotated_sampled(u, v):
    """``(f, f u, f v, f u**2, f v**2, f u v)``."""
    f = exp_flushed((u * u + v * v) * -0.5)
    fu = f * u
    fv = f * v
    return f, fu, fv, fu * u, fv * v, fu * v


@device
def prepare_quadrature(m, rows, cos_u, sin_u, cos_v, sin_v) -> None:
    """Write C, which depends only on the widths and the angle, to ``HALF`` lane rows."""
    for k in range(HALF):
        along_x, along_y = NODES[k % POINTS], NODES[k // POINTS]
        u = cos_u * along_x + sin_u * along_y
        v = cos_v * along_y - sin_v * along_x
        weight = WEIGHTS[k % POINTS] * WEIGHTS[k // POINTS]
        store(m, rows + k, exp_flushed((u * u + v * v) * -0.5) * weight)


@device
def rotated_integrated(m, rows, work, u, v, cos_u, sin_u, cos_v, sin_v):
    """The means over the pixel of what ``rotated_sampled`` returns, for lanes.

    u and v belong to the pixel's centre and grow by cos_u and -sin_v a pixel along x, by
    sin_u and cos_v along y. C stands from ``rows`` on; ``work`` is ``POINTS`` rows of scratch.
    """
    quarter = (u * u + v * v) * 0.25
    fall_x = u * cos_u - v * sin_v
    fall_y = u * sin_u + v * cos_v
    for i in range(POINTS):
        store(m, work + i, exp_flushed(minimum(_STEEP, fall_x * -NODES[i] - quarter)))
    zero = quarter * 0.0
    f = zero
    fx = zero
    fy = zero
    fxx = zero
    fxy = zero
    fyy = zero
    for j in range(POINTS):
        sum_0 = zero
        sum_1 = zero
        sum_2 = zero
        for i in range(POINTS):
            k = POINTS * j + i
            g = load(m, work + i) * load(m, rows + min(k, POINTS * POINTS - 1 - k))
            sum_0 = sum_0 + g
            sum_1 = sum_1 + g * NODES[i]
            sum_2 = sum_2 + g * (NODES[i] * NODES[i])
        g = exp_flushed(minimum(_STEEP, fall_y * -NODES[j] - quarter))
        gy = g * NODES[j]
        f = f + g * sum_0
        fx = fx + g * sum_1
        fy = fy + gy * sum_0
        fxx = fxx + g * sum_2
        fxy = fxy + gy * sum_1
        fyy = fyy + gy * NODES[j] * sum_0
    fu = f * u + fx * cos_u + fy * sin_u
    fv = f * v - fx * sin_v + fy * cos_v
    fux = fx * u + fxx * cos_u + fxy * sin_u
    fuy = fy * u + fxy * cos_u + fyy * sin_u
    fvx = fx * v - fxx * sin_v + fxy * cos_v
    fvy = fy * v - fxy * sin_v + fyy * cos_v
    fuu = fu * u + fux * cos_u + fuy * sin_u
    fvv = fv * v - fvx * sin_v + fvy * cos_v
    return f, fu, fv, fuu, fvv, fu * v - fux * sin_v + fuy * cos_v
