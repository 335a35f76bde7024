"""Steps of the rotated model, and the covariance that it reports."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device
from ..numeric.packed_cholesky import packed
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load, maximum, minimum, sqrt, store
from .rotated import inverse_of_widths
from .variable_projection import limit_centre, limit_width, reciprocal

_MOST_TURN = 0.5  # radians in one step
_MOST_TILT = 0.995  # of P_xy relative to sqrt(P_xx P_yy): the sigmas' ratio stays below 400


@device
def _sandwich(p1, p2, p3, s1, s2, s3):
    """P S P of symmetric 2 x 2 matrices, each as (xx, yy, xy)."""
    u = p1 * s1 + p3 * s3
    v = p1 * s3 + p3 * s2
    w = p3 * s3 + p2 * s2
    z = p3 * s1 + p2 * s3
    return u * p1 + v * p3, z * p3 + w * p2, u * p3 + v * p2


@device
def step_rotated(m, p, t, q) -> None:
    """q = p moved by the basis coefficients t.

    The change of f is f d'S d with S = sym(Q dP M), so Q dP + dP Q = 2 P S P =: C, whose
    solution in two dimensions is dP = (C + det(Q) P C P) / (2 tr Q).
    """
    scale = reciprocal(load(m, p))
    p1, p2, p3 = load(m, p + 3), load(m, p + 4), load(m, p + 5)
    q1, q2, q3 = inverse_of_widths(m, p)
    c1, c2, c3 = _sandwich(
        p1, p2, p3, load(m, t + 3) * scale, load(m, t + 5) * scale, load(m, t + 4) * scale * 0.5
    )
    d1, d2, d3 = _sandwich(p1, p2, p3, c1, c2, c3)
    determinant = q1 * q2 - q3 * q3
    trace = 1.0 / (q1 + q2)
    t1, t2 = load(m, t + 1) * scale, load(m, t + 2) * scale
    v1, v2, v3 = p1 * p1 + p3 * p3, p2 * p2 + p3 * p3, p3 * (p1 + p2)
    store(m, q, load(m, p) + load(m, t))
    store(m, q + 1, limit_centre(load(m, p + 1), v1 * t1 + v3 * t2, p1))
    store(m, q + 2, limit_centre(load(m, p + 2), v3 * t1 + v2 * t2, p2))
    new1 = limit_width(p1, p1 + (c1 + determinant * d1) * trace)
    new2 = limit_width(p2, p2 + (c2 + determinant * d2) * trace)
    most = sqrt(new1 * new2) * _MOST_TILT
    new3 = p3 + (c3 + determinant * d3) * trace
    store(m, q + 3, new1)
    store(m, q + 4, new2)
    store(m, q + 5, minimum(maximum(new3, -most), most))
    store(m, q + 6, load(m, p + 6) + load(m, t + 6))


@device
def transform(m, packed_matrix, rows, work) -> None:
    """J A J' in place of a packed 7 x 7 matrix A; J turns centres and shape (``block``)."""
    for i in range(7):
        for j in range(7):
            at = packed_matrix + (packed(i, j) if i >= j else packed(j, i))
            store(m, work + 7 * i + j, load(m, at))
        block(m, work + 7 * i, 1, rows)
    for j in range(7):
        block(m, work + j, 7, rows)
    for i in range(7):
        for j in range(i + 1):
            store(m, packed_matrix + packed(i, j), load(m, work + 7 * i + j))


@device
def block(m, at, stride, rows) -> None:
    """Apply J to the seven lane rows at, at + stride, ..."""
    v1, v2, v3, x3, x4, x5, y3, y4, y5, t3, t4, t5 = rows
    a, b = load(m, at + stride), load(m, at + 2 * stride)
    store(m, at + stride, v1 * a + v3 * b)
    store(m, at + 2 * stride, v3 * a + v2 * b)
    a, b, c = load(m, at + 3 * stride), load(m, at + 4 * stride), load(m, at + 5 * stride)
    store(m, at + 3 * stride, x3 * a + x4 * b + x5 * c)
    store(m, at + 4 * stride, y3 * a + y4 * b + y5 * c)
    store(m, at + 5 * stride, t3 * a + t4 * b + t5 * c)


INNER = 7  # lane rows of the sigma-matrix parameters in ``make_natural``
NATURAL_ROWS = INNER + 2 + 49  # what it needs beside the sums


@cache
def make_evaluate(accumulate: Callable, settle: Callable) -> Callable:
    """Normal equations of the residuals in the basis."""

    @device
    def evaluate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        """Gram matrix, gradient and objective at p; settles amplitude and offset there."""
        objective = accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient)
        return settle(m, p, gram, gradient, objective)

    return evaluate


@device
def own_matrix(m, p, work):
    """Where the sigma matrix stands in a fit in its entries: among the parameters."""
    return p


@device
def turn_matrix(m, p, work):
    """Write parameters with the sigma matrix in place of sigma_x, sigma_y, theta; returns where."""
    angle = work + INNER
    for lane in range(WIDTH):
        m[angle, lane] = np.cos(m[p + 5, lane])
        m[angle + 1, lane] = np.sin(m[p + 5, lane])
    cos, sin = load(m, angle), load(m, angle + 1)
    sigma_x, sigma_y = load(m, p + 3), load(m, p + 4)
    cc, ss = cos * cos, sin * sin
    for k in range(3):
        store(m, work + k, load(m, p + k))
    store(m, work + 3, sigma_x * cc + sigma_y * ss)
    store(m, work + 4, sigma_x * ss + sigma_y * cc)
    store(m, work + 5, (sigma_x - sigma_y) * cos * sin)
    store(m, work + 6, load(m, p + 6))
    return work


@device
def natural_rows(m, p, angle):
    """The J of ``block`` for sigma_x, sigma_y, theta; ``turn_matrix`` wrote ``angle``."""
    cos, sin = load(m, angle), load(m, angle + 1)
    sigma_x, sigma_y = load(m, p + 3), load(m, p + 4)
    cc, ss, cs = cos * cos, sin * sin, cos * sin
    height = load(m, p)
    curve_x, curve_y = 1.0 / (sigma_x * sigma_x), 1.0 / (sigma_y * sigma_y)
    to_x, to_y = height * curve_x / sigma_x, height * curve_y / sigma_y
    turn = height * (curve_y - curve_x)
    return (
        height * (cc * curve_x + ss * curve_y),
        height * (ss * curve_x + cc * curve_y),
        height * cs * (curve_x - curve_y),
        cc * to_x,
        (cs + cs) * to_x,
        ss * to_x,
        ss * to_y,
        -(cs + cs) * to_y,
        cc * to_y,
        -cs * turn,
        (cc - ss) * turn,
        cs * turn,
    )


@cache
def make_natural(accumulate: Callable, settle: Callable) -> Callable:
    """Normal equations in sigma_x, sigma_y, theta themselves, which bounds are about."""

    @device
    def evaluate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        """The columns of the parameters are combinations of the basis; see ``finish``."""
        inner, angle = turn_matrix(m, p, work), work + INNER
        rest = work + NATURAL_ROWS
        objective = accumulate(m, pixels, nz, ny, nx, inner, rest, gram, gradient)
        objective = settle(m, inner, gram, gradient, objective)
        rows = natural_rows(m, p, angle)
        transform(m, gram, rows, angle + 2)
        block(m, gradient, 1, rows)
        return objective

    return evaluate


@device
def step_natural(m, p, t, q) -> None:
    """q = p + t, no further than the linear model can be meant."""
    least = minimum(load(m, p + 3), load(m, p + 4))
    store(m, q, load(m, p) + load(m, t))
    for k in range(1, 3):
        store(m, q + k, limit_centre(load(m, p + k), load(m, t + k), least))
    for k in range(3, 5):
        old = load(m, p + k)
        store(m, q + k, limit_width(old, old + load(m, t + k)))
    turn = minimum(maximum(load(m, t + 5), broadcast(-_MOST_TURN)), broadcast(_MOST_TURN))
    store(m, q + 5, load(m, p + 5) + turn)
    store(m, q + 6, load(m, p + 6) + load(m, t + 6))
