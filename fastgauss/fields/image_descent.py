"""Descent of an image's Gaussians: all parameters together, by projected L-BFGS.

A Gaussian moves in steps without dimension from where it began: its centre by L t and its factor L
to L T, T lower triangular with the exponential of a step on its diagonal, so that the covariance
stays positive definite. Each step is divided by the length of its column of the Jacobian, for a
Gaussian that nothing overlaps; so equal numbers change the image by about equal amounts. After some
iterations a descent ends and another begins from there, with the lengths that are right by then;
the pairs of the last one were for other lengths and would do more harm than good.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import arguments
from .linear_map import LinearMap, MapType
from .placement import LEAST, Shapes
from .projected_lbfgs import minimise

_WEAK = 0.1  # of the root mean square of amplitudes: smaller ones move as if they were this
_SHIFT = 2.0  # sigmas: the largest step of a centre
_SHEAR = 2.0  # the largest step beside T's diagonal
_NAMES = ("amplitudes", "positions", "cholesky")


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
        lengths = _lengths(state.shapes)
        channels = state.amplitudes.shape[1]
        self.scale = np.concatenate(
            [
                np.repeat(1.0 / lengths, channels),
                np.repeat(math.sqrt(2.0) / (lengths * heights), ndim),
                np.repeat(1.0 / (lengths * heights), len(self.rows)),
            ]
        )
        self.ends = n * channels, n * (channels + ndim)

    def start(self) -> np.ndarray:
        """The steps of the state itself."""
        x = np.zeros(self.scale.size)
        x[: self.ends[0]] = self.state.amplitudes.ravel()
        return x / self.scale

    def bounds(self) -> np.ndarray:
        """Bounds (2, size) of the steps; widths are at most as long as the image."""
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
        return np.stack([low / self.scale, high / self.scale])

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
        heights = heights_of(self.data, state.amplitudes)
        loss, slope = field.misfit_and_slopes(self.data, heights, _NAMES)
        first, second = self.ends
        out = np.empty(self.scale.size)
        out[:first] = slope["amplitudes"].ravel()
        transposed = self.state.shapes.lower.swapaxes(1, 2)
        out[first:second] = (transposed @ slope["positions"][:, :, np.newaxis]).ravel()
        by_growth = transposed @ slope["cholesky"]
        growth = self._growth(x[second:] * self.scale[second:])
        each = np.arange(transposed.shape[1])
        by_growth[:, each, each] *= growth[:, each, each]
        out[second:] = by_growth[:, self.rows, self.columns].ravel()
        return loss, out * self.scale

    def minimise(
        self, max_iter: int, tol: float, tell: Callable[[float], None]
    ) -> tuple[State, float, int]:
        """The state after ``max_iter`` iterations or fewer, half its square, and their number.

        ``tell`` gets half the square after each iteration. The iterations end where one lowers the
        square by less than ``tol`` of itself.
        """
        found = minimise(self.loss, self.start(), self.bounds(), max_iter, tol, tell)
        return self.at(found.x), found.value, found.iterations


def raised(
    pattern: LinearMap, data: arguments.Data, state: State, nonnegative: bool, max_iter: int
) -> State:
    """The state after some iterations in which only the amplitudes move."""
    field = field_of(pattern, state.shapes)
    shape = state.amplitudes.shape
    scale = np.repeat(1.0 / _lengths(state.shapes), shape[1])

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        heights = heights_of(data, (x * scale).reshape(shape))
        value, slope = field.misfit_and_slopes(data, heights, ("amplitudes",))
        return value, slope["amplitudes"].ravel() * scale

    bounds = np.stack(
        [np.full(scale.size, 0.0 if nonnegative else -np.inf), np.full(scale.size, np.inf)]
    )
    found = minimise(loss, state.amplitudes.ravel() / scale, bounds, max_iter, 0.0)
    return State(state.shapes, (found.x * scale).reshape(shape))


def _lengths(shapes: Shapes) -> np.ndarray:
    """Square root of the sum of squares over the nodes of each Gaussian of height 1."""
    ndim = shapes.lower.shape[1]
    volume = np.abs(np.prod(np.diagonal(shapes.lower, axis1=1, axis2=2), axis=1))
    return np.sqrt(volume * math.pi ** (ndim / 2))


def heights_of(data: arguments.Data, amplitudes: np.ndarray) -> np.ndarray:
    """Amplitudes (n, channels) as the field takes them."""
    return amplitudes[:, 0] if data.channels is None else amplitudes


def field_of(pattern: MapType, shapes: Shapes) -> MapType:
    """A field of these Gaussians with the options of another."""
    return pattern.moved(shapes.positions, shapes.covariance)
