"""The grid of a density for which no grid is given.

A node must not be so far from the next that kernels fall between them. The grid therefore leaves
out far-lying samples of little weight, and where that is not enough the values are means over
the nodes' cells.
"""

from __future__ import annotations

import numpy as np

from ..base.grid import Grid
from . import boundaries
from .gauss_transform import LEAST_TOL
from .kernel_sums import KernelSums

_MARGIN = 4.0  # bandwidths that a grid reaches beyond the samples
_NODES = {1: 1024, 2: 256, 3: 64}
_LEFT_OUT = 0.005  # of the weight, at most, at either end of an axis
_ROOM = 2.0  # spacings beyond the samples on such axes
_WIDENED = 0.6  # of a spacing: kernels whose values sum up to their mass to 0.2 %
_COARSE = 2.0  # bandwidths between nodes, from which on sums over nodes miss kernels


def grid_around(sums: KernelSums, shape: tuple[int, ...] | None) -> tuple[Grid, np.ndarray]:
    """The grid around the samples, and the bandwidth along each axis."""
    samples = sums.samples()
    counts = np.array((_NODES[sums.ndim],) * sums.ndim if shape is None else shape)
    low, high = np.array(sums.bounds).T
    sigma = _local_bandwidth(sums, samples)
    margin = 0.0 if sums.log else _MARGIN * sigma
    ends = [
        np.maximum(samples.min(axis=0) - margin, low),
        np.minimum(samples.max(axis=0) + margin, high),
    ]
    far = ends[1] - ends[0] > counts * sigma
    if shape is None and far.any():
        within = _quantiles(samples, sums.own.weights)
        ends[0] = np.where(far, np.maximum(within[0] - _MARGIN * sigma, ends[0]), ends[0])
        ends[1] = np.where(far, np.minimum(within[1] + _MARGIN * sigma, ends[1]), ends[1])
    if sums.ndim > 1 and not sums.log:  # room for what `values_on` makes of kernels
        room = np.where(_COARSE * counts * sigma < ends[1] - ends[0], _ROOM, 0.0)
        room *= (ends[1] - ends[0]) / np.maximum(counts - 2.0 * _ROOM, 1.0)
        ends = [np.maximum(ends[0] - room, low), np.minimum(ends[1] + room, high)]
    wide = np.where(ends[1] > ends[0], ends[1] - ends[0], 1.0)
    spacing = wide / counts
    return Grid(tuple(counts.tolist()), tuple(spacing), tuple(ends[0] + 0.5 * spacing)), sigma


def values_on(sums: KernelSums, grid: Grid, sigma: np.ndarray) -> np.ndarray:
    """The density at the nodes, or its mean around them where they lie far apart."""
    spacing = np.array(grid.spacing)
    coarse = spacing > _COARSE * sigma
    if coarse.any() and sums.ndim == 1:
        edges = grid.nodes(0)[0] + spacing * (np.arange(grid.shape[0] + 1) - 0.5)
        masses = np.diff(sums.to_tolerance(LEAST_TOL).mass_below(edges[:, np.newaxis]))
        return np.maximum(masses, 0.0) / spacing
    if coarse.any() and not sums.log:
        sums = sums.wider(np.where(coarse, _WIDENED * spacing, 0.0) ** 2)
    nodes = np.meshgrid(*(grid.nodes(axis) for axis in range(grid.ndim)), indexing="ij")
    where = np.stack([axis.ravel() for axis in nodes], axis=1)
    inside = sums.within(where)
    result = np.zeros(len(where))
    result[inside] = sums.density(where if inside.all() else where[inside])
    return result.reshape(grid.shape)


def _local_bandwidth(sums: KernelSums, samples: np.ndarray) -> np.ndarray:
    """Standard deviations of the kernel in the middle of the samples."""
    sigma = np.sqrt(np.diag(sums.covariance))
    if not sums.log:
        return sigma
    middle = np.median(samples, axis=0)[np.newaxis]
    slopes = [
        boundaries.to_line(middle[:, axis], interval)[1]
        for axis, interval in enumerate(sums.bounds)
    ]
    return sigma / np.concatenate(slopes)


def _quantiles(samples: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ends (2, d) of what holds all but a little of the weight along each axis."""
    each = np.broadcast_to(weights, len(samples))
    ends = np.empty((2, samples.shape[1]))
    for axis, column in enumerate(samples.T):
        order = np.argsort(column)
        below = np.cumsum(each[order])
        share = below[-1] * np.array([_LEFT_OUT, 1.0 - _LEFT_OUT])
        ends[:, axis] = column[order[np.searchsorted(below, share)]]
    return ends
