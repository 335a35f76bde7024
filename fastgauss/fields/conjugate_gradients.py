"""Conjugate gradients for K x = b, on all numbers or on a face of them.

K is symmetric and positive semidefinite with a diagonal of 1, given as a ``System``: products
with K and with an approximation of its inverse. Sums run in numpy, which adds in an order of
its own, never through a BLAS, whose order depends on its threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from ..base.progress import Progress
from ..base.status import Status


class System(Protocol):
    """A matrix with a diagonal of 1 and an approximate inverse, also of its faces.

    A face is the vectors that are 0 but for their free numbers.
    """

    def multiply(self, x: np.ndarray) -> np.ndarray:
        """K x."""

    def precondition(self, r: np.ndarray) -> np.ndarray:
        """M r, with M symmetric, positive definite on the face and near the inverse of K there."""

    def restrict(self, free: np.ndarray, report: Progress | None = None) -> None:
        """Make M that of the face with these numbers free."""

    def apart(self, marked: np.ndarray) -> np.ndarray:
        """Some of the marked numbers, at least one, no two of them coupled."""


class Solution(NamedTuple):
    """A solution, products with K that it took, and how it ended."""

    x: np.ndarray
    products: int
    status: Status
    residual: float  # of the conditions of optimality, relative to the norm of b
    gradient: np.ndarray  # K x - b


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """The scalar product, with the same bits for any number of threads of a BLAS."""
    return float(np.add.reduce(x * y))


def norm(x: np.ndarray) -> float:
    """The Euclidean norm."""
    return float(np.sqrt(dot(x, x)))


def conjugate_gradients(
    system: System,
    b: np.ndarray,
    tol: float,
    max_iter: int,
    start: np.ndarray | None = None,
    free: np.ndarray | None = None,
    tell: Callable[[float], None] | None = None,
) -> Solution:
    """Solve K x = b on a face until the residual there is below ``tol`` times b.

    ``start`` lies on the face, whose approximate inverse the system holds. ``tell`` gets the
    residual relative to b before each step.
    """
    x = np.zeros_like(b) if start is None else start.copy()
    left = b.copy() if start is None else b - system.multiply(x)
    products = 0 if start is None else 1
    most = tol * norm(b)
    status = Status.MAX_ITERATIONS
    p, last = np.zeros_like(b), 1.0
    while True:
        on_face = left if free is None else np.where(free, left, 0.0)
        residual = norm(on_face)
        if tell is not None:
            tell(residual / (norm(b) or 1.0))
        if residual <= most:
            status = Status.CONVERGED
            break
        if products >= max_iter:
            break
        z = system.precondition(on_face)
        slope = dot(on_face, z)
        p = z + (slope / last) * p
        product = system.multiply(p)
        products += 1
        curvature = dot(p, product)
        if not (curvature > 0.0 and slope > 0.0):
            status = Status.STALLED
            break
        x += (slope / curvature) * p
        left -= (slope / curvature) * product
        last = slope
    return Solution(x, products, status, residual / (norm(b) or 1.0), -left)
