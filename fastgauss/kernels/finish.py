"""From the fit's own coordinates to parameters, covariances and statuses.

The covariance of the basis coefficients t is s**2 gram**-1 with
s**2 = S / (pixels - P), the residual variance. Parameters move with t by J:

* unrotated: d(centre) = t sigma / amplitude and d(sigma) = t sigma / amplitude, by axis;
* rotated: d(x0, y0) = M**-1 (t_1, t_2) / amplitude, and with S' the symmetric form
  (t_3, t_4 / 2, t_5) / amplitude turned to the principal axes,
  d sigma_x = sigma_x**3 S'_xx,  d sigma_y = sigma_y**3 S'_yy,
  d theta = 2 S'_xy sigma_x**2 sigma_y**2 / (sigma_x**2 - sigma_y**2).

So the covariance of the parameters is s**2 J gram**-1 J'. The principal axes of
P: sigma = mean +- r with r = hypot((P_xx - P_yy) / 2, P_xy), and
theta = atan2(P_xy, (P_xx - P_yy) / 2) / 2, in (-pi/2, pi/2], sigma_x >= sigma_y.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from ._compile import device, kernel
from .lanes import WIDTH, absolute, broadcast, lane_rows, load, maximum, select, sqrt, store
from .levmar import CONVERGED, OUTSIDE, SINGULAR, STALLED
from .linalg import invert, packed, packed_size

_HALF_PI = 0.5 * math.pi
_SINGULAR_PIVOT = 1e-13
_FLAT = 1e-13  # amplitude relative to the offset, at which a spot is rounding
_NO_ANGLE = 1e-12  # relative difference of the sigmas below which theta is noise


@device
def _scale(m, cov, size, k, factor) -> None:
    """Multiply row and column k of a packed covariance by a factor."""
    for i in range(size):
        at = cov + (packed(i, k) if i >= k else packed(k, i))
        scaled = load(m, at) * factor
        store(m, at, scaled * factor if i == k else scaled)


@device
def shape_symmetric(m, p, cov, work) -> None:
    """Covariance of ``amplitude, x, y, sigma, offset``."""
    factor = load(m, p + 3) / load(m, p)
    for k in range(1, 4):
        _scale(m, cov, 5, k, factor)


@device
def shape_elliptic(m, p, cov, work) -> None:
    """Covariance of ``amplitude, x, y, sigma_x, sigma_y, offset``."""
    scale = 1.0 / load(m, p)
    for k in range(2):
        factor = load(m, p + 3 + k) * scale
        _scale(m, cov, 6, 1 + k, factor)
        _scale(m, cov, 6, 3 + k, factor)


@device
def _turn(m, cov, i, rows, work) -> None:
    """Row i of work receives row i of ``cov`` times J' (J's blocks in ``rows``)."""
    for j in range(7):
        at = cov + (packed(i, j) if i >= j else packed(j, i))
        store(m, work + 7 * i + j, load(m, at))
    _block(m, work + 7 * i, 1, rows)


@device
def _block(m, at, stride, rows) -> None:
    """Apply J to the seven lane rows at, at + stride, ..."""
    v1, v2, v3, x3, x4, x5, y3, y4, y5, t3, t4, t5 = rows
    a, b = load(m, at + stride), load(m, at + 2 * stride)
    store(m, at + stride, v1 * a + v3 * b)
    store(m, at + 2 * stride, v3 * a + v2 * b)
    a, b, c = load(m, at + 3 * stride), load(m, at + 4 * stride), load(m, at + 5 * stride)
    store(m, at + 3 * stride, x3 * a + x4 * b + x5 * c)
    store(m, at + 4 * stride, y3 * a + y4 * b + y5 * c)
    store(m, at + 5 * stride, t3 * a + t4 * b + t5 * c)


@device
def shape_rotated(m, p, cov, work) -> None:
    """Canonical parameters in place of the sigma matrix, and their covariance.

    Of theta, twice its cosine and sine are left (scaled) in rows 5 of the parameters
    and 0 of ``work``: there is no arc tangent for lanes.
    """
    scale = 1.0 / load(m, p)
    p1, p2, p3 = load(m, p + 3), load(m, p + 4), load(m, p + 5)
    mean = 0.5 * (p1 + p2)
    half = 0.5 * (p1 - p2)
    r = sqrt(half * half + p3 * p3)
    major = mean + r
    minor = (p1 * p2 - p3 * p3) / major
    inverse = 1.0 / select(r > 0.0, r, 1.0)
    cos2 = select(r > 0.0, half * inverse, 1.0)
    sin2 = p3 * inverse
    cc = 0.5 * (1.0 + cos2)
    ss = 0.5 * (1.0 - cos2)
    cs = 0.5 * sin2
    cube = major * major * major * scale
    cube_minor = minor * minor * minor * scale
    spread = maximum(r + r, major * _NO_ANGLE) * (major + minor)
    angle = 2.0 * (major * major) * (minor * minor) / spread * scale
    rows = (
        (p1 * p1 + p3 * p3) * scale,
        (p2 * p2 + p3 * p3) * scale,
        p3 * (p1 + p2) * scale,
        cc * cube,
        cs * cube,
        ss * cube,
        ss * cube_minor,
        -cs * cube_minor,
        cc * cube_minor,
        -cs * angle,
        0.5 * cos2 * angle,
        cs * angle,
    )
    for i in range(7):
        _turn(m, cov, i, rows, work)
    for j in range(7):
        _block(m, work + j, 7, rows)
    for i in range(7):
        for j in range(i + 1):
            store(m, cov + packed(i, j), load(m, work + 7 * i + j))
    store(m, p + 3, major)
    store(m, p + 4, minor)
    store(m, p + 5, half)
    store(m, work, p3)


@device
def angle_none(m, p, work, lane) -> None:
    """Models without theta."""


@device
def angle_rotated(m, p, work, lane) -> None:
    """theta in (-pi/2, pi/2] from what ``shape_rotated`` left."""
    theta = 0.5 * math.atan2(m[work, lane], m[p + 5, lane])
    m[p + 5, lane] = theta if theta > -_HALF_PI else _HALF_PI


@cache
def make_finish(shape: Callable, angle: Callable, size: int) -> Callable:
    """The last stage of one model: a kernel over a range of spots."""
    entries = packed_size(size)
    cov, gram, work = size, size + entries, size + 2 * entries
    pivot = work + size * size
    rows = pivot + 2

    @kernel
    def finish(params, covariances, objectives, status, ny, nx) -> None:
        """Turn what the fit wrote into results, in place.

        ``covariances[n, P (P + 1) / 2]`` comes as the Gram matrices and leaves as packed
        covariances; ``status`` may become SINGULAR or OUTSIDE.
        """
        m = lane_rows(rows)
        m[:] = 1.0
        count = params.shape[0]
        freedom = float(ny * nx - size)
        for first in range(0, count, WIDTH):
            present = min(WIDTH, count - first)
            for lane in range(present):
                item = first + lane
                for i in range(size):
                    m[i, lane] = params[item, i]
                for i in range(entries):
                    m[gram + i, lane] = covariances[item, i]
                m[pivot + 1, lane] = objectives[item] / freedom
            worst = invert(m, gram, cov, size)
            variance = load(m, pivot + 1)
            for i in range(entries):
                store(m, cov + i, load(m, cov + i) * variance)
            flat = ~(absolute(load(m, 0)) > absolute(load(m, size - 1)) * _FLAT)
            store(m, pivot, select(flat, broadcast(0.0), worst))
            shape(m, 0, cov, work)
            for lane in range(present):
                item = first + lane
                angle(m, 0, work, lane)
                for i in range(size):
                    params[item, i] = m[i, lane]
                if status[item] <= STALLED and not m[pivot, lane] > _SINGULAR_PIVOT:
                    status[item] = SINGULAR
                known = status[item] <= STALLED
                for i in range(entries):
                    covariances[item, i] = m[cov + i, lane] if known else np.nan
                if status[item] == CONVERGED:
                    x, y = m[1, lane], m[2, lane]
                    if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
                        status[item] = OUTSIDE

    return finish
