"""Sums of separable filters over volumes of float32 or float64.

A filter is a sum of *terms*, each a product of one symmetric or antisymmetric profile per axis:

    out[z, y, x] = sum_t sum_ijk f_t0(i) f_t1(j) f_t2(k) source[z + i, y + j, x + k]

Smoothing has one term; a Laplacian of Gaussian in d dimensions has d terms. A profile of
radius r is given by its half f(0) .. f(r), and f(-k) = +-f(k). Each axis has a map that says
which element lies at the places ``-reach .. n + reach - 1``; a negative entry means a constant.

Axes are filtered along a line of *registers* (``lines.py``), each WIDTH lines of the volume side by
side. Along z and y a register holds neighbours on the contiguous axis. Along x there are two ways,
which give the same bits: with a small radius, rows are filtered as they lie (``rows.py``); with a
larger one, blocks of WIDTH x WIDTH elements are transposed. The kernel filters a *unit*, some
planes of many rows; a few groups of WIDTH rows at a time go through all axes while they stay in
cache:

    source --gather, z--> strips (a column of registers each) --y--> rows --x, sum of terms--> out
    source --gather, z--> strips --y, transpose--> lines (WIDTH rows each)
        --x, sum of terms, transpose--> out

``correlate`` filters any unit. ``correlate_planes`` compiles in half of the time, and filters units
without a filter along z, whose profiles are symmetric and have a small radius along x.

The tails of a profile are summed first, one pair of elements at a time. Every element is computed
by the same instructions, so that its bits depend neither on the units nor on its place in a
register.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._compile import device, kernel
from ..simd.lanes import broadcast, load, square, store
from ..simd.masked import first_lanes, lane_count, load_some, store_some
from ..simd.transpose import transpose
from .ends import extend_line
from .lines import make_filter_line
from .row_passes import make_row_passes, take_roots


class Plan(NamedTuple):
    """Sizes: of a unit of the result, of the source, of the filter, and of scratch memory.

    A line or row along x has ``shape[2] + 2 * reach[2]`` places; a row of the source begins at the
    place ``shift``, and the map says which elements fill the ends.

    Scratch holds rows of WIDTH lanes in the volume's dtype: ``depths`` of tile * depth,
    ``strips`` of (terms if deep else 1) * planes * tile * height, ``lines`` of terms * planes *
    groups * length, ``block`` of 2 * WIDTH.
    """

    shape: tuple[int, int, int]  # of the unit
    strides: tuple[int, int]  # distances of planes and of rows of the result, in elements
    source: tuple[int, int]  # rows of a plane and elements of a row of the source
    shift: int
    reach: tuple[int, int, int]  # the largest radius of an axis
    terms: int
    half: int  # elements of half a profile
    deep: bool  # whether the first axis is filtered
    squares: bool  # write the root of the sum of the squares of the terms instead of their sum
    planes: int  # of the largest unit
    groups: int  # of WIDTH rows that go through all axes together
    tile: int  # registers along x that go through z and y together
    depth: int  # registers of a line along z
    height: int  # of a strip
    length: int  # of a line along x
    direct: bool  # whether rows are filtered along x as they lie, by loads of shifted registers
    lead: int  # elements before the first place of such a row, which align its results


class Profiles(NamedTuple):
    """The profiles of all terms."""

    taps: np.ndarray  # (terms * 3 * half, WIDTH): halves of them, first those of a term; in lanes
    radii: np.ndarray  # (terms, 3) int64: of each profile
    odd: np.ndarray  # (terms, 3) bool: whether it is antisymmetric


class Maps(NamedTuple):
    """Which elements of the source lie at the places of a unit."""

    z: np.ndarray  # int64, from ``-reach`` of the unit's first element on
    y: np.ndarray
    x: np.ndarray
    fill: float  # the constant that negative entries mean


class Scratch(NamedTuple):
    """Rows of WIDTH lanes for one thread, see `Plan`."""

    depths: np.ndarray
    strips: np.ndarray
    lines: np.ndarray
    block: np.ndarray
    rows: np.ndarray  # ``lines`` with one axis
    flat_block: np.ndarray  # ``block`` with one axis


_filter = make_filter_line(odd=True)
_filter_y_to_rows, _finish_rows = make_row_passes(odd=True)


@device
def _copy_row(flat, at, fill, plan, x, count, out, to, stride):
    """Spread a row of the source, or the constant if ``at`` is negative, over strips."""
    width = lane_count(flat)
    nx = plan.source[1]
    if at < 0:
        for v in range(count):
            store(out, to + v * stride, broadcast(fill))
        return
    whole = min(count, (nx - x) // width)
    for v in range(whole):
        store(out, to + v * stride, load(flat, at + x + v * width))
    if whole < count:
        last = x + whole * width
        mask = first_lanes(fill, nx - last)
        store(out, to + whole * stride, load_some(flat, at + last, mask))


@device
def _at(maps, z, y, plan):
    """Where a row of the source begins; negative for a row of constants."""
    from_plane, from_row = maps.z[z], maps.y[y]
    if from_plane < 0 or from_row < 0:
        return -1
    return (from_plane * plan.source[0] + from_row) * plan.source[1]


@device
def _gather_flat(flat, profiles, plan, maps, scratch, y, ny, x, count):
    """Fill the strips of rows y .. y + ny - 1 with the source as it is."""
    strips = scratch.strips
    for z in range(plan.shape[0]):
        to = z * plan.tile * plan.height
        for j in range(ny + 2 * plan.reach[1]):
            at = _at(maps, z, y + j, plan)
            _copy_row(flat, at, maps.fill, plan, x, count, strips, to + j, plan.height)


@device
def _gather_deep(flat, profiles, plan, maps, scratch, y, ny, x, count):
    """Fill the strips of rows y .. y + ny - 1, for each term, with rows filtered along z."""
    depths, strips, block = scratch.depths, scratch.strips, scratch.block
    flat_block, width = scratch.flat_block, lane_count(scratch.block)
    each = plan.tile * plan.height
    nz = plan.shape[0]
    for j in range(ny + 2 * plan.reach[1]):
        outside = maps.y[y + j] < 0
        for k in range(nz + 2 * plan.reach[0]):
            at = _at(maps, k, y + j, plan)
            _copy_row(flat, at, maps.fill, plan, x, count, depths, k, plan.depth)
        for t in range(plan.terms):
            to = t * plan.planes * each + j
            for v in range(count):
                _filter(depths, v * plan.depth, profiles, plan, t, 0, flat_block, 0, width, nz)
                for k in range(nz):
                    value = broadcast(maps.fill) if outside else load(block, k)
                    store(strips, to + k * each + v * plan.height, value)


@device
def _filter_y(profiles, plan, scratch, ny, x, count):
    """Filter strips along y and lay the results out in lines along x, for each term."""
    strips, lines, block = scratch.strips, scratch.lines, scratch.block
    width = lane_count(lines)
    nz = plan.shape[0]
    for t in range(plan.terms):
        of_term = t * plan.planes if plan.deep else 0
        for z in range(nz):
            begin = (of_term + z) * plan.tile * plan.height
            for v in range(count):
                for g in range(0, ny, width):
                    at = begin + v * plan.height + g
                    some = min(width, ny - g)
                    _filter(strips, at, profiles, plan, t, 1, scratch.flat_block, 0, width, some)
                    line = (t * plan.planes + z) * plan.groups + g // width
                    transpose(block, 0, lines, line * plan.length + plan.shift + x + v * width)


@device
def _filter_x(profiles, plan, scratch, line, x, count):
    """Sum over the terms of one block of results along x."""
    lines, block = scratch.lines, scratch.block
    width = lane_count(lines)
    for t in range(plan.terms):
        begin = (t * plan.planes * plan.groups + line) * plan.length + x
        to = width if t > 0 else 0
        _filter(lines, begin, profiles, plan, t, 2, scratch.flat_block, to * width, width, count)
        if plan.squares:
            for k in range(to, to + count):
                store(block, k, square(load(block, k)))
        if t > 0:
            for k in range(count):
                store(block, k, load(block, k) + load(block, width + k))
    if plan.squares:
        take_roots(block, count)


@device
def _write(out, plan, block, z, y, x, rows, columns):
    """Transpose a block and write it to the volume."""
    width = lane_count(out)
    transpose(block, 0, block, width)
    at = z * plan.strides[0] + y * plan.strides[1] + x
    if columns == width:
        for k in range(rows):
            store(out, at + k * plan.strides[1], load(block, width + k))
        return
    for k in range(rows):
        mask = first_lanes(block[0, 0], columns)
        store_some(out, at + k * plan.strides[1], load(block, width + k), mask)


@device
def _finish(profiles, plan, maps, scratch, out, z, y, ny):
    """Filter the rows y .. y + ny - 1 of a plane along x and write them."""
    width = lane_count(out)
    nx = plan.shape[2]
    for g in range(0, ny, width):
        line = z * plan.groups + g // width
        for t in range(plan.terms):
            of_term = t * plan.planes * plan.groups
            extend_line(plan, maps, scratch.lines, (of_term + line) * plan.length)
        for x in range(0, nx, width):
            some = min(width, nx - x)
            _filter_x(profiles, plan, scratch, line, x, some)
            _write(out, plan, scratch.block, z, y + g, x, min(width, ny - g), some)


# -- units -------------------------------------------------------------------------------------


@device
def _gather(flat, profiles, plan, maps, scratch, y, ny, x, count):
    """Rows of the source as strips, filtered along z where the plan is deep."""
    if plan.deep:
        _gather_deep(flat, profiles, plan, maps, scratch, y, ny, x, count)
    else:
        _gather_flat(flat, profiles, plan, maps, scratch, y, ny, x, count)


@device
def _along_y(profiles, plan, scratch, ny, x, count):
    """The pass along y, to rows or to transposed lines."""
    if plan.direct:
        _filter_y_to_rows(profiles, plan, scratch, ny, x, count)
    else:
        _filter_y(profiles, plan, scratch, ny, x, count)


@device
def _along_x(profiles, plan, maps, scratch, out, z, y, ny):
    """The pass along x, of rows or of transposed lines."""
    if plan.direct:
        _finish_rows(profiles, plan, maps, scratch, out, z, y, ny)
    else:
        _finish(profiles, plan, maps, scratch, out, z, y, ny)


def _make_correlate(gather: Callable, along_y: Callable, along_x: Callable) -> Callable:
    """The kernel of one unit, from its three passes."""

    @kernel
    def correlate(flat, profiles, plan, maps, out, scratch):
        """One unit of a sum of separable filters.

        Numba takes plain tuples from Python several times as fast as named ones, which counts for
        small images: here all four are plain.

        Parameters
        ----------
        flat, out : ndarray, float32 or float64
            Elements of the source, and of the result from those of the unit on; no memory shared.
        profiles : tuple
            The fields of Profiles. Taps, the constant of ``maps`` and scratch have the dtype of
            flat.
        plan : tuple
            Those of Plan.
        maps : tuple
            Those of Maps.
        scratch : tuple
            The first four of Scratch.
        """
        depths, strips, lines, block = scratch
        memory = Scratch(depths, strips, lines, block, lines.reshape(-1), block.reshape(-1))
        profiles, plan, maps = Profiles(*profiles), Plan(*plan), Maps(*maps)
        rows = plan.groups * lane_count(flat)
        for y in range(0, plan.shape[1], rows):
            ny = min(rows, plan.shape[1] - y)
            for x in range(0, plan.source[1], plan.tile * lane_count(flat)):
                count = min(plan.tile, -(-(plan.source[1] - x) // lane_count(flat)))
                gather(flat, profiles, plan, maps, memory, y, ny, x, count)
                along_y(profiles, plan, memory, ny, x, count)
            for z in range(plan.shape[0]):
                along_x(profiles, plan, maps, memory, out, z, y, ny)

    return correlate


correlate = _make_correlate(_gather, _along_y, _along_x)
correlate_planes = _make_correlate(_gather_flat, *make_row_passes(odd=False))
