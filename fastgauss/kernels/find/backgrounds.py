"""The background of an image in blocks of pixels: their means, and what lies between them."""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..simd.lanes import broadcast, load, store
from ..simd.masked import first_lanes, lane_count, load_some, store_some


@kernel
def block_means(volume, first, sides, means, start, stop):
    """Means of the blocks in planes ``start .. stop - 1`` of blocks.

    Parameters
    ----------
    first, sides : ndarray (3,) int64
        Where the blocks begin, and the extents of one.
    means : ndarray (blocks, blocks, blocks) float32
        The result.
    """
    nx = volume.shape[2]
    line = np.empty(nx, volume.dtype)
    count = sides[0] * sides[1] * sides[2]
    for c in range(start, stop):
        z0 = first[0] + c * sides[0]
        for b in range(means.shape[1]):
            y0 = first[1] + b * sides[1]
            line[:] = 0.0
            for z in range(z0, z0 + sides[0]):
                for y in range(y0, y0 + sides[1]):
                    row = volume[z, y]
                    for x in range(nx):
                        line[x] += row[x]
            for a in range(means.shape[2]):
                x0 = first[2] + a * sides[2]
                total = 0.0
                for x in range(x0, x0 + sides[2]):
                    total += line[x]
                means[c, b, a] = total / count


@device
def _add_neighbours(values, at, step, weights, out, to, size):
    """Weighted sums of elements ``at, at + step, ...``, and of each of the ``size`` from there on.

    Parameters
    ----------
    values, out : ndarray float32, one-dimensional
    weights : ndarray (k,) float32
    to : int
        Where the first of the sums is put.
    """
    lanes = lane_count(values)
    begin = 0
    while begin + 4 * lanes <= size:
        i = at + begin
        one, two = broadcast(np.float32(0.0)), broadcast(np.float32(0.0))
        three, four = one, two
        for j in range(weights.size):
            weight = weights[j]
            one = one + weight * load(values, i)
            two = two + weight * load(values, i + lanes)
            three = three + weight * load(values, i + 2 * lanes)
            four = four + weight * load(values, i + 3 * lanes)
            i += step
        store(out, to + begin, one)
        store(out, to + begin + lanes, two)
        store(out, to + begin + 2 * lanes, three)
        store(out, to + begin + 3 * lanes, four)
        begin += 4 * lanes
    while begin < size:
        i, mask = at + begin, first_lanes(np.float32(0.0), size - begin)
        one = broadcast(np.float32(0.0))
        for j in range(weights.size):
            one = one + weights[j] * load_some(values, i, mask)
            i += step
        store_some(out, to + begin, one, mask)
        begin += lanes


@device
def _add_ends(values, at, columns, r, out, to, size):
    """The weighted sums of the same neighbours, from element ``at`` on, for elements of an end.

    Parameters
    ----------
    values, out : ndarray float32, one-dimensional
    columns : ndarray (k, m) float32
        Of each neighbour its weights in the sums of all elements of a line.
    r : int
        The first of the ``size`` elements; its sum is put to ``to``.
    """
    weights, m = columns.reshape(-1), columns.shape[1]
    for begin in range(0, size, lane_count(values)):
        mask = first_lanes(np.float32(0.0), size - begin)
        one = broadcast(np.float32(0.0))
        for j in range(columns.shape[0]):
            one = one + load_some(weights, j * m + r + begin, mask) * values[at + j]
        store_some(out, to + begin, one, mask)


@kernel
def smooth_along(values, first, weights, columns, out, start, stop):
    """Weighted sums of neighbours along the middle axis.

    Parameters
    ----------
    values : ndarray (before, m, after) float32
    first : ndarray (m,) int64
        The first neighbour of each element.
    weights : ndarray (m, k) float32
        Of that neighbour and of those after it. If k is less than m, it is odd, and the weights are
        the same, ``k // 2`` neighbours on both sides, for each element that has so many; elements
        nearer to an end have the first or the last k ones.
    columns : ndarray (k, m) float32
        The weights transposed.
    out : ndarray (before, m, after) float32
        The result.
    start, stop : int
        Which lines are written: of the elements ``[i, r]`` those of number ``i * m + r``, or those
        of number i if ``after`` is 1.
    """
    _, m, after = values.shape
    k = weights.shape[1]
    flat, sums = values.reshape(-1), out.reshape(-1)
    if after > 1:
        for line in range(start, stop):
            i, r = line // m, line % m
            at = (i * m + first[r]) * after
            _add_neighbours(flat, at, after, weights[r], sums, line * after, after)
        return
    half = k // 2 if k < m else m  # all lines of few elements are ends
    for i in range(start, stop):
        _add_ends(flat, i * m, columns, 0, sums, i * m, half)
        if k < m:
            _add_neighbours(flat, i * m, 1, weights[half], sums, i * m + half, m - 2 * half)
            end = m - half
            _add_ends(flat, i * m + m - k, columns, end, sums, i * m + end, half)


@kernel
def spread_rows(means, lower, upper, share, rows, start, stop):
    """What lies linearly between the means of each row of blocks, in planes ``start .. stop - 1``.

    Parameters
    ----------
    means : ndarray (mz, my, mx) float32
    lower, upper : ndarray (nx,) int64
        The blocks between which each column lies.
    share : ndarray (nx,) float32
        The share of the upper one.
    rows : ndarray (mz, my, nx) float32
        The result.
    """
    for c in range(start, stop):
        for b in range(means.shape[1]):
            line, row = means[c, b], rows[c, b]
            for x in range(row.size):
                value = line[lower[x]]
                row[x] = value + share[x] * (line[upper[x]] - value)


@kernel
def subtract_between(volume, rows, z_axis, y_axis, rest, start, stop):
    """The volume less what lies linearly between rows of blocks, in planes ``start .. stop - 1``.

    Parameters
    ----------
    rows : ndarray (mz, my, nx) float32
    z_axis, y_axis : (ndarray (n,) int64, ndarray (n,) int64, ndarray (n,) float32)
        For each plane and row: the blocks between which it lies, and the share of the upper one.
    rest : ndarray (nz, ny, nx) float32
        The result.
    """
    _, ny, nx = volume.shape
    for z in range(start, stop):
        c, d, f = z_axis[0][z], z_axis[1][z], z_axis[2][z]
        for y in range(ny):
            a, b, g = y_axis[0][y], y_axis[1][y], y_axis[2][y]
            row, out, first, second = volume[z, y], rest[z, y], rows[c, a], rows[d, a]
            if a == b:
                for x in range(nx):
                    out[x] = row[x] - (first[x] + f * (second[x] - first[x]))
            else:
                third, fourth = rows[c, b], rows[d, b]
                for x in range(nx):
                    near = first[x] + g * (third[x] - first[x])
                    far = second[x] + g * (fourth[x] - second[x])
                    out[x] = row[x] - (near + f * (far - near))


@kernel
def add_between(points, values, z_axis, y_axis, x_axis, sums):
    """Add values at points to blocks: each is divided among the blocks around its point.

    Parameters
    ----------
    points : ndarray (n, 3) int64
    values : ndarray (n,) float64
    z_axis, y_axis, x_axis : (ndarray (n,) int64, ndarray (n,) int64, ndarray (n,) float64)
        For each pixel of the axis: the blocks between which it lies, and the share of the upper
        one.
    sums : ndarray (mz, my, mx) float64
        What is added to.
    """
    for corner in range(8):
        for p in range(points.shape[0]):
            z, y, x = points[p]
            f, g, h = z_axis[2][z], y_axis[2][y], x_axis[2][x]
            c, b, a = z_axis[0][z], y_axis[0][y], x_axis[0][x]
            if corner & 4:
                c = z_axis[1][z]
            if corner & 2:
                b = y_axis[1][y]
            if corner & 1:
                a = x_axis[1][x]
            part = values[p] * (f if corner & 4 else 1.0 - f)
            part *= g if corner & 2 else 1.0 - g
            sums[c, b, a] += part * (h if corner & 1 else 1.0 - h)
