"""Statistics of the values of each bin, and the bins of coordinates on regular axes.

Moments by Welford's update: the mean moves by delta / n, and the sum of squares about it grows by
delta times the new distance. One pass, and no difference of large numbers. With weights, West's
form of the same. Distances are taken from a bin's first value, so that values far from zero do
not round the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ._compile import device, kernel
from .partition import PLACES

WEIGHT, SUM, FIRST, MEAN, SQUARES, LEAST, GREATEST = range(7)  # columns of a bin's state
EMPTY = (0.0, 0.0, 0.0, 0.0, 0.0, np.inf, -np.inf)


@device
def include(row, value, weight):
    """One more value in a bin's state."""
    if row[LEAST] > row[GREATEST]:  # none yet
        row[FIRST] = value
    row[WEIGHT] += weight
    row[SUM] += weight * value
    if weight != 0.0:
        distance = value - row[FIRST]
        delta = distance - row[MEAN]
        row[MEAN] += delta * (weight / row[WEIGHT])
        row[SQUARES] += weight * (delta * (distance - row[MEAN]))
    if value < row[LEAST] or value != value:
        row[LEAST] = value
    if value > row[GREATEST] or value != value:
        row[GREATEST] = value


@cache
def make_statistics(place: str, weighted: bool) -> Callable:
    """The kernel that includes pairs [start, stop) in the states of their bins."""
    placed = PLACES[place]

    @kernel
    def statistics(count, state, indices, values, weights, start, stop):
        for i in range(start, stop):
            k = placed(indices[i], count.size)
            if k >= 0:
                count[k] += 1
                include(state[k], float(values[i]), float(weights[i]) if weighted else 1.0)

    return statistics


@cache
def make_statistics_at(weighted: bool) -> Callable:
    """The kernel for pairs whose positions, less ``base``, came with their bins."""

    @kernel
    def statistics_at(count, state, bins, load, values, weights, base, start, stop):
        for q in range(start, stop):
            k, i = np.int64(bins[q]), base + np.int64(load[q])
            count[k] += 1
            include(state[k], float(values[i]), float(weights[i]) if weighted else 1.0)

    return statistics_at


@device
def interval(value, edges):
    """The j with edges[j] <= value < edges[j + 1]; the last edge too; -1 outside, also for NaN.

    ``edges`` are about equally spaced, so that a product finds j but for a step.
    """
    n = edges.size - 1
    low, high = edges[0], edges[n]
    if not low <= value <= high:
        return -1
    width = high - low
    j = int((value - low) / width * n) if width > 0.0 else 0
    j = min(max(j, 0), n - 1)
    while j > 0 and value < edges[j]:
        j -= 1
    while j < n - 1 and value >= edges[j + 1]:
        j += 1
    return j


@kernel
def locate(coords, edges, bins, begin, start, stop):
    """Refine ``bins`` by one more axis: bin * n + interval, -1 for none. It starts at ``begin``."""
    n = edges.size - 1
    for i in range(start, stop):
        q = i - begin
        k = bins[q]
        if k >= 0:
            j = interval(float(coords[i]), edges)
            bins[q] = k * n + j if j >= 0 else -1
