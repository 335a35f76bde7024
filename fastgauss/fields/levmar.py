"""Levenberg-Marquardt for many coupled parameters, without a matrix.

Minimise a loss 0.5 r'Wr with Gauss-Newton matrix N = J'WJ and gradient g = J'Wr. A step solves

    (N + damping D) step = -g,    D = diag N,

by conjugate gradients, preconditioned by the diagonal blocks of N, one for each particle; without
overlaps N consists of these blocks. The residual of this solution is a tenth at first and a
hundredth near the minimum. The damping follows the gain ratio, the decrease of the loss divided by
that of its quadratic model (Nielsen 1999, IMM-REP-1999-05, eq. 2.16).

Convergence is judged by the Newton decrement: sqrt(-g'step) is the distance to the minimum in
standard errors of a loss in units of the variance, summed over the parameters in squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..base.status import Status
from .conjugate_gradients import Product, conjugate_gradients, dot

_MOST_INNER = 60  # steps of conjugate gradients
_FIRST_DAMPING = 1e-3
_MOST_DAMPING = 1e12
_TINY = 1e-10  # of a dimensionless step: smaller ones are rounding


class Local(Protocol):
    """A loss at one point, as the descent uses it; vectors are in dimensionless steps."""

    loss: float
    variance: float  # of a residual, for the decrement

    @property
    def gradient(self) -> np.ndarray:
        """g."""

    @property
    def diagonal(self) -> np.ndarray:
        """D, positive."""

    def normal(self, x: np.ndarray) -> np.ndarray:
        """N x."""

    def preconditioner(self, damping: float) -> Callable[[np.ndarray], np.ndarray]:
        """Apply the inverse of the blocks of N + damping D."""

    def moved(self, step: np.ndarray) -> Any:
        """The loss at the end of a step."""


class Descent(NamedTuple):
    """The result of a descent."""

    local: Any
    iterations: int
    status: Status


def _solve(multiply: Product, precondition: Product, right: np.ndarray, tol: float) -> np.ndarray:
    """An x whose residual is ``tol`` of that of 0, in the preconditioner's norm, or near it."""
    most = tol * tol * dot(right, precondition(right))

    def done(_: np.ndarray, slope: float) -> bool:
        return not slope > most

    return conjugate_gradients(multiply, precondition, right, done, _MOST_INNER).x


def minimise(
    local: Any, tol: float, max_iter: int, tell: Callable[[float], None] | None = None
) -> Descent:
    """Descend to a minimum of the loss; ``local`` is a `Local`, and so is what comes out.

    ``tell`` gets the distance to the minimum, in standard errors, before each step.
    """
    damping, growth = _FIRST_DAMPING, 2.0
    start = dot(local.gradient, local.gradient / local.diagonal)
    for iteration in range(max_iter):
        steep = dot(local.gradient, local.gradient / local.diagonal)
        forcing = min(0.1, max(0.01, math.sqrt(steep / start))) if start > 0.0 else 0.1

        def damped(x: np.ndarray, here: Any = local, extra: float = damping) -> np.ndarray:
            return here.normal(x) + extra * here.diagonal * x

        precondition = local.preconditioner(damping)
        step = _solve(damped, precondition, -local.gradient, forcing)
        decrement = -dot(local.gradient, step)
        if tell is not None:
            tell(math.sqrt(max(decrement / (local.variance * step.size or 1.0), 0.0)))
        if not decrement > tol * tol * local.variance * step.size:
            return Descent(local, iteration, Status.CONVERGED)
        model = 0.5 * (decrement + damping * dot(step, local.diagonal * step))
        trial = local.moved(step)
        gain = (local.loss - trial.loss) / model
        if gain > 0.0:
            local = trial
            damping *= max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
            growth = 2.0
        elif np.abs(step).max() < _TINY:
            return Descent(local, iteration + 1, Status.CONVERGED)
        else:
            damping *= growth
            growth *= 2.0
            if damping > _MOST_DAMPING:
                return Descent(local, iteration + 1, Status.STALLED)
    return Descent(local, max_iter, Status.MAX_ITERATIONS)
