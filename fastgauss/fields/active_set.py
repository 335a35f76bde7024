"""Nonnegative amplitudes by an active set, for a matrix that is at hand by its entries.

``kernels/fields/active_set.py`` minimises x'(K + delta)x / 2 - b'x over x >= 0. K has no negative
entries and a diagonal of 1, so that |x|**2 <= x'Kx for x >= 0: delta adds to the misfit of the
minimum at most delta times the square of the volume. The gradient of the true misfit there begins
another round, about the point that was found; when the misfit falls no more, delta has no part in
the result.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..kernels.fields import active_set as kernels
from ..kernels.numeric.packed_cholesky import packed_size
from .conjugate_gradients import norm
from .misfit import Misfit, Point
from .normal_equations import GramSystem

_DELTA = 1e-12
_NOISE = 1e-14  # of the largest of b: a gradient below is rounding
_CHANGES = 256  # numbers that enter or leave in one call
_ROUNDS = 6
_FALL = 1e-9  # of the square: a round that brings less is the last
MOST_FREE = 4096  # numbers above 0: the factor has 8 bytes for half the square of this


def optimality(x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The part of the gradient that a minimum over x >= 0 does not have."""
    return np.where(x > 0.0, gradient, np.minimum(gradient, 0.0))


def minimise(
    system: GramSystem, misfit: Misfit, max_products: int, tell: Callable[[float], None]
) -> tuple[Point, int, bool]:
    """The minimum, the products with K that it took, and whether it is one.

    It is none, but no worse than 0, where more than ``MOST_FREE`` numbers are above 0, where
    products ran out, or where rounding kept numbers changing.
    ``tell`` gets the norm of what is left of the gradient.
    """
    n = system.rows.size
    face = kernels.Face(
        x=np.zeros(n),
        gradient=np.empty(n),
        members=np.empty(n, dtype=np.int64),
        place=np.full(n, -1, dtype=np.int64),
        factor=np.empty(packed_size(min(n, MOST_FREE))),
        counts=np.zeros(4, dtype=np.int64),
        before=np.empty(n),
        slope=np.empty(n),
        step=np.empty(n),
        cosine=np.empty(n),
        sine=np.empty(n),
        passed=np.empty(n, dtype=bool),
    )
    noise = _NOISE * float(np.abs(misfit.zero.gradient).max())
    most = 20 * n + 200
    best = misfit.zero
    for _ in range(_ROUNDS):
        about = kernels.Quadratic(*system.rows, best.gradient, best.x, _DELTA)
        while kernels.exchange(about, face, noise, _CHANGES, max_products):
            tell(norm(optimality(face.x, face.gradient)))
            counts = face.counts
            ended = counts[kernels.PRODUCTS] >= max_products or counts[kernels.CHANGES] > most
            if ended or counts[kernels.FULL]:
                return misfit.at(face.x), int(counts[kernels.PRODUCTS]), False
        point = misfit.at(face.x.copy())
        if not point.square < best.square * (1.0 - _FALL):
            break
        best = point
    return best, int(face.counts[kernels.PRODUCTS]), True
