"""Weights, weighted residuals and loss of one row of pixels, for the models that sum row by row.

What a pixel adds to the normal equations is done in three loops over a row: weights and residuals,
the loss, the sums (in ``separable`` and ``rotated``). A single loop would need more sums than a
processor has registers, and each pixel's chain of operations that wait for one another, a division
and the series of a logarithm, is longer than what a processor can look ahead. Short chains of many
pixels overlap: the three loops take two thirds of the time of one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..simd.lanes import broadcast, load, maximum, store
from .estimators import Estimator

SEEN = 4  # lane rows a pixel: weight, weighted residual, and two numbers for the loss


@cache
def make_row_terms(estimator: Estimator, stride: int, column: int) -> Callable:
    """The first two loops; the profile at pixel i is in lane row table + stride i + column."""
    weigh, lose = estimator.weigh, estimator.lose
    linear, positive = estimator.linear, estimator.positive

    @device
    def row_terms(m, pixels, n, at, nx, table, height, offset, seen):
        """Write `SEEN` lane rows a pixel, for the pixels from ``at`` on.

        Returns the sums of weights, of weighted residuals and of the loss, and the largest
        weight. Those of an estimator that is linear are known from the start, and are 0 here.
        """
        one = broadcast(0.0)
        total = broadcast(0.0)
        objective = broadcast(0.0)
        heaviest = broadcast(0.0)
        for i in range(nx):
            value = height * load(m, table + stride * i + column) + offset
            w, g, first, second = weigh(m, pixels, n, at + i, value)
            store(m, seen + SEEN * i, w)
            store(m, seen + SEEN * i + 1, g)
            if not linear:
                store(m, seen + SEEN * i + 2, first)
                store(m, seen + SEEN * i + 3, second)
                one = one + w
                total = total + g
            if positive:
                heaviest = maximum(w, heaviest)
        if not linear:
            for i in range(nx):
                value = height * load(m, table + stride * i + column) + offset
                first = load(m, seen + SEEN * i + 2)
                second = load(m, seen + SEEN * i + 3)
                objective = objective + lose(m, pixels, n, at + i, value, first, second)
        return one, total, objective, heaviest

    return row_terms
