"""Descent of an image's Gaussians: all parameters together, by L-BFGS-B of scipy.

A Gaussian moves in steps without dimension from where it began: its centre by L t and its factor L
to L T, T lower triangular with the exponential of a step on its diagonal, so that the covariance
stays positive definite. Each step is divided by the length of its column of the Jacobian, for a
Gaussian that nothing overlaps; so equal numbers change the image by about equal amounts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import arguments
from .linear_map import LinearMap, MapType
from .placement import LEAST, Shapes

_WEAK = 0.1  # of the root mean square of amplitudes: smaller ones move as if they were this
_SHIFT = 2.0  # sigmas: the largest step of a centre
_SHEAR = 2.0  # the largest step beside T's diagonal
_NAMES = ("amplitudes", "positions", "cholesky")
_MEMORY = 20  # pairs of L-BFGS


class State(NamedTuple):
    """Gaussians and their amplitudes (n, channels)."""

    shapes: Shapes
    amplitudes: np.ndarray


class Descent:
    """The misfit of an image around a state, as a function of scaled steps."""

    def __init__(
        self, pattern: LinearMap, data: arguments.Data, state: State, nonnegative: bool
    ) -> None:
        self.pattern, self.data, self.state = pattern, data, state
        self.nonnegative = nonnegative
        n, ndim = state.shapes.positions.shape
        self.rows, self.columns = np.tril_indices(ndim)
        heights = np.sqrt((state.amplitudes**2).sum(axis=1))
        typical = float(np.sqrt((heights**2).mean())) if n else 0.0
        heights = np.maximum(heights, _WEAK * typical if typical > 0.0 else 1.0)
        lower = state.shapes.lower
        area = np.sqrt(np.abs(np.prod(np.diagonal(lower, axis1=1, axis2=2), axis=1)))
        channels = state.amplitudes.shape[1]
        self.scale = np.concatenate(
            [
                np.repeat(1.0 / area, channels),
                np.repeat(1.0 / (area * heights), ndim),
                np.repeat(1.0 / (area * heights), len(self.rows)),
            ]
        )
        self.ends = n * channels, n * (channels + ndim)

    def start(self) -> np.ndarray:
        """The steps of the state itself."""
        x = np.zeros(self.scale.size)
        x[: self.ends[0]] = self.state.amplitudes.ravel()
        return x / self.scale

    def bounds(self) -> np.ndarray:
        """Bounds of the steps: amplitudes, centres, widths of at most the image's length."""
        low, high = np.full(self.scale.size, -np.inf), np.full(self.scale.size, np.inf)
        first, second = self.ends
        if self.nonnegative:
            low[:first] = 0.0
        low[first:second], high[first:second] = -_SHIFT, _SHIFT
        size = len(self.rows)
        low[second:], high[second:] = -_SHEAR, _SHEAR
        lower = self.state.shapes.lower
        most = float(max(self.pattern.grid.shape))
        for k in np.flatnonzero(self.rows == self.columns):
            own = lower[:, self.rows[k], self.rows[k]]
            low[second + k :: size] = np.minimum(np.log(LEAST / own), 0.0)
            high[second + k :: size] = np.maximum(np.log(most / own), 0.0)
        return np.stack([low / self.scale, high / self.scale], axis=1)

    def _growth(self, steps: np.ndarray) -> np.ndarray:
        """T (n, d, d)."""
        ndim = self.state.shapes.positions.shape[1]
        growth = np.zeros((len(self.state.amplitudes), ndim, ndim))
        growth[:, self.rows, self.columns] = steps.reshape(-1, len(self.rows))
        each = np.arange(ndim)
        growth[:, each, each] = np.exp(growth[:, each, each])
        return growth

    def at(self, x: np.ndarray) -> State:
        """The state at these steps."""
        moved = x * self.scale
        first, second = self.ends
        positions, lower = self.state.shapes
        steps = moved[first:second].reshape(positions.shape)
        shift = (lower @ steps[:, :, np.newaxis])[:, :, 0]
        shapes = Shapes(positions + shift, lower @ self._growth(moved[second:]))
        return State(shapes, moved[:first].reshape(self.state.amplitudes.shape))

    def loss(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Half the weighted square of the residual, and its derivative by the steps."""
        state = self.at(x)
        field = field_of(self.pattern, state.shapes)
        heights = state.amplitudes
        if self.data.channels is None:
            heights = heights[:, 0]
        loss, slope = field.misfit_and_slopes(self.data, heights, _NAMES)
        first, second = self.ends
        out = np.empty(self.scale.size)
        out[:first] = slope["amplitudes"].ravel()
        turned = self.state.shapes.lower.swapaxes(1, 2)
        out[first:second] = (turned @ slope["positions"][:, :, np.newaxis]).ravel()
        by_growth = turned @ slope["cholesky"]
        growth = self._growth(x[second:] * self.scale[second:])
        each = np.arange(turned.shape[1])
        by_growth[:, each, each] *= growth[:, each, each]
        out[second:] = by_growth[:, self.rows, self.columns].ravel()
        return loss, out * self.scale

    def minimise(
        self, max_iter: int, tol: float, tell: Callable[[float], None]
    ) -> tuple[State, float, int]:
        """Where at most so many iterations lead, half the square there, and iterations.

        ``tell`` gets half the square after each. They end where one lowers it by less than ``tol``
        of itself.
        """
        from scipy.optimize import minimize

        unit = self.loss(self.start())[0]
        if not unit > 0.0:
            return self.state, unit, 0
        self.scale = self.scale * np.sqrt(unit)  # second derivatives are then near 1

        def relative(steps: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = self.loss(steps)
            return value / unit, slope / unit

        def callback(intermediate_result: Any) -> None:
            tell(float(intermediate_result.fun) * unit)

        found = minimize(
            relative,
            self.start(),
            jac=True,
            method="L-BFGS-B",
            bounds=self.bounds(),
            callback=callback,
            options={"maxiter": max_iter, "ftol": tol, "gtol": 0.0, "maxcor": _MEMORY},
        )
        return self.at(found.x), float(found.fun) * unit, int(found.nit)


def field_of(pattern: MapType, shapes: Shapes) -> MapType:
    """A field of these Gaussians with the options of another."""
    return pattern.moved(shapes.positions, shapes.covariance)
