"""The factor of a particle with a full covariance, its window, and visits of it row by row.

Along a row of nodes u_z and u_y are the same, and f is a Gaussian in x whose centre moves with the
row (``kernels/fields/full_covariance.py``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._compile import device
from ..models import profiles
from ..numeric.special import exp_flushed
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast
from ..simd.masked import lanes_within, ramp
from .windows import address


@device
def shape_of(widths, q):
    """The factor of particle q in two orders of the axes, with reciprocals.

    L in (z, y, x): zz, yz, yy, xz, xy, xx, 1 / zz, 1 / yy, 1 / xx. Its last three in (z, x, y):
    1 / xx, yx, 1 / yy; and the cosine and sine from this order's u to L's.
    """
    at = q if widths.shape[0] > 1 else 0
    axes = widths.shape[1]
    x, y, z = axes - 1, axes - 2, axes - 3
    zz = np.sqrt(widths[at, z, z]) if axes == 3 else 1.0
    yz = widths[at, y, z] / zz if axes == 3 else 0.0
    yy = np.sqrt(widths[at, y, y] - yz * yz) if axes >= 2 else 1.0
    xz = widths[at, x, z] / zz if axes == 3 else 0.0
    xy = (widths[at, x, y] - yz * xz) / yy if axes >= 2 else 0.0
    xx = np.sqrt(widths[at, x, x] - xz * xz - xy * xy)
    first_x = np.sqrt(widths[at, x, x] - xz * xz)
    yx = xy * yy / first_x
    last_y = yy * xx / first_x
    return (
        zz, yz, yy, xz, xy, xx, 1.0 / zz, 1.0 / yy, 1.0 / xx,
        1.0 / first_x, yx, 1.0 / last_y, xx / first_x, xy / first_x,
    )  # fmt: skip


@device
def half_widths(support, axes, factor):
    """Half width of the window along each of three axes: that of the ellipsoid's bounding box."""
    zz, yz, yy, xz, xy, xx = factor[:6]
    pad = 0.5 if support.integrate else 0.0
    z = support.radius * zz + pad if axes == 3 else 0.0
    y = support.radius * np.sqrt(yz * yz + yy * yy) + pad if axes >= 2 else 0.0
    return z, y, support.radius * np.sqrt(xz * xz + xy * xy + xx * xx) + pad


@device
def limit_of(support, axes, factor):
    """Squared radius in sigmas of the ellipsoid that counts under a spherical support.

    A mean over a pixel reaches further than its node by half a diagonal, which is at most
    sqrt(d trace of the inverse covariance) / 2.
    """
    if not support.integrate:
        return support.radius * support.radius
    zz, yz, yy, xz, xy, xx = factor[:6]
    x_y = xy / (yy * xx)
    y_z = yz / (zz * yy)
    x_z = (xz - xy * yz / yy) / (zz * xx)
    curve = 1.0 / (xx * xx) + x_y * x_y + y_z * y_z + x_z * x_z
    if axes >= 2:
        curve += 1.0 / (yy * yy)
    if axes == 3:
        curve += 1.0 / (zz * zz)
    return (support.radius + 0.5 * np.sqrt(axes * curve)) ** 2


@device
def outer_of(factor, dz, dy):
    """u_z, u_y and how far the row's middle is moved along x."""
    yz, xz, xy, per_zz, per_yy = factor[1], factor[3], factor[4], factor[6], factor[7]
    u_z = dz * per_zz
    u_y = (dy - yz * u_z) * per_yy
    return u_z, u_y, xz * u_z + xy * u_y


@device
def along(integrate, factor, u_z, u_y, shift, weight, dx):
    """f and its first two moments in u_x at the lanes dx of a row, times the weight of a point.

    Only means over pixels have weights.
    """
    xx, across = factor[5], u_z * u_z + u_y * u_y
    if integrate:
        g, slope, growth = profiles.integrated(dx, broadcast(shift), broadcast(xx))
        weight *= exp_flushed(across * -0.5)
        return g * weight, slope * (weight * xx), growth * (weight * xx)
    u = (dx - shift) * factor[8]
    f = exp_flushed((u * u + across) * -0.5)
    fx = f * u
    return f, fx, fx * u


@device
def points_of(axes):
    """How many points along z and y a mean over a pixel is made of."""
    return (profiles.POINTS if axes == 3 else 1), (profiles.POINTS if axes >= 2 else 1)


@device
def point_of(points, i):
    """Where one of so many points lies from its node, and its weight."""
    return (profiles.NODES[i], profiles.WEIGHTS[i]) if points > 1 else (0.0, 1.0)


@device
def _moments(f, fx, fxx, u_z, u_y):
    """The ``SUMS`` values of f and its moments along x."""
    fz, fy = f * u_z, f * u_y
    return f, fz, fy, fx, fz * u_z, fz * u_y, fx * u_z, fy * u_y, fx * u_y, fxx


@device
def _plus(a, b):
    """Sums of two of ``_moments``."""
    return (
        a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4],
        a[5] + b[5], a[6] + b[6], a[7] + b[7], a[8] + b[8], a[9] + b[9],
    )  # fmt: skip


@device
def _sampled(axes, factor, dz, dy, dx, outer):
    """The ``SUMS`` values at the nodes dz, dy and the lanes dx from the centre."""
    u_z, u_y, shift = outer
    f, fx, fxx = along(False, factor, u_z, u_y, shift, 1.0, dx)
    return _moments(f, fx, fxx, u_z, u_y)


@device
def averaged(axes, factor, dz, dy, dx, outer):
    """The means of ``_sampled`` over pixels."""
    none = broadcast(0.0)
    sums = none, none, none, none, none, none, none, none, none, none
    points_z, points_y = points_of(axes)
    for i in range(points_z):
        to_z, weight_z = point_of(points_z, i)
        for j in range(points_y):
            to_y, weight_y = point_of(points_y, j)
            u_z, u_y, shift = outer_of(factor, dz + to_z, dy + to_y)
            f, fx, fxx = along(True, factor, u_z, u_y, shift, weight_z * weight_y, dx)
            sums = _plus(sums, _moments(f, fx, fxx, u_z, u_y))
    return sums


@device
def inside(factor, outer, dx, limit):
    """Which lanes of a row are within the ellipsoid."""
    u_z, u_y, shift = outer
    u = (dx - shift) * factor[8]
    return u * u + (u_z * u_z + u_y * u_y) <= limit


def make_along_rows(values: Callable, sphere: bool, act: Callable) -> Callable:
    """Visit a particle's window row by row, each register by register."""

    @device
    def along_rows(flat, layout, support, axes, factor, limit, first, count, centre, table, state):
        for z in range(first[0], first[0] + count[0]):
            dz = float(z) - centre[0]
            for y in range(first[1], first[1] + count[1]):
                dy = float(y) - centre[1]
                at = address(layout, z, y, first[2])
                outer = outer_of(factor, dz, dy)
                for k in range(0, count[2], WIDTH):
                    left = count[2] - k
                    dx = ramp(float(first[2] + k)) - centre[2]
                    mask = lanes_within(0.0, 0, left)
                    if sphere:
                        mask = mask & inside(factor, outer, dx, limit)
                    columns = values(axes, factor, dz, dy, dx, outer)
                    state = act(flat, layout, support, at + k, left, mask, columns, table, state)
        return state

    return along_rows


def make_over(sphere: bool, act: Callable) -> Callable:
    """Visit a particle's window register by register.

    ``act`` gets where a register lies, how many of its lanes are in the window, which count,
    and the ``SUMS`` values there; what it returns is its state at the next.
    """
    over_sampled = make_along_rows(_sampled, sphere, act)
    over_averaged = make_along_rows(averaged, sphere, act)

    @device
    def over(flat, layout, support, axes, factor, first, count, centre, table, state):
        limit = limit_of(support, axes, factor)
        if support.integrate:
            return over_averaged(
                flat, layout, support, axes, factor, limit, first, count, centre, table, state
            )
        return over_sampled(
            flat, layout, support, axes, factor, limit, first, count, centre, table, state
        )

    return over
