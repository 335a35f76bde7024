"""Statistics of the values of each bin, and the bins of coordinates on regular axes.

Moments by Welford's update: the mean moves by delta / n, and the sum of squares about it grows by
delta times the new distance. This needs one pass and no difference of large numbers. With weights,
West's form is used. Distances are measured from the first value of a bin, so that the mean of
values far from zero is not rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, entry, kernel
from ..simd.lane_types import WIDTH
from ..simd.lanes import floor, load, select, store
from ..simd.mask_bits import mask_bits
from .partition import PLACES, TAKEN, make_partition

WEIGHT, SUM, FIRST, MEAN, SQUARES, LEAST, GREATEST = range(7)  # columns of a bin's state
ROUNDING = 16 * 2.0**-52  # bound of the rounding of an edge and of a product
EMPTY = (0.0, 0.0, 0.0, 0.0, 0.0, np.inf, -np.inf)
TOTAL, LOW, HIGH, BEGIN = range(4)  # columns of the exact numbers of 64-bit integers
_HALF = 32  # bits


@entry
def update_statistics(row: np.ndarray, value: float, weight: float) -> None:
    """Include one more value in the state of a bin, for compiled code.

    ``row`` is a float64 array of the seven numbers weight, sum, first value, mean less the first
    value, sum of squares about the mean, least and greatest; it begins as
    ``[0, 0, 0, 0, 0, inf, -inf]``.

    Examples
    --------
    >>> row = np.array(EMPTY)
    >>> for value in (1.0, 2.0, 6.0):
    ...     update_statistics(row, value, 1.0)
    >>> row[2] + row[3], row[4] / row[0]  # mean and variance
    (np.float64(3.0), np.float64(4.666666666666667))

    Notes
    -----
    A NaN makes all numbers NaN except the weight. Two threads must not share a row. Allocates
    nothing.
    """
    if row[LEAST] > row[GREATEST]:  # none yet
        row[FIRST] = value
    _include(row, value, value - row[FIRST], weight)


@device
def _include(row, value, distance, weight):
    """A value, and how far it is from the first."""
    row[WEIGHT] += weight
    row[SUM] += weight * value
    if weight != 0.0:
        delta = distance - row[MEAN]
        row[MEAN] += delta * (weight / row[WEIGHT])
        row[SQUARES] += weight * (delta * (distance - row[MEAN]))
    if value < row[LEAST] or value != value:
        row[LEAST] = value
    if value > row[GREATEST] or value != value:
        row[GREATEST] = value


@device
def _halves(value, bits):
    """A 64-bit integer as two numbers that are exact in float64: high * 2**32 + low."""
    high = value >> bits
    return float(high), float(value - (high << bits))


@device
def update_real(state, k, value, weight):
    """Include one more number in the state (bins, 7) of bin k."""
    update_statistics(state[k], float(value), weight)


@device
def update_whole(states, k, value, weight):
    """The same for integers of 64 bits, with their sum, limits and first in a second array.

    Distances are worked out in two halves: neither overflows, and only their sum is rounded.
    """
    state, whole = states
    row = whole[k]
    if row[LOW] > row[HIGH]:  # none yet
        row[BEGIN] = value
    row[TOTAL] += value
    row[LOW] = min(row[LOW], value)
    row[HIGH] = max(row[HIGH], value)
    bits = row.dtype.type(_HALF)
    high, low = _halves(value, bits)
    first_high, first_low = _halves(row[BEGIN], bits)
    distance = (high - first_high) * 2.0**_HALF + (low - first_low)
    _include(state[k], float(value), distance, weight)


@cache
def make_statistics(place: str, weighted: bool, whole: bool = False) -> Callable:
    """The kernel that includes pairs [start, stop) in the states of their bins.

    ``state`` is an array, or, for integers of 64 bits (``whole``), the pair of `update_whole`.
    """
    placed, update = PLACES[place], update_whole if whole else update_real

    @kernel
    def statistics(count, state, indices, values, weights, start, stop):
        for i in range(start, stop):
            k = placed(indices[i], count.size)
            if k >= 0:
                count[k] += 1
                update(state, k, values[i], float(weights[i]) if weighted else 1.0)

    return statistics


@cache
def make_own_statistics(
    place: str, weighted: bool, together: bool, whole: bool = False
) -> Callable:
    """The same for all pairs whose bins are in [low, high); scratch as in `make_add_own`."""
    partition, update = (
        make_partition(place, "position", together),
        update_whole if whole else update_real,
    )

    @kernel
    def own_statistics(count, state, indices, values, weights, low, high, bins, load):
        size, first, end = np.int64(count.size), np.int64(low), np.int64(high)
        for start in range(0, indices.size, TAKEN):
            stop = min(np.int64(start + TAKEN), np.int64(indices.size))
            held = partition(
                indices, values, size, first, end, bins, load, np.int64(0), np.int64(start), stop
            )
            for q in range(held):
                k, i = first + np.int64(bins[q]), load[q]
                count[k] += 1
                update(state, k, values[i], float(weights[i]) if weighted else 1.0)

    return own_statistics


@device
def scale_of(edges):
    """Intervals a unit of length."""
    width = edges[edges.size - 1] - edges[0]
    return (edges.size - 1) / width if width > 0.0 else 0.0


@device
def interval(value, edges, first, last, scale):
    """The j with edges[j] <= value < edges[j + 1]; the last edge too; -1 outside, also for NaN.

    ``first`` and ``last`` are the outer edges, which a loop that writes to memory would otherwise
    read again each time. ``edges`` are nearly equally spaced, so that a product with ``scale_of``
    gives j except for one step.
    """
    n = edges.size - 1
    if not first <= value <= last:
        return np.int64(-1)
    j = min(max(np.int64((value - first) * scale), np.int64(0)), np.int64(n - 1))
    while j > 0 and value < edges[np.uint64(j)]:
        j -= 1
    while j < n - 1 and value >= edges[np.uint64(j + 1)]:
        j += 1
    return j


@entry
def find_bin(value: float, edges: np.ndarray) -> int:
    """The bin j of a value, edges[j] <= value < edges[j + 1], for compiled code.

    That of `fastgauss.histogram`: the last edge belongs to the last bin. -1 outside, also for
    NaN. ``edges`` are a float64 array of two numbers or more that grow by about equal steps: they
    are not checked. Thread-safe, allocates nothing, inlined.

    Examples
    --------
    >>> int(find_bin(0.5, np.linspace(0.0, 1.0, 5)))
    2
    """
    value = np.float64(value)
    return interval(value, edges, edges[0], edges[edges.size - 1], scale_of(edges))


@device
def refine(found, i, value, edges, first, last, scale):
    """One number of ``locate``."""
    j = interval(value, edges, first, last, scale)
    k = found[i]
    found[i] = k * (edges.size - 1) + j if j >= 0 and k >= 0.0 else -1.0


@kernel
def locate(coords, edges, found, uneven=0.0):
    """Refine bins by one more axis: bin * n + interval; -1 for none. They are whole float64.

    A product gives the place of a coordinate. Only if its rounding could matter, or the edges are
    not quite evenly spaced, is the coordinate compared with the edges. ``uneven`` is the largest
    distance of an edge from its even place, in bins, if it is more than rounding.
    """
    n, scale = edges.size - 1, scale_of(edges)
    first, last = edges[0], edges[n]
    doubt = ROUNDING * (max(abs(first), abs(last)) * scale + n) + uneven
    i = 0
    while i + WIDTH <= coords.size:
        value = load(coords, i)
        place = (value - first) * scale
        j = floor(place)
        rest = place - j
        inside = (value >= first) & (value <= last)
        sure = (rest > doubt) & (rest < 1.0 - doubt)
        if mask_bits(inside & ~sure):
            for q in range(i, i + WIDTH):
                refine(found, q, coords[q], edges, first, last, scale)
        else:
            k = load(found, i)
            store(found, i, select(inside & (k >= 0.0), k * float(n) + j, -1.0))
        i += WIDTH
    for q in range(i, coords.size):
        refine(found, q, coords[q], edges, first, last, scale)
