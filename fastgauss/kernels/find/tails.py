"""Significance of responses: their gains near borders, and the tail of counts by its cumulants."""

from __future__ import annotations

import math

import numpy as np

from .._compile import device, kernel


@device
def _bracket(row, value):
    """The interval of an increasing row in which a value lies, and the share of its upper end.

    Values beyond the ends lie at the ends.
    """
    low, high = 0, row.size - 1
    if value <= row[0]:
        return 0, 0.0
    if value >= row[high]:
        return high - 1, 1.0
    while high - low > 1:
        middle = (low + high) // 2
        if row[middle] <= value:
            low = middle
        else:
            high = middle
    return low, (value - row[low]) / (row[high] - row[low])


@device
def _in_counts(table, x, mu):
    """The significance of a response ``x`` times ``mu``, in counts of mean ``mu``."""
    log_x = math.log(x)
    i, share = _bracket(table[0], log_x)
    value = table[2, i] + share * (table[2, i + 1] - table[2, i])
    first = table[3, i] + share * (table[3, i + 1] - table[3, i])
    second = table[4, i] + share * (table[4, i + 1] - table[4, i])
    s = x / first if log_x < table[0, -1] else table[1, -1]
    w = math.sqrt(min(max(2.0 * mu * (s * x - value * s * s), 1e-200), 1e200))
    u = s * math.sqrt(mu * second)
    return w + math.log(max(u / w, 1e-300)) / w


@kernel
def significance(response, deviation, gain, tables, limits, out):
    """Standard deviations of a normal distribution with the tail of responses.

    Parameters
    ----------
    response, deviation, gain : ndarray (n,) float64
        Responses, the standard deviation of a pixel, and its third central moment by its variance.
    tables : ndarray (2, 5, steps) float64
        For a positive and a negative gain: log K', s, and K / s**2, K' / s and K'' of counts of
        mean 1, by s.
    limits : (float, float)
        The largest response, and the smallest gain, in deviations.
    out : ndarray (n,) float64
        The result: 0 for a response that is not positive, infinity for one without noise.
    """
    most, least = limits
    for i in range(out.size):
        out[i] = 0.0
        if response[i] > 0.0 and deviation[i] <= 0.0:
            out[i] = np.inf
        elif response[i] > 0.0 and deviation[i] > 0.0:
            by_unit = deviation[i] / max(abs(gain[i]), least * deviation[i])
            high = min(response[i] / deviation[i], most)
            x = min(max(high / by_unit, 1e-300), 1e300)
            out[i] = _in_counts(tables[1 if gain[i] < 0.0 else 0], x, by_unit * by_unit)


@kernel
def gains(points, lengths, tables, combine, out):
    """What the filter makes of noise and of spots at points, which a border changes.

    Sums over a volume of separable weights are products of sums along its axes.

    Parameters
    ----------
    points : ndarray (n, 3) int64
    lengths : (int, int, int)
        Of the axes.
    tables : (ndarray (k, m), ndarray (k, m), ndarray (k, m)) float64
        Sums along the axes, by the pixel. Those of an axis that is longer than its table are
        the same at all pixels farther from its ends than half of the table.
    combine : ndarray (rows, k) float64
        Linear combinations of the products.
    out : ndarray (rows, n) float64
        The result.
    """
    for p in range(points.shape[0]):
        for row in range(combine.shape[0]):
            out[row, p] = 0.0
        for k in range(combine.shape[1]):
            product = 1.0
            for axis in range(3):
                at, n, size = points[p, axis], lengths[axis], tables[axis].shape[1]
                near = min(at, size // 2) if at < n // 2 else max(at - n + size, size // 2)
                product *= tables[axis][k, near]
            for row in range(combine.shape[0]):
                out[row, p] += combine[row, k] * product
