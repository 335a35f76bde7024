"""Memory for the nodes of a grid, laid out so that a window's rows meet different lines of a cache.

A cache finds a line by some bits of its address. In an array of 512 x 512 numbers all rows of a
window, and its rows in all channels, begin at the same bits, of which a cache holds few lines:
sweeps of three channels over such an array took three times as long as over one of 500 x 500. Here
rows, planes and channels whose lengths are multiples of powers of 2 have a gap of a few lines
behind them. Memory begins at a line, and rows that are not short have lengths of whole lines, so
that registers which begin at multiples of their width lie in one line each: with registers as long
as lines, sweeps of three channels take a third less time. The gaps are 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_LINE = 64  # bytes of a line of the cache
_LONG = 512  # bytes: longer rows have whole lines
_ROWS, _PLANES = 512, 1024  # bytes: multiples of these get a gap
_BEHIND_ROWS, _BEHIND_PLANES = 1, 17  # lines of a gap


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array, not initialised, whose last axis is contiguous; the others may have gaps."""
    kind = np.dtype(dtype)
    item, line = kind.itemsize, _LINE // kind.itemsize
    steps = [item]
    for k, n in enumerate(reversed(shape[1:])):
        step = steps[0] * n
        if step >= _LONG:
            step = -(-step // _LINE) * _LINE
        often, gap = (_PLANES, _BEHIND_PLANES) if k else (_ROWS, _BEHIND_ROWS)
        steps.insert(0, step + (gap * _LINE if step % often == 0 else 0))
    count = steps[0] * shape[0] // item
    memory = np.empty(count + line, kind)
    first = -memory.__array_interface__["data"][0] // item % line
    memory[:first] = memory[first + count :] = 0
    memory = memory[first : first + count]
    for k, n in enumerate(shape[1:]):
        used = steps[k + 1] * n
        if count and steps[k] > used:
            gaps = (*shape[: k + 1], (steps[k] - used) // item), (*steps[: k + 1], item)
            np.lib.stride_tricks.as_strided(memory[used // item :], *gaps)[...] = 0
    return np.ndarray(shape, kind, memory, strides=steps)


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The same, filled with zeros."""
    array = empty(shape, dtype)
    array[...] = 0
    return array


def copied(array: np.ndarray) -> np.ndarray:
    """The numbers of an array in such memory, in the machine's order of bytes."""
    out = empty(array.shape, array.dtype.newbyteorder("="))
    out[...] = array
    return out


def negated(array: np.ndarray) -> np.ndarray:
    """The numbers with the opposite sign, in such memory."""
    out = empty(array.shape, array.dtype.newbyteorder("="))
    pairs = zip(out, array, strict=True) if array.ndim > 1 else ((out, array),)
    for own, part in pairs:  # numpy would read channels that are last three numbers at a time
        np.negative(part, out=own)
    return out
