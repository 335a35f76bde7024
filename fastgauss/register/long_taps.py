"""Interpolation of volumes moved by one displacement, by long filters.

A displacement moves all pixels by the same fraction of a pixel, so that the moved volume and its
derivatives are separable filters of the pixels, which may be long at little cost. The taps t_j of a
pixel, the 2 ``REACH`` + 2 nodes around it that exist, are those with the least

    sum over k of S(k) |sum_j t_j exp(i k j) - G(k) exp(i k f)|^2,   sum_j t_j = 1,

f the fraction, G a low-pass filter, and S the power along a line of a scene that is as steep as
1 / k^2 up to a floor; those of the derivative have i k G in the place of G, and the sum 0. They are
exact nearly up to the frequency of Nyquist, where the quintic spline has an error of the phase.
Next to a border the nodes on one side have to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import low_pass

REACH = 16  # nodes on either side of a pixel
_FLOOR = 0.02  # of S, in units of its value at k = 1
_MODES = 2048
_BLOCK, _COLUMNS = 64, 32  # rows of a matrix, and columns, that are multiplied at once

Form = tuple[float, float]  # cutoff and order of a low-pass filter


@lru_cache(maxsize=1)
def _design() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies, S at them as shares of a mean, and the autocovariance of the scene."""
    k = (np.arange(_MODES) + 0.5) * (math.pi / _MODES)
    power = (1.0 / k**2 + _FLOOR) / _MODES
    lags = np.arange(2 * REACH + 2)
    return k, power, np.cos(np.multiply.outer(lags, k)) @ power


@lru_cache(maxsize=64)
def _targets(fraction: float, form: Form) -> tuple[np.ndarray, np.ndarray]:
    """Covariances of all nodes with the value and the derivative."""
    k, power, _ = _design()
    power = power * low_pass.filter_response(form, k)
    phase = np.multiply.outer(np.arange(-REACH, REACH + 2) - fraction, k)
    return np.cos(phase) @ power, np.sin(phase) @ (k * power)


@lru_cache(maxsize=1024)
def taps(fraction: float, form: Form, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Taps of the nodes [first, last) around a pixel: of the value and of the derivative.

    The noise of the derivative is not correlated with that of the value.
    """
    nodes = np.arange(first, last)
    sides = np.stack([*(t[nodes + REACH] for t in _targets(fraction, form)), np.ones(nodes.size)])
    matrix = _design()[2][np.abs(np.subtract.outer(nodes, nodes))]
    value, slope, one = np.linalg.solve(matrix, sides.T).T
    one = one / one.sum()
    value = value + one * (1.0 - value.sum())
    slope = slope - one * slope.sum()
    return value, slope - value * (float(slope @ value) / float(value @ value))


class Axis(NamedTuple):
    """Pixels low + place .. high - 1 + place of an axis of ``size`` pixels."""

    size: int
    low: int
    high: int
    place: float
    form: Form

    def _rows(self) -> Iterator[tuple[int, int, int]]:
        """For each pixel the place of its node, and the range of its nodes relative to that."""
        step = math.floor(self.place)
        for at in range(self.low + step, self.high + step):
            yield at, max(-REACH, -at), min(REACH + 2, self.size - at)

    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """The matrices of the values and of the derivatives, (high - low, size) float32 each."""
        fraction = self.place - math.floor(self.place)
        out = np.zeros((2, self.high - self.low, self.size), dtype=np.float32)
        for row, (at, first, last) in enumerate(self._rows()):
            some = slice(at + first, at + last)
            out[0, row, some], out[1, row, some] = taps(fraction, self.form, first, last)
        return out[0], out[1]

    def errors(self, k: np.ndarray, power: np.ndarray) -> np.ndarray:
        """Variance of the error of each value, of a scene of this power at these frequencies."""
        fraction = self.place - math.floor(self.place)
        wave = np.exp(1j * np.multiply.outer(k, np.arange(-REACH, REACH + 2)))
        right = low_pass.filter_response(self.form, k) * np.exp(1j * k * fraction)
        known: dict[tuple[int, int], float] = {}
        for _, *nodes in self._rows():
            first, last = nodes
            if (first, last) not in known:
                value, _ = taps(fraction, self.form, first, last)
                wrong = wave[:, first + REACH : last + REACH] @ value - right
                known[first, last] = float((wrong.real**2 + wrong.imag**2) @ power)
        return np.array([known[first, last] for _, first, last in self._rows()])


class Sampler:
    """Volumes of one shape at moved pixels, as `spline_fields.sample` gives them, from pixels."""

    def __init__(self, form: Form) -> None:
        self._form = form

    def __call__(
        self, values: np.ndarray, low: np.ndarray, high: np.ndarray, place: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """The smoothed volume at the pixels x + place of the box, and its derivatives."""
        slopes: list[np.ndarray] = []
        for axis, size in enumerate(values.shape):
            line = Axis(size, int(low[axis]), int(high[axis]), float(place[axis]), self._form)
            moved, sloped = line.matrices()
            slopes = [_along(slope, axis, moved) for slope in slopes]
            slopes.append(_along(values, axis, sloped))
            values = _along(values, axis, moved)
        return values, slopes


def _along(values: np.ndarray, axis: int, matrix: np.ndarray) -> np.ndarray:
    """A matrix of a band by an axis, in products so small that one thread computes each."""
    shape = values.shape
    solid = values.reshape(math.prod(shape[:axis]), shape[axis], -1)
    out = np.empty((len(solid), len(matrix), solid.shape[2]), dtype=np.float32)
    for start in range(0, len(matrix), _BLOCK):
        rows = matrix[start : start + _BLOCK]
        used = np.flatnonzero(rows.any(axis=0))
        band = slice(int(used[0]), int(used[-1]) + 1)
        for column in range(0, solid.shape[2], _COLUMNS):
            part = slice(column, column + _COLUMNS)
            ours = out[:, start : start + len(rows), part]
            np.matmul(rows[:, band], solid[:, band, part], out=ours)
    return out.reshape(*shape[:axis], len(matrix), *shape[axis + 1 :])
