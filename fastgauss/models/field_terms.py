"""Polynomials of the position in an image: their terms, in coordinates from -1 to 1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ORDERS = (0, 1, 2)
COUNTS = (1, 3, 6)  # of the terms, by order


class Extent(NamedTuple):
    """The part of the plane that is an image."""

    high: float  # rows
    wide: float  # columns
    row: float = 0.0  # of the first pixel
    column: float = 0.0

    def scaled(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """y and x of places ``x, y`` (..., 2), from -1 at one border to 1 at the other."""
        y = (places[..., 1] - self.row + 0.5) / (0.5 * self.high) - 1.0
        return y, (places[..., 0] - self.column + 0.5) / (0.5 * self.wide) - 1.0

    def is_outside(self, places: np.ndarray) -> np.ndarray:
        """Which places ``x, y`` (..., 2) are beyond the border; NaN is not."""
        y, x = self.scaled(places)
        return (np.abs(y) > 1.0) | (np.abs(x) > 1.0)


def terms(order: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """1, y, x, y**2, y x, x**2, as many as the order has, in a last axis."""
    every = [np.ones_like(x), y, x, y * y, y * x, x * x]
    return np.stack(every[: COUNTS[order]], axis=-1)


def least(order: int, coefficients: np.ndarray) -> np.ndarray:
    """The least values (P,) of polynomials (terms, P) in the image.

    A polynomial of the second order has its least value where it is level in the image or along
    a border, or in a corner.
    """
    y, x = (each.ravel() for each in np.meshgrid([-1.0, 1.0], [-1.0, 1.0]))
    corners = (terms(order, y, x) @ coefficients).min(axis=0)
    if order < 2:
        return corners
    _, b, c, bb, bc, cc = coefficients
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = 4.0 * bb * cc - bc * bc
        places = [((bc * c - 2.0 * cc * b) / determinant, (bc * b - 2.0 * bb * c) / determinant)]
        for edge in (-1.0, 1.0):
            places.append((-0.5 * (b + bc * edge) / bb, np.full_like(b, edge)))
            places.append((np.full_like(b, edge), -0.5 * (c + bc * edge) / cc))
    at_y, at_x = (np.clip(np.nan_to_num(each), -1.0, 1.0) for each in np.swapaxes(places, 0, 1))
    level = np.einsum("npt,tp->np", terms(order, at_y, at_x), coefficients)
    return np.minimum(corners, level.min(axis=0))
