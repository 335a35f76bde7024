"""How an index is read, and the pairs of a slice of the bins, sifted out in their order.

Threads that add to one array must own what they write. Each owns a slice of the bins, goes through
all pairs and takes its own: first a block of them into a small memory that stays in the nearest
cache, without a branch, then these to their bins. Every bin meets its pairs in their order, so that
sums are those of one thread, to the bit. Threads that read the same pairs at about the same time
share what comes from memory.

What is taken along with an index is its value, its position (where a value is a row), or nothing.
How an index that lies outside is read is said by one of ``PLACES``, which gives the bin or -1 for
none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..simd.compress import EIGHT, count_bits, sift_bins, sift_positions, sift_values
from ..simd.prefetch import MANY, prefetch_stream

STREAM = 768  # pairs between asking for a pair and its turn
TAKEN = 1024  # pairs that are sifted at a time


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
def ask_for_both(indices, values, i):
    """Have the pairs that are due a good while after block ``i`` come nearer."""
    prefetch_stream(indices, i + STREAM)
    prefetch_stream(values, i + STREAM)


@device
def ask_for_indices(indices, values, i):
    """The same where values are one, or rows."""
    prefetch_stream(indices, i + STREAM)


@device
def take_value(load, q, values, i):
    """The pair's value is taken."""
    load[q] = values[i]


@device
def take_position(load, q, values, i):
    """The pair's position is taken."""
    load[q] = i


@device
def take_nothing(load, q, values, i):
    """All values are one."""


@device
def take_values(load, q, values, i, own):
    """The values of eight pairs, as far as they are its own."""
    sift_values(load, q, values, i, own)


@device
def take_positions(load, q, values, i, own):
    """Their positions."""
    sift_positions(load, q, i, own)


@device
def take_no_values(load, q, values, i, own):
    """All values are one."""


TAKES = {
    "value": (take_value, take_values),
    "position": (take_position, take_positions),
    "nothing": (take_nothing, take_no_values),
}


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
def make_sift(place: str, taken: str, together: bool) -> Callable:
    """Put the pairs of [start, stop) whose bins are in [low, high) behind ``held`` others.

    Bins are written less ``low``. ``together``: eight pairs at a time, for the places "plain" and
    "raise" and items of 4 or 8 bytes; up to `EIGHT` places more are written to.
    """
    placed = PLACES[place]
    take, take_eight = TAKES[taken]
    ask = ask_for_both if taken == "value" else ask_for_indices

    @device
    def eights(indices, values, size, low, high, bins, load, held, start, stop):
        i = start
        while i + EIGHT <= stop:
            if i % MANY == 0:
                ask(indices, values, i)
            own = sift_bins(bins, held, indices, i, size, low, high - low)
            take_eight(load, held, values, i, own)
            held += count_bits(own)
            i += EIGHT
        return held, i

    @device
    def none(indices, values, size, low, high, bins, load, held, start, stop):
        return held, start

    many = eights if together else none

    @device
    def sift(indices, values, size, low, high, bins, load, held, start, stop):
        held, start = many(indices, values, size, low, high, bins, load, held, start, stop)
        for i in range(start, stop):
            k = placed(indices[np.uint64(i)], size)
            bins[np.uint64(held)] = k - low  # kept if it is one's own
            take(load, np.uint64(held), values, np.uint64(i))
            held += np.int64((k >= low) & (k < high))
        return held

    return sift
