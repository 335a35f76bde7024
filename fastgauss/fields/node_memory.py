"""Memory for the nodes of a grid, laid out so that a window's rows meet different lines of a cache.

A cache finds a line by some bits of its address. In an array of 512 x 512 numbers all rows of a
window, and its rows in all channels, begin at the same bits, of which a cache holds few lines:
sweeps of three channels over such an array took three times as long as over one of 500 x 500. Here
rows, planes and channels whose lengths are multiples of powers of 2 have a gap of a few lines
behind them. The gaps are 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_LINE = 64  # bytes of a line of the cache
_ROWS, _PLANES = 512, 1024  # bytes: multiples of these get a gap
_BEHIND_ROWS, _BEHIND_PLANES = 1, 17  # lines of a gap


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros whose last axis is contiguous; the others may have gaps."""
    kind = np.dtype(dtype)
    steps = [kind.itemsize]
    for k, n in enumerate(reversed(shape[1:])):
        step = steps[0] * n
        often, gap = (_PLANES, _BEHIND_PLANES) if k else (_ROWS, _BEHIND_ROWS)
        steps.insert(0, step + (gap * _LINE if step % often == 0 else 0))
    memory = np.zeros(steps[0] * shape[0] // kind.itemsize, kind)
    return np.ndarray(shape, kind, memory, strides=steps)


def copied(array: np.ndarray) -> np.ndarray:
    """The numbers of an array in such memory, in the machine's order of bytes."""
    return _filled(np.positive, array)


def negated(array: np.ndarray) -> np.ndarray:
    """The numbers with the opposite sign, in such memory."""
    return _filled(np.negative, array)


def _filled(change: np.ufunc, array: np.ndarray) -> np.ndarray:
    out = zeros(array.shape, array.dtype.newbyteorder("="))
    pairs = zip(out, array, strict=True) if array.ndim > 1 else ((out, array),)
    for own, part in pairs:  # numpy would read channels that are last three numbers at a time
        change(part, out=own)
    return out
