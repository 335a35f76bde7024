"""Bounds of parameters in a fit of ``levmar``: which of them hold, and who is on one.

Projected Newton (Bertsekas 1982, SIAM J. Control Optim. 20, 221): parameters on a bound that
neither the gradient nor the step takes back inside are left out of the step, and the trial is
clipped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device
from ..numeric.packed_cholesky import packed
from ..simd.lanes import broadcast, load, maximum, minimum, select, store

_HAIR = 1e-9  # of the parameter's unit: one that comes so near to a bound is on it


@cache
def make_bounds(size: int, rows: int, slopes: int = 0) -> tuple[Callable, Callable, Callable]:
    """How bounds enter a round; ``rows`` is where they stand in lane memory.

    Beside the offset the last ``slopes`` parameters have the unit of the data.
    """
    lower, upper = rows, rows + size
    held_gradient = rows + 2 * size
    held_gram = rows + 3 * size

    @device
    def hold(m, p, gram, gradient, direction):
        """Leave out parameters on a bound that ``direction`` does not leave; what remains."""
        for i in range(size):
            g, d = load(m, gradient + i), load(m, direction + i)
            low = (load(m, p + i) <= load(m, lower + i)) & (d <= 0.0)
            high = (load(m, p + i) >= load(m, upper + i)) & (d >= 0.0)
            free = select(low | high, broadcast(0.0), broadcast(1.0))
            store(m, held_gradient + i, select(low | high, 0.0, g))
            store(m, held_gram + packed(i, i), free)
        for i in range(size):
            for j in range(i):
                both = load(m, held_gram + packed(i, i)) * load(m, held_gram + packed(j, j))
                store(m, held_gram + packed(i, j), load(m, gram + packed(i, j)) * both)
        for i in range(size):
            store(m, held_gram + packed(i, i), load(m, gram + packed(i, i)))
        return held_gram, held_gradient

    @device
    def clip(m, q) -> None:
        """Put a trial between its bounds."""
        for i in range(size):
            inside = maximum(load(m, q + i), load(m, lower + i))
            store(m, q + i, minimum(inside, load(m, upper + i)))

    @device
    def attach(m, lane, q, i):
        """Put a parameter on the bound that it is a hair away from; whether it is on one."""
        low, high, value = m[lower + i, lane], m[upper + i, lane], m[q + i, lane]
        if not low < high:
            return False
        unit = abs(m[q, lane]) if i == 0 or i >= size - 1 - slopes else 1.0
        if low > -np.inf and value - low <= _HAIR * max(abs(low), unit):
            m[q + i, lane] = low
            return True
        if high < np.inf and high - value <= _HAIR * max(abs(high), unit):
            m[q + i, lane] = high
            return True
        return False

    return hold, clip, attach


@device
def _hold_none(m, p, gram, gradient, direction):
    return gram, gradient


@device
def _clip_none(m, q) -> None:
    pass


@device
def _attach_none(m, lane, q, i):
    return False


NO_BOUNDS = (_hold_none, _clip_none, _attach_none)
