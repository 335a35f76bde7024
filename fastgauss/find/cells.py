"""Cells of an image, in which its noise is measured, and samples of their pixels."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..kernels.find import noise_samples

_BLOBS = 1000.0  # independent values of the response in a cell
SAMPLES = 1024  # of a cell, about
FEW_SAMPLES = 256  # of a cell, where its noise need only be known roughly


def median(values: np.ndarray) -> np.ndarray:
    """The median of each row; NumPy's own takes much longer for few values."""
    low, high = (values.shape[-1] - 1) // 2, values.shape[-1] // 2
    ordered = np.partition(values, (low, high), axis=-1)
    return 0.5 * (ordered[..., low] + ordered[..., high])


class CellValues(NamedTuple):
    """Values on a grid, as of cells and those beyond the outermost, for what lies between them."""

    nodes: np.ndarray  # (k, cz, cy, cx) k values of each node
    lower: tuple[np.ndarray, ...]  # for each axis the node below each pixel
    shares: tuple[np.ndarray, ...]  # and the share of the next one

    def at(self, points: np.ndarray) -> np.ndarray:
        """Values (k, n) at points (n, 3), linear between the nodes."""
        out = np.empty((len(self.nodes), len(points)))
        noise_samples.between(self.nodes, self.lower, self.shares, points, out)
        return out


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

    def places(self, samples: int | None = None) -> tuple[np.ndarray, ...]:
        """Where samples are along each axis: a regular grid."""
        return _sample_places(self.shape, self.counts, samples or self.samples)

    def each(self) -> tuple[int, ...]:
        """How many samples of a cell are along each axis."""
        return tuple(len(p) // c for p, c in zip(self.places(), self.counts, strict=True))

    def by_cell(self, sampled: np.ndarray) -> np.ndarray:
        """Samples on the grid of `places` as rows (cells, S)."""
        each = [n // c for n, c in zip(sampled.shape, self.counts, strict=True)]
        split = sampled.reshape([k for pair in zip(self.counts, each, strict=True) for k in pair])
        return split.transpose(0, 2, 4, 1, 3, 5).reshape(len(self), math.prod(each))

    def sample(self, volume: np.ndarray, samples: int | None = None) -> np.ndarray:
        """Samples (cells, S) of a volume."""
        return self.by_cell(volume[np.ix_(*self.places(samples))])

    def values(self, *rows: np.ndarray, straight: bool = True) -> CellValues:
        """Some values of each cell, with those one cell beyond the outermost.

        They go straight on there, but not below half of the outermost, or stay constant.
        """
        shape = [n + 2 * (n > 1) for n in self.counts]
        nodes = np.empty([len(rows), *shape])
        for node, row in zip(nodes, rows, strict=True):
            noise_samples.continue_cells(row.reshape(self.counts), straight, node)
        lower, shares = zip(*self.nodes(), strict=True)
        return CellValues(nodes, lower, shares)

    def nodes(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each axis the node below each pixel, and the share of the next one."""
        return [_axis_nodes(n, c) for n, c in zip(self.shape, self.counts, strict=True)]

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
def _sample_places(
    shape: tuple[int, ...], counts: tuple[int, ...], samples: int
) -> tuple[np.ndarray, ...]:
    """Places, along each axis, of about ``samples`` samples of each cell."""
    side = math.ceil(samples ** (1.0 / max(1, sum(n > 1 for n in shape))))
    each = [min(side, n // c) for n, c in zip(shape, counts, strict=True)]
    return tuple(
        ((np.arange(c * m) + 0.5) * (n / (c * m))).astype(np.int64)
        for n, c, m in zip(shape, counts, each, strict=True)
    )


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
