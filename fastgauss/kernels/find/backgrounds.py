"""The background of an image in blocks of pixels: their means, and what lies between them."""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel


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
def _add_rows(rows, line, out):
    """Add the sum of rows, each with its weight of ``line``."""
    whole = line.size // 4 * 4
    for j in range(0, whole, 4):  # four at once: sums are read and written less often
        first, second, third, fourth = rows[j], rows[j + 1], rows[j + 2], rows[j + 3]
        for a in range(out.size):
            out[a] += (line[j] * first[a] + line[j + 1] * second[a]) + (
                line[j + 2] * third[a] + line[j + 3] * fourth[a]
            )
    for j in range(whole, line.size):
        row = rows[j]
        for a in range(out.size):
            out[a] += line[j] * row[a]


@device
def _smooth_along(values, first, weights, out):
    """Weighted sums of neighbours along the middle axis of values (before, m, after)."""
    before, m, after = values.shape
    k = weights.shape[1]
    half = k // 2
    for i in range(before):
        out[i] = 0.0
        if after > 1 or m <= 2 * half:
            for r in range(m):
                _add_rows(values[i, first[r] :], weights[r], out[i, r])
            continue
        line, sums, inner = values[i, :, 0], out[i, :, 0], m - 2 * half
        for j in range(k):
            weight, source, target = weights[half, j], line[j : j + inner], sums[half:]
            for a in range(inner):
                target[a] += weight * source[a]
        for r in range(m):
            if r < half or r >= m - half:
                for j in range(k):
                    sums[r] += weights[r, j] * line[first[r] + j]


@device
def _smoothed(means, axes):
    """The means in the window around each block."""
    for axis in range(3):
        first, weights = axes[axis]
        if weights.shape[1] > 1:
            before = 1
            for k in range(axis):
                before *= means.shape[k]
            rows = (before, means.shape[axis], means.size // (before * means.shape[axis]))
            smooth = np.empty_like(means)
            _smooth_along(means.reshape(rows), first, weights, smooth.reshape(rows))
            means = smooth
    return means


@kernel
def smooth_blocks(means, axes, out):
    """The means in the window around each block, and those of what is left.

    Parameters
    ----------
    means : ndarray (mz, my, mx) float32
    axes : three pairs (ndarray (m,) int64, ndarray (m, k) float32)
        For each axis the first block of the window around each block, and the weights of that block
        and of those after it. They are the same, k blocks around it, for each block that is
        ``k // 2`` or more away from both ends.
    out : ndarray (mz, my, mx) float32
        The result.
    """
    once = _smoothed(means, axes)
    out[:] = once + _smoothed(means - once, axes)


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
