"""Displacements of segments that make the localisations of all segments overlap most.

With corrected places x of localisations, and radii R of the bell b along the axes, the displacement
of the segments maximises

    F = sum over pairs i, j of different segments of b((x_i - x_j) / R).

``kernels/localisations/overlaps.py`` sums F, the forces g (S, d) and the blocks H_st of the
curvature, S segments squared. A step solves H step = g (Newton) where H is positive definite, else
L step = g with the Laplacian L of the weights 8 (1 - r**2)**3, a step of the mean shift, which
never makes F smaller. One common displacement is free: the mean over the segments is held at 0.

The covariance is that of a sum over pairs that share localisations. The force f_i on localisation
i acts on its own segment, and the opposite one on the others, in the shares that the blocks of H
have:

    J = (H D^-1) (A - Q) (H D^-1)^T + Laplacian(Q),        covariance = H^-1 J H^-1

where D and A hold the diagonal blocks of H and the sums of f_i f_i^T, and Q_st the sums of squared
forces of single pairs, which would be counted twice.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..base import thread_pool
from ..base.status import Status
from ..fields.conjugate_gradients import Product, conjugate_gradients, norm
from ..kernels.localisations import overlaps

_LONGEST = 0.5  # radii: a longer step of Newton's is none
_RESIDUAL, _PRODUCTS = 1e-10, 200  # where the solution of a step ends
_TASKS = 16  # whatever the number of threads
_TABLE = 4096  # cells, at least


class Sample(NamedTuple):
    """Localisations sorted by segment, and the box in which pairs count."""

    places: np.ndarray  # (n, d), in units of the bell's radii
    segments: np.ndarray  # (n,) int32
    size: int  # number of segments
    low: np.ndarray  # (d,) the box of which pairs count
    high: np.ndarray


class Overlap(NamedTuple):
    """The overlap at the present displacements, in units of the radii."""

    value: float
    pairs: int
    forces: np.ndarray  # (S, d)
    weights: np.ndarray  # (S, S)
    curvature: np.ndarray  # (S, d, S, d); it and the weights may be those of close displacements
    squares: np.ndarray  # (S, d, d): A
    single: np.ndarray | None  # (S, S, d, d): Q, where it was asked for


def _blocks(sums: np.ndarray, places: tuple[tuple[int, ...], ...], ndim: int) -> np.ndarray:
    """Symmetric matrices (..., d, d) of the last axes."""
    return sums[..., np.array(places)[3 - ndim :, 3 - ndim :]]


def _in_cells(places: np.ndarray, segments: np.ndarray, ndim: int) -> overlaps.Cells:
    most = max(_TABLE, 2 * len(places))
    shape = np.ones(3, np.int64)
    extent = np.array([np.ptp(column) for column in places.T[3 - ndim :]])
    shape[3 - ndim :] = np.minimum(np.floor(extent), most) + 3
    while math.prod(shape.tolist()) > most and shape.max() > 3:
        shape[shape.argmax()] = max(shape.max() // 2, 3)
    shape[2] *= overlaps.FINE
    starts = np.zeros(math.prod(shape.tolist()) + 1, np.int64)
    order = np.empty(len(places), np.int64)
    overlaps.sort_by_cell(places, shape, starts, order)
    return overlaps.Cells(shape, starts, places[order], segments[order])


def sum_overlaps(
    sample: Sample, threads: int | None, spread: bool, close: Overlap | None = None
) -> Overlap:
    """The overlap of all pairs of different segments; the same bits for any number of threads.

    With ``spread`` it has what `covariances` needs. The curvature, which takes most of the time, is
    that of the overlap at ``close`` displacements where there is one.
    """
    count, ndim = sample.size, sample.places.shape[1]
    places = np.zeros((len(sample.places), overlaps.AXES))
    places[:, 3 - ndim :] = sample.places
    low, high = np.zeros((2, 3))
    low[3 - ndim :], high[3 - ndim :] = sample.low, sample.high
    cells = _in_cells(places, sample.segments, ndim)
    # a task has the localisations of some segments, in the order of cells: near ones together
    tasks = min(_TASKS, count)
    owner = cells.segments.astype(np.int64) * tasks // count
    queries = np.argsort(owner, kind="stable")
    firsts = np.searchsorted(owner[queries], np.arange(tasks + 1))
    sums = overlaps.Sums(
        pairs=np.zeros((*((count, count) if close is None else (0, 0)), overlaps.SUMS)),
        single=np.zeros((count, count, 6) if spread else (0, 0, 6)),
        forces=np.zeros((count, 3)),
        squares=np.zeros((count, 3, 3)),
        overlap=np.zeros(count),
        overlapping=np.zeros(count, np.int64),
    )

    def make_task() -> thread_pool.Task:
        near = np.empty(len(places) + 1, np.int32)

        def task(begin: int, end: int) -> None:
            overlaps.add_overlaps(queries, cells, low, high, sums, near, firsts[begin], firsts[end])

        return task

    thread_pool.run(make_task, tasks, 1, threads)
    if close is None:
        weights = sums.pairs[..., 0]
        change = _blocks(sums.pairs, overlaps.CHANGES, ndim)
        change = change - weights[..., np.newaxis, np.newaxis] * np.eye(ndim)
        curvature = _laplacian(-change)
    else:
        weights, curvature = close.weights, close.curvature
    squares = sums.squares[:, 3 - ndim :, 3 - ndim :]
    squares = squares + np.triu(squares, 1).transpose(0, 2, 1)
    return Overlap(
        value=float(sums.overlap.sum()),
        pairs=int(sums.overlapping.sum()),
        forces=sums.forces[:, 3 - ndim :],
        weights=weights,
        curvature=curvature,
        squares=squares,
        single=_blocks(sums.single, overlaps.SQUARES, ndim) if spread else None,
    )


def _laplacian(blocks: np.ndarray) -> np.ndarray:
    """Blocks (S, S, d, d) that pull two segments together, as a matrix (S, d, S, d)."""
    count = len(blocks)
    matrix = -blocks.transpose(0, 2, 1, 3)
    every = np.arange(count)
    matrix[every, :, every, :] += blocks.sum(axis=1)
    return 0.5 * (matrix + matrix.transpose(2, 3, 0, 1))


def _gauge(count: int, ndim: int) -> np.ndarray:
    """The projection on one common displacement, (S d, S d)."""
    return np.kron(np.full((count, count), 1.0 / count), np.eye(ndim))


def _centred(matrix: np.ndarray, count: int) -> np.ndarray:
    """A matrix (S d, k) without what all segments have in common."""
    parts = matrix.reshape(count, -1, matrix.shape[1])
    return (parts - parts.mean(axis=0)).reshape(matrix.shape)


def step(found: Overlap) -> tuple[np.ndarray, bool]:
    """The displacements (S, d) of a step, in units of the radii, and whether it is Newton's."""
    count, ndim = found.forces.shape
    every = np.arange(count)
    own = found.curvature[every, :, every, :]
    if np.linalg.eigvalsh(own)[:, 0].min() > 0.0:
        inverse = np.linalg.inv(own)
        matrix = found.curvature.reshape(count * ndim, -1)
        moves, positive = _solved(
            matrix,
            found.forces.reshape(-1),
            lambda r: np.einsum("sij,sj->si", inverse, r.reshape(count, ndim)).reshape(-1),
        )
        moves = moves.reshape(count, ndim)
        if positive and np.abs(moves).max() < _LONGEST:
            return moves - moves.mean(axis=0), True
    pull = _laplacian(found.weights[..., np.newaxis, np.newaxis])[:, 0, :, 0]
    whole = np.diagonal(pull)
    share = np.divide(1.0, whole, out=np.zeros(count), where=whole > 0)
    columns = [_solved(pull, force, lambda r: share * r)[0] for force in found.forces.T]
    moves = np.stack(columns, axis=1)
    return moves - moves.mean(axis=0), False


def _solved(
    matrix: np.ndarray, forces: np.ndarray, precondition: Product
) -> tuple[np.ndarray, bool]:
    """The solution of matrix x = forces, and whether the matrix is positive in all directions met.

    A factorisation by a BLAS with threads takes many times as long where all processors have work.
    """
    least = _RESIDUAL * norm(forces)
    solution = conjugate_gradients(
        lambda p: np.einsum("ij,j", matrix, p), precondition, forces,
        lambda left, _: norm(left) <= least, _PRODUCTS,
    )  # fmt: skip
    return solution.x, solution.status == Status.CONVERGED


def covariances(found: Overlap) -> tuple[np.ndarray, np.ndarray] | None:
    """Covariance (S d, S d) of the displacements in units of the radii; None: not determined.

    It is the sum of two: of the places of localisations, which falls with their number, and of
    which pairs there are, which falls with its square.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    count, ndim = found.forces.shape
    size = count * ndim
    matrix = found.curvature.reshape(size, size)
    scale = max(float(np.trace(matrix)), 1e-300)
    try:
        factor = cho_factor(matrix + scale * _gauge(count, ndim))
    except LinAlgError:
        return None
    every = np.arange(count)
    own = found.curvature[every, :, every, :]
    assert found.single is not None
    single = 0.5 * (found.single + found.single.transpose(1, 0, 2, 3))
    values, vectors = np.linalg.eigh(found.squares - found.single.sum(axis=1))
    roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, np.newaxis, :]
    shares = np.zeros((count, ndim, count, ndim))
    shares[every, :, every, :] = np.linalg.solve(own, roots)
    inverse = _centred(cho_solve(factor, np.eye(size)), count)
    of_places = inverse @ (matrix @ shares.reshape(size, size))
    of_pairs = inverse @ _laplacian(single).reshape(size, size)
    return of_places @ of_places.T, of_pairs @ inverse.T
