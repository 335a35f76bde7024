"""Painting: a particle that is a product of one profile an axis, combined with the nodes of a grid.

Two ways, which give the same bits. By masked registers that begin at lines of the cache: with
registers of 512 bits, in the sphere, and where a row of the box is shorter than a register. And by
whole registers, the last of which begins inside the one before: with registers of 256 bits, whose
masked stores take some ten cycles on AMD's processors.
"""

from __future__ import annotations

from collections.abc import Callable

from .._compile import device
from ..simd.lane_types import REGISTER_BITS, WIDTH
from ..simd.lanes import load, store
from ..simd.masked import lane_count, lanes_within, load_some, store_rounded, store_some
from .axis_aligned import (
    TABLES_AT,
    aligned_start,
    inside,
    item,
    make_tables,
    places,
    remaining,
    weights_at,
)
from .windows import address


def make_paint(combine: Callable, sphere: bool) -> Callable:
    """The building block that combines a particle with the grid, row by row."""
    tables = make_tables(1, sphere)
    paint_some, paint_whole = _make_some(combine, sphere), _make_whole(combine)
    wide = REGISTER_BITS < 512 and not sphere

    @device
    def paint(flat, layout, support, axes, sigma, first, count, centre, table, row):
        whole = wide and count[2] >= lane_count(flat)
        start = first[2] if whole else aligned_start(flat, layout, first[2], count[2])
        limit = tables(support, axes, sigma, first, count, centre, start, table, row)
        own = first[2] - start, first[2] + count[2] - start
        stride, of_y, _ = places(support)
        for k in range(0, count[1], WIDTH):  # in the grid's dtype, in place of derivatives along x
            store_rounded(row, stride + k, load(table, of_y + k))
        for c in range(layout.channels):
            amplitude = table[weights_at(support) + c]
            base = address(layout, first[0], first[1], start) + c * layout.plane
            box = base, count[0], count[1], own
            if whole:
                paint_whole(flat, layout, support, box, amplitude, table, row)
            else:
                paint_some(flat, layout, support, box, amplitude, limit, table, row)

    return paint


def _make_some(combine: Callable, sphere: bool) -> Callable:
    """A channel by masked registers, two a turn: half the work for weights."""

    @device
    def update(flat, at, e, weight, mask):
        store_some(flat, at, combine(load_some(flat, at, mask), e * weight), mask)

    @device
    def paint_some(flat, layout, support, box, amplitude, limit, table, row):
        base, count_z, count_y, (begin, end) = box
        kind = flat.dtype.type
        zero = kind(0.0)
        width = lane_count(flat)
        stride, _, squares = places(support)
        for k in range(0, end, 2 * width):
            e, e_next = load(row, k), load(row, k + width)
            mask = lanes_within(zero, begin - k, end - k)
            mask_next = lanes_within(zero, 0, end - k - width)
            two = end - k > width
            for z in range(count_z):
                weight_z = kind(amplitude * item(table, TABLES_AT + z))
                part, part_next = e * weight_z, e_next * weight_z
                at = base + z * layout.strides[0] + k
                for y in range(count_y):
                    weight = item(row, stride + y)
                    left = kind(remaining(sphere, limit, table, stride, z, y))
                    update(flat, at, part, weight, inside(sphere, mask, row, squares + k, left))
                    if two:
                        within = inside(sphere, mask_next, row, squares + k + width, left)
                        update(flat, at + width, part_next, weight, within)
                    at += layout.strides[1]

    return paint_some


def _make_whole(combine: Callable) -> Callable:
    """A channel by whole registers, up to three a turn, in rows of at least one register.

    The last register of a row ends where the row ends. Those of a turn are loaded before any is
    stored: nodes that two of them have get the same number twice. No two turns share a node. A
    blend would not do: the compiler makes a masked store of it.
    """

    @device
    def paint_whole(flat, layout, support, box, amplitude, table, row):
        base, count_z, count_y, (_, end) = box
        kind = flat.dtype.type
        width = lane_count(flat)
        stride = support.stride
        k = 0
        while k < end:
            rest = end - k
            short = 3 * width < rest < 4 * width  # a third register would leave less than one
            i, j = k, min(k + width, end - width)
            m = min(k + 2 * width, end - width)
            three = rest > 2 * width and not short
            e, e_next, e_last = load(row, i), load(row, j), load(row, m)
            for z in range(count_z):
                weight_z = kind(amplitude * item(table, TABLES_AT + z))
                part, part_next, part_last = e * weight_z, e_next * weight_z, e_last * weight_z
                at = base + z * layout.strides[0]
                for y in range(count_y):
                    weight = item(row, stride + y)
                    value = combine(load(flat, at + i), part * weight)
                    value_next = combine(load(flat, at + j), part_next * weight)
                    if three:
                        value_last = combine(load(flat, at + m), part_last * weight)
                        store(flat, at + m, value_last)
                    store(flat, at + i, value)
                    store(flat, at + j, value_next)
                    at += layout.strides[1]
            k += 2 * width if short else 3 * width

    return paint_whole
