"""The units that a fit calculates in, where those of the caller would spoil it.

Squares of data near 1e-200 or 1e200 leave the range of float64, and so do abscissae; a width of
a hundredth of a day at a Julian date has lost nine digits. Data are multiplied by a power of
two, which changes no digit, and abscissae are counted from their middle, in units of a power of
two near their spacing.

With u_i what a parameter is multiplied by, d for amplitude and offset, r what the roots of weights
are multiplied by and d what data are, least squares has S' = (r d)**2 S, and a likelihood S' = d S;
the other quantities follow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.fit.whole_fits import COUNTS
from ..models.model import Model

_MOST_EXPONENT = 400  # of a power of two, in which squares are surely in the range of float64


class Numbers(NamedTuple):
    """Results of a fit that have units, of n spots."""

    params: np.ndarray  # (n, P)
    errors: np.ndarray  # (n, P), which float64 may hold where it does not hold variances
    packed: np.ndarray  # (n, P (P + 1) / 2), of covariances
    objective: np.ndarray  # (n,)
    gradient: np.ndarray  # (n or 0, P)
    grams: np.ndarray  # (n or 0, P (P + 1) / 2)


class Unit(NamedTuple):
    """The factors of the fit's own numbers, of m spots or (m = 1) of all."""

    data: np.ndarray  # (m,)
    root: np.ndarray  # (m,): square roots of weights, which float64 holds where weights are not
    length: np.ndarray  # (m,)

    def take(self, members: np.ndarray) -> Unit:
        """The unit of some spots."""
        return Unit(*(part[members] for part in self))

    def factors(self, model: Model) -> np.ndarray:
        """The factor of each parameter, (m, P)."""
        factors = np.ones((len(self.data), model.size))
        factors[:, [0, -1]] = self.data[:, np.newaxis]
        lengths = [*range(1, 1 + model.ndim), *sorted(set(model.sigmas))]
        if not model.constants:  # the widths of others are no parameters, and there are no places
            factors[:, lengths] = self.length[:, np.newaxis]
        if model.slopes:
            factors[:, model.slopes] = (self.data / self.length)[:, np.newaxis]
        return factors

    @property
    def extreme(self) -> bool:
        """Whether squares of results may leave the range of float64 in the caller's unit."""
        _, exponents = np.frexp(np.stack([self.data, self.length]))
        return bool((np.abs(exponents) > _MOST_EXPONENT).any())

    def leave(
        self, factors: np.ndarray, covariance: str, least_squares: bool, numbers: Numbers
    ) -> None:
        """Bring results, in place, back to the caller's units; ``factors`` are those above."""
        i, j = np.tril_indices(factors.shape[1])
        data = self.data[:, np.newaxis]
        params, errors, packed, objective, gradient, grams = numbers
        with np.errstate(all="ignore"):  # in steps, none of which leaves the range of the result
            deviation = data * self.root[:, np.newaxis] if least_squares else data
            left, right, root = 1.0 / factors, 1.0 / factors, np.ones(1)
            if covariance == "absolute" and least_squares:
                left = right = deviation / factors
            elif covariance != "residual":
                left, root = data / factors, np.sqrt(data)
            rates = factors / deviation
            others = rates if least_squares else factors
            params /= factors
            errors *= right * root
            packed *= left[:, i]
            packed *= right[:, j]
            for _ in range(2 if least_squares else 1):
                objective /= deviation[:, 0]
            if len(gradient):
                gradient *= others
                gradient /= deviation
            if len(grams):
                grams *= rates[:, i]
                grams *= others[:, j]


def _power_of_two(size: np.ndarray) -> np.ndarray:
    """The power of two that brings a number into [1, 2)."""
    good = np.isfinite(size) & (size > 0.0)
    _, exponent = np.frexp(np.where(good, size, 1.0))
    return np.ldexp(1.0, 1 - np.clip(exponent, -1021, 1023))


def profile_unit(places: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, Unit]:
    """Sorted abscissae in the fit's own unit, their origin (m, 1), and the unit of m profiles."""
    with np.errstate(over="ignore"):
        middle = 0.5 * places[:, :1] + 0.5 * places[:, -1:]
        extent = 0.5 * places[:, -1] - 0.5 * places[:, 0]
        length = _power_of_two(extent / max(0.5 * (places.shape[1] - 1), 0.5))
        moved = (places - middle) * length[:, np.newaxis]
    one = np.ones(count)
    return moved, np.broadcast_to(middle, (count, 1)), Unit(
        one, one, np.broadcast_to(length, count)
    )  # fmt: skip


def data_unit(
    pixels: np.ndarray, weights: np.ndarray | None, least_squares: bool, before: Unit | None
) -> Unit:
    """The unit in which these spots (m, ...) can be fitted, with the lengths that they had."""

    def largest(array: np.ndarray) -> np.ndarray:
        flat = np.abs(array.reshape(len(array), -1).astype(np.float64))
        return np.max(np.where(np.isfinite(flat), flat, 0.0), axis=1, initial=0.0)

    one = np.ones(len(pixels))
    data, root = _power_of_two(largest(pixels)), one
    if not least_squares:
        data = data * 2.0**COUNTS
    elif weights is not None:
        root = np.broadcast_to(_power_of_two(np.sqrt(largest(weights))), len(pixels))
    return Unit(data, root, one if before is None else before.length)
