"""Scatter-add: one pass over pairs of index and value, in their order.

``make_add(place, kind)`` is numpy.add.at for pairs [start, stop). ``place`` names how an index is
read (``PLACES`` of ``kernels/sums/partition.py``). ``kind`` says what a value is: "value", one
number a pair; "scalar", one number for all; "row", a row of numbers that belongs to a row of
``out``.

A sum is rounded to the dtype of ``out`` after each addition, as numpy does. Bins outside the caches
are prefetched some pairs ahead. If an index repeats many times, the sum stays in a register
(``make_add_runs``), which is three times as fast as a store and a load.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..simd.compress import EIGHT
from ..simd.integers import all_below
from ..simd.prefetch import MANY, prefetch
from .partition import PLACES, TAKEN, as_is, ask_for_both, ask_for_indices, from_end, make_partition

BLOCK = MANY  # pairs whose indices are checked together
AHEAD = 48  # pairs between prefetching a bin and adding to it
OWN = TAKEN + AHEAD + EIGHT  # places of scratch
NEAR = 1 << 14  # bytes of bins up to which nothing is prefetched


@device
def add_value(out, k, values, i):
    """One number to one bin."""
    out[k] += values[i]


@device
def add_scalar(out, k, values, i):
    """The one number to one bin."""
    out[k] += values[0]


@device
def add_row(out, k, values, i):
    """A row to a row."""
    for c in range(out.shape[1]):
        out[k, c] += values[i, c]


ADDS = {"value": add_value, "scalar": add_scalar, "row": add_row}


ASKS = {"value": ask_for_both, "scalar": ask_for_indices, "row": ask_for_indices}


@cache
def make_add(place: str, kind: str) -> Callable:
    """``numpy.add.at`` for pairs [start, stop), for compiled code.

    Parameters
    ----------
    place : {"plain", "raise", "wrap", "clip", "drop"}
        The meaning of an index. "plain": all are in [0, size). "raise": all are in [-size, size),
        and negative ones count from the end. "wrap": modulo the size. "clip": the nearest bin.
        "drop": an index outside [0, size) is left out. The first two are not checked: see
        `make_add_checked`.
    kind : {"value", "scalar", "row"}
        The value of pair i: ``values[i]``, ``values[0]``, or the row ``values[i, :]``, added to
        ``out[k, :]``.

    Returns
    -------
    callable
        ``add(out, indices, values, start, stop)`` with ``out`` an array of bins, ``indices`` an
        integer array. Pairs are added in their order. It may be called from Python.

    Raises
    ------
    KeyError
        Raised by the factory for another place or kind; the function that it returns never raises.

    Notes
    -----
    With "plain" and "raise" an index outside writes to memory outside the array. NaN values are
    added. Two threads must not add to the same bins: give each thread its own array, or its own
    bins. The function allocates nothing.

    Examples
    --------
    >>> from numba import njit
    >>> from fastgauss.kernels import make_add
    >>> add = make_add("drop", "value")
    >>> @njit
    ... def count(numbers, size):
    ...     out = np.zeros(size)
    ...     add(out, numbers, np.ones(numbers.size), 0, numbers.size)
    ...     return out
    >>> count(np.array([0, 2, 2, 9]), 3)
    array([1., 0., 2.])
    """
    placed, added, ask = PLACES[place], ADDS[kind], ASKS[kind]
    drops, twice = place == "drop", place != "wrap"

    @kernel
    def add(out, indices, values, start, stop):
        size = np.int64(out.shape[0])
        begin, end = np.int64(start), np.int64(stop)
        if twice and out.nbytes > NEAR:  # a division for each prefetch would cost too much
            while begin + BLOCK + AHEAD <= end:
                ask(indices, values, begin)
                for i in range(BLOCK):
                    prefetch(out, placed(indices[np.uint64(begin + i + AHEAD)], size))
                    j = np.uint64(begin + i)
                    k = placed(indices[j], size)
                    if not drops or k >= 0:
                        added(out, np.uint64(k), values, j)
                begin += BLOCK
        for i in range(end - begin):
            j = np.uint64(begin + i)
            k = placed(indices[j], size)
            if not drops or k >= 0:
                added(out, np.uint64(k), values, j)

    return add


@cache
def make_add_below(kind: str) -> Callable:
    """The same; stops at an index outside [0, size). Returns whether all indices are inside."""
    added, ask = ADDS[kind], ASKS[kind]

    @kernel
    def add_below(out, indices, values):
        size, begin = np.int64(out.shape[0]), np.int64(0)
        while begin + BLOCK + AHEAD <= indices.size:
            if not all_below(indices, begin, size):
                return False
            ask(indices, values, begin)
            for i in range(BLOCK):
                prefetch(out, as_is(indices[np.uint64(begin + i + AHEAD)], size))
                j = np.uint64(begin + i)
                added(out, np.uint64(as_is(indices[j], size)), values, j)
            begin += BLOCK
        for i in range(begin, indices.size):
            k = np.int64(indices[i])
            if not 0 <= k < size:
                return False
            added(out, np.uint64(k), values, np.uint64(i))
        return True

    return add_below


@cache
def make_add_runs(kind: str) -> Callable:
    """``make_add("plain", kind)`` for indices that repeat many times in a row."""
    scalar = kind == "scalar"

    @kernel
    def add_runs(out, indices, values, start, stop):
        i, end, step = np.uint64(start), np.uint64(stop), np.uint64(1)
        while i < end:
            k = np.uint64(indices[i])
            total = out[k]
            while i < end and np.uint64(indices[i]) == k:
                total = out.dtype.type(total + values[np.uint64(0) if scalar else i])
                i += step
            out[k] = total

    return add_runs


@device
def add_row_at(out, k, values, load, q):
    """The row at a position."""
    for c in range(out.shape[1]):
        out[k, c] += values[load[q], c]


@device
def add_value_of(out, k, values, load, q):
    """The value that was taken along."""
    out[k] += load[q]


@device
def add_scalar_of(out, k, values, load, q):
    """The one number."""
    out[k] += values[0]


_TAKEN_ADDS = {"value": add_value_of, "scalar": add_scalar_of, "row": add_row_at}
TAKEN_WITH = {"value": "value", "scalar": "nothing", "row": "position"}


@cache
def make_add_own(place: str, kind: str, together: bool) -> Callable:
    """The kernel that adds all pairs whose bins are in [low, high).

    ``bins`` and ``load`` are scratch for `OWN` pairs.
    """
    partition = make_partition(place, TAKEN_WITH[kind], together)
    added = _TAKEN_ADDS[kind]

    @kernel
    def add_own(out, indices, values, low, high, bins, load):
        size, first, end = np.int64(out.shape[0]), np.int64(low), np.int64(high)
        held = np.int64(0)
        for start in range(0, indices.size, TAKEN):
            stop = min(np.int64(start + TAKEN), np.int64(indices.size))
            held = partition(
                indices, values, size, first, end, bins, load, held, np.int64(start), stop
            )
            ready = max(held - AHEAD, np.int64(0))
            for q in range(ready):
                prefetch(out, first + np.int64(bins[np.uint64(q + AHEAD)]))
                added(out, np.uint64(first + np.int64(bins[np.uint64(q)])), values, load, q)
            held -= ready
            for q in range(held):  # those that were prefetched and not added yet
                bins[q] = bins[ready + q]
                if load.size:
                    load[q] = load[ready + q]
        for q in range(held):
            added(out, np.uint64(first + np.int64(bins[np.uint64(q)])), values, load, q)

    return add_own


@cache
def make_add_checked(kind: str) -> Callable:
    """Check all indices, then add all pairs, for compiled code.

    Parameters
    ----------
    kind : {"value", "scalar", "row"}
        As in `make_add`.

    Returns
    -------
    callable
        ``add(out, indices, values)`` returns -1, or the position of the first index outside [-size,
        size); then nothing was added.

    Raises
    ------
    KeyError
        Raised by the factory for another kind; the function that it returns never raises.

    Notes
    -----
    NaN values are added. Two threads must not add to one array. The function allocates nothing.

    Examples
    --------
    >>> from fastgauss.kernels import make_add_checked
    >>> add = make_add_checked("value")
    >>> out = np.zeros(3)
    >>> add(out, np.array([0, -1]), np.array([2.0, 5.0])), add(out, np.array([7]), np.ones(1))
    (-1, 0)
    >>> out
    array([2., 0., 5.])
    """
    added = ADDS[kind]

    @kernel
    def add_checked(out, indices, values):
        size = out.shape[0]
        for i in range(indices.size):
            if not -size <= np.int64(indices[i]) < size:
                return i
        for i in range(indices.size):
            added(out, np.uint64(from_end(indices[i], size)), values, i)
        return -1

    return add_checked


@device
def two_sum(a, b):
    """The rounded sum and its rounding error, exactly (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@cache
def make_add_careful(place: str, compensated: bool) -> Callable:
    """Add rows of values to bins [low, high), in separate sums and sums of the rounding errors."""
    placed = PLACES[place]

    @kernel
    def add_careful(total, rest, indices, values, size, low, high):
        for i in range(indices.size):
            k = placed(indices[i], size)
            if low <= k < high:
                for c in range(total.shape[1]):
                    if compensated:
                        value = total.dtype.type(values[i, c])
                        total[k - low, c], lost = two_sum(total[k - low, c], value)
                        rest[k - low, c] += lost
                    else:
                        total[k - low, c] += values[i, c]

    return add_careful
