"""The Gram matrix K = A'A, overlaps of particles that are products of profiles.

The support of a particle is a box and its value a product of one profile an axis, so that the
sum over the nodes that two of them share is a product of sums along an axis,

    K_ij = product over axes of sum over k of f_i(k) f_j(k),

each a few terms, where the grid would take hundreds. With a weight for each node, K = A'WA, the
weights stand between the profiles and the sum runs over the shared nodes.

``measure`` and ``tabulate`` write each particle's windows and profiles once; then a row of K needs
no exponential. Windows on periodic axes are not wrapped: particle i meets the images of j, whose
windows are m n nodes further. (The wrapped profiles are sums over images, and
sum over k of F_i(k) F_j(k) over one period is the sum over m and all k of f_i(k) f_j(k - m n).)

Neighbours are found by cells, the tiles by which the particles are sorted: eight contiguous
candidates are tested at a time. A pair is computed once, at its smaller index, and mirrored.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._compile import device, kernel
from ..models import axis_tables
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load
from ..simd.mask_bits import lowest_bit, mask_bits
from ..simd.masked import lanes_within, load_some, total
from . import axis_aligned
from .windows import window


class Cells(NamedTuple):
    """The grid and its tiles along three axes, and where the particles of each tile begin."""

    shape: tuple[int, ...]
    periods: tuple[int, ...]  # 0 on axes that do not wrap
    edges: tuple[int, ...]  # nodes of a tile
    tiles: tuple[int, ...]
    reach: tuple[float, ...]  # largest half width
    around: tuple[bool, ...]  # whether two windows may meet twice, around the axis
    starts: np.ndarray  # (tiles + 1,)
    reaches: np.ndarray  # (rows of tiles, 3) largest half widths of the particles of a row


class Tables(NamedTuple):
    """Windows [begin, end) of n particles along three axes and their profiles there.

    A particle without a node has empty windows, from infinity to minus infinity. Missing axes of
    the grid have a window of one node and a profile of 1.
    """

    begin: np.ndarray  # (3 (n + WIDTH),), axis by axis, for a register at once
    end: np.ndarray
    spans: np.ndarray  # (n, 9) the same; and what added to a node gives its place in ``values``
    values: np.ndarray
    lead: int  # axes that the grid lacks


@kernel
def measure(centres, widths, support, shape, periods, begin, end, counts):
    """Fill begin and end, and the number of table values of each particle (n,)."""
    n, axes = centres.shape
    lead = 3 - axes
    stride = n + WIDTH
    for q in range(n):
        sigma = axis_aligned.shape_of(widths, q)
        half = axis_aligned.half_widths(support, axes, sigma)
        empty = False
        size = lead
        for a in range(3):
            first, count = 0, 1
            if a >= lead:
                u = centres[q, a - lead]
                if periods[a] > 0:
                    first = int(-np.floor(half[a] - u))
                    count = int(np.floor(u + half[a])) - first + 1
                else:
                    first, count = window(u, half[a], 0, shape[a])
                size += max(count, 0)
            empty = empty or count <= 0
            begin[a * stride + q] = float(first)
            end[a * stride + q] = float(first + count)
        counts[q] = 0 if empty else size
        if empty:
            for a in range(3):
                begin[a * stride + q] = np.inf
                end[a * stride + q] = -np.inf


_fill = axis_tables.make_fill(1, False)


@kernel
def tabulate(centres, widths, support, tables, scratch, low, high):
    """Write the profiles of particles [low, high)."""
    lead = tables.lead
    for q in range(low, high):
        if not tables.begin[q] < np.inf:
            continue
        sigma = axis_aligned.shape_of(widths, q)
        for a in range(3):
            first = tables.spans[q, a]
            count = tables.spans[q, 3 + a] - first
            to = tables.spans[q, 6 + a] + first
            if a < lead:
                tables.values[to] = 1.0
                continue
            u = centres[q, a - lead]
            _fill(scratch, 0, 0, first, count, u, sigma[a], support.integrate)
            for k in range(count):
                tables.values[to + k] = scratch[k]


@device
def _around(cells, tables, q, a):
    """Where the centres of neighbours may lie along an axis, and the first and last period."""
    n = tables.begin.size // 3
    low = tables.begin[a * n + q] - cells.reach[a] - 0.5
    high = tables.end[a * n + q] + cells.reach[a] + 0.5
    period = cells.periods[a]
    if period == 0:
        return low, high, 0, 0
    if cells.around[a]:
        return 0.0, float(period), 0, 0
    return low, high, int(np.floor(low / float(period))), int(np.floor(high / float(period)))


@device
def _tile(cells, a, u):
    """The tile along an axis of a place, which may lie outside the grid."""
    return int(min(max(u, 0.0), float(cells.shape[a] - 1))) // cells.edges[a]


@device
def _meet(tables, a, shift, everywhere, q, j, near):
    """Which particles from j on, a register, moved by ``shift``, share nodes of an axis with q."""
    n = tables.begin.size // 3
    if everywhere:
        return near & (load(tables.begin, a * n + j) < np.inf)
    near = near & (load(tables.begin, a * n + j) < tables.end[a * n + q] - shift)
    return near & (load(tables.end, a * n + j) > tables.begin[a * n + q] - shift)


@device
def _far(cells, tables, a, shift, q, tile, reach):
    """Whether a tile, moved by ``shift``, is too far along an axis for particles of this reach."""
    if cells.around[a]:
        return False
    n = tables.begin.size // 3
    edge = float(cells.edges[a])
    low = float(tile) * edge + shift
    above = tile > 0 and low - reach > tables.end[a * n + q]
    return above or (
        tile < cells.tiles[a] - 1 and low + edge + reach + 1.0 < tables.begin[a * n + q]
    )


@device
def _of_row(cells, tables, q, row, shifts, columns, found, write):
    """Add the neighbours of q in a row of tiles, moved by ``shifts``, to those found."""
    n = tables.begin.size // 3
    low, high = 0.0, float(cells.shape[2])
    if not cells.around[2]:
        reach = cells.reaches[row, 2] + 0.5
        low = tables.begin[2 * n + q] - reach - shifts[2]
        high = tables.end[2 * n + q] + reach - shifts[2]
    first = row * cells.tiles[2]
    stop = cells.starts[first + _tile(cells, 2, high) + 1]
    for j in range(cells.starts[first + _tile(cells, 2, low)], stop, WIDTH):
        near = lanes_within(0.0, 0, stop - j)
        near = _meet(tables, 2, shifts[2], cells.around[2], q, j, near)
        if tables.lead < 2:
            near = _meet(tables, 1, shifts[1], cells.around[1], q, j, near)
        if tables.lead < 1:
            near = _meet(tables, 0, shifts[0], cells.around[0], q, j, near)
        bits = mask_bits(near)
        while bits != 0:
            if write:
                columns[found] = j + lowest_bit(bits)
            found += 1
            bits = bits & (bits - 1)
    return found


@device
def neighbours(cells, tables, q, columns, at, write):
    """Number of the particles that share a node with q, itself included; write them from ``at``."""
    if not tables.begin[q] < np.inf:
        return 0
    found = at
    low_z, high_z, mz, last_z = _around(cells, tables, q, 0)
    low_y, high_y, first_y, last_y = _around(cells, tables, q, 1)
    _, _, first_x, last_x = _around(cells, tables, q, 2)
    while mz <= last_z:
        shift_z = float(mz * cells.periods[0])
        mz += 1
        for tz in range(_tile(cells, 0, low_z - shift_z), _tile(cells, 0, high_z - shift_z) + 1):
            for my in range(first_y, last_y + 1):
                shift_y = float(my * cells.periods[1])
                last_ty = _tile(cells, 1, high_y - shift_y)
                for ty in range(_tile(cells, 1, low_y - shift_y), last_ty + 1):
                    row = tz * cells.tiles[1] + ty
                    if _far(cells, tables, 0, shift_z, q, tz, cells.reaches[row, 0]):
                        continue
                    if _far(cells, tables, 1, shift_y, q, ty, cells.reaches[row, 1]):
                        continue
                    for mx in range(first_x, last_x + 1):
                        shifts = shift_z, shift_y, float(mx * cells.periods[2])
                        found = _of_row(cells, tables, q, row, shifts, columns, found, write)
    return found - at


@device
def _shifts(spans, period, a, i, j):
    """First and last m for which j, moved by m periods, may share nodes of an axis with i."""
    if period == 0:
        return 0, 0
    apart = spans[i, a] - spans[j, 3 + a] + 1
    return -((-apart) // period), (spans[i, 3 + a] - 1 - spans[j, a]) // period


@device
def _shared(spans, a, i, j, shift):
    """The nodes that i shares with j, moved by ``shift``: ``(first, count, at of i, at of j)``."""
    first = max(spans[i, a], spans[j, a] + shift)
    count = min(spans[i, 3 + a], spans[j, 3 + a] + shift) - first
    return first, count, spans[i, 6 + a] + first, spans[j, 6 + a] + first - shift


@device
def _line(values, count, at_i, at_j):
    """The sum over shared nodes of an axis of both profiles."""
    mask = lanes_within(0.0, 0, count)
    part = load_some(values, at_i, mask) * load_some(values, at_j, mask)
    for k in range(WIDTH, count, WIDTH):
        mask = lanes_within(0.0, 0, count - k)
        part = part + load_some(values, at_i + k, mask) * load_some(values, at_j + k, mask)
    return total(part)


@device
def overlap(tables, i, j):
    """The sum over all nodes of the product of two particles, where no axis wraps."""
    spans, values = tables.spans, tables.values
    _, count, at_i, at_j = _shared(spans, 2, i, j, 0)
    result = _line(values, count, at_i, at_j)
    if tables.lead < 2:
        _, count, at_i, at_j = _shared(spans, 1, i, j, 0)
        result *= _line(values, count, at_i, at_j)
    if tables.lead < 1:
        _, count, at_i, at_j = _shared(spans, 0, i, j, 0)
        result *= _line(values, count, at_i, at_j)
    return result


@device
def wrapped_overlap(tables, periods, i, j):
    """The same where axes may wrap."""
    result = 1.0
    for a in range(tables.lead, 3):
        m, last = _shifts(tables.spans, periods[a], a, i, j)
        part = 0.0
        while m <= last:
            _, count, at_i, at_j = _shared(tables.spans, a, i, j, m * periods[a])
            m += 1
            if count > 0:
                part += _line(tables.values, count, at_i, at_j)
        result *= part
    return result


@device
def _box(values, weights, layout, z, y, x):
    """The sum over a box of shared nodes of weights and both profiles."""
    first_z, count_z, zi, zj = z
    first_y, count_y, yi, yj = y
    first_x, count_x, xi, xj = x
    stride_z, stride_y, start = layout
    base = start + first_z * stride_z + first_y * stride_y + first_x
    result = 0.0
    for k in range(0, count_x, WIDTH):
        mask = lanes_within(0.0, 0, count_x - k)
        ends = load_some(values, xi + k, mask) * load_some(values, xj + k, mask)
        whole = broadcast(0.0)
        for iz in range(count_z):
            plane = broadcast(0.0)
            at = base + iz * stride_z + k
            for iy in range(count_y):
                plane = plane + load_some(weights, at, mask) * (values[yi + iy] * values[yj + iy])
                at += stride_y
            whole = whole + plane * (values[zi + iz] * values[zj + iz])
        result += total(whole * ends)
    return result


@device
def weighted_overlap(tables, periods, weights, layout, i, j):
    """The sum over all nodes of weight times the product of two particles.

    ``weights`` is flat, with ``layout`` the strides of two axes and the place of node 0; on
    periodic axes it repeats as far as the windows go.
    """
    spans = tables.spans
    result = 0.0
    mz, last_z = _shifts(spans, periods[0], 0, i, j)
    first_y, last_y = _shifts(spans, periods[1], 1, i, j)
    first_x, last_x = _shifts(spans, periods[2], 2, i, j)
    while mz <= last_z:
        z = _shared(spans, 0, i, j, mz * periods[0])
        mz += 1
        for my in range(first_y, last_y + 1):
            y = _shared(spans, 1, i, j, my * periods[1])
            for mx in range(first_x, last_x + 1):
                x = _shared(spans, 2, i, j, mx * periods[2])
                result += _box(tables.values, weights, layout, z, y, x)
    return result


@kernel
def count(cells, tables, counts, low, high):
    """Write the lengths of rows [low, high)."""
    for q in range(low, high):
        counts[q] = neighbours(cells, tables, q, counts, 0, False)


@device
def _sort(columns, begin, stop):
    """Sort some columns, which stand in a few sorted runs, in place."""
    for k in range(begin + 1, stop):
        j = columns[k]
        at = k
        while at > begin and columns[at - 1] > j:
            columns[at] = columns[at - 1]
            at -= 1
        columns[at] = j


@kernel
def fill(cells, tables, starts, columns, values, low, high):
    """Write columns of rows [low, high), and values from the diagonal on."""
    wraps = max(cells.periods) > 0
    for q in range(low, high):
        begin = starts[q]
        stop = begin + neighbours(cells, tables, q, columns, begin, True)
        if wraps:
            _sort(columns, begin, stop)
        for k in range(begin, stop):
            j = np.int64(columns[k])
            if j >= q:
                if wraps:
                    values[k] = wrapped_overlap(tables, cells.periods, q, j)
                else:
                    values[k] = overlap(tables, q, j)


@kernel
def fill_weighted(cells, tables, weights, layout, starts, columns, values, low, high):
    """``fill`` with a weight for each node."""
    for q in range(low, high):
        begin = starts[q]
        stop = begin + neighbours(cells, tables, q, columns, begin, True)
        _sort(columns, begin, stop)
        for k in range(begin, stop):
            j = np.int64(columns[k])
            if j >= q:
                values[k] = weighted_overlap(tables, cells.periods, weights, layout, q, j)


@kernel
def mirror(starts, columns, values, upper):
    """Write the values before the diagonal; ``upper`` is a copy of ``starts`` without its last.

    The rows that hold column q beyond their diagonal are met in the order in which they use theirs.
    """
    for q in range(upper.size):
        k = starts[q]
        while k < starts[q + 1] and columns[k] < q:
            j = columns[k]
            values[k] = values[upper[j]]
            upper[j] += 1
            k += 1
        upper[q] = k + 1
