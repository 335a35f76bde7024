"""Significance of responses: their gains near borders, and the tail of counts by its cumulants."""

from __future__ import annotations

import math

import numpy as np

from .._compile import device, kernel

_MOST = 1e9  # standard deviations of a pixel that count
_NORMAL = 1e-6  # gain, in standard deviations of a pixel, that is no gain


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


@device
def significance_of(response, deviation, gain, tables):
    """As `significance`, of one response."""
    if not response > 0.0:
        return 0.0
    if deviation <= 0.0:
        return np.inf
    if not deviation > 0.0:
        return 0.0
    by_unit = deviation / max(abs(gain), _NORMAL * deviation)
    high = min(response / deviation, _MOST)
    x = min(max(high / by_unit, 1e-300), 1e300)
    return _in_counts(tables[1 if gain < 0.0 else 0], x, by_unit * by_unit)


@kernel
def significance(response, deviation, gain, tables, out):
    """Standard deviations of a normal distribution with the tail of responses.

    Parameters
    ----------
    response, deviation, gain : ndarray (n,) float64
        Responses, the standard deviation of a pixel, and its third central moment by its variance.
    tables : ndarray (2, 5, steps) float64
        For a positive and a negative gain: log K', s, and K / s**2, K' / s and K'' of counts of
        mean 1, by s.
    out : ndarray (n,) float64
        The result: 0 for a response that is not positive, infinity for one without noise.
    """
    for i in range(out.size):
        out[i] = significance_of(response[i], deviation[i], gain[i], tables)
