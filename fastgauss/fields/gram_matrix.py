"""Gram matrices A'A of a plan: built by rows on several threads, in the order of the plan."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..base import thread_pool
from ..base.progress import Progress
from ..kernels.fields import gram as kernels
from ..kernels.fields import sparse_rows
from ..kernels.simd.lane_types import WIDTH
from . import sweeps
from .plan import Plan

if TYPE_CHECKING:
    import scipy.sparse

_CHUNK = 512  # rows
_MOST_PADDED = 8.0  # largest size of weights repeated for periodic axes, in grids


class Rows(NamedTuple):
    """A sparse square matrix by rows, columns and rows in the order of a plan."""

    starts: np.ndarray  # (n + 1,) int64
    columns: np.ndarray  # int32 if that is enough
    values: np.ndarray

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.starts) - 1

    def diagonal(self) -> np.ndarray:
        """The diagonal (n,); 0 where it is not stored."""
        out = np.empty(self.size)
        sparse_rows.diagonal(*self, out)
        return out


def separable(plan: Plan) -> bool:
    """Whether particles are products of profiles on a box, so that the matrix is analytic."""
    return not plan.rotated and not plan.sphere


def _cells(plan: Plan) -> kernels.Cells:
    grid, particles = plan.grid, plan.particles
    lead = 3 - grid.ndim
    shape = np.array(grid.shape)
    edges = np.full(grid.ndim, particles.layer)
    tiles = np.maximum(1, -(-shape // edges))
    inside = np.minimum(np.maximum(particles.centres, 0.0), np.maximum(shape - 1, 0))
    own = inside.astype(np.int64) // edges
    key = np.zeros(plan.n, dtype=np.int64)
    for axis in range(grid.ndim):
        key = key * tiles[axis] + own[:, axis]
    counts = np.bincount(key, minlength=math.prod(tiles.tolist()))
    half = plan.support.radius * particles.widths + 0.5 * plan.support.integrate
    reach = half.max(axis=0, initial=0.0)
    starts = np.concatenate([[0], np.cumsum(counts)])
    reaches = np.zeros((len(counts) // int(tiles[-1]), 3))
    reaches[:, lead:] = reach
    if len(half) > 1:  # particles of a row of tiles are contiguous
        bounds = starts[:: tiles[-1]]
        some = np.flatnonzero(np.diff(bounds))
        reaches[some, lead:] = np.maximum.reduceat(half, bounds[some], axis=0)
    ones = (1,) * lead
    periods = tuple(np.where(grid.periodic, shape, 0).tolist())
    around = 4.0 * reach + edges + 2.0 >= shape  # a tile would be visited from both sides
    return kernels.Cells(
        ones + grid.shape,
        (0,) * lead + periods,
        ones + tuple(edges.tolist()),
        ones + tuple(tiles.tolist()),
        (0.0,) * lead + tuple(reach.tolist()),
        (False,) * lead + tuple((around & np.array(grid.periodic)).tolist()),
        starts,
        reaches,
    )


def _tables(plan: Plan, cells: kernels.Cells, threads: int | None) -> kernels.Tables:
    n = plan.n
    particles, support = plan.particles, plan.support
    begin, end = np.full(3 * (n + WIDTH), np.inf), np.full(3 * (n + WIDTH), -np.inf)
    sizes = np.empty(n, dtype=np.int64)
    kernels.measure(
        particles.centres,
        particles.widths,
        support,
        cells.shape,
        cells.periods,
        begin,
        end,
        sizes,
    )
    spans = np.zeros((n, 9), dtype=np.int64)
    some = sizes > 0
    for axis in range(3):
        at = slice(axis * (n + WIDTH), axis * (n + WIDTH) + n)
        spans[some, axis], spans[some, 3 + axis] = begin[at][some], end[at][some]
    lengths = spans[:, 3:6] - spans[:, :3]
    ends = np.cumsum(sizes)
    spans[:, 6:] = (ends - sizes)[:, np.newaxis] - spans[:, :3]
    spans[:, 7] += lengths[:, 0]
    spans[:, 8] += lengths[:, 0] + lengths[:, 1]
    values = np.empty(int(ends[-1]) if n else 0)
    tables = kernels.Tables(begin, end, spans, values, 3 - plan.grid.ndim)
    longest = int(lengths.max(initial=0))

    def make_task() -> thread_pool.Task:
        scratch = np.empty(longest + 2 * WIDTH)

        def task(start: int, stop: int) -> None:
            kernels.tabulate(
                particles.centres, particles.widths, support, tables, scratch, start, stop
            )

        return task

    thread_pool.run(make_task, n, 4 * _CHUNK, threads)
    return tables


def _flat_weights(weights: np.ndarray, cells: kernels.Cells) -> tuple[np.ndarray, tuple[int, ...]]:
    """Weights as one axis, repeated where windows pass the end, and their strides and start."""
    solid: Any = weights.reshape(cells.shape)
    pads = [
        int(reach) + 2 if period else 0
        for reach, period in zip(cells.reach, cells.periods, strict=True)
    ]
    if any(pads):
        solid = np.pad(solid, [(pad, pad) for pad in pads], mode="wrap")
    flat = np.ascontiguousarray(solid, dtype=np.float64).reshape(-1)
    across = solid.shape[2]
    plane = solid.shape[1] * across
    return flat, (plane, across, pads[0] * plane + pads[1] * across + pads[2])


def build(
    plan: Plan, weights: np.ndarray | None, threads: int | None, most: float = np.inf,
    report: Progress | None = None,
) -> Rows | None:  # fmt: skip
    """The matrix A'A, or A'WA with weights of the grid's shape, of a separable plan.

    None if it would have more than ``most`` entries.
    """
    n = plan.n
    cells = _cells(plan)
    tables = _tables(plan, cells, threads)
    counts = np.zeros(n + 1, dtype=np.int64)

    def count_task() -> thread_pool.Task:
        return lambda start, stop: kernels.count(cells, tables, counts[1:], start, stop)

    thread_pool.run(count_task, n, _CHUNK, threads)
    starts = np.cumsum(counts)
    if starts[-1] > most:
        return None
    index = np.int32 if n < 2**31 else np.int64
    rows = Rows(starts, np.empty(int(starts[-1]), dtype=index), np.empty(int(starts[-1])))
    if weights is not None:
        flat, layout = _flat_weights(weights, cells)

    def fill_task() -> thread_pool.Task:
        if weights is None:
            return lambda start, stop: kernels.fill(cells, tables, *rows, start, stop)
        return lambda start, stop: kernels.fill_weighted(
            cells, tables, flat, layout, *rows, start, stop
        )

    thread_pool.run(fill_task, n, _CHUNK, threads, report)
    kernels.mirror(*rows, starts[:-1].copy())
    return rows


def listed(plan: Plan, weights: np.ndarray | None, most: float = np.inf) -> Rows | None:
    """The matrix for any plan, from the list of all nodes of all particles.

    None if that list would be longer than ``most``, or the matrix.
    """
    columns = sweeps.sparse(plan, most)
    if columns is None:
        return None
    matrix = columns.T[plan.particles.order]
    weighted = matrix if weights is None else matrix.multiply(weights.reshape(1, -1)).tocsr()
    product = (weighted @ matrix.T).tocsr()
    product.sort_indices()
    if product.nnz > most:
        return None
    return Rows(product.indptr.astype(np.int64), product.indices, product.data)


def in_callers_order(rows: Rows, order: np.ndarray) -> scipy.sparse.csr_matrix:
    """The matrix as scipy knows it, with sorted columns.

    A transposition sorts, and the matrix is symmetric: two of them move rows and columns.
    """
    from scipy.sparse import csr_matrix

    shape = (rows.size, rows.size)
    half = csr_matrix((rows.values, order[rows.columns], rows.starts), shape=shape).tocsc()
    whole = csr_matrix((half.data, order[half.indices], half.indptr), shape=shape).tocsc()
    return csr_matrix((whole.data, whole.indices, whole.indptr), shape=shape)


def _padded(plan: Plan) -> float:
    """Grids that weights would fill when repeated as far as windows pass periodic ends."""
    reach = plan.support.radius * plan.particles.widths + 0.5 * plan.support.integrate
    largest = reach.max(axis=0, initial=0.0) + 2.0
    return math.prod(
        1.0 + 2.0 * float(far) / max(n, 1) if wraps else 1.0
        for far, n, wraps in zip(largest, plan.grid.shape, plan.grid.periodic, strict=True)
    )


def rows_of(
    plan: Plan, weights: np.ndarray | None, threads: int | None, most: float = np.inf,
    report: Progress | None = None,
) -> Rows | None:  # fmt: skip
    """The matrix of any plan, analytic where that is possible."""
    if separable(plan) and not (weights is not None and _padded(plan) > _MOST_PADDED):
        return build(plan, weights, threads, most, report)
    return listed(plan, weights, most)


def matrix(plan: Plan, threads: int | None) -> scipy.sparse.csr_matrix:
    """A'A of a plan in the caller's order of particles."""
    rows = rows_of(plan, None, threads)
    assert rows is not None
    return in_callers_order(rows, plan.particles.order)
