"""Projected L-BFGS: a minimum of many variables within bounds.

A variable at a bound, which the gradient pushes against, is held; the others move by the two-loop
recursion of limited-memory BFGS (Nocedal & Wright 2006, ch. 7.2), along a path that is projected
onto the bounds (Bertsekas 1982, SIAM J. Control Optim. 20, 221; Kim, Sra & Dhillon 2010, SIAM J.
Sci. Comput. 32, 3548). A step is shortened until the value has fallen by a part of what the
gradient promises (Armijo), so that the value never rises. Sums have one order, whatever threads
there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..kernels.fields.quasi_newton import quasi_newton_step
from .conjugate_gradients import dot, norm

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]

_MEMORY = 20  # pairs of a step and a change of the gradient
_ENOUGH = 1e-4  # of the promised decrease
_FIRST = 0.1  # of the value: the decrease that the first step promises at most
_SHORTER = 0.1, 0.5  # least and largest part of a step that is tried next
_TRIES = 30
_CURVED = 1e-10  # cosine between a step and its change: pairs below are of no use


class Minimum(NamedTuple):
    """Where a descent ended, the value there, and the number of its iterations."""

    x: np.ndarray
    value: float
    iterations: int


class _History:
    """The last pairs, in a ring."""

    def __init__(self, n: int, most: int) -> None:
        self.steps, self.changes = np.empty((most, n)), np.empty((most, n))
        self.begin = self.count = 0

    def forget(self) -> None:
        self.count = 0

    def add(self, step: np.ndarray, change: np.ndarray) -> None:
        if not dot(step, change) > _CURVED * norm(step) * norm(change):
            return
        most = len(self.steps)
        row = (self.begin + self.count) % most
        self.steps[row], self.changes[row] = step, change
        if self.count < most:
            self.count += 1
        else:
            self.begin = (self.begin + 1) % most

    def direction(self, slope: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Where to go; without pairs against the gradient."""
        out = np.empty_like(slope)
        quasi_newton_step(self.steps, self.changes, self.begin, self.count, slope, free, out)
        return out


class _Point(NamedTuple):
    x: np.ndarray
    value: float
    slope: np.ndarray


def _searched(
    function: Function, bounds: np.ndarray, point: _Point, way: np.ndarray, part: float
) -> _Point | None:
    """The first point on the projected way that is low enough; None if there is none."""
    for _ in range(_TRIES):
        x = np.clip(point.x + part * way, bounds[0], bounds[1])
        promised = dot(point.slope, x - point.x)
        value, slope = function(x)
        rise = value - point.value
        if promised < 0.0 and rise <= _ENOUGH * promised:
            return _Point(x, value, slope)
        beyond = rise - promised  # positive: the parabola through both has a minimum
        shorter = -0.5 * promised / beyond if 0.0 < beyond < np.inf else _SHORTER[0]
        part *= min(max(shorter, _SHORTER[0]), _SHORTER[1])
    return None


def minimise(
    function: Function,
    start: np.ndarray,
    bounds: np.ndarray,
    max_iter: int,
    tol: float,
    tell: Callable[[float], None] | None = None,
) -> Minimum:
    """Descend from ``start`` (n,) within ``bounds`` (2, n), in a limited number of iterations.

    ``function`` gives a value that is not negative and its gradient; second derivatives should be
    near 1. ``tell`` gets the value after each iteration. The descent ends where an iteration lowers
    the value by less than ``tol`` of itself, or where nothing lowers it.
    """
    point = _Point(start, *function(start))
    history = _History(start.size, min(_MEMORY, max_iter))
    for iteration in range(max_iter):
        x, value, slope = point
        held = ((x <= bounds[0]) & (slope > 0.0)) | ((x >= bounds[1]) & (slope < 0.0))
        after = None
        while after is None:
            way = history.direction(slope, 1.0 - held)
            promised = -dot(slope, way)
            if not (value > 0.0 and np.isfinite(value)) or (
                history.count == 0 and not promised > 0
            ):
                return Minimum(x, value, iteration)
            part = 1.0 if history.count else min(1.0, _FIRST * value / promised)
            after = _searched(function, bounds, point, way, part) if promised > 0.0 else None
            if after is None:
                if history.count == 0:
                    return Minimum(x, value, iteration)
                history.forget()
        history.add(after.x - x, after.slope - slope)
        point = after
        if tell is not None:
            tell(after.value)
        if value - after.value < tol * value:
            return Minimum(after.x, after.value, iteration + 1)
    return Minimum(point.x, point.value, max_iter)
