"""Pairs of index and value dealt out by bins, without disturbing their order.

Threads that add to one array must own what they write. A batch of pairs is cut into chunks; each
chunk is written anew, sorted by the part of the bins that an index falls into and, within a part,
in the order in which it came. The owner of a part then goes through the chunks in turn and meets
the pairs of every bin in their order: the sums are those of one thread, to the bit.

What travels with an index is its value, its position (where a value is a row), or nothing. How an
index that lies outside is read is said by one of ``PLACES``, which gives the bin or -1 for none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ._compile import device, kernel


@device
def as_is(k, size):
    """Every index is known to lie in [0, size)."""
    return np.int64(k)


@device
def from_end(k, size):
    """Negative indices count from the end; every one is known to lie in [-size, size)."""
    k = np.int64(k)
    return k + size if k < 0 else k


@device
def wrapped(k, size):
    """The index modulo size."""
    k = np.int64(k) % np.int64(size)
    return k + size if k < 0 else k


@device
def clipped(k, size):
    """The nearest bin."""
    return min(max(np.int64(k), np.int64(0)), np.int64(size - 1))


@device
def inside(k, size):
    """-1 where there is no such bin; negative ones are none."""
    k = np.int64(k)
    return k if 0 <= k < size else np.int64(-1)


PLACES = {"plain": as_is, "raise": from_end, "wrap": wrapped, "clip": clipped, "drop": inside}


@device
def carry_value(load, q, values, i, base):
    """The pair's value travels."""
    load[q] = values[i]


@device
def carry_position(load, q, values, i, base):
    """The pair's position in the batch travels."""
    load[q] = np.int64(i) - base


@device
def carry_nothing(load, q, values, i, base):
    """All values are one."""


CARRIES = {"value": carry_value, "position": carry_position, "nothing": carry_nothing}


@kernel
def extent(indices, start, stop):
    """Least and greatest of indices [start, stop), which are some."""
    least = greatest = indices[start]
    for i in range(stop - start):
        k = indices[np.uint64(start + i)]
        least = min(least, k)
        greatest = max(greatest, k)
    return least, greatest


@cache
def make_halves(place: str, carry: str) -> Callable:
    """Deal a chunk out to two parts, without a branch: each pair is written to both ends.

    The parts of a chunk begin at ``first[chunk]`` in ``bins`` and ``load``, as many places from
    each other as a batch has pairs; ``last[chunk]`` says where they end.
    """
    placed, carried = PLACES[place], CARRIES[carry]

    @kernel
    def halves(indices, values, size, cuts, bins, load, base, start, stop, first, last):
        cut = np.int64(cuts[0])
        low, high = np.int64(start - base), np.int64(start - base + bins.size // 2)
        first[0], first[1] = low, high
        for i in range(start, stop):
            k = placed(indices[np.uint64(i)], size)
            if k >= 0:
                bins[np.uint64(low)] = k
                bins[np.uint64(high)] = k
                carried(load, np.uint64(low), values, np.uint64(i), base)
                carried(load, np.uint64(high), values, np.uint64(i), base)
                upper = np.int64(k >= cut)
                low += 1 - upper
                high += upper
        last[0], last[1] = low, high

    return halves


@device
def part_of(k, cuts):
    """Number of cuts that are not above bin ``k``."""
    part = 0
    for j in range(cuts.size):
        part += np.int64(k >= cuts[j])
    return part


@cache
def make_parts(place: str, carry: str) -> Callable:
    """Deal a chunk out to any number of parts: count them, then put each pair in its place."""
    placed, carried = PLACES[place], CARRIES[carry]

    @kernel
    def parts(indices, values, size, cuts, bins, load, base, start, stop, first, last):
        last[:] = 0
        for i in range(start, stop):
            k = placed(indices[np.uint64(i)], size)
            if k >= 0:
                last[part_of(k, cuts)] += 1
        place = start - base
        for p in range(first.size):
            count = last[p]
            first[p] = last[p] = place
            place += count
        for i in range(start, stop):
            k = placed(indices[np.uint64(i)], size)
            if k >= 0:
                p = part_of(k, cuts)
                q = np.uint64(last[p])
                last[p] += 1
                bins[q] = k
                carried(load, q, values, np.uint64(i), base)

    return parts
