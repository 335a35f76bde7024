"""Slow twin of deposits: scipy's B-splines, every node and every image, as matrices of axes."""

import numpy as np
from scipy.interpolate import BSpline

NODES = {"nearest": 1, "linear": 2, "quadratic": 3, "cubic": 4}
_IMAGES = range(-6, 7)  # of positions within a period: a stencil of 4 on a period of 1


def spline(kernel, x):
    """The centred B-spline of 1 to 4 pieces."""
    pieces = NODES[kernel]
    if pieces == 1:
        return ((x >= -0.5) & (x < 0.5)) * 1.0
    knots = np.arange(pieces + 1) - pieces / 2
    return np.nan_to_num(BSpline.basis_element(knots, extrapolate=False)(x))


def axis_weights(grid, positions, kernel, axis):
    """Weights (n, nodes) of one axis."""
    n = grid.shape[axis]
    u = grid.index(positions)[:, axis]
    if grid.periodic[axis] and n:
        u = u - n * np.floor(u / n)
        u = np.where((u >= n) | (u < 0), 0.0, u)
    images = [n * k for k in _IMAGES] if grid.periodic[axis] else [0]
    nodes = np.arange(n)
    return sum(spline(kernel, u[:, None] - nodes - shift) for shift in images)


def matrix(grid, positions, kernel):
    """Weights (n, nodes of the grid)."""
    weights = np.ones((len(positions), 1))
    for axis in range(grid.ndim):
        own = axis_weights(grid, positions, kernel, axis)
        product = weights[:, :, None] * own[:, None, :]
        weights = product.reshape(len(positions), weights.shape[1] * own.shape[1])
    return weights


def deposit(grid, positions, values, kernel):
    """Sums at the nodes, channels last."""
    values = np.asarray(values, dtype=float)
    if not values.ndim:
        values = np.full(len(positions), values)
    out = np.tensordot(matrix(grid, positions, kernel), values, (0, 0))
    return out.reshape(grid.shape + values.shape[1:])


def gather(field, grid, positions, kernel):
    """Sums at the particles, channels last."""
    flat = np.reshape(np.asarray(field, dtype=float), (grid.size, *field.shape[grid.ndim :]))
    return np.tensordot(matrix(grid, positions, kernel), flat, (1, 0))
