"""Adding values to bins: one pass over pairs of index and value, in their order.

``make_add(place, kind)`` is numpy.add.at for pairs [start, stop). ``place`` names how an index is
read (``partition.PLACES``). ``kind`` says what a value is: "value", one number a pair; "scalar",
one number for all; "row", a row of numbers that belongs to a row of ``out``.

A sum is rounded to the dtype of ``out`` after each addition, as numpy does. Bins that lie outside
the caches are asked for some pairs ahead; where an index repeats many times, the sum stays in a
register (``make_add_runs``), which a store and a load would take three times as long for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.extending import type_callable

from ._compile import device, kernel
from .partition import PLACES, from_end

AHEAD = 32  # pairs between asking for a bin and adding to it
_FLAG = ir.IntType(32)


def prefetch(array: np.ndarray, i: int) -> None:
    """Ask for row ``i`` of an array, which will be written. Any ``i`` is allowed."""


@type_callable(prefetch)
def _type_prefetch(context: Any) -> Any:
    def typer(array: Any, i: Any) -> Any:
        fits = isinstance(array, types.Array) and isinstance(i, types.Integer)
        return types.none if fits else None

    return typer


@lower_builtin(prefetch, types.Array, types.Integer)
def _lower_prefetch(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array = context.make_array(sig.args[0])(context, builder, args[0])
    row = context.cast(builder, args[1], sig.args[1], types.intp)
    stride = cgutils.unpack_tuple(builder, array.strides)[0]
    byte = ir.IntType(8).as_pointer()
    pointer = builder.gep(builder.bitcast(array.data, byte), [builder.mul(row, stride)])
    kind = ir.FunctionType(ir.VoidType(), [byte, _FLAG, _FLAG, _FLAG])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, *(ir.Constant(_FLAG, flag) for flag in (1, 3, 1))])
    return context.get_dummy_value()


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


@cache
def make_add(place: str, kind: str) -> Callable:
    """The kernel that adds pairs [start, stop) to ``out``."""
    placed, added = PLACES[place], ADDS[kind]

    @kernel
    def add(out, indices, values, start, stop):
        size = out.shape[0]
        for i in range(stop - start):
            j = np.uint64(start + i)
            k = placed(indices[j], size)
            if k >= 0:
                added(out, np.uint64(k), values, j)

    @kernel
    def add_ahead(out, indices, values, start, stop):
        size = out.shape[0]
        middle = max(start, stop - AHEAD)
        for i in range(middle - start):
            j = np.uint64(start + i)
            prefetch(out, placed(indices[np.uint64(start + i + AHEAD)], size))
            added(out, np.uint64(placed(indices[j], size)), values, j)
        for i in range(middle, stop):
            j = np.uint64(i)
            added(out, np.uint64(placed(indices[j], size)), values, j)

    return add_ahead if place in ("plain", "raise") else add


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


@cache
def make_add_rows_at() -> Callable:
    """The kernel that adds the rows whose positions, less ``base``, came with their bins."""

    @kernel
    def add_rows_at(out, bins, load, values, base, start, stop):
        for q in range(start, stop):
            i = base + np.int64(load[np.uint64(q)])
            add_row(out, np.uint64(bins[np.uint64(q)]), values, np.uint64(i))

    return add_rows_at


@cache
def make_add_checked(kind: str) -> Callable:
    """Check all indices, then add all pairs: the position of the first bad index, or -1."""
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
    """The rounded sum and what rounding lost, exactly (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@cache
def make_add_careful(place: str, compensated: bool) -> Callable:
    """Add rows of values to bins [low, high) in sums of their own, with what rounding lost."""
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
