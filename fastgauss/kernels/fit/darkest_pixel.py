"""The profile at the pixel where a model is lowest, for each kind of model.

That is the pixel farthest from the centre for a bright spot, the nearest one for a dark spot.
Pixels that are missing count as well: the model is kept positive there, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from .._compile import device
from ..models.profiles import NODES, POINTS, WEIGHTS
from ..numeric.special import erf, exp_negative
from ..simd.lanes import broadcast, floor, load, maximum, minimum, select
from .rotated import metric_of

_SQRT_HALF = math.sqrt(0.5)
_SQRT_HALF_PI = math.sqrt(0.5 * math.pi)


@device
def farthest(x, first, last):
    """Of two places the one farther from x."""
    return select(last - x > x - first, last, first)


@device
def nearest(x, n):
    """The pixel of an axis that is nearest to x."""
    return minimum(maximum(floor(x + 0.5), broadcast(0.0)), broadcast(float(n - 1)))


@device
def sampled(x, sigma):
    """The profile of an axis at the distance x."""
    u = x / sigma
    return exp_negative(u * u * -0.5)


@device
def integrated(x, sigma):
    """Its mean over the pixel there."""
    scale = _SQRT_HALF / sigma
    return (erf((x + 0.5) * scale) - erf((x - 0.5) * scale)) * sigma * _SQRT_HALF_PI


@cache
def make_separable(axes: int, sigma_of: Callable, pixel: str) -> Callable:
    """Of an unrotated model; ``pixel`` may be "places"."""
    profile = integrated if pixel == "integrate" else sampled
    placed = pixel == "places"

    @device
    def along(m, p, axis, n, places, dark):
        x, sigma = load(m, p + 1 + axis), sigma_of(m, p, axis, axes)
        if placed:
            first, last = load(m, places), load(m, places + n - 1)
            near = minimum(maximum(x, first), last)
        else:
            first, last = broadcast(0.0), broadcast(float(n - 1))
            near = nearest(x, n)
        return profile(select(dark, near, farthest(x, first, last)) - x, sigma)

    @device
    def darkest(m, p, work, places, nz, ny, nx):
        """For each lane; ``places`` is where the abscissae of a profile stand, if it has any."""
        dark = load(m, p) < 0.0
        value = along(m, p, 0, nx, places, dark)
        if axes > 1:
            value = value * along(m, p, 1, ny, places, dark)
        if axes > 2:
            value = value * along(m, p, 2, nz, places, dark)
        return value

    return darkest


@cache
def make_rotated(pixel: str, sigma_matrix: Callable) -> Callable:
    """Of the rotated model; ``sigma_matrix`` tells where its sigma matrix stands."""

    @device
    def exponent(metric, x, y):
        a, b, c = metric
        return ((a * x + b * y + b * y) * x + c * y * y) * -0.5

    @device
    def corner(metric, x0, y0, nx, ny):
        """From the centre to the corner with the smallest profile."""
        x, y = -x0, -y0
        least = exponent(metric, x, y)
        for k in range(1, 4):
            at_x, at_y = float((nx - 1) * (k % 2)) - x0, float((ny - 1) * (k // 2)) - y0
            value = exponent(metric, at_x, at_y)
            less = value < least
            x, y = select(less, at_x, x), select(less, at_y, y)
            least = minimum(value, least)
        return x, y

    @device
    def darkest(m, p, work, places, nz, ny, nx):
        dark = load(m, p) < 0.0
        metric = metric_of(m, sigma_matrix(m, p, work))
        x0, y0 = load(m, p + 1), load(m, p + 2)
        far_x, far_y = corner(metric, x0, y0, nx, ny)
        x = select(dark, nearest(x0, nx) - x0, far_x)
        y = select(dark, nearest(y0, ny) - y0, far_y)
        if pixel == "sample":
            return exp_negative(exponent(metric, x, y))
        value = broadcast(0.0)
        for j in range(POINTS):
            for i in range(POINTS):
                at = exponent(metric, x + NODES[i], y + NODES[j])
                value = value + exp_negative(at) * (WEIGHTS[i] * WEIGHTS[j])
        return value

    return darkest
