"""Gaussian profiles of unit height and their derivatives, for scalars and lanes.

With d = x - x0, s = sigma and the pixel [x - 1/2, x + 1/2]:

    sampled      f = exp(-d**2 / (2 s**2)),   df/dx0 = f d / s**2,   df/ds = f d**2 / s**3
    integrated   F = integral of f over the pixel

**integrated** is even in d, so let d >= 0. With c = d / s**2, a, b = (d -+ 1/2) / (s sqrt(2)),
A = exp(-a**2) and B = exp(-b**2) = A exp(-c),

    F      = s sqrt(pi / 2) (erfc(a) - erfc(b)),   erfc(a) = A erfcx(a), 2 - A erfcx(-a) if a < 0
    dF/dx0 = A - B = A exp(-c / 2) 2 sinh(c / 2)
    dF/ds  = (F + d (A - B) - (A + B) / 2) / s

which loses no digits unless the pixel is small both against s and against the length s**2 / d
on which f falls. There (c < 1/2 and s**2 > 2) the factor exp(-d**2 / (2 s**2)) is taken out, and
what stays is expanded: with y = c**2 / 4, h = 1 / (4 s**2) and E = A exp(-c / 2),

    F     = (A + B) / 2 + E (h g - y k),   dF/ds = (d**2 F + E (g / 4 - c d k / 2)) / s**3,
    g     = sum y**n m[n+1] / (2 n)!,      k = sum y**n m[n+1] / (2 n + 1)!,
    m[n]  = (1 + h m[n+1]) / (2 n + 1)     (4**n exp(h / 2) int t**(2 n) exp(-2 h t**2) dt)

in which no term is a difference of large ones. All three are good to a few 1e-16 times
1 + d**2 / s**2, which is how far rounding of d alone moves them, wherever they are normal
numbers, for any s from 1e-3 up.

The rotated model is exp(-(u**2 + v**2) / 2) with u, v as in ``fastgauss.models``; its
integral over the pixel has no closed form and is a 5 x 5 Gauss-Legendre sum. Relative to
the peak its error is at most 3e-8 (0.7 / sigma)**10 for the smaller sigma in pixels.
"""

from __future__ import annotations

import math

import numpy as np

from ._compile import device
from .lanes import absolute, maximum, minimum, select
from .special import erfcx, exp_flushed, exp_negative

_SQRT_HALF = math.sqrt(0.5)
_SQRT_HALF_PI = math.sqrt(0.5 * math.pi)
_FAR = 1e100  # for coordinates: its square is finite, and infinity times 0 would be NaN
_EMPTY = 40.0  # exp(-40**2) is 0
_TERMS = 6
_EVEN = tuple(1.0 / math.factorial(2 * n) for n in range(_TERMS))
_ODD = tuple(1.0 / math.factorial(2 * n + 1) for n in range(_TERMS))


def _legendre(points: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes and weights for the mean over [-1/2, 1/2]."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return tuple((0.5 * nodes).tolist()), tuple((0.5 * weights).tolist())


_NODES_5, _WEIGHTS_5 = _legendre(5)


@device
def distance(x, centre):
    """x - centre, an infinite one made finite; NaN stays NaN."""
    return minimum(_FAR, maximum(-_FAR, x - centre))


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
    """The sums g and k of the module's text, for y < 1/16 and h < 1/8."""
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
def rotated_sampled(x, y, amplitude, x0, y0, sigma_x, sigma_y, cos, sin, offset):
    """Value, then derivatives to ``amplitude, x, y, sigma_x, sigma_y, theta, offset``."""
    inverse_x = 1.0 / sigma_x
    inverse_y = 1.0 / sigma_y
    dx = x - x0
    dy = y - y0
    along = dx * cos + dy * sin
    across = dy * cos - dx * sin
    u = along * inverse_x
    v = across * inverse_y
    f = exp_negative((u * u + v * v) * -0.5)
    height = amplitude * f
    by_u = height * (u * inverse_x)
    by_v = height * (v * inverse_y)
    return (
        height + offset,
        f,
        by_u * cos - by_v * sin,
        by_u * sin + by_v * cos,
        by_u * u,
        by_v * v,
        by_v * along - by_u * across,
        f * 0.0 + 1.0,
    )


@device
def rotated_integrated(x, y, amplitude, x0, y0, sigma_x, sigma_y, cos, sin, offset):
    """As ``rotated_sampled``, averaged over the pixel by 5 x 5 points."""
    zero = (x + y) * 0.0
    value = zero
    f = zero
    by_x = zero
    by_y = zero
    by_sigma_x = zero
    by_sigma_y = zero
    by_theta = zero
    for j in range(5):
        for i in range(5):
            weight = _WEIGHTS_5[i] * _WEIGHTS_5[j]
            at_x = x + _NODES_5[i]
            at_y = y + _NODES_5[j]
            at = rotated_sampled(at_x, at_y, amplitude, x0, y0, sigma_x, sigma_y, cos, sin, offset)
            value = value + weight * at[0]
            f = f + weight * at[1]
            by_x = by_x + weight * at[2]
            by_y = by_y + weight * at[3]
            by_sigma_x = by_sigma_x + weight * at[4]
            by_sigma_y = by_sigma_y + weight * at[5]
            by_theta = by_theta + weight * at[6]
    return value, f, by_x, by_y, by_sigma_x, by_sigma_y, by_theta, zero + 1.0
