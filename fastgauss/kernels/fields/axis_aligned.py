"""Particles that are products of one profile an axis: paint, project, differentiate.

With the tables f, f', f'' of an axis (``profiles``: value, derivative to the centre, derivative to
sigma) a particle of amplitude a is a fz(i) fy(j) fx(k) on its support. Three tables of one
axis, a few exponentials, serve all nodes of the support; a register holds nodes along the
contiguous axis.

    paint     grid <- combine(grid, a fz fy fx); in ``painting.py``
    project   sum v fz fy fx, and the same with one factor replaced by its derivative
    tangent   grid += the derivative of a particle along a direction in its parameters

The box support is the product of the windows. The sphere is the nodes among them whose
squared distance in sigmas, the sum of the axes' tables of squares, is within a limit.

A node may have several numbers, its channels, and a particle an amplitude for each. Tables serve
all channels; the derivatives in ``project`` are those of the channels' sum by amplitudes.

The order of sums in ``project`` depends on nodes alone, not on where the array lies in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._compile import device
from ..models.axis_tables import make_fill
from ..numeric.packed_cholesky import packed_symmetric
from ..simd.lane_types import REGISTER_BITS, WIDTH
from ..simd.lanes import broadcast, load, maximum
from ..simd.masked import lane_count, lanes_within, load_some, store_some, total
from .windows import address

SUMS = 7  # value; derivatives to the centre z, y, x; to the sigmas z, y, x
SLOTS = 4  # tables of an axis: value, two derivatives, squared distance
BLOCK_AT = 16  # in a thread's scratch: first sums, then products of columns, then tables
TABLES_AT = BLOCK_AT + 64  # those of z, then those of y
ROOM = 5 * REGISTER_BITS // 32  # of a table beside its nodes, for registers that reach over


class Support(NamedTuple):
    """What a particle covers and how a node sees it, and the scratch of one thread.

    Scratch is two flat arrays: ``table`` of float64, 80 + 2 SLOTS stride long and
    ``channel_room`` more, and ``row`` in the grid's dtype, SLOTS stride long, for the contiguous
    axis.
    """

    radius: float  # in sigmas
    integrate: bool  # a node is the mean over its pixel
    stride: int  # length of a table


@device
def weights_at(support):
    """Where in ``table`` the channels' amplitudes begin; their sums follow, then their lanes."""
    return TABLES_AT + 2 * SLOTS * support.stride


def channel_room(channels: int) -> int:
    """Length of what ``weights_at`` begins."""
    return channels * (2 + WIDTH)


@device
def add(old, new):
    return old + new


@device
def larger(old, new):
    return maximum(new, old)


@device
def either(old, new):
    """1 - (1 - old) (1 - new) without cancellation."""
    return old + new * (1.0 - old)


COMBINE = {"sum": add, "max": larger, "union": either}


@device
def shape_of(widths, q):
    """The sigmas of particle q along three axes; an axis the grid lacks has one node, at 0."""
    at = q if widths.shape[0] > 1 else 0
    axes = widths.shape[1]
    z = widths[at, 0] if axes == 3 else 1.0
    y = widths[at, axes - 2] if axes >= 2 else 1.0
    return z, y, widths[at, axes - 1]


@device
def half_widths(support, axes, sigma):
    """Half width of the window along each of three axes."""
    pad = 0.5 if support.integrate else 0.0
    z = support.radius * sigma[0] + pad if axes == 3 else 0.0
    y = support.radius * sigma[1] + pad if axes >= 2 else 0.0
    return z, y, support.radius * sigma[2] + pad


@device
def squared_radius(support, axes, sigma):
    """Squared radius of the sphere, in sigmas.

    A mean over a pixel reaches further than its node by half a diagonal, which is at most
    sqrt(d sum 1 / sigma**2) / 2.
    """
    if not support.integrate:
        return support.radius * support.radius
    curve = 1.0 / (sigma[2] * sigma[2])
    if axes >= 2:
        curve += 1.0 / (sigma[1] * sigma[1])
    if axes == 3:
        curve += 1.0 / (sigma[0] * sigma[0])
    return (support.radius + 0.5 * np.sqrt(axes * curve)) ** 2


def make_tables(columns: int, sphere: bool) -> Callable:
    """All tables of a particle; the contiguous axis begins at ``start`` instead of its window.

    They tell the squared radius of the sphere.
    """
    fill = make_fill(columns, sphere)

    @device
    def tables(support, axes, sigma, first, count, centre, start, table, row):
        stride = support.stride
        mean, single = support.integrate, lane_count(row) > WIDTH
        z, y = TABLES_AT, TABLES_AT + SLOTS * stride
        width = first[2] + count[2] - start
        fill(row, 0, stride, start, width, centre[2], sigma[2], mean, single)
        fill(table, z, stride, first[0], count[0], centre[0], sigma[0], mean and axes == 3, single)
        fill(table, y, stride, first[1], count[1], centre[1], sigma[1], mean and axes >= 2, single)
        return squared_radius(support, axes, sigma)

    return tables


@device
def places(support):
    """Length of a table, where those of y begin in ``table``, and the squares in ``row``."""
    return support.stride, TABLES_AT + SLOTS * support.stride, 3 * support.stride


@device
def aligned_start(flat, layout, first, count):
    """Where along the contiguous axis to begin so that registers match lines of the cache.

    Or half lines, for float32, if lines take one register more; then fewer rows cross a line. The
    first node itself where memory allows no match or half lines take one more, too.
    """
    width = lane_count(flat)
    if layout.phase < 0:
        return first
    for match in (width, WIDTH):
        start = first - ((first + layout.phase) & (match - 1))
        if width == WIDTH or (first + count - 1 - start) // width <= (count - 1) // width:
            return start
    return first


@device
def item(table, i):
    """table[i] for an i that is not negative, which costs no look at its sign."""
    return table[np.uint64(i)]


@device
def remaining(sphere, limit, table, stride, z, y):
    """What a row leaves of the squared radius of the sphere."""
    if sphere:
        of_y = TABLES_AT + SLOTS * stride
        return limit - item(table, TABLES_AT + 3 * stride + z) - item(table, of_y + 3 * stride + y)
    return limit


@device
def inside(sphere, mask, row, squares, left):
    """The lanes of a row that count."""
    if sphere:
        return mask & (load(row, squares) <= left)
    return mask


def make_project(derivatives: bool, sphere: bool) -> Callable:
    """The building block that adds to ``table`` the sums of particle times grid.

    The value's goes to its channel's place, the derivatives' to the first of ``table``, from 1 to
    ``SUMS``. ``row`` is float32 for a grid of float32, else float64.
    """
    tables = make_tables(3 if derivatives else 1, sphere)

    @device
    def project(flat, layout, support, axes, sigma, first, count, centre, table, row):
        kind = row.dtype.type
        zero = kind(0.0)
        width = lane_count(row)
        stride, of_y, squares = places(support)
        limit = tables(support, axes, sigma, first, count, centre, first[2], table, row)
        across = layout.strides[1]
        for c in range(layout.channels):
            base = address(layout, first[0], first[1], first[2]) + c * layout.plane
            own = weights_at(support) + c
            amplitude = table[own]
            for k in range(0, count[2], width):
                mask = lanes_within(zero, 0, count[2] - k)
                none = broadcast(zero)
                plain, by_z, by_y, wide_z, wide_y = none, none, none, none, none
                for z in range(count[0]):
                    f, slope, growth = none, none, none
                    at = base + z * layout.strides[0] + k
                    for y in range(count[1]):
                        left = kind(remaining(sphere, limit, table, stride, z, y))
                        within = inside(sphere, mask, row, squares + k, left)
                        value = load_some(flat, at, within)
                        f = f + value * kind(item(table, of_y + y))
                        if derivatives:
                            slope = slope + value * kind(item(table, of_y + stride + y))
                            growth = growth + value * kind(item(table, of_y + 2 * stride + y))
                        at += across
                    outer = kind(item(table, TABLES_AT + z))
                    plain = plain + f * outer
                    if derivatives:
                        by_y = by_y + slope * outer
                        wide_y = wide_y + growth * outer
                        by_z = by_z + f * kind(item(table, TABLES_AT + stride + z))
                        wide_z = wide_z + f * kind(item(table, TABLES_AT + 2 * stride + z))
                e = load(row, k)
                table[own + layout.channels] += total(plain * e)
                if derivatives:
                    table[1] += amplitude * total(by_z * e)
                    table[2] += amplitude * total(by_y * e)
                    table[3] += amplitude * total(plain * load(row, stride + k))
                    table[4] += amplitude * total(wide_z * e)
                    table[5] += amplitude * total(wide_y * e)
                    table[6] += amplitude * total(plain * load(row, 2 * stride + k))

    return project


def make_tangent(sphere: bool) -> Callable:
    """The building block that adds to the grid what ``make_project`` is the adjoint of.

    The first ``SUMS`` of ``table`` are the coefficients of the value and its derivatives.
    """
    tables = make_tables(3, sphere)

    @device
    def tangent(flat, layout, support, axes, sigma, first, count, centre, table, row):
        kind = flat.dtype.type
        zero = kind(0.0)
        width = lane_count(flat)
        stride, of_y, squares = places(support)
        start = aligned_start(flat, layout, first[2], count[2])
        limit = tables(support, axes, sigma, first, count, centre, start, table, row)
        end = first[2] + count[2] - start
        across = layout.strides[1]
        base = address(layout, first[0], first[1], start)
        for k in range(0, end, width):
            mask = lanes_within(zero, first[2] - start - k, end - k)
            e = load(row, k)
            moved = load(row, stride + k) * kind(table[3]) + e * kind(table[0])
            moved = load(row, 2 * stride + k) * kind(table[6]) + moved
            for z in range(count[0]):
                f = item(table, TABLES_AT + z)
                slope = (
                    item(table, TABLES_AT + stride + z) * table[1]
                    + item(table, TABLES_AT + 2 * stride + z) * table[4]
                )
                at = base + z * layout.strides[0] + k
                for y in range(count[1]):
                    f_y = item(table, of_y + y)
                    by_y = item(table, of_y + stride + y) * table[2]
                    by_y += item(table, of_y + 2 * stride + y) * table[5]
                    left = kind(remaining(sphere, limit, table, stride, z, y))
                    within = inside(sphere, mask, row, squares + k, left)
                    value = load_some(flat, at, within) + moved * kind(f * f_y)
                    value = value + e * kind(slope * f_y + f * by_y)
                    store_some(flat, at, value, within)
                    at += across

    return tangent


def make_blocks(sphere: bool) -> Callable:
    """The building block that adds to ``table`` the products of the ``SUMS`` columns, packed.

    Those over the box, also under a sphere: they are for scaling.
    """
    tables = make_tables(3, False)

    @device
    def sums(target, at, stride, count, mean):
        """Sums over an axis of the packed products of value, slope and growth."""
        ff, fs, ss, fg, sg, gg = mean, mean, mean, mean, mean, mean
        for i in range(at, at + count):
            f, s, g = float(target[i]), float(target[i + stride]), float(target[i + 2 * stride])
            ff += f * f
            fs += s * f
            ss += s * s
            fg += g * f
            sg += g * s
            gg += g * g
        return ff, fs, ss, fg, sg, gg

    @device
    def blocks(flat, layout, support, axes, sigma, first, count, centre, table, row):
        stride = support.stride
        tables(support, axes, sigma, first, count, centre, first[2], table, row)
        z = sums(table, TABLES_AT, stride, count[0], 0.0)
        y = sums(table, TABLES_AT + SLOTS * stride, stride, count[1], 0.0)
        x = sums(row, 0, stride, count[2], 0.0)
        at = 0
        for i in range(SUMS):
            for j in range(i + 1):
                product = _entry(z, i, j, 0) * _entry(y, i, j, 1) * _entry(x, i, j, 2)
                table[BLOCK_AT + at] += product
                at += 1

    return blocks


@device
def _entry(sums, i, j, axis):
    """One axis' factor of the product of columns i and j (value; slope and growth of each axis)."""
    a = (1 if i == 1 + axis else 0) + (2 if i == 4 + axis else 0)
    b = (1 if j == 1 + axis else 0) + (2 if j == 4 + axis else 0)
    return sums[packed_symmetric(a, b)]


def make_collect(sphere: bool) -> Callable:
    """The building block that lists a particle's nodes and values; ``flat`` is the lists.

    ``table[0]`` counts what is listed. Nodes outside the sphere are listed with 0.
    """
    tables = make_tables(1, sphere)

    @device
    def collect(flat, layout, support, axes, sigma, first, count, centre, table, row):
        nodes, values = flat
        stride, of_y, squares = places(support)
        end = int(table[0])
        limit = tables(support, axes, sigma, first, count, centre, first[2], table, row)
        for z in range(count[0]):
            for y in range(count[1]):
                outer = table[TABLES_AT + z] * table[of_y + y]
                left = remaining(sphere, limit, table, stride, z, y)
                at = address(layout, first[0] + z, first[1] + y, first[2])
                for x in range(count[2]):
                    nodes[end] = at + x
                    within = not sphere or row[squares + x] <= left
                    values[end] = outer * row[x] if within else 0.0
                    end += 1
        table[0] = end

    return collect
