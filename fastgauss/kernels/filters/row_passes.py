"""Passes of a filter without transposition: strips along y become rows, which are filtered along x.

``plan``, ``scratch`` and the other tuples are those of ``kernels/filters/separable.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..simd.lanes import load, sqrt, square, store
from ..simd.masked import first_lanes, lane_count, store_some
from .ends import extend_row
from .lines import make_filter_line
from .rows import REGISTERS, row_even, row_odd


@device
def take_roots(block, count):
    """Square roots of the first registers, in place."""
    for k in range(count):
        store(block, k, sqrt(load(block, k)))


@cache
def make_row_passes(odd: bool) -> tuple[Callable, Callable]:
    """The passes along y and along x; ``odd`` says whether a profile may be antisymmetric."""
    filter_line = make_filter_line(odd)

    @device
    def along_y(profiles, plan, scratch, ny, x, count):
        """Filter strips along y and write the results as rows, for each term."""
        strips, rows, width = scratch.strips, scratch.rows, lane_count(scratch.strips)
        nz = plan.shape[0]
        for t in range(plan.terms):
            of_term = t * plan.planes if plan.deep else 0
            for z in range(nz):
                begin = (of_term + z) * plan.tile * plan.height
                row = (t * plan.planes + z) * plan.groups * width
                to = row * plan.length + plan.lead + plan.shift + x
                for v in range(count):
                    at = begin + v * plan.height
                    here = to + v * width
                    filter_line(strips, at, profiles, plan, t, 1, rows, here, plan.length, ny)

    @device
    def filter_row(profiles, plan, scratch, begin, term, out, to, count):
        """A part of a row of one term along x; ``begin`` is the place of the first result."""
        half = (term * 3 + 2) * plan.half
        radius = profiles.radii[term, 2]
        begin += term * plan.planes * plan.groups * lane_count(out) * plan.length
        if odd and profiles.odd[term, 2]:
            row_odd(scratch.rows, begin, profiles.taps, half, radius, out, to, count)
        else:
            row_even(scratch.rows, begin, profiles.taps, half, radius, out, to, count)

    @device
    def sum_row(profiles, plan, scratch, begin):
        """Sum over the terms of REGISTERS registers of results along x, in ``block``."""
        block, count = scratch.block, REGISTERS * lane_count(scratch.block)
        for t in range(plan.terms):
            first = REGISTERS if t > 0 else 0
            to = first * lane_count(block)
            filter_row(profiles, plan, scratch, begin, t, scratch.flat_block, to, count)
            for k in range(first, first + REGISTERS):
                value = load(block, k)
                if plan.squares:
                    value = square(value)
                if t > 0:
                    value = load(block, k - REGISTERS) + value
                store(block, k - first, value)
        if plan.squares:
            take_roots(block, REGISTERS)

    @device
    def along_x(profiles, plan, maps, scratch, out, z, y, ny):
        """Filter the rows y .. y + ny - 1 of a plane along x and write them."""
        width = lane_count(out)
        nx = plan.shape[2]
        step = REGISTERS * width
        plain = plan.terms == 1 and not plan.squares
        whole = nx - nx % step if plain else 0  # these results go straight to the volume
        each = plan.planes * plan.groups * width * plan.length
        for j in range(ny):
            begin = (z * plan.groups * width + j) * plan.length + plan.lead
            for t in range(plan.terms):
                extend_row(plan, maps, scratch.rows, begin + t * each)
            begin += plan.reach[2]
            to = z * plan.strides[0] + (y + j) * plan.strides[1]
            if whole > 0:
                filter_row(profiles, plan, scratch, begin, 0, out, to, whole)
            for x in range(whole, nx, step):
                sum_row(profiles, plan, scratch, begin + x)
                for k in range(min(REGISTERS, -(-(nx - x) // width))):
                    at = x + k * width
                    value = load(scratch.block, k)
                    if nx - at >= width:
                        store(out, to + at, value)
                    else:
                        store_some(out, to + at, value, first_lanes(out[0], nx - at))

    return along_y, along_x
