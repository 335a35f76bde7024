"""The misfit of a field's amplitudes to a volume, computed from the volume itself.

In the normal equations the misfit is a difference of large numbers. Here it is summed over the
nodes, and its gradient over the residual, so that both are accurate also if the fit is close.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np

from ..base.scaling import unit_of
from . import node_memory, sweeps
from .arguments import Data
from .linear_map import LinearMap
from .normal_equations import GramSystem, SweepSystem

Value = TypeVar("Value", float, np.ndarray)


class Point(NamedTuple):
    """Amplitudes S x, in the order of the system, and their residual."""

    x: np.ndarray
    left: float  # weighted sum of squares of the residual
    square: float  # the same and the regularization's part
    gradient: np.ndarray  # half the square's, to x


class Misfit:
    """||A a - v||**2 with weights, and the regularization, for a = S x.

    ``unit`` is what the volume was multiplied by, and with it x.
    """

    def __init__(
        self,
        field: LinearMap,
        data: Data,
        weights: np.ndarray | None,
        system: GramSystem | SweepSystem,
    ) -> None:
        self.plan, self.threads = field.plan, field.threads
        self.weights, self.system = weights, system
        self.nodes = data.nodes
        self.volume = data.volume.astype(np.float64, copy=False)
        self.units: list[float] = []
        self._scale(unit_of(float(np.abs(self.volume).max(initial=0.0))))
        self.zero = self.at(np.zeros(len(field)))
        unit = unit_of(float(np.abs(self.zero.gradient).max(initial=0.0)))
        if unit != 1.0:
            self._scale(unit)
            self.zero = self.at(np.zeros(len(field)))

    def _scale(self, unit: float) -> None:
        if unit != 1.0:
            self.volume = self.volume * unit
        self.units.append(unit)

    def in_units(self, value: Value) -> Value:
        """An amplitude or a residual in the units of the volume that was given."""
        for unit in self.units:
            value = value / unit
        return value

    def residual(self, x: np.ndarray) -> np.ndarray:
        """A a - v."""
        left = node_memory.negated(self.volume)
        if x.any():
            amplitudes = self.system.outer(self.system.scale * x)
            sweeps.scatter(self.plan, left, amplitudes, "sum", self.threads)
        return left

    def at(self, x: np.ndarray) -> Point:
        """The misfit at x and its gradient."""
        system = self.system
        residual = self.residual(x)
        weighted = residual if self.weights is None else residual * self.weights
        sums = sweeps.gather(self.plan, weighted, self.threads)[:, 0]
        damped = system.regularization * system.scale * x
        gradient = system.scale * (system.inner(sums) + damped)
        residual *= weighted
        left = float(np.add.reduce(residual, axis=None))
        return Point(x, left, left + float(np.add.reduce(damped * system.scale * x)), gradient)
