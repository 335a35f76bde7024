"""Particles with a full covariance: paint, project, differentiate.

With the Cholesky factor L of the covariance (z, y, x) and u = L**-1 (node - centre),

    f = exp(-(u_z**2 + u_y**2 + u_x**2) / 2),   u_z = dz / L_zz,   u_y = (dy - L_yz u_z) / L_yy,
    u_x = (dx - L_xz u_z - L_xy u_y) / L_xx,

so that along a row f is a Gaussian in x whose centre moves with the row: nothing cancels however
long and turned the ellipsoid is. With m = sum v f u and M = sum v f u u' over a volume v,

    d/dcentre sum v f = L**-T m,    d/dcovariance sum v f = L**-T M L**-1 / 2.

A value at a node costs two products (``kernels/fields/ellipsoid_columns.py``).

The mean over a pixel is exact along x (``kernels/models/profiles.py``) and a sum over
Gauss-Legendre points along y and z, whose derivatives are those of the sum.

An axis that the grid lacks has one node at 0 and a variance of 1.
"""

from __future__ import annotations

from collections.abc import Callable

from .._compile import device
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load, select, store
from ..simd.masked import (
    lanes_within,
    load_double,
    ramp,
    store_double,
    total,
)
from . import ellipsoid_columns
from .axis_aligned import BLOCK_AT, weights_at
from .ellipsoid_columns import HELD
from .ellipsoid_rows import (
    along,
    half_widths,
    inside,
    limit_of,
    make_over,
    outer_of,
    point_of,
    points_of,
    shape_of,  # noqa: F401  (every family has one)
)
from .windows import address

SUMS = 10  # f; f u_z, f u_y, f u_x; f u_z u_z, zy, zx, yy, yx, xx


@device
def _lanes_of(layout, support, channel):
    """Where in ``table`` the sums of a channel are that are not in registers."""
    return weights_at(support) + 2 * layout.channels + channel * WIDTH


def _make_multiply(derivatives: bool) -> Callable:
    """The numbers of a register's nodes times f, those of a channel added to its own sums.

    Of the channels that are ``HELD``. The second result, for derivatives, is the sum of these
    channels by their amplitudes.
    """

    @device
    def multiply(flat, layout, support, at, mask, f, table, plain):
        channels, weights = layout.channels, weights_at(support)
        a, b, c = plain
        value = load_double(flat, at, mask)
        a = a + value * f
        if derivatives:
            value = value * table[weights]
        if channels > 1:
            second = load_double(flat, at + layout.plane, mask)
            b = b + second * f
            if derivatives:
                value = value + second * table[weights + 1]
        if channels > 2:
            third = load_double(flat, at + 2 * layout.plane, mask)
            c = c + third * f
            if derivatives:
                value = value + third * table[weights + 2]
        return (a, b, c), value

    return multiply


def make_collect(sphere: bool) -> Callable:
    """The building block that lists a particle's nodes and values; ``flat`` is the lists."""

    @device
    def append(flat, layout, support, at, left, mask, columns, table, end):
        nodes, values = flat
        part = min(WIDTH, left)
        inside = lanes_within(0.0, 0, part)
        store_double(values, end, select(mask, columns[0], 0.0), inside)
        for lane in range(part):
            nodes[end + lane] = at + lane
        return end + part

    over = make_over(sphere, append)

    @device
    def collect(flat, layout, support, axes, factor, first, count, centre, table, row):
        end = int(table[0])
        table[0] = over(flat, layout, support, axes, factor, first, count, centre, table, end)

    return collect


def make_tangent(sphere: bool) -> Callable:
    """The building block that adds to the grid what ``make_project`` is the adjoint of.

    The first ``SUMS`` of ``table`` are the coefficients.
    """

    @device
    def add(flat, layout, support, at, left, mask, columns, table, state):
        value = load_double(flat, at, mask)
        for c in range(SUMS):
            value = value + columns[c] * table[c]
        store_double(flat, at, value, mask)
        return state

    over = make_over(sphere, add)

    @device
    def tangent(flat, layout, support, axes, factor, first, count, centre, table, row):
        over(flat, layout, support, axes, factor, first, count, centre, table, 0)

    return tangent


def make_blocks(sphere: bool) -> Callable:
    """The building block that adds to ``table`` the products of the ``SUMS`` columns, packed."""

    @device
    def multiply(flat, layout, support, at, left, mask, columns, table, state):
        entry = BLOCK_AT
        for i in range(SUMS):
            for j in range(i + 1):
                table[entry] += total(select(mask, columns[i] * columns[j], 0.0))
                entry += 1
        return state

    over = make_over(sphere, multiply)

    @device
    def blocks(flat, layout, support, axes, factor, first, count, centre, table, row):
        over(flat, layout, support, axes, factor, first, count, centre, table, 0)

    return blocks


def _make_sum_row(derivatives: bool, sphere: bool) -> Callable:
    """Sums over a row of the grid times f, f u_x and f u_x u_x at a point of its pixels.

    And those of each channel times f alone (``make_multiply``).
    """
    multiply = _make_multiply(derivatives)

    @device
    def sum_row(flat, layout, support, factor, where, far, point, plain, table):
        at, first, count, centre = where
        u_z, u_y, shift, weight = point
        limit, outer = far
        s = broadcast(0.0)
        sx, sxx = s, s
        for k in range(0, count, WIDTH):
            dx = ramp(float(first + k)) - centre
            mask = lanes_within(0.0, 0, count - k)
            if sphere:
                mask = mask & inside(factor, outer, dx, limit)
            f, fx, fxx = along(True, factor, u_z, u_y, shift, weight, dx)
            plain, value = multiply(flat, layout, support, at + k, mask, f, table, plain)
            for c in range(HELD, layout.channels):
                more, lanes = (
                    load_double(flat, at + k + c * layout.plane, mask),
                    _lanes_of(layout, support, c),
                )
                store(table, lanes, load(table, lanes) + more * f)
                if derivatives:
                    value = value + more * table[weights_at(support) + c]
            if derivatives:
                s = s + value * f
                sx = sx + value * fx
                sxx = sxx + value * fxx
        return plain, (s, sx, sxx)

    return sum_row


@device
def _add_row(sums, row, u_y):
    """Sums of f, f u_y, f u_y u_y, f u_x, f u_x u_y and f u_x u_x with those of a row."""
    f, fy, fyy, fx, fyx, fxx = sums
    s, sx, sxx = row
    s_y = s * u_y
    return f + s, fy + s_y, fyy + s_y * u_y, fx + sx, fyx + sx * u_y, fxx + sxx


@device
def _add_layer(sums, layer, u_z):
    """The ``SUMS`` with those of a layer of rows."""
    f, fy, fyy, fx, fyx, fxx = layer
    fz = f * u_z
    return (
        sums[0] + f, sums[1] + fz, sums[2] + fy, sums[3] + fx, sums[4] + fz * u_z,
        sums[5] + fy * u_z, sums[6] + fx * u_z, sums[7] + fyy, sums[8] + fyx, sums[9] + fxx,
    )  # fmt: skip


def _make_averaged_sums(derivatives: bool, sphere: bool) -> Callable:
    """What ``make_project`` sums, of means over pixels: of channels, and of moments."""
    sum_row = _make_sum_row(derivatives, sphere)

    @device
    def averaged_sums(flat, layout, support, axes, factor, limit, first, count, centre, table):
        zero = broadcast(0.0)
        plain = zero, zero, zero
        sums = zero, zero, zero, zero, zero, zero, zero, zero, zero, zero
        none = zero, zero, zero, zero, zero, zero
        points_z, points_y = points_of(axes)
        for z in range(first[0], first[0] + count[0]):
            dz = float(z) - centre[0]
            for i in range(points_z):
                to_z, weight_z = point_of(points_z, i)
                layer = none
                for y in range(first[1], first[1] + count[1]):
                    dy = float(y) - centre[1]
                    where = address(layout, z, y, first[2]), first[2], count[2], centre[2]
                    far = limit, outer_of(factor, dz, dy)
                    for j in range(points_y):
                        to_y, weight_y = point_of(points_y, j)
                        u_z, u_y, shift = outer_of(factor, dz + to_z, dy + to_y)
                        point = u_z, u_y, shift, weight_z * weight_y
                        plain, part = sum_row(
                            flat, layout, support, factor, where, far, point, plain, table
                        )
                        layer = _add_row(layer, part, u_y)
                if derivatives:
                    sums = _add_layer(sums, layer, (dz + to_z) * factor[6])
        return plain, sums

    return averaged_sums


@device
def _turned_back(sums, factor):
    """Moments in the order (z, x, y), those of y in the place of y, as moments in L's u."""
    c, s = factor[12], factor[13]
    f, z, y, x, zz, zy, zx, yy, yx, xx = sums
    return (
        f, z, y * c + x * s, x * c - y * s, zz, zy * c + zx * s, zx * c - zy * s,
        yy * (c * c) + yx * (2.0 * c * s) + xx * (s * s),
        yx * (c * c - s * s) + (xx - yy) * (c * s),
        xx * (c * c) - yx * (2.0 * c * s) + yy * (s * s),
    )  # fmt: skip


def _make_sampled_sums(derivatives: bool, sphere: bool, channels: int) -> Callable:
    """What ``make_project`` sums, of samples at nodes: of channels, and of moments.

    The moments of a single channel wait for their height until the end of a column.
    """
    single = channels == 1
    kept_at = ellipsoid_columns.make_kept(sphere)

    @device
    def add_node(flat, layout, support, at, own, mask, f, u_y, table, column):
        (a, b, c), s, sy, syy = column
        weights = weights_at(support)
        value = load_double(flat, at, mask)
        a = a + value * f
        if derivatives and not single:
            value = value * table[weights]
        if channels > 1:
            more = load_double(flat, at + layout.plane, mask)
            b = b + more * f
            if derivatives:
                value = value + more * table[weights + 1]
        if channels > 2:
            more = load_double(flat, at + 2 * layout.plane, mask)
            c = c + more * f
            if derivatives:
                value = value + more * table[weights + 2]
        if derivatives:
            value = value * f * u_y
            sy = sy + value
            syy = syy + value * u_y
        return (a, b, c), s, sy, syy

    @device
    def add_others(flat, layout, support, start, own, mask, run, table, column):
        kept, nodes, step, u_y, per_yy = run
        plain, s, sy, syy = column
        none = broadcast(0.0)
        for c in range(HELD, layout.channels):
            at, lanes = start + c * layout.plane, _lanes_of(layout, support, c)
            f_sum, fy, fyy, u = none, none, none, u_y
            for i in range(nodes):
                f, within = kept_at(kept, i, mask)
                value = load_double(flat, at + i * step, within) * f
                f_sum = f_sum + value
                if derivatives:
                    value = value * u
                    fy = fy + value
                    fyy = fyy + value * u
                    u = u + per_yy
            store(table, lanes, load(table, lanes) + f_sum)
            if derivatives:
                weight = table[weights_at(support) + c]
                s, sy, syy = s + f_sum * weight, sy + fy * weight, syy + fyy * weight
        return plain, s, sy, syy

    @device
    def fold(state, column, u_z, u_x):
        plain, heights, sums = state
        (a, b, c), s, sy, syy = column
        if derivatives:
            s = s + (a * heights[0] + b * heights[1] + c * heights[2])
            if single:
                sy, syy = sy * heights[0], syy * heights[0]
            sx = s * u_x
            sums = _add_layer(sums, (s, sy, syy, sx, sy * u_x, sx * u_x), u_z)
        return (plain[0] + a, plain[1] + b, plain[2] + c), heights, sums

    return ellipsoid_columns.make_over(sphere, channels, add_node, add_others, fold)


def make_project(derivatives: bool, sphere: bool, channels: int) -> Callable:
    """The building block that adds to ``table`` the sums of particle times grid.

    That of f goes to its channel's place, those of the moments, which are of the channels' sum by
    their amplitudes, to the first of ``table``, from 1 to ``SUMS``. ``channels`` is a variant
    (``ellipsoid_columns.VARIANTS``).
    """
    averaged_sums = _make_averaged_sums(derivatives, sphere)
    over_columns = _make_sampled_sums(derivatives, sphere, channels)

    @device
    def heights_of(table, at):
        second, third = 0.0, 0.0
        if channels > 1:
            second = table[at + 1]
        if channels > 2:
            third = table[at + 2]
        return table[at], second, third

    @device
    def project(flat, layout, support, axes, factor, first, count, centre, table, row):
        sums_at = weights_at(support) + layout.channels
        none = broadcast(0.0)
        for c in range(HELD, layout.channels):
            store(table, _lanes_of(layout, support, c), none)
        limit = limit_of(support, axes, factor)
        if support.integrate:
            plain, sums = averaged_sums(
                flat, layout, support, axes, factor, limit, first, count, centre, table
            )
        else:
            plain = none, none, none
            blank = plain, none, none, none
            sums = none, none, none, none, none, none, none, none, none, none
            reach, window = (half_widths(support, axes, factor)[1], limit), (first, count, centre)
            state = plain, heights_of(table, weights_at(support)), sums
            plain, _, sums = over_columns(
                flat, layout, support, factor, reach, window, table, blank, state
            )
            sums = _turned_back(sums, factor)
        for c in range(min(HELD, layout.channels)):
            table[sums_at + c] += total(plain[c])
        for c in range(HELD, layout.channels):
            table[sums_at + c] += total(load(table, _lanes_of(layout, support, c)))
        if derivatives:
            for m in range(1, SUMS):
                table[m] += total(sums[m])

    return project
