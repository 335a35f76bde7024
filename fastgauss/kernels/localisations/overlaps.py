"""The overlap of localisations of all pairs of segments, with gradient and curvature.

Two localisations r apart, in units of the bell's radius, overlap by

    b(r) = (1 - r**2)**4    for r < 1,

a Gaussian of standard deviation 1 / sqrt(8) that ends smoothly, so that only pairs in neighbouring
cells count and a uniform density has no curvature. The force on the first is 8 (1 - r**2)**3 r, and
the change of the force with the first's place is -8 (1 - r**2)**3 + 48 (1 - r**2)**2 r r^T.

Cells have edge 1. Their numbers are taken modulo the shape of the table, so that places far away
cost no memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._compile import device, kernel

AXES = 3
SUMS = 13  # of a pair of segments: the weight, changes of forces, squares of single forces
CHANGES = (
    (7, 8, 9),
    (8, 1, 2),
    (9, 2, 3),
)  # the sums of zz, zy, zx, ...; the first 7 are of images
SQUARES = ((10, 11, 12), (11, 4, 5), (12, 5, 6))


class Cells(NamedTuple):
    """Localisations in the order of their cells."""

    shape: np.ndarray  # (3,) int64, at least 3 along each axis that there is, else 1
    starts: np.ndarray  # (cells + 1,) int64
    places: np.ndarray  # (n, 3), zeros before the axes that there are
    segments: np.ndarray  # (n,) int32


class Sums(NamedTuple):
    """What is summed, for each segment."""

    pairs: np.ndarray  # (S, S, 13)
    forces: np.ndarray  # (S, 3)
    squares: np.ndarray  # (S, 3, 3): of the whole force on each localisation, the upper triangle
    overlap: np.ndarray  # (S,)
    overlapping: np.ndarray  # (S,) int64: how many pairs overlap


@device
def _wrapped(cell, count):
    """A cell's number modulo the number of cells along an axis."""
    return np.int64(cell - np.floor(cell / count) * count) % count


@device
def _beside(cell, count):
    """The number of a cell beside one of the table."""
    return cell + count if cell < 0 else cell - count if cell >= count else cell


@device
def _cell(places, i, shape):
    z = _wrapped(np.floor(places[i, 0]), shape[0])
    y = _wrapped(np.floor(places[i, 1]), shape[1])
    return (z * shape[1] + y) * shape[2] + _wrapped(np.floor(places[i, 2]), shape[2])


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


@kernel
def add_overlaps(queries, cells, low, high, sums, begin, end):
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
    """
    shape = cells.shape
    reach = (np.int64(shape[0] > 1), np.int64(shape[1] > 1), np.int64(shape[2] > 1))
    deep = shape[0] > 1
    for q in range(begin, end):
        i = queries[q]
        z, y, x = cells.places[i, 0], cells.places[i, 1], cells.places[i, 2]
        s = cells.segments[i]
        row = sums.pairs[s]
        cz = _wrapped(np.floor(z), shape[0])
        cy = _wrapped(np.floor(y), shape[1])
        cx = _wrapped(np.floor(x), shape[2])
        fz, fy, fx = 0.0, 0.0, 0.0
        overlap, overlapping = 0.0, 0
        for oz in range(-reach[0], reach[0] + 1):
            plane = _beside(cz + oz, shape[0]) * shape[1]
            for oy in range(-reach[1], reach[1] + 1):
                line = (plane + _beside(cy + oy, shape[1])) * shape[2]
                for ox in range(-reach[2], reach[2] + 1):
                    cell = line + _beside(cx + ox, shape[2])
                    for j in range(cells.starts[cell], cells.starts[cell + 1]):
                        dz = cells.places[j, 0] - z
                        dy = cells.places[j, 1] - y
                        dx = cells.places[j, 2] - x
                        v = 1.0 - (dz * dz + dy * dy + dx * dx)
                        t = cells.segments[j]
                        if not (v > 0.0) or t == s:
                            continue
                        mz, my, mx = z + 0.5 * dz, y + 0.5 * dy, x + 0.5 * dx
                        within = low[0] <= mz <= high[0] and low[1] <= my <= high[1]
                        if not (within and low[2] <= mx <= high[2]):
                            continue
                        square = v * v
                        w = 8.0 * square * v
                        fz += w * dz
                        fy += w * dy
                        fx += w * dx
                        overlap += square * square
                        overlapping += 1
                        change, single = 48.0 * square, w * w
                        row[t, 0] += w
                        row[t, 1] += change * dy * dy
                        row[t, 2] += change * dy * dx
                        row[t, 3] += change * dx * dx
                        row[t, 4] += single * dy * dy
                        row[t, 5] += single * dy * dx
                        row[t, 6] += single * dx * dx
                        if deep:
                            row[t, 7] += change * dz * dz
                            row[t, 8] += change * dz * dy
                            row[t, 9] += change * dz * dx
                            row[t, 10] += single * dz * dz
                            row[t, 11] += single * dz * dy
                            row[t, 12] += single * dz * dx
        sums.overlap[s] += overlap
        sums.overlapping[s] += overlapping
        sums.forces[s, 0] += fz
        sums.forces[s, 1] += fy
        sums.forces[s, 2] += fx
        _add_outer(sums.squares[s], fz, fy, fx)
