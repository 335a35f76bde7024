"""Cells of an image, in which its noise is measured, and samples of their pixels."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..kernels.find import noise_samples

_BLOBS = 1000.0  # independent values of the response in a cell
SAMPLES = 1024  # of a cell, about


class Cells(NamedTuple):
    """A division of a volume."""

    shape: tuple[int, ...]  # of the volume
    counts: tuple[int, ...]  # of cells along each axis
    samples: int = SAMPLES  # of a cell, about

    def __len__(self) -> int:
        return math.prod(self.counts)

    def with_samples(self, samples: int) -> Cells:
        """These cells with another number of samples."""
        return Cells(self.shape, self.counts, samples)

    def _places(self, samples: int) -> tuple[list[int], list[np.ndarray]]:
        """How many samples a cell has along each axis, and where all samples are."""
        side = math.ceil(samples ** (1.0 / max(1, sum(n > 1 for n in self.shape))))
        each = [min(side, n // c) for n, c in zip(self.shape, self.counts, strict=True)]
        places = [
            ((np.arange(c * m) + 0.5) * (n / (c * m))).astype(np.int64)
            for n, c, m in zip(self.shape, self.counts, each, strict=True)
        ]
        return each, places

    def places(self, samples: int | None = None) -> list[np.ndarray]:
        """Where samples are along each axis: a regular grid."""
        return self._places(samples or self.samples)[1]

    def by_cell(self, sampled: np.ndarray) -> np.ndarray:
        """Samples on the grid of `places` as rows (cells, S)."""
        each = [n // c for n, c in zip(sampled.shape, self.counts, strict=True)]
        split = sampled.reshape([k for pair in zip(self.counts, each, strict=True) for k in pair])
        return split.transpose(0, 2, 4, 1, 3, 5).reshape(len(self), math.prod(each))

    def sample(self, volume: np.ndarray, samples: int | None = None) -> np.ndarray:
        """Samples (cells, S) of a volume."""
        return self.by_cell(volume[np.ix_(*self.places(samples))])

    def at(self, values: np.ndarray, points: np.ndarray, straight: bool = True) -> np.ndarray:
        """Values of cells at points (n, 3), linear between the centres of the cells.

        Beyond the outermost centres they go straight on, or stay constant.
        """
        if len(self) == 1:
            return np.full(len(points), values.flat[0])
        nodes = self._nodes()
        out = np.empty(len(points))
        lower, share = zip(*nodes, strict=True)
        noise_samples.between(self._padded(values, straight), lower, share, points, out)
        return out

    def on_grid(self, values: np.ndarray, places: list[np.ndarray]) -> np.ndarray:
        """As `at`, straight on, on a grid of places along each axis."""
        grid = self._padded(values, True)
        for axis, ((lower, share), where) in enumerate(zip(self._nodes(), places, strict=True)):
            moved = np.moveaxis(grid, axis, -1)
            low, f = lower[where], share[where]
            high = np.minimum(low + 1, moved.shape[-1] - 1)
            grid = np.moveaxis((1.0 - f) * moved[..., low] + f * moved[..., high], -1, axis)
        return grid

    def _padded(self, values: np.ndarray, straight: bool) -> np.ndarray:
        """Values of cells, with those one cell beyond the outermost on axes of several cells.

        They go straight on, but not below half of the outermost, or stay constant.
        """
        pads = [int(n > 1) for n in self.counts]
        padded = np.zeros([n + 2 * pad for n, pad in zip(self.counts, pads, strict=True)])
        padded[tuple(slice(pad, pad + n) for n, pad in zip(self.counts, pads, strict=True))] = (
            values.reshape(self.counts)
        )
        for axis, pad in enumerate(pads):
            for end, outermost, inner in ((0, 1, 2), (-1, -2, -3)) if pad else ():
                a, b = (padded[(slice(None),) * axis + (k,)] for k in (outermost, inner))
                on = np.where(a > 0, np.maximum(2 * a - b, 0.5 * a), a) if straight else a
                padded[(slice(None),) * axis + (end,)] = on
        return padded

    def _nodes(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """For each axis the padded cell below each pixel, and the share of the next one."""
        return tuple(_axis_nodes(n, c) for n, c in zip(self.shape, self.counts, strict=True))

    def extremes(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value of each cell and of those around it."""
        from scipy.ndimage import maximum_filter, minimum_filter

        grid = values.reshape(self.counts)
        return minimum_filter(grid, 3).ravel(), maximum_filter(grid, 3).ravel()

    def of(self, points: np.ndarray) -> np.ndarray:
        """The number of the cell in which each of some points (n, 3) lies."""
        at = points * np.array(self.counts) // np.array(self.shape)
        return np.ravel_multi_index(tuple(at.T), self.counts)


@lru_cache(maxsize=32)
def _axis_nodes(n: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The padded cell below each pixel of an axis, and the share of the next one."""
    pad = int(count > 1)
    where = np.clip((np.arange(n) + 0.5) * (count / n) - 0.5 + pad, 0.0, count - 1.0 + 2 * pad)
    lower = where.astype(np.int64)
    return lower, where - lower


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
