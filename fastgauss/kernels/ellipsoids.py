"""Particles with a full covariance: paint, project, differentiate.

With the Cholesky factor L of the covariance (z, y, x) and u = L**-1 (node - centre),

    f = exp(-(u_z**2 + u_y**2 + u_x**2) / 2),   u_z = dz / L_zz,   u_y = (dy - L_yz u_z) / L_yy,
    u_x = (dx - L_xz u_z - L_xy u_y) / L_xx,

so that along a row f is a Gaussian in x whose centre moves with the row: nothing cancels however
long and turned the ellipsoid is. With m = sum v f u and M = sum v f u u' over a volume v,

    d/dcentre sum v f = L**-T m,    d/dcovariance sum v f = L**-T M L**-1 / 2.

The mean over a pixel is exact along x (``profiles.integrated``) and a sum over Gauss-Legendre
points along y and z, whose derivatives are those of the sum.

An axis that the grid lacks has one node at 0 and a variance of 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import profiles
from ._compile import device
from .lanes import WIDTH, broadcast, select
from .masked import lanes_within, load_double, ramp, store_double, total
from .products import BLOCK_AT
from .special import exp_flushed

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


def make_mask(sphere: bool) -> Callable:
    """Which lanes of a row count: those of the window, and of the ellipsoid under a sphere."""

    @device
    def mask_of(factor, dz, dy, dx, left, limit):
        mask = lanes_within(0.0, 0, left)
        if sphere:
            u_z, u_y, shift = _outer(factor, dz, dy)
            u = (dx - shift) * (1.0 / factor[5])
            mask = mask & (u * u + (u_z * u_z + u_y * u_y) <= limit)
        return mask

    return mask_of


def make_paint(combine: Callable, sphere: bool) -> Callable:
    """The building block that combines a particle with the grid."""
    mask_of = make_mask(sphere)

    @device
    def paint(flat, layout, support, axes, factor, first, count, centre, amplitude, table, row):
        limit = _limit(support, axes, factor)
        for z in range(first[0], first[0] + count[0]):
            dz = float(z) - centre[0]
            for y in range(first[1], first[1] + count[1]):
                dy = float(y) - centre[1]
                at = z * layout.strides[0] + y * layout.strides[1] + first[2] * layout.strides[2]
                for k in range(0, count[2], WIDTH):
                    dx = ramp(float(first[2] + k)) - centre[2]
                    mask = mask_of(factor, dz, dy, dx, count[2] - k, limit)
                    f = _values(support.integrate, axes, factor, dz, dy, dx)[0]
                    old = load_double(flat, at + k, mask)
                    store_double(flat, at + k, combine(old, f * amplitude), mask)

    return paint


def make_collect(sphere: bool) -> Callable:
    """The building block that lists a particle's nodes and values; ``flat`` is the lists."""
    mask_of = make_mask(sphere)

    @device
    def collect(flat, layout, support, axes, factor, first, count, centre, amplitude, table, row):
        nodes, values = flat
        limit = _limit(support, axes, factor)
        end = int(table[0])
        for z in range(first[0], first[0] + count[0]):
            dz = float(z) - centre[0]
            for y in range(first[1], first[1] + count[1]):
                dy = float(y) - centre[1]
                at = z * layout.strides[0] + y * layout.strides[1] + first[2] * layout.strides[2]
                for k in range(0, count[2], WIDTH):
                    dx = ramp(float(first[2] + k)) - centre[2]
                    mask = mask_of(factor, dz, dy, dx, count[2] - k, limit)
                    f = _values(support.integrate, axes, factor, dz, dy, dx)[0]
                    part = min(WIDTH, count[2] - k)
                    store_double(values, end, select(mask, f, 0.0), lanes_within(0.0, 0, part))
                    for lane in range(part):
                        nodes[end + lane] = at + k + lane
                    end += part
        table[0] = end

    return collect


def make_tangent(sphere: bool) -> Callable:
    """The building block that adds to the grid what ``make_project`` is the adjoint of.

    The first ``SUMS`` of ``table`` are the coefficients.
    """
    mask_of = make_mask(sphere)

    @device
    def tangent(flat, layout, support, axes, factor, first, count, centre, amplitude, table, row):
        limit = _limit(support, axes, factor)
        for z in range(first[0], first[0] + count[0]):
            dz = float(z) - centre[0]
            for y in range(first[1], first[1] + count[1]):
                dy = float(y) - centre[1]
                at = z * layout.strides[0] + y * layout.strides[1] + first[2] * layout.strides[2]
                for k in range(0, count[2], WIDTH):
                    dx = ramp(float(first[2] + k)) - centre[2]
                    mask = mask_of(factor, dz, dy, dx, count[2] - k, limit)
                    columns = _values(support.integrate, axes, factor, dz, dy, dx)
                    value = load_double(flat, at + k, mask)
                    for c in range(SUMS):
                        value = value + columns[c] * table[c]
                    store_double(flat, at + k, value, mask)

    return tangent


def make_blocks(sphere: bool) -> Callable:
    """The building block that adds to ``table`` the products of the ``SUMS`` columns, packed."""
    mask_of = make_mask(sphere)

    @device
    def blocks(flat, layout, support, axes, factor, first, count, centre, amplitude, table, row):
        limit = _limit(support, axes, factor)
        for z in range(first[0], first[0] + count[0]):
            dz = float(z) - centre[0]
            for y in range(first[1], first[1] + count[1]):
                dy = float(y) - centre[1]
                for k in range(0, count[2], WIDTH):
                    dx = ramp(float(first[2] + k)) - centre[2]
                    mask = mask_of(factor, dz, dy, dx, count[2] - k, limit)
                    columns = _values(support.integrate, axes, factor, dz, dy, dx)
                    at = BLOCK_AT
                    for i in range(SUMS):
                        for j in range(i + 1):
                            product = select(mask, columns[i] * columns[j], 0.0)
                            table[at] += total(product)
                            at += 1

    return blocks


def make_project(derivatives: bool, sphere: bool) -> Callable:
    """The building block that adds to the first of ``table`` the sums of particle times grid.

    That of f alone, or all ``SUMS``.
    """
    mask_of = make_mask(sphere)

    @device
    def project(flat, layout, support, axes, factor, first, count, centre, amplitude, table, row):
        limit = _limit(support, axes, factor)
        s = broadcast(0.0)
        sz, sy, sx, szz, szy, szx, syy, syx, sxx = s, s, s, s, s, s, s, s, s
        for z in range(first[0], first[0] + count[0]):
            dz = float(z) - centre[0]
            for y in range(first[1], first[1] + count[1]):
                dy = float(y) - centre[1]
                at = z * layout.strides[0] + y * layout.strides[1] + first[2] * layout.strides[2]
                for k in range(0, count[2], WIDTH):
                    dx = ramp(float(first[2] + k)) - centre[2]
                    mask = mask_of(factor, dz, dy, dx, count[2] - k, limit)
                    f, fz, fy, fx, fzz, fzy, fzx, fyy, fyx, fxx = _values(
                        support.integrate, axes, factor, dz, dy, dx
                    )
                    value = load_double(flat, at + k, mask)
                    s = s + value * f
                    if not derivatives:
                        continue
                    sz = sz + value * fz
                    sy = sy + value * fy
                    sx = sx + value * fx
                    szz = szz + value * fzz
                    szy = szy + value * fzy
                    szx = szx + value * fzx
                    syy = syy + value * fyy
                    syx = syx + value * fyx
                    sxx = sxx + value * fxx
        table[0] += total(s)
        if not derivatives:
            return
        table[1] += total(sz)
        table[2] += total(sy)
        table[3] += total(sx)
        table[4] += total(szz)
        table[5] += total(szy)
        table[6] += total(szx)
        table[7] += total(syy)
        table[8] += total(syx)
        table[9] += total(sxx)

    return project
