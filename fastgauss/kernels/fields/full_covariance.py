"""Particles with a full covariance: paint, project, differentiate.

With the Cholesky factor L of the covariance (z, y, x) and u = L**-1 (node - centre),

    f = exp(-(u_z**2 + u_y**2 + u_x**2) / 2),   u_z = dz / L_zz,   u_y = (dy - L_yz u_z) / L_yy,
    u_x = (dx - L_xz u_z - L_xy u_y) / L_xx,

so that along a row f is a Gaussian in x whose centre moves with the row: nothing cancels however
long and turned the ellipsoid is. With m = sum v f u and M = sum v f u u' over a volume v,

    d/dcentre sum v f = L**-T m,    d/dcovariance sum v f = L**-T M L**-1 / 2.

The mean over a pixel is exact along x (``kernels/models/profiles.py``) and a sum over
Gauss-Legendre points along y and z, whose derivatives are those of the sum.

An axis that the grid lacks has one node at 0 and a variance of 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._compile import device
from ..models import profiles
from ..numeric.special import exp_flushed
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, select
from ..simd.masked import lanes_within, load_double, ramp, store_double, total
from .axis_aligned import BLOCK_AT
from .windows import address

SUMS = 10  # f; f u_z, f u_y, f u_x; f u_z u_z, zy, zx, yy, yx, xx


@device
def shape_of(widths, q):
    """The factor L of particle q: zz, yz, yy, xz, xy, xx."""
    at = q if widths.shape[0] > 1 else 0
    axes = widths.shape[1]
    x, y, z = axes - 1, axes - 2, axes - 3
    zz = np.sqrt(widths[at, z, z]) if axes == 3 else 1.0
    yz = widths[at, y, z] / zz if axes == 3 else 0.0
    yy = np.sqrt(widths[at, y, y] - yz * yz) if axes >= 2 else 1.0
    xz = widths[at, x, z] / zz if axes == 3 else 0.0
    xy = (widths[at, x, y] - yz * xz) / yy if axes >= 2 else 0.0
    return zz, yz, yy, xz, xy, np.sqrt(widths[at, x, x] - xz * xz - xy * xy)


@device
def half_widths(support, axes, factor):
    """Half width of the window along each of three axes: that of the ellipsoid's bounding box."""
    zz, yz, yy, xz, xy, xx = factor
    pad = 0.5 if support.integrate else 0.0
    z = support.radius * zz + pad if axes == 3 else 0.0
    y = support.radius * np.sqrt(yz * yz + yy * yy) + pad if axes >= 2 else 0.0
    return z, y, support.radius * np.sqrt(xz * xz + xy * xy + xx * xx) + pad


@device
def _limit(support, axes, factor):
    """Squared radius in sigmas of the ellipsoid that counts under a spherical support.

    A mean over a pixel reaches further than its node by half a diagonal, which is at most
    sqrt(d trace of the inverse covariance) / 2.
    """
    if not support.integrate:
        return support.radius * support.radius
    zz, yz, yy, xz, xy, xx = factor
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
def _outer(factor, dz, dy):
    """u_z, u_y and how far the row's middle is moved along x."""
    zz, yz, yy, xz, xy, _ = factor
    u_z = dz / zz
    u_y = (dy - yz * u_z) / yy
    return u_z, u_y, xz * u_z + xy * u_y


@device
def _values(integrate, axes, factor, dz, dy, dx):
    """The ``SUMS`` values at the nodes dz, dy and the lanes dx from the centre."""
    xx = factor[5]
    f = broadcast(0.0)
    fz, fy, fx, fzz, fzy, fzx, fyy, fyx, fxx = f, f, f, f, f, f, f, f, f
    points_z = profiles.POINTS if integrate and axes == 3 else 1
    points_y = profiles.POINTS if integrate and axes >= 2 else 1
    for i in range(points_z):
        to_z = profiles.NODES[i] if points_z > 1 else 0.0
        weight_z = profiles.WEIGHTS[i] if points_z > 1 else 1.0
        for j in range(points_y):
            to_y = profiles.NODES[j] if points_y > 1 else 0.0
            weight = weight_z * (profiles.WEIGHTS[j] if points_y > 1 else 1.0)
            u_z, u_y, shift = _outer(factor, dz + to_z, dy + to_y)
            across = u_z * u_z + u_y * u_y
            if integrate:
                g, slope, growth = profiles.integrated(dx, broadcast(shift), broadcast(xx))
                weight *= exp_flushed(across * -0.5)
                g = g * weight
                gx = slope * (weight * xx)
                gxx = growth * (weight * xx)
            else:
                u = (dx - shift) * (1.0 / xx)
                g = exp_flushed((u * u + across) * -0.5)
                gx = g * u
                gxx = gx * u
            f = f + g
            fz = fz + g * u_z
            fy = fy + g * u_y
            fx = fx + gx
            fzz = fzz + g * (u_z * u_z)
            fzy = fzy + g * (u_z * u_y)
            fzx = fzx + gx * u_z
            fyy = fyy + g * (u_y * u_y)
            fyx = fyx + gx * u_y
            fxx = fxx + gxx
    return f, fz, fy, fx, fzz, fzy, fzx, fyy, fyx, fxx


def _make_over(sphere: bool, act: Callable) -> Callable:
    """Visit a particle's window register by register.

    ``act`` gets where a register lies, how many of its lanes are in the window, which count,
    and the ``SUMS`` values there; what it returns is its state at the next.
    """

    @device
    def over(flat, layout, support, axes, factor, first, count, centre, amplitude, table, state):
        limit = _limit(support, axes, factor)
        for z in range(first[0], first[0] + count[0]):
            dz = float(z) - centre[0]
            for y in range(first[1], first[1] + count[1]):
                dy = float(y) - centre[1]
                at = address(layout, z, y, first[2])
                for k in range(0, count[2], WIDTH):
                    dx = ramp(float(first[2] + k)) - centre[2]
                    mask = lanes_within(0.0, 0, count[2] - k)
                    if sphere:
                        u_z, u_y, shift = _outer(factor, dz, dy)
                        u = (dx - shift) * (1.0 / factor[5])
                        mask = mask & (u * u + (u_z * u_z + u_y * u_y) <= limit)
                    columns = _values(support.integrate, axes, factor, dz, dy, dx)
                    state = act(flat, at + k, count[2] - k, mask, columns, amplitude, table, state)
        return state

    return over


def make_paint(combine: Callable, sphere: bool) -> Callable:
    """The building block that combines a particle with the grid."""

    @device
    def combine_with(flat, at, left, mask, columns, amplitude, table, state):
        old = load_double(flat, at, mask)
        store_double(flat, at, combine(old, columns[0] * amplitude), mask)
        return state

    over = _make_over(sphere, combine_with)

    @device
    def paint(flat, layout, support, axes, factor, first, count, centre, amplitude, table, row):
        over(flat, layout, support, axes, factor, first, count, centre, amplitude, table, 0)

    return paint


def make_collect(sphere: bool) -> Callable:
    """The building block that lists a particle's nodes and values; ``flat`` is the lists."""

    @device
    def append(flat, at, left, mask, columns, amplitude, table, end):
        nodes, values = flat
        part = min(WIDTH, left)
        inside = lanes_within(0.0, 0, part)
        store_double(values, end, select(mask, columns[0], 0.0), inside)
        for lane in range(part):
            nodes[end + lane] = at + lane
        return end + part

    over = _make_over(sphere, append)

    @device
    def collect(flat, layout, support, axes, factor, first, count, centre, amplitude, table, row):
        end = int(table[0])
        table[0] = over(
            flat, layout, support, axes, factor, first, count, centre, amplitude, table, end
        )

    return collect


def make_tangent(sphere: bool) -> Callable:
    """The building block that adds to the grid what ``make_project`` is the adjoint of.

    The first ``SUMS`` of ``table`` are the coefficients.
    """

    @device
    def add(flat, at, left, mask, columns, amplitude, table, state):
        value = load_double(flat, at, mask)
        for c in range(SUMS):
            value = value + columns[c] * table[c]
        store_double(flat, at, value, mask)
        return state

    over = _make_over(sphere, add)

    @device
    def tangent(flat, layout, support, axes, factor, first, count, centre, amplitude, table, row):
        over(flat, layout, support, axes, factor, first, count, centre, amplitude, table, 0)

    return tangent


def make_blocks(sphere: bool) -> Callable:
    """The building block that adds to ``table`` the products of the ``SUMS`` columns, packed."""

    @device
    def multiply(flat, at, left, mask, columns, amplitude, table, state):
        entry = BLOCK_AT
        for i in range(SUMS):
            for j in range(i + 1):
                table[entry] += total(select(mask, columns[i] * columns[j], 0.0))
                entry += 1
        return state

    over = _make_over(sphere, multiply)

    @device
    def blocks(flat, layout, support, axes, factor, first, count, centre, amplitude, table, row):
        over(flat, layout, support, axes, factor, first, count, centre, amplitude, table, 0)

    return blocks


def make_project(derivatives: bool, sphere: bool) -> Callable:
    """The building block that adds to the first of ``table`` the sums of particle times grid.

    That of f alone, or all ``SUMS``.
    """

    @device
    def sum_all(flat, at, left, mask, columns, amplitude, table, sums):
        value = load_double(flat, at, mask)
        s, sz, sy, sx, szz, szy, szx, syy, syx, sxx = sums
        f, fz, fy, fx, fzz, fzy, fzx, fyy, fyx, fxx = columns
        if not derivatives:
            return s + value * f, sz, sy, sx, szz, szy, szx, syy, syx, sxx
        return (
            s + value * f,
            sz + value * fz,
            sy + value * fy,
            sx + value * fx,
            szz + value * fzz,
            szy + value * fzy,
            szx + value * fzx,
            syy + value * fyy,
            syx + value * fyx,
            sxx + value * fxx,
        )

    over = _make_over(sphere, sum_all)

    @device
    def project(flat, layout, support, axes, factor, first, count, centre, amplitude, table, row):
        s = broadcast(0.0)
        sums = s, s, s, s, s, s, s, s, s, s
        sums = over(
            flat, layout, support, axes, factor, first, count, centre, amplitude, table, sums
        )
        for c in range(SUMS if derivatives else 1):
            table[c] += total(sums[c])

    return project
