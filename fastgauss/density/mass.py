"""The mass of a corrected density, by which it is divided: Gauss and Legendre's rule.

With f the density, f0 its sum of kernels and g = f / f0,

    integral of f = sum over samples of w_j integral of phi(y - x_j) g(y) dy,

and the integral of a sample that lies farther than ``_EDGE`` bandwidths from all bounds is 1. The
others are integrated, or some of them, drawn in equal steps of their weight along the layers
beside the bounds: g - 1 by the rule, and phi by its integral.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .boundaries import Interval

_EDGE = 9.0  # bandwidths: a kernel that far away does not reach to where g is not 1
_HALF = 3.75  # bandwidths from a sample to the end of its integral of g - 1
_ORDER = {1: 16, 2: 10, 3: 7}  # nodes along an axis
_MOST = {1: 1024, 2: 512, 3: 256}  # samples that are integrated


def corrected_mass(
    points: np.ndarray,
    weights: np.ndarray,
    ends: tuple[Interval, ...],
    ratio: Callable[[np.ndarray], np.ndarray],
) -> float:
    """The integral of f for samples (n, d) in bandwidths; ``ratio`` is g at places (m, d)."""
    from scipy.special import ndtr

    each = np.broadcast_to(weights, len(points))
    low, high = np.array(ends).T
    layers = np.floor(np.minimum(points - low, high - points))
    near = (layers < _EDGE).any(axis=1)
    if not near.any():
        return 1.0
    chosen, share = _draw(points[near], each[near], layers[near])
    nodes, factors = _nodes(chosen, low, high)
    more = ratio(nodes.reshape(-1, points.shape[1])).reshape(factors.shape) - 1.0
    inside = np.prod(ndtr(high - chosen) - ndtr(low - chosen), axis=1)
    return float(each[~near].sum() + share @ (inside + (factors * more).sum(axis=1)))


def _draw(
    points: np.ndarray, weights: np.ndarray, layers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Some of the samples, with weights that stand for all of them."""
    most = _MOST[points.shape[1]]
    if len(points) <= most:
        return points, weights
    order = np.lexsort([*points.T[::-1], *layers.T[::-1]])
    sums = np.cumsum(weights[order])
    steps = (np.arange(most) + 0.5) * (sums[-1] / most)
    rows = np.minimum(np.searchsorted(sums, steps), len(order) - 1)
    return points[order[rows]], np.full(most, sums[-1] / most)


def _nodes(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n, q, d) around samples within the bounds, and their weights times the kernel."""
    axes = points.shape[1]
    u, w = np.polynomial.legendre.leggauss(_ORDER[axes])
    places = np.zeros((len(points), *[len(u)] * axes, axes))
    factors = np.ones((len(points), *[len(u)] * axes))
    for axis in range(axes):
        begin = np.maximum(points[:, axis] - _HALF, low[axis])
        half = 0.5 * (np.minimum(points[:, axis] + _HALF, high[axis]) - begin)
        y = (begin + half)[:, np.newaxis] + np.multiply.outer(half, u)
        t = y - points[:, axis, np.newaxis]
        phi = np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi)
        along = [len(points), *[len(u) if k == axis else 1 for k in range(axes)]]
        places[..., axis] = y.reshape(along)
        factors *= (np.multiply.outer(half, w) * phi).reshape(along)
    return places.reshape(len(points), -1, axes), factors.reshape(len(points), -1)
