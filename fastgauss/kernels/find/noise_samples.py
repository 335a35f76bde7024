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


@kernel
def differences(volume, at_z, at_y, at_x, away):
    """Pixels on a grid less the mean of their neighbours along the axes.

    An axis of one pixel has no neighbours; beyond a border the pixel is its own.
    """
    nz, ny, nx = volume.shape
    for k in range(at_z.size):
        z = at_z[k]
        for j in range(at_y.size):
            y = at_y[j]
            for i in range(at_x.size):
                x = at_x[i]
                others, number = 0.0, 0
                if nz > 1:
                    others += volume[max(z - 1, 0), y, x] + np.float64(
                        volume[min(z + 1, nz - 1), y, x]
                    )
                    number += 2
                if ny > 1:
                    others += volume[z, max(y - 1, 0), x] + np.float64(
                        volume[z, min(y + 1, ny - 1), x]
                    )
                    number += 2
                if nx > 1:
                    others += volume[z, y, max(x - 1, 0)] + np.float64(
                        volume[z, y, min(x + 1, nx - 1)]
                    )
                    number += 2
                away[k, j, i] = volume[z, y, x] - others / max(number, 1)


@kernel
def between(values, places, shares, points, out):
    """Values of a grid at points, linear between its nodes.

    Parameters
    ----------
    values : ndarray (cz, cy, cx) float64
    places : (ndarray (n,) int64, ndarray (n,) int64, ndarray (n,) int64)
        The lower node of each pixel of an axis.
    shares : (ndarray (n,) float64, ndarray (n,) float64, ndarray (n,) float64)
        The share of the node after it; 0 at the last one.
    points : ndarray (n, 3) int64
    out : ndarray (n,) float64
    """
    last = values.shape[0] - 1, values.shape[1] - 1, values.shape[2] - 1
    for p in range(out.size):
        z, y, x = points[p]
        c, b, a = places[0][z], places[1][y], places[2][x]
        f, g, h = shares[0][z], shares[1][y], shares[2][x]
        total = 0.0
        for k in range(2):
            for j in range(2):
                for i in range(2):
                    weight = (f if k else 1.0 - f) * (g if j else 1.0 - g) * (h if i else 1.0 - h)
                    node = values[min(c + k, last[0]), min(b + j, last[1]), min(a + i, last[2])]
                    total += weight * node
        out[p] = total


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
