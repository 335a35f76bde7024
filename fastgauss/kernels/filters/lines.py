"""Lines of registers: a symmetric or antisymmetric profile along an axis of neighbouring registers.

A register holds WIDTH lines of a volume side by side. The tails of a profile are summed first, one
pair of registers at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..simd.lanes import load, store

ROWS = 4  # results of a line that share their loads


@device
def even_pair(before, after):
    return after + before


@device
def odd_pair(before, after):
    return after - before


def _make_line(pair: Callable) -> Callable:
    """The building block that filters one line of registers."""

    @device
    def step(sums, tap, before, after):
        return (
            sums[0] + pair(before[0], after[0]) * tap,
            sums[1] + pair(before[1], after[1]) * tap,
            sums[2] + pair(before[2], after[2]) * tap,
            sums[3] + pair(before[3], after[3]) * tap,
        )

    @device
    def line(source, begin, taps, half, radius, out, to, apart, count):
        """Write ``count`` results, rounded up to ROWS; the first is centred at begin + radius.

        They go to the elements ``to``, ``to + apart`` ... of ``out``, which has one axis.
        """
        zero = load(taps, half)
        zero = zero - zero
        for i in range(0, count, ROWS):
            low, high = begin + i, begin + i + 2 * radius
            b0, b1, b2, b3 = (
                load(source, low),
                load(source, low + 1),
                load(source, low + 2),
                load(source, low + 3),
            )
            a0, a1, a2, a3 = (
                load(source, high),
                load(source, high + 1),
                load(source, high + 2),
                load(source, high + 3),
            )
            sums = zero, zero, zero, zero
            k = half + radius
            while k >= half + ROWS:  # the registers of one step serve the next three
                sums = step(sums, load(taps, k), (b0, b1, b2, b3), (a0, a1, a2, a3))
                b4, a4 = load(source, low + 4), load(source, high - 1)
                sums = step(sums, load(taps, k - 1), (b1, b2, b3, b4), (a4, a0, a1, a2))
                b5, a5 = load(source, low + 5), load(source, high - 2)
                sums = step(sums, load(taps, k - 2), (b2, b3, b4, b5), (a5, a4, a0, a1))
                b6, a6 = load(source, low + 6), load(source, high - 3)
                sums = step(sums, load(taps, k - 3), (b3, b4, b5, b6), (a6, a5, a4, a0))
                b0, b1, b2, b3 = b4, b5, b6, load(source, low + 7)
                a0, a1, a2, a3 = load(source, high - 4), a6, a5, a4
                low, high, k = low + ROWS, high - ROWS, k - ROWS
            while k > half:
                sums = step(sums, load(taps, k), (b0, b1, b2, b3), (a0, a1, a2, a3))
                b0, b1, b2, b3 = b1, b2, b3, load(source, low + 4)
                a0, a1, a2, a3 = load(source, high - 1), a0, a1, a2
                low, high, k = low + 1, high - 1, k - 1
            tap = load(taps, half)
            store(out, to + i * apart, sums[0] + b0 * tap)
            store(out, to + (i + 1) * apart, sums[1] + b1 * tap)
            store(out, to + (i + 2) * apart, sums[2] + b2 * tap)
            store(out, to + (i + 3) * apart, sums[3] + b3 * tap)

    return line


_line_even = _make_line(even_pair)
_line_odd = _make_line(odd_pair)


@cache
def make_filter_line(odd: bool) -> Callable:
    """The building block that filters one line by the profile of a term along an axis.

    ``odd`` says whether a profile may be antisymmetric.
    """

    @device
    def filter_line(source, begin, profiles, plan, term, axis, out, to, apart, count):
        """Write the results that ``_make_line`` describes; they begin at begin + reach."""
        half = (term * 3 + axis) * plan.half
        radius = profiles.radii[term, axis]
        begin += plan.reach[axis] - radius
        if odd and profiles.odd[term, axis]:
            _line_odd(source, begin, profiles.taps, half, radius, out, to, apart, count)
        else:
            _line_even(source, begin, profiles.taps, half, radius, out, to, apart, count)

    return filter_line
