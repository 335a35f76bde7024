"""Index modes in the kernels, and the partition of pairs among threads by slices of the bins.

Threads that add to one array must not write to the same elements. Each thread owns a slice of the
bins, reads all pairs and selects its own, in their order: first a block of them into a small array
that stays in the nearest cache, without a branch, then from there to their bins. Every bin receives
its values in the order of the pairs, so that sums have the bits of one thread. Threads that read
the same pairs at about the same time share the traffic from memory.

Along with an index goes its value, its position (if a value is a row), or nothing. ``PLACES`` has a
function for each meaning of an index outside the bins, which returns the bin, or -1 for none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..simd.compress import EIGHT, compress_bins, compress_positions, compress_values, count_bits
from ..simd.prefetch import MANY, prefetch_stream

STREAM = 768  # pairs between prefetching a pair and using it
TAKEN = 1024  # pairs that are selected at a time


@device
def as_is(k, size):
    """The index; every index is known to be in [0, size)."""
    return np.int64(k)


@device
def from_end(k, size):
    """Negative indices count from the end; every index is known to be in [-size, size)."""
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
    """The index, or -1 if it is outside [0, size)."""
    k = np.int64(k)
    return k if 0 <= k < size else np.int64(-1)


PLACES = {"plain": as_is, "raise": from_end, "wrap": wrapped, "clip": clipped, "drop": inside}


@device
def ask_for_both(indices, values, i):
    """Prefetch the pairs that will be used a good while after block ``i``."""
    prefetch_stream(indices, i + STREAM)
    prefetch_stream(values, i + STREAM)


@device
def ask_for_indices(indices, values, i):
    """The same for indices alone: one value for all, or rows."""
    prefetch_stream(indices, i + STREAM)


@device
def take_value(load, q, values, i):
    """Store the value of the pair."""
    load[q] = values[i]


@device
def take_position(load, q, values, i):
    """Store the position of the pair."""
    load[q] = i


@device
def take_nothing(load, q, values, i):
    """Store nothing: all values are the same."""


@device
def take_values(load, q, values, i, own):
    """Store the values of eight pairs, those whose bins are in the slice."""
    compress_values(load, q, values, i, own)


@device
def take_positions(load, q, values, i, own):
    """Store their positions."""
    compress_positions(load, q, i, own)


@device
def take_no_values(load, q, values, i, own):
    """Store nothing: all values are the same."""


TAKES = {
    "value": (take_value, take_values),
    "position": (take_position, take_positions),
    "nothing": (take_nothing, take_no_values),
}


@kernel
def extent(indices, start, stop):
    """Smallest and largest of indices [start, stop), at least one."""
    least = greatest = indices[start]
    for i in range(stop - start):
        k = indices[np.uint64(start + i)]
        least = min(least, k)
        greatest = max(greatest, k)
    return least, greatest


@cache
def make_partition(place: str, taken: str, together: bool) -> Callable:
    """Make the selection of pairs [start, stop) with bins in [low, high), after ``held`` others.

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
            own = compress_bins(bins, held, indices, i, size, low, high - low)
            take_eight(load, held, values, i, own)
            held += count_bits(own)
            i += EIGHT
        return held, i

    @device
    def none(indices, values, size, low, high, bins, load, held, start, stop):
        return held, start

    many = eights if together else none

    @device
    def partition(indices, values, size, low, high, bins, load, held, start, stop):
        held, start = many(indices, values, size, low, high, bins, load, held, start, stop)
        for i in range(start, stop):
            k = placed(indices[np.uint64(i)], size)
            bins[np.uint64(held)] = k - low  # kept if it is in the slice
            take(load, np.uint64(held), values, np.uint64(i))
            held += np.int64((k >= low) & (k < high))
        return held

    return partition
