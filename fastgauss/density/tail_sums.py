"""Logarithms of sums of unit Gaussians where the sums themselves have underflowed.

    log f(y) = log sum_j w_j phi(y - x_j),   and the kernel's mean t = y - x there,

with r the distance to the nearest sample, are summed as exp((r^2 - t^2) / 2), so that the largest
term is about 1. Terms that are together below 1e-9 of it are left out: samples lie in order
along one axis, and a point looks at those within its radius along it.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..base import thread_pool
from ..kernels.density.all_pairs import make_tail_sums
from ..kernels.simd.lanes import WIDTH

_DIGITS = 20.0  # logarithm of what may be left out
_CHUNK = 1 << 8


class TailSums(NamedTuple):
    """Logarithms of the sum, and the mean (m, d) of y - x under the kernel."""

    logarithm: np.ndarray
    mean: np.ndarray


class Sorted:
    """Sources in order along the axis where they spread most."""

    def __init__(self, points: np.ndarray, weights: np.ndarray) -> None:
        each = np.broadcast_to(weights, len(points))
        if points.shape[1] == 1:  # samples that are alike are one
            places, alike = np.unique(points[:, 0], return_inverse=True)
            points, each = places[:, np.newaxis], np.bincount(alike, each)
        count, axes = points.shape
        self.axis = int(np.argmax(np.ptp(points, axis=0)))
        order = np.argsort(points[:, self.axis], kind="stable")
        self.points = points[order]
        self.places = self.points[:, self.axis].copy()
        self.largest = float(each.max())
        filled = -(-count // WIDTH) * WIDTH
        columns = np.zeros((axes, filled))
        columns[:, :count] = self.points.T
        self.columns = columns.reshape(-1)
        self.weights = np.zeros(filled)
        self.weights[:count] = each[order] / self.largest

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import KDTree

        return KDTree(self.points)

    def _nearest(self, points: np.ndarray) -> np.ndarray:
        """The row of the source nearest to each point."""
        if points.shape[1] > 1:
            return self._tree.query(points)[1]
        x, last = points[:, 0], len(self.places) - 1
        after = np.minimum(np.searchsorted(self.places, x), last)
        before = np.maximum(after - 1, 0)
        return np.where(x - self.places[before] < self.places[after] - x, before, after)

    def sums(self, points: np.ndarray, threads: int | None) -> TailSums:
        """The sums at points (m, d)."""
        count, axes = points.shape
        nearest = self._nearest(points)
        shortest = ((points - self.points[nearest]) ** 2).sum(axis=1)
        # what the nearest source says the sum is at least
        below = -np.log(self.weights[nearest]) + math.log(len(self.places)) + _DIGITS
        radius = np.sqrt(shortest + 2.0 * below)
        along = points[:, self.axis]
        first = np.searchsorted(self.places, along - radius) // WIDTH * WIDTH
        last = np.searchsorted(self.places, along + radius, side="right")
        out = np.empty((count, 1 + axes))
        kernel = make_tail_sums(axes)

        def task(start: int, stop: int) -> None:
            kernel(points, nearest, first, last, self.columns, self.weights, out, start, stop)

        thread_pool.run(lambda: task, count, _CHUNK, threads)
        logarithm = np.log(out[:, 0]) - 0.5 * shortest
        logarithm += math.log(self.largest) - 0.5 * axes * math.log(2.0 * math.pi)
        return TailSums(logarithm, out[:, 1:] / out[:, :1])
