"""Cells of an image, in which its noise is measured, and samples of their pixels."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

_BLOBS = 1000.0  # independent values of the response in a cell
SAMPLES = 1024  # of a cell, about


class Cells(NamedTuple):
    """A division of a volume."""

    shape: tuple[int, ...]  # of the volume
    counts: tuple[int, ...]  # of cells along each axis

    def __len__(self) -> int:
        return math.prod(self.counts)

    def _places(self, samples: int) -> tuple[list[int], list[np.ndarray]]:
        """How many samples a cell has along each axis, and where all samples are."""
        side = math.ceil(samples ** (1.0 / max(1, sum(n > 1 for n in self.shape))))
        each = [min(side, n // c) for n, c in zip(self.shape, self.counts, strict=True)]
        places = [
            ((np.arange(c * m) + 0.5) * (n / (c * m))).astype(np.int64)
            for n, c, m in zip(self.shape, self.counts, each, strict=True)
        ]
        return each, places

    def places(self, samples: int = SAMPLES) -> list[np.ndarray]:
        """Where samples are along each axis: a regular grid."""
        return self._places(samples)[1]

    def by_cell(self, sampled: np.ndarray) -> np.ndarray:
        """Samples on the grid of `places` as rows (cells, S)."""
        each = [n // c for n, c in zip(sampled.shape, self.counts, strict=True)]
        split = sampled.reshape([k for pair in zip(self.counts, each, strict=True) for k in pair])
        return split.transpose(0, 2, 4, 1, 3, 5).reshape(len(self), math.prod(each))

    def sample(self, volume: np.ndarray, samples: int = SAMPLES) -> np.ndarray:
        """Samples (cells, S) of a volume."""
        return self.by_cell(volume[np.ix_(*self.places(samples))])

    def sample_points(self, samples: int) -> np.ndarray:
        """Pixels (cells * S, 3), cell after cell."""
        grid = np.meshgrid(*self.places(samples), indexing="ij")
        return np.stack([self.by_cell(axis).ravel() for axis in grid], axis=1)

    def at(self, values: np.ndarray, points: np.ndarray, straight: bool = True) -> np.ndarray:
        """Values of cells at points (n, 3), linear between the centres of the cells.

        Beyond the outermost centres they go straight on, or stay constant.
        """
        if len(self) == 1:
            return np.full(len(points), values.flat[0])
        from scipy.ndimage import map_coordinates

        padded = values.reshape(self.counts)
        pads = [int(n > 1 and straight) for n in self.counts]
        for axis, pad in enumerate(pads):
            if pad:  # straight on beyond the outermost centres, but not below half of them
                moved = np.moveaxis(padded, axis, 0)
                pairs = (moved[:1], moved[1:2]), (moved[-1:], moved[-2:-1])
                ends = [np.where(a > 0, np.maximum(2 * a - b, 0.5 * a), a) for a, b in pairs]
                padded = np.moveaxis(np.concatenate([ends[0], moved, ends[1]]), 0, axis)
        scale = np.array(self.counts) / np.array(self.shape)
        where = (points + 0.5) * scale - 0.5 + pads
        return map_coordinates(padded, where.T, order=1, mode="nearest")

    def range_at(self, values: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value of the cells around points (n, 3)."""
        from scipy.ndimage import maximum_filter, minimum_filter

        grid = values.reshape(self.counts)
        at = tuple((points * np.array(self.counts) // np.array(self.shape)).T)
        return minimum_filter(grid, 3)[at], maximum_filter(grid, 3)[at]


@lru_cache(maxsize=8)
def divide(shape: tuple[int, ...], sigmas: tuple[float, float, float]) -> Cells:
    """Cells of about a thousand independent values of the response."""
    active = [axis for axis in range(3) if sigmas[axis] > 0]
    blobs = _BLOBS ** (1.0 / len(active))
    counts = tuple(
        max(1, round(n / (3.0 * sigma * blobs))) if sigma > 0 else 1
        for n, sigma in zip(shape, sigmas, strict=True)
    )
    return Cells(shape, counts)
