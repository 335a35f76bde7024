"""The overlap of localisations of all pairs of segments, with gradient and curvature.

Two localisations r apart, in units of the bell's radius, overlap by

    b(r) = (1 - r**2)**4    for r < 1,

a Gaussian of standard deviation 1 / sqrt(8) that ends smoothly, so that only pairs in neighbouring
cells count and a uniform density has no curvature. The force on the first is 8 (1 - r**2)**3 r, and
the change of the force with the first's place is -8 (1 - r**2)**3 + 48 (1 - r**2)**2 r r^T.

Cells have edge 1 along z and y, and 1 / FINE along x: of a line of cells along x, only those are
visited which the ball around a place reaches. The numbers of cells are taken modulo the shape of
the table, so that places far away cost no memory.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._compile import device, kernel

AXES = 3
FINE = 4  # cells along x in the radius of the bell
SUMS = 7  # of a pair of segments: the weight and changes of forces; of images the first 4
CHANGES = ((4, 5, 6), (5, 1, 2), (6, 2, 3))  # which are zz, zy, zx, ...
SQUARES = ((3, 4, 5), (4, 0, 1), (5, 1, 2))  # of squares of single forces, without a weight


class Cells(NamedTuple):
    """Localisations in the order of their cells."""

    shape: np.ndarray  # (3,) int64, at least 3 (x: 3 FINE) along each axis that there is, else 1
    starts: np.ndarray  # (cells + 1,) int64
    places: np.ndarray  # (n, 3), zeros before the axes that there are
    segments: np.ndarray  # (n,) int32


class Sums(NamedTuple):
    """What is summed, for each segment."""

    pairs: np.ndarray  # (S, S, 7); (0, 0, 7): only the forces are asked for
    single: np.ndarray  # (S, S, 6) squares of single forces; (0, 0, 6): these are not asked for
    forces: np.ndarray  # (S, 3)
    squares: np.ndarray  # (S, 3, 3): of the whole force on each localisation, the upper triangle
    overlap: np.ndarray  # (S,)
    overlapping: np.ndarray  # (S,) int64: how many pairs overlap


@device
def _wrapped(cell, count):
    """A cell's number modulo the number of cells along an axis."""
    number = np.int64(cell - np.floor(cell / count) * count)
    return number if 0 <= number < count else number % count  # it is rounded far away


@device
def _beside(cell, count):
    """The number of a cell beside one of the table."""
    return cell + count if cell < 0 else cell - count if cell >= count else cell


@device
def _cell(places, i, shape):
    z = _wrapped(np.floor(places[i, 0]), shape[0])
    y = _wrapped(np.floor(places[i, 1]), shape[1])
    return (z * shape[1] + y) * shape[2] + _wrapped(np.floor(FINE * places[i, 2]), shape[2])


@kernel
def sort_by_cell(places, shape, starts, order):
    """Write the order of localisations by their cells, and where each cell begins."""
    for i in range(places.shape[0]):
        starts[_cell(places, i, shape) + 1] += 1
    for c in range(1, starts.size):
        starts[c] += starts[c - 1]
    for i in range(places.shape[0]):  # starts[c] is now where the next one of c - 1 .. goes
        c = _cell(places, i, shape)
        order[starts[c]] = i
        starts[c] += 1
    for c in range(starts.size - 1, 0, -1):
        starts[c] = starts[c - 1]
    starts[0] = 0


@device
def _add_outer(target, z, y, x):
    target[0, 0] += z * z
    target[0, 1] += z * y
    target[0, 2] += z * x
    target[1, 1] += y * y
    target[1, 2] += y * x
    target[2, 2] += x * x


@device
def _add_square(target, z, y, x, deep):
    target[0] += y * y
    target[1] += y * x
    target[2] += x * x
    if deep:
        target[3] += z * z
        target[4] += z * y
        target[5] += z * x


@device
def _pick(cells, i, begin, end, near, count):
    """Write which of the places [begin, end) are near place i and of another segment.

    Most are not, in no order that a processor could foresee: so each is written, and the next one
    overwrites it unless it counts.
    """
    z, y, x = cells.places[i, 0], cells.places[i, 1], cells.places[i, 2]
    s = cells.segments[i]
    for j in range(begin, end):
        dz = cells.places[j, 0] - z
        dy = cells.places[j, 1] - y
        dx = cells.places[j, 2] - x
        near[count] = j
        count += (dz * dz + dy * dy + dx * dx < 1.0) & (cells.segments[j] != s)
    return count


@device
def _squared_gap(at, beside):
    """The squared distance of a coordinate from the cell before its own (-1), or after it (1)."""
    part = at - np.floor(at)
    gap = 0.0 if beside == 0 else part if beside < 0 else 1.0 - part
    return gap * gap


@device
def _find_near(cells, i, near):
    """Write the places of other segments that are near place i; their number."""
    shape, starts = cells.shape, cells.starts
    z, y, x = cells.places[i, 0], cells.places[i, 1], cells.places[i, 2]
    cz, cy = _wrapped(np.floor(z), shape[0]), _wrapped(np.floor(y), shape[1])
    deep, wide = np.int64(shape[0] > 1), np.int64(shape[1] > 1)
    count = 0
    for oz in range(-deep, deep + 1):
        plane = _beside(cz + oz, shape[0]) * shape[1]
        for oy in range(-wide, wide + 1):
            square = 1.0 - _squared_gap(z, oz) - _squared_gap(y, oy)
            if square <= 0.0:
                continue
            reach = math.sqrt(square)
            low, high = np.floor(FINE * (x - reach)), np.floor(FINE * (x + reach))
            first = _wrapped(low, shape[2])
            end = first + np.int64(high - low) + 1
            line = (plane + _beside(cy + oy, shape[1])) * shape[2]
            inside = min(end, shape[2])  # the rest is at the other end of the table
            count = _pick(cells, i, starts[line + first], starts[line + inside], near, count)
            if end > inside:
                count = _pick(cells, i, starts[line], starts[line + end - inside], near, count)
    return count


@device
def _may_count(place, low, high):
    """Whether the middle of a pair with this place may be in the box."""
    inside = True
    for axis in range(AXES):
        inside &= low[axis] - 0.5 <= place[axis] <= high[axis] + 0.5
    return inside


@kernel
def add_overlaps(queries, cells, low, high, sums, near, begin, end):
    """Sum over the localisations ``queries[begin:end]`` and all of other segments.

    Parameters
    ----------
    queries : ndarray (n,) int64
        Numbers of localisations in the order of cells. Two threads may not have localisations of
        one segment.
    cells : Cells
    low, high : ndarray (3,)
        Pairs whose middle is outside of this box are left out.
    sums : Sums
        Zeros; the rows of the segments of these localisations are written.
    near : ndarray (n + 1,) int32
        Scratch.
    """
    deep, spread = cells.shape[0] > 1, sums.single.shape[0] > 0
    bent = sums.pairs.shape[0] > 0
    for q in range(begin, end):
        i = queries[q]
        if not _may_count(cells.places[i], low, high):
            continue
        z, y, x = cells.places[i, 0], cells.places[i, 1], cells.places[i, 2]
        s = cells.segments[i]
        fz, fy, fx = 0.0, 0.0, 0.0
        overlap, overlapping = 0.0, 0
        for k in range(_find_near(cells, i, near)):
            j = near[k]
            dz = cells.places[j, 0] - z
            dy = cells.places[j, 1] - y
            dx = cells.places[j, 2] - x
            mz, my, mx = z + 0.5 * dz, y + 0.5 * dy, x + 0.5 * dx
            within = low[0] <= mz <= high[0] and low[1] <= my <= high[1]
            if not (within and low[2] <= mx <= high[2]):
                continue
            v = 1.0 - (dz * dz + dy * dy + dx * dx)
            square = v * v
            w = 8.0 * square * v
            fz += w * dz
            fy += w * dy
            fx += w * dx
            overlap += square * square
            overlapping += 1
            if not bent:
                continue
            t = cells.segments[j]
            change = 48.0 * square
            row = sums.pairs[s, t]
            row[0] += w
            row[1] += change * dy * dy
            row[2] += change * dy * dx
            row[3] += change * dx * dx
            if deep:
                row[4] += change * dz * dz
                row[5] += change * dz * dy
                row[6] += change * dz * dx
            if spread:
                _add_square(sums.single[s, t], w * dz, w * dy, w * dx, deep)
        sums.overlap[s] += overlap
        sums.overlapping[s] += overlapping
        sums.forces[s, 0] += fz
        sums.forces[s, 1] += fy
        sums.forces[s, 2] += fx
        _add_outer(sums.squares[s], fz, fy, fx)
