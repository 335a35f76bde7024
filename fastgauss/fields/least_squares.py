"""Least squares for the amplitudes of a field: choice of the method, and proof of convergence.

If particles are not too close, conjugate gradients and block pivoting need a few products with the
normal equations. In crowded fields they do not converge, and a small gradient may belong to a
misfit far above the minimum: with g the gradient and K the matrix, the misfit is g'(1/K)g above it.
This is bounded by g'Mg / smallest, with M an approximate inverse and ``smallest`` an estimate of
the smallest eigenvalue of MK. If the bound is not met, or if a block of neighbours shows that K has
eigenvalues that products would not show, up to some thousand particles are solved by dense factors:
the Cholesky factor of K; Householder reflections of the field itself where K is not accurate
enough; an active set where amplitudes must not be negative. All results are corrected by the
gradient of the true misfit (``fields/misfit.py``) until the corrections vanish.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..base.status import Status
from . import active_set, dense_factors, nonnegative_programs, sweeps
from .active_set import optimality
from .conjugate_gradients import conjugate_gradients, dot, norm
from .misfit import Misfit, Point
from .normal_equations import GramSystem, SweepSystem

System = GramSystem | SweepSystem

_DENSE = 4096  # largest number of particles for a dense factor, if conjugate gradients fail
_MANY = 20_000  # largest number of particles for an active set
_ATTEMPT, _EXCHANGE = 100, 40  # products before a dense factor, or an active set, is used instead
_SHIFT = 1e-13  # added to the diagonal of 1 of K where it is factorised
_REFLECTED, _NUMBERS = 4e9, 2e7  # nodes times particles squared, and times particles, for QR
_SMALL = 1e-5  # eigenvalue or pivot below which dense factors are better
_WEAK = 1e-10  # pivot below which K has less than six digits of it
_GAP = 1e-7  # of the square: largest distance from its minimum
_NOISE = 1e-14  # of the norm of the volume: a smaller residual is rounding
_CORRECTION = 1e-4  # part of a gradient that remains after a correction
_AGAIN = 4  # solutions by reflections, each of the remainder of the last one
_EXACT = 1e-12  # of the norm of the volume: a residual that counts as 0
_FINE = 1e-6  # of the norm of the volume: for a smaller residual K is not accurate enough
_ROUNDED = 1e-6  # part of the square that may come from rounding
_CROWD = 0.1  # median pivot of particles above which block pivoting does not converge


class Outcome(NamedTuple):
    """The result of a fit; ``status`` says whether its misfit is the smallest."""

    point: Point
    products: int
    status: Status
    residual: float  # of the conditions of a minimum, relative to their violation at 0
    orthogonal: dense_factors.Orthogonal | None = None


@dataclass(frozen=True)
class Goal:
    """The condition under which a fit ends."""

    tol: float
    max_iter: int
    size: float  # norm of the gradient at 0
    noise: float  # square of a residual that counts as rounding
    tell: Callable[[float], None]  # gets residuals relative to ``size``

    def done(self, left: np.ndarray, _: float) -> bool:
        """Whether a residual of the normal equations is small enough."""
        residual = norm(left)
        self.tell(residual / self.size)
        return residual <= self.tol * self.size

    def reached(self, point: Point, left: np.ndarray, slope: float, smallest: float) -> bool:
        """Whether the gradient at a point, and the distance from the minimum, are small enough."""
        near = slope <= smallest * (_GAP * point.square + self.noise)
        return near and norm(left) <= self.tol * self.size


def solve(
    system: System,
    misfit: Misfit,
    nonnegative: bool,
    tol: float,
    max_iter: int,
    tell: Callable[[float], None],
) -> Outcome:
    """Minimise the misfit; ``tell`` gets the residual of the conditions of a minimum."""
    zero = misfit.zero
    size = norm(optimality(zero.x, zero.gradient) if nonnegative else zero.gradient)
    if not size > 0.0:
        return Outcome(zero, 0, Status.CONVERGED, 0.0)
    goal = Goal(tol, max_iter, norm(zero.gradient), _NOISE**2 * zero.square, tell)
    if nonnegative:
        return _nonnegatively(system, misfit, goal)
    return _unless_rounded(_freely(system, misfit, goal), misfit)


def _at_hand(system: System, most: int) -> GramSystem | None:
    """The system if its matrix is stored and has at most ``most`` particles."""
    return system if isinstance(system, GramSystem) and system.rows.size <= most else None


# -- amplitudes of any sign ----------------------------------------------------------------------


def _freely(system: System, misfit: Misfit, goal: Goal) -> Outcome:
    b = -misfit.zero.gradient
    dense = _at_hand(system, _DENSE)
    most = min(goal.max_iter, _ATTEMPT) if dense else goal.max_iter
    found = conjugate_gradients(system.multiply, system.precondition, b, goal.done, most)
    if dense and found.products < goal.max_iter:
        weakest = float(dense.pivots.min())
        if found.status != Status.CONVERGED or min(found.smallest, weakest) < _SMALL:
            return _densely(dense, misfit, goal, found.x, found.products)
    out = _correct(
        system.precondition, system, misfit, goal, found.x, found.products, found.smallest
    )
    if isinstance(system, GramSystem) and not dense:
        return _unless_weak(out, _count_weak(system.pivots), misfit)
    return out


def _correct(
    precondition: Callable[[np.ndarray], np.ndarray],
    system: System,
    misfit: Misfit,
    goal: Goal,
    x: np.ndarray,
    products: int,
    smallest: float,
) -> Outcome:
    """Correct x by the true gradient while this is needed and reduces the misfit."""
    point = misfit.at(x)
    if not point.square < misfit.zero.square:
        point = misfit.zero
    status = Status.MAX_ITERATIONS
    while True:
        first = dot(point.gradient, precondition(point.gradient))
        if goal.reached(point, point.gradient, first, smallest):
            status = Status.CONVERGED
            break
        if products >= goal.max_iter:
            break

        def done(_: np.ndarray, slope: float, first: float = first) -> bool:
            return not slope > _CORRECTION**2 * first

        found = conjugate_gradients(
            system.multiply, precondition, -point.gradient, done, goal.max_iter - products
        )
        products += found.products
        smallest = min(smallest, found.smallest)
        after = misfit.at(point.x + found.x)
        if not after.square < point.square:
            status = Status.STALLED
            break
        point = after
    return Outcome(point, products, status, norm(point.gradient) / goal.size)


def _densely(
    system: GramSystem, misfit: Misfit, goal: Goal, x: np.ndarray, products: int
) -> Outcome:
    """Solve by a Cholesky factor; by reflections if K is too inaccurate and the field is small."""
    factor = system.factor(_SHIFT)
    weak = factor.smallest() < _WEAK
    if weak:
        seen = _seen(system, misfit, np.arange(system.rows.size))
        if seen is not None:
            return _by_reflections(system, misfit, goal, seen, products)
    out = _correct(factor.solve, system, misfit, goal, x, products, 1.0)
    return _unless_weak(out, max(int(weak), _count_weak(factor.pivots)), misfit)


class _Seen(NamedTuple):
    """The nodes in the support of any particle."""

    columns: np.ndarray  # (n, nodes), scaled and weighted; the regularization's rows at the end
    nodes: np.ndarray
    roots: np.ndarray | float  # of weights


def _seen(system: GramSystem, misfit: Misfit, chosen: np.ndarray) -> _Seen | None:
    """The field of some particles as a dense matrix; None if that is too large."""
    matrix = sweeps.sparse(misfit.plan, _NUMBERS)
    if matrix is None:
        return None
    n, ridge = len(chosen), system.regularization
    few = matrix[:, misfit.plan.particles.order[chosen]]
    nodes = np.unique(few.indices)
    m = len(nodes) + (n if ridge > 0.0 else 0)
    if m * n > _NUMBERS or m * n * n > _REFLECTED:
        return None
    columns = np.zeros((n, m))
    columns[:, : len(nodes)] = few.tocsr()[nodes].toarray().T
    columns *= system.scale[chosen, np.newaxis]
    roots = 1.0 if misfit.weights is None else np.sqrt(misfit.weights.ravel()[nodes])
    columns[:, : len(nodes)] *= roots
    if ridge > 0.0:
        own = np.arange(n)
        columns[own, len(nodes) + own] = np.sqrt(ridge) * system.scale[chosen]
    return _Seen(columns, nodes, roots)


def _reflect(
    system: GramSystem, misfit: Misfit, point: Point, chosen: np.ndarray, seen: _Seen
) -> tuple[Point, dense_factors.Orthogonal]:
    """Solve for some particles by reflections, and again for the remainder."""
    factors = dense_factors.orthogonal(seen.columns)
    for _ in range(_AGAIN):
        right = np.zeros(seen.columns.shape[1])
        right[: len(seen.nodes)] = -seen.roots * misfit.residual(point.x).ravel()[seen.nodes]
        if system.regularization > 0.0:
            own = np.sqrt(system.regularization) * system.scale[chosen]
            right[len(seen.nodes) :] = -own * point.x[chosen]
        x = point.x.copy()
        x[chosen] += factors.solve(right)
        after = misfit.at(x)
        if not after.square < point.square:
            break
        point = after
    return point, factors


def _by_reflections(
    system: GramSystem, misfit: Misfit, goal: Goal, seen: _Seen, products: int
) -> Outcome:
    everyone = np.arange(system.rows.size)
    point, factors = _reflect(system, misfit, misfit.zero, everyone, seen)
    residual = norm(point.gradient) / goal.size
    status = Status.CONVERGED if residual <= goal.tol else Status.STALLED
    if not factors.definite:
        status = Status.SINGULAR
    return Outcome(point, products, status, residual, factors)


def _count_weak(pivots: np.ndarray) -> int:
    return int(np.count_nonzero(pivots < _WEAK))


def _unless_weak(out: Outcome, weak: int, misfit: Misfit) -> Outcome:
    """Not converged where directions that rounding hides would lessen the misfit noticeably.

    Each of the ``weak`` takes about the square of a node's residual. Two particles alike share one
    direction that is nothing at all.
    """
    if weak:
        particles = misfit.plan.particles
        own = particles.widths.reshape(len(particles.widths), -1)
        own = np.broadcast_to(own, (misfit.plan.n, own.shape[1]))
        each = np.hstack([particles.centres, own])
        weak -= len(each) - len(np.unique(each, axis=0))
    freedom = misfit.nodes - misfit.plan.n
    if out.status == Status.CONVERGED and weak > 2.0 * _GAP * max(freedom, 0):
        return out._replace(status=Status.SINGULAR)
    return out


def _unless_rounded(out: Outcome, misfit: Misfit) -> Outcome:
    """Not converged where amplitudes are so large that rounding makes up part of the residual."""
    point = out.point
    eps = float(np.finfo(np.float64).eps)
    if point.left <= _EXACT**2 * misfit.zero.left:
        return out
    noise = eps * float(np.abs(point.x).sum())  # columns have a length of 1
    if out.status != Status.CONVERGED or noise**2 <= _ROUNDED * point.left:
        return out
    size = misfit.residual(np.abs(point.x)) + misfit.volume
    if misfit.weights is not None:
        size *= np.sqrt(misfit.weights)
    noise = eps * norm(size.ravel())
    return out if noise**2 <= _ROUNDED * point.left else out._replace(status=Status.STALLED)


# -- amplitudes that must not be negative --------------------------------------------------------


def _nonnegatively(system: System, misfit: Misfit, goal: Goal) -> Outcome:
    b = -misfit.zero.gradient
    few = _at_hand(system, _MANY)

    def tell(residual: float) -> None:
        goal.tell(residual / goal.size)

    products, start = 0, misfit.zero.x
    if not _is_crowded(system):
        most = min(goal.max_iter, _EXCHANGE) if few else max(goal.max_iter // 2, 1)
        found = nonnegative_programs.pivot(system, b, goal.tol, most, tell)
        products, start = found.products, np.maximum(found.x, 0.0)
        if found.status == Status.CONVERGED:
            out = _judge(misfit.at(found.x), products, goal)
            if not few or _is_trusted(few, out.point, found.smallest, goal):
                return out
    if few and products < goal.max_iter:
        point, more, least = active_set.minimise(few, misfit, goal.max_iter - products, tell)
        products += more
        if least:
            return _judge(_sharpen(few, misfit, point), products, goal)
        start = point.x
    left = max(goal.max_iter - products, 0)
    found = nonnegative_programs.project(system, b, start, goal.tol * goal.size, left, tell)
    point = misfit.at(found.x)
    if not point.square < misfit.zero.square:
        point = misfit.zero
    out = _judge(point, products + found.products, goal)
    return out if out.status == Status.CONVERGED else out._replace(status=found.status)


def _is_crowded(system: System) -> bool:
    """Whether block pivoting would not converge, as far as the matrix tells."""
    return isinstance(system, GramSystem) and float(np.median(system.pivots)) < _CROWD


def _sharpen(system: GramSystem, misfit: Misfit, point: Point) -> Point:
    """Solve on the face by reflections where the volume has next to no noise.

    There the normal equations do not know the residual; it is left as it is if a number would
    become negative.
    """
    if point.left > _FINE**2 * misfit.zero.left:
        return point
    free = np.flatnonzero(point.x > 0.0)
    seen = _seen(system, misfit, free)
    if seen is None:
        return point
    after = _reflect(system, misfit, point, free, seen)[0]
    return after if after.x.min() >= 0.0 else point


def _judge(point: Point, products: int, goal: Goal) -> Outcome:
    residual = norm(optimality(point.x, point.gradient)) / goal.size
    status = Status.CONVERGED if residual <= goal.tol else Status.STALLED
    return Outcome(point, products, status, residual)


def _is_trusted(system: GramSystem, point: Point, smallest: float, goal: Goal) -> bool:
    """Whether the result of block pivoting is the minimum to the accuracy of the misfit."""
    left = optimality(point.x, point.gradient)
    face = np.where(point.x > 0.0, left, 0.0)
    slope = dot(face, system.precondition(face)) + dot(left - face, left - face)
    sound = min(smallest, float(system.pivots.min())) >= _SMALL
    return sound and goal.reached(point, left, slope, smallest)
