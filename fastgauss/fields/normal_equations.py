"""The normal equations of a field's amplitudes, scaled to a diagonal of 1.

With A the field, W the weights and r the regularization, K = S (A'WA + r) S, where the diagonal S
makes every diagonal entry of K 1 (Jacobi's preconditioner), and the solution is a = S x. Either K
is stored, entry by entry, with an approximate inverse from small blocks
(``kernels/fields/sparse_rows.py``), or products with K are sweeps over the grid.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from ..base import thread_pool
from ..base.progress import Progress
from ..kernels.fields import sparse_rows as kernels
from ..kernels.numeric.packed_cholesky import packed_size
from . import dense_factors, gram_matrix, sweeps
from .plan import Plan

_CHUNK = 4096  # rows of a product
_BLOCK_CHUNK = 256  # rows of blocks
_BLOCK = 16  # rows from which a row of the approximate inverse is made
_RIDGE = 1e-6  # of the diagonal: what equal particles' blocks are kept from
_UNSEEN = 1e-280  # a smaller diagonal counts as 0
# Entries up to which the matrix is made, at 12 bytes each. It always pays: 1e5 particles in 128**3
# nodes, 184 neighbours each, take 10 iterations with it and 450 without, 1e4 take 5 and 84. With
# 20 to 60 neighbours fits by sweeps took 6 to 30 times longer, spheres and covariances included.
MOST_ENTRIES = 300_000_000


def factors(diagonal: np.ndarray) -> np.ndarray:
    """S: 1 / sqrt of the diagonal, 0 for particles without valid nodes."""
    seen = diagonal > _UNSEEN
    return np.where(seen, 1.0 / np.sqrt(np.where(seen, diagonal, 1.0)), 0.0)


class GramSystem:
    """K by its entries, in the plan's order of particles."""

    method = "gram"

    def __init__(
        self, rows: gram_matrix.Rows, order: np.ndarray, regularization: float, threads: int | None
    ) -> None:
        self.rows, self.order, self.threads = rows, order, threads
        self.regularization = regularization
        diagonal = rows.diagonal()
        self.scale = factors(np.where(diagonal > _UNSEEN, diagonal + regularization, 0.0))
        self._each(
            lambda low, high: kernels.scale(*rows, regularization, self.scale, low, high), _CHUNK
        )
        self._inverse: tuple[gram_matrix.Rows, gram_matrix.Rows] | None = None
        self._blocks_of: tuple[np.ndarray, ...] | None = None
        self._pivots: np.ndarray | None = None

    def _each(self, task: thread_pool.Task, chunk: int) -> None:
        thread_pool.run(lambda: task, self.rows.size, chunk, self.threads)

    def inner(self, values: np.ndarray) -> np.ndarray:
        """Values of the caller's particles in the order of this system."""
        return values[self.order]

    def outer(self, values: np.ndarray) -> np.ndarray:
        """Values in the order of this system for the caller's particles."""
        out = np.empty_like(values)
        out[self.order] = values
        return out

    def forget_inverse(self) -> None:
        """Free the memory of the approximate inverse."""
        self._inverse = self._blocks_of = None

    def multiply(self, x: np.ndarray) -> np.ndarray:
        """K x."""
        return self._product(self.rows, x)

    def _product(self, rows: gram_matrix.Rows, x: np.ndarray) -> np.ndarray:
        out = np.empty(rows.size)
        self._each(lambda low, high: kernels.multiply(*rows, x, out, low, high), _CHUNK)
        return out

    def precondition(self, r: np.ndarray) -> np.ndarray:
        """G'G r, on the face that ``restrict`` named."""
        if self._inverse is None:
            self.restrict(np.ones(self.rows.size, dtype=bool))
        assert self._inverse is not None
        lower, upper = self._inverse
        return self._product(upper, self._product(lower, r))

    @property
    def pivots(self) -> np.ndarray:
        """Pivots: what the others of its block leave of each diagonal entry, which is 1."""
        if self._pivots is None:
            self.restrict(np.ones(self.rows.size, dtype=bool))
        assert self._pivots is not None
        return self._pivots

    def restrict(self, free: np.ndarray, report: Progress | None = None) -> None:
        """Make the approximate inverse that of the free rows and columns of K."""
        from scipy.sparse import csr_matrix

        n = self.rows.size
        if self._blocks_of is None:
            changed = np.ones(n, dtype=bool)
            sizes = np.zeros(n, dtype=np.int64)
            columns = np.zeros(n * _BLOCK, dtype=self.rows.columns.dtype)
            values = np.zeros(n * _BLOCK)
            pivots = np.empty(n)
        else:
            old, sizes, columns, values, pivots = self._blocks_of
            changed = old != free
            if not changed.any():
                return
        free, inverse = free.copy(), (sizes, columns, values, pivots)
        self._blocks(
            kernels.approximate_inverse, _BLOCK, _RIDGE, free, changed, inverse, report=report
        )
        if self._pivots is None and free.all():
            self._pivots = pivots.copy()
        self._blocks_of = free, *inverse
        used = (np.arange(_BLOCK) < sizes[:, np.newaxis]).reshape(-1)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        lower = gram_matrix.Rows(starts, columns[used], values[used])
        transposed = csr_matrix((lower.values, lower.columns, starts), shape=(n, n)).tocsc()
        upper = gram_matrix.Rows(
            transposed.indptr.astype(np.int64), transposed.indices, transposed.data
        )
        self._inverse = lower, upper

    def apart(self, marked: np.ndarray) -> np.ndarray:
        """A choice of the marked particles, no two of them neighbours: the last of each group."""
        chosen = np.empty_like(marked)
        kernels.last_of_neighbours(*self.rows, marked, chosen)
        return chosen

    def _blocks(
        self, kernel: Callable, size: int, ridge: float, *out: Any, report: Progress | None = None
    ) -> None:
        """Run a kernel on the block of each row."""

        def make_task() -> thread_pool.Task:
            scratch = (
                np.empty(size, dtype=np.int64),
                np.empty(size),
                np.full(self.rows.size, -1, dtype=np.int64),
                np.empty(packed_size(size)),
            )
            matrix = tuple(self.rows)
            return lambda low, high: kernel(matrix, ridge, *out, scratch, low, high)

        thread_pool.run(make_task, self.rows.size, _BLOCK_CHUNK, self.threads, report)

    def part(self, chosen: np.ndarray) -> GramSystem:
        """The system of these rows and columns; this system if they are all."""
        if len(chosen) == self.rows.size:
            return self
        from scipy.sparse import csr_matrix

        starts, columns, values = self.rows
        shape = (self.rows.size, self.rows.size)
        few = csr_matrix((values, columns, starts), shape=shape)[chosen][:, chosen]
        part = copy.copy(self)
        part.rows = gram_matrix.Rows(few.indptr.astype(np.int64), few.indices, few.data)
        part.forget_inverse()
        return part

    def factor(self, shift: float, floor: float = 0.5) -> dense_factors.Factor:
        """The Cholesky factor of K + shift; ``floor`` is the least pivot, in shifts."""
        return dense_factors.cholesky(self.rows, shift, floor * shift, self.threads)

    def exact_variances(self) -> np.ndarray:
        """The diagonal of the inverse of K; a pivot that is only rounding counts as a tiny one."""
        floor = max(self.rows.size, 1) * float(np.finfo(np.float64).eps)
        return dense_factors.cholesky(self.rows, 0.0, floor, self.threads).inverse_diagonal(
            self.threads
        )

    def variances(self, size: int) -> np.ndarray:
        """The diagonal of the inverse of K from blocks of ``size`` rows."""
        out = np.empty(self.rows.size)
        everyone = np.ones(self.rows.size, dtype=bool)
        self._blocks(kernels.variances, size, 1e-14, everyone, out)
        return out


class SweepSystem:
    """K by sweeps to the grid and back, in the caller's order of particles."""

    method = "matrix-free"

    def __init__(
        self,
        plan: Plan,
        weights: np.ndarray | None,
        regularization: float,
        threads: int | None,
    ) -> None:
        self.plan, self.weights, self.threads = plan, weights, threads
        self.regularization = regularization
        diagonal = self._diagonal()
        self.scale = factors(np.where(diagonal > _UNSEEN, diagonal + regularization, 0.0))

    def _diagonal(self) -> np.ndarray:
        """The sums of weight times squared profile, which is a profile of 1/sqrt(2) the width.

        With integrated pixels this is close to the diagonal, which is enough for scaling.
        """
        particles, support = self.plan.particles, self.plan.support
        narrow = 0.5 if self.plan.rotated else np.sqrt(0.5)
        squared = self.plan._replace(
            particles=particles._replace(widths=particles.widths * narrow),
            support=support._replace(radius=support.radius * np.sqrt(2.0)),
        )
        if self.weights is None:
            ones = np.ones(self.plan.grid.shape)
        return sweeps.gather(squared, ones if self.weights is None else self.weights, self.threads)[
            :, 0
        ]

    def inner(self, values: np.ndarray) -> np.ndarray:
        """Values of the caller's particles in the order of this system."""
        return values

    outer = inner

    def multiply(self, x: np.ndarray) -> np.ndarray:
        """K x."""
        volume = np.zeros(self.plan.grid.shape)
        a = self.scale * x
        sweeps.scatter(self.plan, volume, a, "sum", self.threads)
        if self.weights is not None:
            volume *= self.weights
        out = sweeps.gather(self.plan, volume, self.threads)[:, 0]
        return self.scale * (out + self.regularization * a)

    def precondition(self, r: np.ndarray) -> np.ndarray:
        """The diagonal of K is 1: r itself."""
        return r.copy()

    def restrict(self, free: np.ndarray, report: Progress | None = None) -> None:
        """The preconditioner is the same on every face: nothing to do."""

    def forget_inverse(self) -> None:
        """There is none."""

    def apart(self, marked: np.ndarray) -> np.ndarray:
        """The last of the marked particles, since neighbours are not known."""
        chosen = np.zeros_like(marked)
        chosen[np.flatnonzero(marked)[-1:]] = True
        return chosen


def make_system(
    plan: Plan, weights: np.ndarray | None, regularization: float, threads: int | None,
    report: Progress | None = None,
) -> GramSystem | SweepSystem:  # fmt: skip
    """The system by its entries where they fit, else by sweeps."""
    rows = gram_matrix.rows_of(plan, weights, threads, MOST_ENTRIES, report)
    if rows is None:
        return SweepSystem(plan, weights, regularization, threads)
    return GramSystem(rows, plan.particles.order, regularization, threads)
