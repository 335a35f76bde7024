"""Particles that are products of one profile an axis: paint, project, differentiate.

With the tables f, f', f'' of an axis (``profiles``: value, derivative to the centre, derivative to
sigma) a particle of amplitude a is a fz(i) fy(j) fx(k) on its support. Three tables of one
axis, a few exponentials, serve all nodes of the support; a register holds nodes along the
contiguous axis.

    paint     grid <- combine(grid, a fz fy fx)
    project   sum v fz fy fx, and the same with one factor replaced by its derivative
    tangent   grid += the derivative of a particle along a direction in its parameters

The box support is the product of the windows. The sphere is the nodes among them whose
squared distance in sigmas, the sum of the axes' tables of squares, is within a limit.

The order of sums in ``project`` depends on nodes alone, not on where the array lies in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import profiles
from ._compile import device
from .lanes import WIDTH, broadcast, load, maximum
from .masked import lane_count, lanes_within, load_some, ramp, store_rounded, store_some, total
from .special import exp_flushed

SUMS = 7  # value; derivatives to the centre z, y, x; to the sigmas z, y, x
SLOTS = 4  # tables of an axis: value, two derivatives, squared distance
_Z = 16  # in a thread's scratch: first the sums, then the tables of z and y


class Support(NamedTuple):
    """What a particle covers and how a node sees it, and the scratch of one thread.

    Scratch is two flat arrays: ``table`` of float64, 16 + 2 SLOTS stride long, and ``row`` in the
    grid's dtype, SLOTS stride long, for the contiguous axis.
    """

    radius: float  # in sigmas
    integrate: bool  # a node is the mean over its pixel
    stride: int  # length of a table


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
def _limit(support, axes, sigma):
    """Squared radius of the sphere, in sigmas.

    A mean over a pixel reaches half a diagonal further than its node.
    """
    if not support.integrate:
        return support.radius * support.radius
    curve = 1.0 / (sigma[2] * sigma[2])
    if axes >= 2:
        curve += 1.0 / (sigma[1] * sigma[1])
    if axes == 3:
        curve += 1.0 / (sigma[0] * sigma[0])
    return (support.radius + 0.5 * np.sqrt(axes * curve)) ** 2


def make_fill(columns: int, sphere: bool) -> Callable:
    """Tables of one axis: the first ``columns`` of value and derivatives, squares for a sphere."""

    @device
    def fill(target, at, stride, first, count, centre, sigma, integrate):
        inverse = 1.0 / sigma
        for k in range(0, count, WIDTH):
            x = ramp(float(first + k))
            u = (x - centre) * inverse
            if integrate:
                f, slope, growth = profiles.integrated(x, broadcast(centre), broadcast(sigma))
            else:
                f = exp_flushed(u * u * -0.5)
                slope = f * (u * inverse)
                growth = slope * u
            store_rounded(target, at + k, f)
            if columns > 1:
                store_rounded(target, at + stride + k, slope)
                store_rounded(target, at + 2 * stride + k, growth)
            if sphere:
                store_rounded(target, at + 3 * stride + k, u * u)

    return fill


def make_tables(columns: int, sphere: bool) -> Callable:
    """All tables of a particle; the contiguous axis begins at ``start`` instead of its window."""
    fill = make_fill(columns, sphere)

    @device
    def tables(support, axes, sigma, first, count, centre, start, table, row):
        stride = support.stride
        mean = support.integrate
        y = _Z + SLOTS * stride
        fill(table, _Z, stride, first[0], count[0], centre[0], sigma[0], mean and axes == 3)
        fill(table, y, stride, first[1], count[1], centre[1], sigma[1], mean and axes >= 2)
        width = first[2] + count[2] - start
        fill(row, 0, stride, start, width, centre[2], sigma[2], mean)

    return tables


@device
def aligned_start(flat, layout, first, count):
    """Where along the contiguous axis to begin so that registers match lines of the cache.

    The first node itself where memory allows no match or that would take one register more.
    """
    width = lane_count(flat)
    if layout.phase < 0:
        return first
    start = first - ((first + layout.phase) & (width - 1))
    more = (first + count - 1 - start) // width > (count - 1) // width
    return first if more and width > WIDTH else start


def make_paint(combine: Callable, sphere: bool) -> Callable:
    """The building block that combines a particle with the grid, row by row."""
    tables = make_tables(1, sphere)

    @device
    def update(flat, at, e, weight, mask, row, squares, room):
        if sphere:
            mask = mask & (load(row, squares) <= room)
        store_some(flat, at, combine(load_some(flat, at, mask), e * weight), mask)

    @device
    def paint(flat, layout, support, axes, sigma, first, count, centre, amplitude, table, row):
        kind = flat.dtype.type
        zero = kind(0.0)
        width = lane_count(flat)
        stride = support.stride
        of_y = _Z + SLOTS * stride
        start = aligned_start(flat, layout, first[2], count[2])
        tables(support, axes, sigma, first, count, centre, start, table, row)
        limit = _limit(support, axes, sigma)
        end = first[2] + count[2] - start
        across = layout.strides[1]
        base = first[0] * layout.strides[0] + first[1] * across + start * layout.strides[2]
        squares = 3 * stride
        for k in range(0, end, 2 * width):
            e = load(row, k)
            mask = lanes_within(zero, first[2] - start - k, end - k)
            two = end - k > width
            e_next = load(row, k + width)
            mask_next = lanes_within(zero, 0, end - k - width)
            for z in range(count[0]):
                weight_z = amplitude * table[_Z + z]
                at = base + z * layout.strides[0] + k
                for y in range(count[1]):
                    weight = broadcast(kind(weight_z * table[of_y + y]))
                    room = broadcast(zero)
                    if sphere:
                        left = limit - table[_Z + squares + z] - table[of_y + squares + y]
                        if left < 0.0:
                            at += across
                            continue
                        room = broadcast(kind(left))
                    update(flat, at, e, weight, mask, row, squares + k, room)
                    if two:
                        update(
                            flat,
                            at + width,
                            e_next,
                            weight,
                            mask_next,
                            row,
                            squares + k + width,
                            room,
                        )
                    at += across

    return paint


def make_project(derivatives: bool, sphere: bool) -> Callable:
    """The building block that adds to the first of ``table`` the sums of particle times grid.

    That of the value alone, or all ``SUMS``.
    """
    tables = make_tables(3 if derivatives else 1, sphere)

    @device
    def read(flat, at, mask, row, squares, room):
        if sphere:
            mask = mask & (load(row, squares) <= room)
        return load_some(flat, at, mask)

    @device
    def project(flat, layout, support, axes, sigma, first, count, centre, amplitude, table, row):
        kind = flat.dtype.type
        zero = kind(0.0)
        width = lane_count(flat)
        stride = support.stride
        of_y = _Z + SLOTS * stride
        squares = 3 * stride
        tables(support, axes, sigma, first, count, centre, first[2], table, row)
        limit = _limit(support, axes, sigma)
        across = layout.strides[1]
        base = first[0] * layout.strides[0] + first[1] * across + first[2] * layout.strides[2]
        for k in range(0, count[2], width):
            mask = lanes_within(zero, 0, count[2] - k)
            none = broadcast(zero)
            room, plain, by_z, by_y, wide_z, wide_y = none, none, none, none, none, none
            for z in range(count[0]):
                f, slope, growth = none, none, none
                at = base + z * layout.strides[0] + k
                for y in range(count[1]):
                    if sphere:
                        left = limit - table[_Z + squares + z] - table[of_y + squares + y]
                        room = broadcast(kind(left))
                    value = read(flat, at, mask, row, squares + k, room)
                    f = f + value * kind(table[of_y + y])
                    if derivatives:
                        slope = slope + value * kind(table[of_y + stride + y])
                        growth = growth + value * kind(table[of_y + 2 * stride + y])
                    at += across
                outer = kind(table[_Z + z])
                plain = plain + f * outer
                if derivatives:
                    by_y = by_y + slope * outer
                    wide_y = wide_y + growth * outer
                    by_z = by_z + f * kind(table[_Z + stride + z])
                    wide_z = wide_z + f * kind(table[_Z + 2 * stride + z])
            e = load(row, k)
            table[0] += total(plain * e)
            if derivatives:
                table[1] += total(by_z * e)
                table[2] += total(by_y * e)
                table[3] += total(plain * load(row, stride + k))
                table[4] += total(wide_z * e)
                table[5] += total(wide_y * e)
                table[6] += total(plain * load(row, 2 * stride + k))

    return project


def make_collect(sphere: bool) -> Callable:
    """The building block that lists a particle's nodes and values; ``flat`` is the lists.

    ``table[0]`` counts what is listed. Nodes outside the sphere are listed with 0.
    """
    tables = make_tables(1, sphere)

    @device
    def collect(flat, layout, support, axes, sigma, first, count, centre, amplitude, table, row):
        nodes, values = flat
        stride = support.stride
        of_y = _Z + SLOTS * stride
        squares = 3 * stride
        end = int(table[0])
        tables(support, axes, sigma, first, count, centre, first[2], table, row)
        limit = _limit(support, axes, sigma)
        for z in range(count[0]):
            for y in range(count[1]):
                outer = table[_Z + z] * table[of_y + y]
                left = limit
                if sphere:
                    left -= table[_Z + squares + z] + table[of_y + squares + y]
                at = (first[0] + z) * layout.strides[0] + (first[1] + y) * layout.strides[1]
                for x in range(count[2]):
                    nodes[end] = at + first[2] + x
                    inside = not sphere or row[squares + x] <= left
                    values[end] = outer * row[x] if inside else 0.0
                    end += 1
        table[0] = end

    return collect
