"""The minimum of x'Kx / 2 - b'x over x >= 0, for K without negative entries.

Two methods, one after the other. *Block pivoting* (Portugal, Judice & Vicente 1994, Kim & Park
2011) solves K x = b on a face and exchanges all numbers that are wrong there: free ones that came
out negative, and those at 0 whose gradient points inwards. While their count falls that takes few
rounds. Where it does not fall, cycles are broken by exchanging the last wrong number of each
group of neighbours alone, which is Murty's rule in each group.

What pivoting leaves undone is done by modified proportioning with reduced gradient projections
(MPRGP, Dostal & Schoeberl 2005), which converges always: conjugate gradients on the face, steps to
its boundary and along the projected gradient where one would leave it, and steps that set
numbers free. A step that would leave the face is first tried as a whole and projected; it is kept
if the objective falls.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base.status import Status
from .conjugate_gradients import Solution, System, conjugate_gradients, dot, norm

_START = 1e-2  # residual of the first round; each takes a tenth of it
_PATIENCE = 3  # rounds of full exchanges without progress
_BACKUP = 60  # rounds with a number of each group without progress
_REFRESH = 8  # products on changing faces until their inverse is made anew


def optimality(x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The part of the gradient that a minimum over x >= 0 does not have."""
    return np.where(x > 0.0, gradient, np.minimum(gradient, 0.0))


class _Face:
    """State of the constrained minimisation: a point, its gradient, a direction on its face."""

    def __init__(self, system: System, b: np.ndarray, x: np.ndarray, products: int) -> None:
        self.system, self.b = system, b
        self.products = products
        self._fresh = -_REFRESH
        # no eigenvalue is above the largest sum of a row of magnitudes; K has no negative entries
        self.step = 1.9 / float(self.multiply(np.ones_like(b)).max())
        self.move_to(x, self.multiply(x) - b)

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


def _pivot(
    system: System, b: np.ndarray, tol: float, max_iter: int, tell: Callable[[float], None] | None
) -> Solution:
    """Block pivoting; what it returns may have negative numbers unless it converged."""
    rough = conjugate_gradients(system, b, max(tol, _START), max_iter, tell=tell)
    x, products = rough.x, rough.products
    free = x > 0.0
    size = norm(b)
    small = tol * size / np.sqrt(b.size)
    fewest, patience, goal = b.size + 1, _PATIENCE, _START
    while products < max_iter:
        system.restrict(free)
        goal = max(0.1 * goal, 0.5 * tol)
        start = np.where(free, x, 0.0)
        found = conjugate_gradients(system, b, goal, max_iter - products, start, free, tell)
        x, products = found.x, products + found.products
        if found.status == Status.STALLED:
            break
        wrong = np.where(free, x < 0.0, found.gradient < -small)
        count = int(np.count_nonzero(wrong))
        if not count and goal > 0.5 * tol:
            continue
        if not count:
            left = norm(optimality(x, found.gradient)) / size
            return found._replace(products=products, residual=left)
        if count < fewest:
            fewest, patience = count, _PATIENCE
        else:
            patience -= 1
        free ^= wrong if patience > 0 else system.apart(wrong)
        if patience < -_BACKUP:
            break
    return Solution(x, products, Status.MAX_ITERATIONS, np.inf, x)


def solve(
    system: System, b: np.ndarray, tol: float, max_iter: int,
    tell: Callable[[float], None] | None = None,
) -> Solution:  # fmt: skip
    """Minimise until the conditions of optimality are violated by ``tol`` times b.

    ``tell`` gets what is left of that, before each step.
    """
    size = norm(b)
    if not (b > 0.0).any():  # K has no negative entries: x = 0 is the minimum
        return Solution(np.zeros_like(b), 0, Status.CONVERGED, 0.0, -b)
    found = _pivot(system, b, tol, max_iter, tell)
    if found.status == Status.CONVERGED:
        return found
    face = _Face(system, b, np.maximum(found.x, 0.0), found.products)
    status = Status.MAX_ITERATIONS
    while True:
        residual = norm(optimality(face.x, face.gradient)) / size
        if tell is not None:
            tell(residual)
        if residual <= tol:
            status = Status.CONVERGED
            break
        if face.products >= max_iter:
            break
        on_face = np.where(face.free, face.gradient, 0.0)
        reduced = np.minimum(face.x / face.step, on_face)
        chopped = np.where(face.free, 0.0, np.minimum(face.gradient, 0.0))
        proportional = dot(chopped, chopped) <= dot(reduced, on_face)
        if not (face.advance() if proportional else face.release(chopped)):
            status = Status.STALLED
            break
    return Solution(face.x, face.products, status, residual, face.gradient)
