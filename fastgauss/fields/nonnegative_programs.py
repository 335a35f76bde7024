"""The minimum of x'Kx / 2 - b'x over x >= 0, for K without negative entries, by products with K.

*Block pivoting* (Portugal, Judice & Vicente 1994, Kim & Park 2011) solves K x = b on a face and
exchanges all numbers that are wrong: free numbers that became negative, and numbers at 0 whose
gradient points inwards. While the count of wrong numbers decreases, few rounds are needed. If it
does not decrease, only the last wrong number of each group of neighbours is exchanged, which is
Murty's rule in each group and breaks cycles.

*Projection* is modified proportioning with reduced gradient projections (MPRGP, Dostal & Schoeberl
2005), which lowers the quadratic in each step: conjugate gradients on the face, steps to its
boundary and along the projected gradient where one would leave it, and steps that set numbers free.
A step that would leave the face is first tried as a whole and projected; it is kept if it lowers
the quadratic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from ..base.progress import Progress
from ..base.status import Status
from .active_set import optimality
from .conjugate_gradients import conjugate_gradients, dot, norm

_START = 1e-2  # residual of the first round; each takes a tenth of it
_PATIENCE = 3  # rounds of full exchanges without progress
_BACKUP = 60  # rounds with a number of each group without progress
_REFRESH = 8  # products on changing faces until their inverse is made anew


class System(Protocol):
    """A matrix with a diagonal of 1 and an approximate inverse, also of its faces.

    A face is the set of vectors that are 0 except for their free numbers.
    """

    def multiply(self, x: np.ndarray) -> np.ndarray:
        """K x."""

    def precondition(self, r: np.ndarray) -> np.ndarray:
        """M r, with M symmetric, positive definite on the face and near the inverse of K there."""

    def restrict(self, free: np.ndarray, report: Progress | None = None) -> None:
        """Make M that of the face with these numbers free."""

    def apart(self, marked: np.ndarray) -> np.ndarray:
        """A choice of the marked numbers, at least one, no two of them coupled."""


class Found(NamedTuple):
    """A point, and the products with K that it took."""

    x: np.ndarray
    products: int
    status: Status
    smallest: float = np.inf  # as in ``Solution``, on the faces that were met


def pivot(
    system: System, b: np.ndarray, tol: float, max_products: int, tell: Callable[[float], None]
) -> Found:
    """Block pivoting until the conditions of a minimum are violated by ``tol`` times b.

    What it returns may have negative numbers unless it converged; if it did, ``system`` holds the
    approximate inverse of its face. ``tell`` gets the residual of each step.
    """
    size = norm(b)

    def until(goal: float) -> Callable[[np.ndarray, float], bool]:
        def done(left: np.ndarray, _: float) -> bool:
            residual = norm(left)
            tell(residual)
            return residual <= goal * size

        return done

    rough = conjugate_gradients(
        system.multiply, system.precondition, b, until(max(tol, _START)), max_products
    )
    x, products, smallest = rough.x, rough.products, rough.smallest
    free = x > 0.0
    small = tol * size / np.sqrt(b.size)
    fewest, patience, goal = b.size + 1, _PATIENCE, _START
    while products < max_products and patience >= -_BACKUP:
        system.restrict(free)
        goal = max(0.1 * goal, 0.5 * tol)
        start = np.where(free, x, 0.0)
        found = conjugate_gradients(
            system.multiply,
            system.precondition,
            b,
            until(goal),
            max_products - products,
            start,
            free,
        )
        x, products = found.x, products + found.products
        smallest = min(smallest, found.smallest)
        if found.status != Status.CONVERGED:
            break
        wrong = np.where(free, x < 0.0, found.residual > small)
        count = int(np.count_nonzero(wrong))
        if not count and goal > 0.5 * tol:
            continue
        if not count:
            return Found(x, products, Status.CONVERGED, smallest)
        if count < fewest:
            fewest, patience = count, _PATIENCE
        else:
            patience -= 1
        free ^= wrong if patience > 0 else system.apart(wrong)
    return Found(x, products, Status.MAX_ITERATIONS, smallest)


class _Face:
    """State of the projection: a point, its gradient, a direction on its face."""

    def __init__(self, system: System, b: np.ndarray, x: np.ndarray) -> None:
        self.system, self.b = system, b
        self.products = 0
        self._fresh = -_REFRESH
        # no eigenvalue is above the largest sum of a row of magnitudes; K has no negative entries
        self.step = 1.9 / float(self.multiply(np.ones_like(b)).max())
        product = self.multiply(x)
        curvature = dot(x, product)
        best = dot(x, b) / curvature if curvature > 0.0 else 0.0  # on the line from 0 through x
        best = max(best, 0.0)
        self.move_to(best * x, best * product - b)

    def multiply(self, x: np.ndarray) -> np.ndarray:
        self.products += 1
        return self.system.multiply(x)

    def move_to(self, x: np.ndarray, gradient: np.ndarray) -> None:
        """Begin a new face at x."""
        self.x, self.gradient = x, gradient
        self.free = x > 0.0
        if self.products - self._fresh >= _REFRESH:
            self.system.restrict(self.free)
            self.known, self._fresh = self.free, self.products
        self.direction = self.preconditioned()

    def preconditioned(self) -> np.ndarray:
        """The gradient on the face times the approximate inverse, as far as that knows the face."""
        on_face = np.where(self.free, self.gradient, 0.0)
        z = self.system.precondition(np.where(self.known, on_face, 0.0))
        return np.where(self.free & self.known, z, on_face)

    def objective(self, x: np.ndarray, gradient: np.ndarray) -> float:
        return 0.5 * dot(x, gradient - self.b)

    def release(self, chopped: np.ndarray) -> bool:
        """Set numbers at 0 free along the gradient that they have; False if that is none."""
        product = self.multiply(chopped)
        curvature = dot(chopped, product)
        if not curvature > 0.0:
            return False
        length = dot(self.gradient, chopped) / curvature
        self.move_to(np.maximum(self.x - length * chopped, 0.0), self.gradient - length * product)
        return True

    def advance(self) -> bool:
        """A step of conjugate gradients, on the face as far as it goes; False if there is none."""
        p = self.direction
        product = self.multiply(p)
        curvature, slope = dot(p, product), dot(self.gradient, p)
        if not (curvature > 0.0 and slope > 0.0):
            return False
        length = slope / curvature
        x = self.x - length * p
        if (x[self.free] > 0.0).all():
            self.x = x
            self.gradient = self.gradient - length * product
            z = self.preconditioned()
            self.direction = z - (dot(z, product) / curvature) * p
        else:
            self._expand(np.maximum(x, 0.0), product)
        return True

    def _expand(self, projected: np.ndarray, product: np.ndarray) -> None:
        """Accept the projected step if the objective falls, else stop at the boundary and go on
        from there along the gradient.
        """
        gradient = self.multiply(projected) - self.b
        if self.objective(projected, gradient) < self.objective(self.x, self.gradient):
            self.move_to(projected, gradient)
            return
        towards = self.free & (self.direction > 0.0)
        length = float((self.x[towards] / self.direction[towards]).min())
        x = np.maximum(self.x - length * self.direction, 0.0)
        downhill = np.where(self.free, self.gradient - length * product, 0.0)
        x = np.maximum(x - self.step * downhill, 0.0)
        self.move_to(x, self.multiply(x) - self.b)


def project(
    system: System, b: np.ndarray, x: np.ndarray, most: float, max_products: int,
    tell: Callable[[float], None],
) -> Found:  # fmt: skip
    """Projection from the best multiple of x, x >= 0, until no more than ``most`` is left.

    No point on the way is worse than 0. ``tell`` gets the norm of what is left of the gradient.
    """
    face = _Face(system, b, x)
    while True:
        residual = norm(optimality(face.x, face.gradient))
        tell(residual)
        if residual <= most:
            return Found(face.x, face.products, Status.CONVERGED)
        if face.products >= max_products:
            return Found(face.x, face.products, Status.MAX_ITERATIONS)
        on_face = np.where(face.free, face.gradient, 0.0)
        reduced = np.minimum(face.x / face.step, on_face)
        chopped = np.where(face.free, 0.0, np.minimum(face.gradient, 0.0))
        proportional = dot(chopped, chopped) <= dot(reduced, on_face)
        if not (face.advance() if proportional else face.release(chopped)):
            return Found(face.x, face.products, Status.STALLED)
