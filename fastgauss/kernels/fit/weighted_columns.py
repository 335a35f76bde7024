"""Normal equations of a model whose columns are formed at each point, one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..simd.lanes import load, store
from .estimators import Estimator, make_terms


@cache
def make_weigh(size: int, estimator: Estimator) -> Callable:
    """What one point adds, in the form that ``contract`` sums with the pattern DENSE."""
    terms = make_terms(estimator)

    @device
    def weigh(m, pixels, n, at, value, columns, left):
        """Write the columns times the weight, then the weighted residual; returns the loss."""
        w, g, loss = terms(m, pixels, n, at, value)
        for i in range(size):
            store(m, left + i, w * load(m, columns + i))
        store(m, left + size, g)
        return loss

    return weigh
