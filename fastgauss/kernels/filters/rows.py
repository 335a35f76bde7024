"""Rows: a symmetric or antisymmetric profile along the contiguous axis, by shifted registers.

The products are summed in the order of ``kernels/filters/lines.py``, so the bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable

from .._compile import device
from ..simd.lanes import load, store
from ..simd.masked import lane_count
from .lines import even_pair, odd_pair

REGISTERS = 4  # of neighbouring results that are summed together


def _make_row(pair: Callable) -> Callable:
    """The building block that filters a part of a row."""

    @device
    def row(source, begin, taps, half, radius, out, to, count):
        """Write ``count`` results, rounded up to REGISTERS; the first is centred at ``begin``."""
        width = lane_count(source)
        zero = load(taps, half)
        zero = zero - zero
        middle = load(taps, half)
        for x in range(0, count, REGISTERS * width):
            s0, s1, s2, s3 = zero, zero, zero, zero
            low, high = begin + x - radius, begin + x + radius
            for k in range(half + radius, half, -1):
                tap = load(taps, k)
                s0 = s0 + pair(load(source, low), load(source, high)) * tap
                s1 = s1 + pair(load(source, low + width), load(source, high + width)) * tap
                s2 = s2 + pair(load(source, low + 2 * width), load(source, high + 2 * width)) * tap
                s3 = s3 + pair(load(source, low + 3 * width), load(source, high + 3 * width)) * tap
                low, high = low + 1, high - 1
            store(out, to + x, s0 + load(source, low) * middle)
            store(out, to + x + width, s1 + load(source, low + width) * middle)
            store(out, to + x + 2 * width, s2 + load(source, low + 2 * width) * middle)
            store(out, to + x + 3 * width, s3 + load(source, low + 3 * width) * middle)

    return row


row_even = _make_row(even_pair)
row_odd = _make_row(odd_pair)
