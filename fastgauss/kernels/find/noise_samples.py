"""The noise of a volume: samples on a grid, their deviation, and values between cells."""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel

MAD_TO_SIGMA = 1.482602218505602  # of a normal distribution
CLIP = 3.0  # samples farther from the median than this many sigmas are spots, not noise


@kernel
def take_samples(source, response, at_z, at_y, at_x, samples):
    """The response on a grid; NaN where the source equals all its neighbours along the axes.

    Such pixels carry no noise: padding, saturation, a background of exact zeros.
    """
    nz, ny, nx = source.shape
    for k in range(at_z.size):
        z = at_z[k]
        before_z, after_z = max(z - 1, 0), min(z + 1, nz - 1)
        for j in range(at_y.size):
            y = at_y[j]
            before_y, after_y = max(y - 1, 0), min(y + 1, ny - 1)
            for i in range(at_x.size):
                x = at_x[i]
                here = source[z, y, x]
                flat = (
                    source[z, y, max(x - 1, 0)] == here
                    and source[z, y, min(x + 1, nx - 1)] == here
                    and source[z, before_y, x] == here
                    and source[z, after_y, x] == here
                    and source[before_z, y, x] == here
                    and source[after_z, y, x] == here
                )
                samples[k, j, i] = np.nan if flat else response[z, y, x]


@device
def _difference(volume, z, y, x):
    """A pixel less the mean of its neighbours along the axes.

    An axis of one pixel has no neighbours; beyond a border the pixel is its own.
    """
    nz, ny, nx = volume.shape
    others, number = 0.0, 0
    if nz > 1:
        others += volume[max(z - 1, 0), y, x] + np.float64(volume[min(z + 1, nz - 1), y, x])
        number += 2
    if ny > 1:
        others += volume[z, max(y - 1, 0), x] + np.float64(volume[z, min(y + 1, ny - 1), x])
        number += 2
    if nx > 1:
        others += volume[z, y, max(x - 1, 0)] + np.float64(volume[z, y, min(x + 1, nx - 1)])
        number += 2
    return volume[z, y, x] - others / max(number, 1)


@device
def _between(values, lower, shares, z, y, x):
    """The value at a pixel, linear between the nodes of a grid."""
    last = values.shape[0] - 1, values.shape[1] - 1, values.shape[2] - 1
    c, b, a = lower[0][z], lower[1][y], lower[2][x]
    f, g, h = shares[0][z], shares[1][y], shares[2][x]
    total = 0.0
    for k in range(2):
        for j in range(2):
            for i in range(2):
                weight = (f if k else 1.0 - f) * (g if j else 1.0 - g) * (h if i else 1.0 - h)
                node = values[min(c + k, last[0]), min(b + j, last[1]), min(a + i, last[2])]
                total += weight * node
    return total


@kernel
def third_moment(volume, gap, deviations, lower, shares, at_z, at_y, at_x, limit):
    """The sum of cubes of pixels on a grid, less the mean of their neighbours, by their deviation.

    Missing pixels, pixels without a deviation, and those ``limit`` deviations away do not count.

    Parameters
    ----------
    gap : ndarray (nz, ny, nx) or (0, 0, 0) bool
        Missing pixels; an empty array if there are none.
    deviations, lower, shares
        As ``values``, ``lower`` and ``shares`` in `between`.

    Returns
    -------
    (float, int)
        The sum, and how many pixels count.
    """
    total, number = 0.0, 0
    for z in at_z:
        for y in at_y:
            for x in at_x:
                deviation = _between(deviations, lower, shares, z, y, x)
                if deviation <= 0.0 or (gap.size > 0 and gap[z, y, x]):
                    continue
                away = _difference(volume, z, y, x) / deviation
                if abs(away) < limit:
                    total += away**3
                    number += 1
    return total, number


@kernel
def between(values, lower, shares, points, out):
    """Values of grids at points, linear between their nodes.

    Parameters
    ----------
    values : ndarray (k, cz, cy, cx) float64
    lower : (ndarray (n,) int64, ndarray (n,) int64, ndarray (n,) int64)
        The lower node of each pixel of an axis.
    shares : (ndarray (n,) float64, ndarray (n,) float64, ndarray (n,) float64)
        The share of the node after it; 0 at the last one.
    points : ndarray (n, 3) int64
    out : ndarray (k, n) float64
    """
    for k in range(out.shape[0]):
        for p in range(out.shape[1]):
            z, y, x = points[p]
            out[k, p] = _between(values[k], lower, shares, z, y, x)


@device
def _spread(ordered, low, high):
    """Median and median absolute deviation of ``ordered[low:high]``, not empty."""
    middle = low + (high - low) // 2
    median = 0.5 * (np.float64(ordered[(low + high - 1) // 2]) + np.float64(ordered[middle]))
    left, right = middle - 1, middle
    deviation = 0.0
    for _ in range((high - low + 1) // 2):
        if right >= high or (left >= low and median - ordered[left] <= ordered[right] - median):
            deviation = median - ordered[left]
            left -= 1
        else:
            deviation = ordered[right] - median
            right += 1
    return median, deviation


@kernel
def clipped_noise(ordered, counts, medians, sigmas):
    """Centre and standard deviation of the noise in each row of sorted samples.

    Both come from the median and the median absolute deviation. Samples beyond CLIP sigmas are
    dropped and both computed again, until no sample is dropped. Only the first ``counts[i]``
    samples of row i are used.
    """
    for i in range(ordered.shape[0]):
        row = ordered[i]
        low, high = 0, counts[i]
        medians[i], sigmas[i] = 0.0, 0.0
        shrinks = high > 0
        while shrinks:
            median, deviation = _spread(row, low, high)
            medians[i], sigmas[i] = median, MAD_TO_SIGMA * deviation
            reach = CLIP * sigmas[i]
            size = high - low
            while median - row[low] > reach:
                low += 1
            while row[high - 1] - median > reach:
                high -= 1
            shrinks = high - low < size
