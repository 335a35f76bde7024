"""Conjugate gradients for N x = b, with N symmetric and positive semidefinite.

N and an approximation M of its inverse are given as functions that multiply. Sums are computed by
numpy in its fixed order, never by a BLAS, whose order depends on its threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..base.status import Status

Product = Callable[[np.ndarray], np.ndarray]


class Solution(NamedTuple):
    """Where conjugate gradients ended.

    ``smallest`` is the smallest of p'Np / p'(1/M)p over the directions taken, infinite without any:
    an upper bound of the smallest eigenvalue of MN, and near it once residuals have fallen far.
    """

    x: np.ndarray
    residual: np.ndarray  # b - N x
    products: int
    status: Status
    smallest: float


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """The scalar product, with the same bits for any number of threads of a BLAS."""
    return float(np.add.reduce(x * y))


def norm(x: np.ndarray) -> float:
    """The Euclidean norm."""
    return float(np.sqrt(dot(x, x)))


def conjugate_gradients(
    multiply: Product,
    precondition: Product,
    b: np.ndarray,
    done: Callable[[np.ndarray, float], bool],
    max_products: int,
    start: np.ndarray | None = None,
    free: np.ndarray | None = None,
) -> Solution:
    """Solve N x = b until ``done(residual, residual'M residual)``.

    Parameters
    ----------
    multiply, precondition : callable
        N and M times a vector.
    b : array (n,)
    done : callable
        Called before each step; the residual is 0 for numbers that are not free.
    max_products : int
        Largest number of products with N, without that of the start.
    start : array (n,), optional
        Starting point; 0 for numbers that are not free.
    free : bool array (n,), optional
        Which numbers are free. The others stay 0; M is for the free ones.
    """
    x = np.zeros_like(b) if start is None else start.copy()
    left = b.copy() if start is None else b - multiply(x)
    products = 0 if start is None else 1
    smallest, length = np.inf, 0.0  # length: p'(1/M)p
    p, last = np.zeros_like(b), 1.0
    while True:
        on_face = left if free is None else np.where(free, left, 0.0)
        z = precondition(on_face)
        slope = dot(on_face, z)
        if done(on_face, slope):
            return Solution(x, left, products, Status.CONVERGED, smallest)
        if products >= max_products:
            return Solution(x, left, products, Status.MAX_ITERATIONS, smallest)
        p = z + (slope / last) * p
        length = slope + (slope / last) ** 2 * length
        product = multiply(p)
        products += 1
        curvature = dot(p, product)
        if not (curvature > 0.0 and slope > 0.0):
            return Solution(x, left, products, Status.STALLED, smallest)
        smallest = min(smallest, curvature / length)
        x += (slope / curvature) * p
        left -= (slope / curvature) * product
        last = slope
