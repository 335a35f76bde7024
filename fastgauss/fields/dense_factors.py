"""Dense factors of up to a few thousand rows: of normal equations, or of the field itself.

Kernels of this package compute them, not LAPACK, whose bits depend on the number of threads of its
BLAS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..base import thread_pool
from ..kernels.fields import householder
from ..kernels.numeric import dense_cholesky as kernels
from ..kernels.numeric.packed_cholesky import packed_size
from . import gram_matrix
from .conjugate_gradients import norm

_PANEL = 32  # columns
_ROWS = 64  # rows that a thread takes at once
_STEPS = 4  # of inverse iteration
_RANK = 1e-12  # smallest part of a column, relative to the longest, that others do not span
_NOTHING = 2.0 * float(np.finfo(np.float64).eps)  # rounding error of a column, per root of m


@dataclass(frozen=True)
class Factor:
    """L, or R', by packed rows.

    Attributes
    ----------
    rows : array
    size : int
    pivots : array (size,)
        The remainder of each diagonal entry, before it was raised to the floor.
    """

    rows: np.ndarray
    size: int
    pivots: np.ndarray

    def solve(self, right: np.ndarray) -> np.ndarray:
        """The x of L L' x = right."""
        x = right.copy()
        kernels.solve(self.rows, x)
        return x

    def smallest(self) -> float:
        """The smallest eigenvalue of L L', from above, by a few steps of inverse iteration."""
        x = np.cos(np.arange(self.size) ** 2.0)  # has a component along every eigenvector
        x /= norm(x)
        value = np.inf
        for _ in range(_STEPS):
            x = self.solve(x)
            length = norm(x)
            value, x = 1.0 / length, x / length
        return value

    def inverse_diagonal(self, threads: int | None) -> np.ndarray:
        """The diagonal of (L L')**-1."""
        out = np.empty(self.size)

        def make_task() -> thread_pool.Task:
            scratch = np.zeros((self.size + kernels.COLUMNS) * kernels.COLUMNS)
            return lambda low, high: kernels.inverse_diagonal(
                self.rows, self.size, scratch, out, low, high
            )

        thread_pool.run(make_task, self.size, kernels.COLUMNS, threads)
        return out


def cholesky(rows: gram_matrix.Rows, shift: float, floor: float, threads: int | None) -> Factor:
    """The factor of K + shift, with pivots of ``floor`` or more of their diagonal entries."""
    n = rows.size
    lower = np.zeros(packed_size(n))
    i = np.repeat(np.arange(n), np.diff(rows.starts))
    below = rows.columns <= i
    i, j = i[below], rows.columns[below]
    lower[packed_size(i) + j] = rows.values[below] + shift * (i == j)
    pivots = np.empty(n)
    for first in range(0, n, _PANEL):
        last = min(first + _PANEL, n)
        kernels.factor_rows(lower, first, last, floor, pivots, first, last)

        def task(low: int, high: int, first: int = first, last: int = last) -> None:
            kernels.factor_rows(lower, first, last, floor, pivots, last + low, last + high)

        thread_pool.run(lambda: task, n - last, _ROWS, threads)
    return Factor(lower, n, pivots)


@dataclass(frozen=True)
class Orthogonal:
    """A matrix of few columns, factorised by reflections.

    Attributes
    ----------
    factor : Factor
        R' of the columns taken.
    taken : array
        Indices of these columns, in the order of the factor.
    definite : bool
        Whether each of the others adds as little as rounding does, and each of these much more.
    """

    factor: Factor
    taken: np.ndarray
    definite: bool
    _normals: np.ndarray
    _scales: np.ndarray

    def solve(self, right: np.ndarray) -> np.ndarray:
        """The x that minimises the distance of A x to ``right``; 0 for columns not taken."""
        inner, rank = right.copy(), self.factor.size
        householder.apply(self._normals, self.taken, self._scales, rank, inner)
        kernels.solve_transposed(self.factor.rows, rank, inner)
        x = np.zeros(len(self._normals))
        x[self.taken] = inner[:rank]
        return x

    def variances(self, threads: int | None) -> np.ndarray:
        """The diagonal of the inverse of A'A; infinite for columns that were not taken."""
        out = np.full(len(self._normals), np.inf)
        out[self.taken] = self.factor.inverse_diagonal(threads)
        return out


def orthogonal(columns: np.ndarray) -> Orthogonal:
    """The factors of A; ``columns`` is A', and is used up."""
    n, m = columns.shape
    order, left, first = np.empty(n, dtype=np.int64), np.empty(n), np.empty(n)
    rows, scales = np.empty(packed_size(min(n, m))), np.empty(min(n, m))
    rank = householder.factorise(columns, _RANK, order, rows, left, first, scales)
    diagonal = np.abs(rows[packed_size(np.arange(1, rank + 1)) - 1])
    rest = order[rank:] if rank < m else order[:0]  # the first m span all there is
    others = np.sqrt(np.maximum(left[rest], 0.0).max(initial=0.0))
    definite = bool(others <= _NOTHING * np.sqrt(m) * diagonal.max(initial=0.0))
    return Orthogonal(Factor(rows, rank, diagonal**2), order[:rank], definite, columns, scales)
