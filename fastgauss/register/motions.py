"""Motions of the plane: their parameters, the Jacobian, and how a small motion joins another.

A place moves from x to c + M (x - c) + d, with c the centre of the image. A small motion on the
right of it, x + v(x) before M, changes the second image by its gradient times v. Each parameter has
a field v that is linear in (y, x, 1): a row of the table.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .image_deformation import Flow

_ELEMENTS = ("yy", "yx", "xy", "xx")  # of the matrix, row by row
_PART = 0.1  # of the largest: a parameter that changes less with one without a bound is known

# v = field (y, x, 1), of each parameter: its rows are the axes y and x
_FIELDS = {
    "dx": ((0, 0, 0), (0, 0, 1)),
    "dy": ((0, 0, 1), (0, 0, 0)),
    "angle": ((0, 1, 0), (-1, 0, 0)),
    "scale": ((1, 0, 0), (0, 1, 0)),
    "yy": ((1, 0, 0), (0, 0, 0)),
    "yx": ((0, 1, 0), (0, 0, 0)),
    "xy": ((0, 0, 0), (1, 0, 0)),
    "xx": ((0, 0, 0), (0, 1, 0)),
}
NAMES = {  # of the parameters of each motion
    "translation": ("dx", "dy"),
    "rigid": ("dx", "dy", "angle"),
    "similarity": ("dx", "dy", "angle", "scale"),
    "affine": ("dx", "dy", *_ELEMENTS),
}


ORDER = ("dy", "dx", *_ELEMENTS)  # of what a place consists of


class Place(NamedTuple):
    """Where a motion takes the plane, in array-axis order."""

    matrix: np.ndarray  # (2, 2) M
    displacement: np.ndarray  # (2,) d


STILL = Place(np.eye(2), np.zeros(2))


def centre(shape: tuple[int, ...]) -> np.ndarray:
    """The middle of an image."""
    return 0.5 * (np.array(shape) - 1.0)


def axes_from_centre(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """y and x of the pixels about the centre, (Y, 1) and (1, X)."""
    middle = centre(shape)
    rows, columns = (np.arange(n) - m for n, m in zip(shape, middle, strict=True))
    return rows[:, np.newaxis], columns[np.newaxis]


def reach_of(first: Place, second: Place, shape: tuple[int, ...]) -> float:
    """How far apart two motions bring any pixel, along an axis."""
    corner = np.maximum(centre(shape), 0.0)
    turn = np.abs(first.matrix - second.matrix) @ corner
    return float((turn + np.abs(first.displacement - second.displacement)).max())


def flow(place: Place, shape: tuple[int, ...]) -> Flow:
    """The displacement of every pixel."""
    y, x = axes_from_centre(shape)
    more = place.matrix - np.eye(2)
    dy, dx = (
        row[0] * y + row[1] * x + shift for row, shift in zip(more, place.displacement, strict=True)
    )
    return Flow(dy, dx)


def angle_of(matrix: np.ndarray) -> float:
    """Radians from x to y of the rotation that is nearest to a matrix."""
    return math.atan2(matrix[0, 1] - matrix[1, 0], matrix[0, 0] + matrix[1, 1])


def scale_of(matrix: np.ndarray) -> float:
    """The root of the area that a matrix makes of 1; NaN of a matrix that mirrors."""
    area = float(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])
    return math.sqrt(area) if area > 0 else math.nan


def rotation(angle: float, scale: float) -> np.ndarray:
    """The matrix of a rotation and a scale."""
    return scale * np.array(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    )


def nearest(matrix: np.ndarray, displacement: np.ndarray, kind: str) -> Place:
    """The motion of a kind that is nearest to this one."""
    names = NAMES[kind]
    if "yy" in names:
        return Place(matrix, displacement)
    angle = angle_of(matrix) if "angle" in names else 0.0
    return Place(rotation(angle, scale_of(matrix) if "scale" in names else 1.0), displacement)


def values_of(place: Place, names: tuple[str, ...]) -> list[float]:
    """The parameters of these names."""
    known = dict(zip(_ELEMENTS, place.matrix.ravel().tolist(), strict=True))
    known["dy"], known["dx"] = place.displacement.tolist()
    known["angle"], known["scale"] = angle_of(place.matrix), scale_of(place.matrix)
    return [known[name] for name in names]


def slopes_of(matrix: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """How the parameters of these names change with (dy, dx, M row by row), (k, 6)."""
    rows = dict(zip(ORDER, np.eye(6), strict=True))
    sine, cosine = matrix[0, 1] - matrix[1, 0], matrix[0, 0] + matrix[1, 1]
    turn = np.array([-sine, cosine, -cosine, -sine]) / (sine**2 + cosine**2)
    grow = np.array([matrix[1, 1], -matrix[1, 0], -matrix[0, 1], matrix[0, 0]])
    rows["angle"] = np.concatenate([[0.0, 0.0], turn])
    rows["scale"] = np.concatenate([[0.0, 0.0], grow / (2.0 * scale_of(matrix))])
    return np.array([rows[name] for name in names])


class Steps:
    """Small motions of an image, each parameter in pixels: it moves the pixels by 1, rms.

    Parameters
    ----------
    names : tuple of str
    shape : tuple
        Of the image.
    """

    def __init__(self, names: tuple[str, ...], shape: tuple[int, ...]) -> None:
        self.names = names
        self._axes = axes_from_centre(shape)
        squares = np.array([*(np.mean(line**2) for line in self._axes), 1.0])
        fields = np.array([_FIELDS[name] for name in names], dtype=np.float64)
        power = np.einsum("kij,j->k", fields**2, squares)
        self._fields = fields / np.sqrt(power)[:, np.newaxis, np.newaxis]

    def columns(self, slopes: list[np.ndarray]) -> list[np.ndarray]:
        """Derivatives of an image by the parameters, from those along y and x."""
        lines = [*(line.astype(np.float32) for line in self._axes), np.float32(1.0)]
        columns = []
        for field in self._fields:
            column = np.zeros_like(slopes[0])
            for axis, power in np.argwhere(field).tolist():
                column += slopes[axis] * (np.float32(field[axis, power]) * lines[power])
            columns.append(column)
        return columns

    def join(self, place: Place, step: np.ndarray) -> Place:
        """A motion after a small one: first the small one, then the other."""
        from scipy.linalg import expm

        small = np.tensordot(step, self._fields, 1)
        matrix = place.matrix @ expm(small[:, :2])
        return Place(matrix, place.displacement + place.matrix @ small[:, 2])

    def covariance(self, place: Place, own: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """The covariance of the parameters of these names, from that of the steps.

        Infinite where the steps' covariance is, or where a parameter changes with such a step.
        """
        moves = np.concatenate(
            [
                np.einsum("ij,kj->ki", place.matrix, self._fields[:, :, 2]),
                np.einsum("il,klj->kij", place.matrix, self._fields[:, :, :2]).reshape(-1, 4),
            ],
            axis=1,
        )
        change = slopes_of(place.matrix, names) @ moves.T
        endless = np.isinf(np.diag(own))
        finite = np.where(endless | endless[:, np.newaxis], 0.0, own)
        out = change @ finite @ change.T
        part = np.abs(change) > _PART * np.abs(change).max(axis=0)
        for row in np.flatnonzero(part[:, endless].any(axis=1)):
            out[row] = out[:, row] = 0.0
            out[row, row] = np.inf
        return out
