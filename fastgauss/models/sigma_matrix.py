"""Conversion of the rotated model between its parameters and the sigma matrix.

With the rotation R(theta), the sigma matrix is P = R diag(sigma_x, sigma_y) R'. Fits use its
entries as coordinates.
"""

from __future__ import annotations

import numpy as np

from ..kernels.numeric.packed_cholesky import packed as packed_index

_SIGMA_X, _SIGMA_Y, _THETA = 3, 4, 5


def to_sigma_matrix(params: np.ndarray) -> np.ndarray:
    """``amplitude, x, y, P_xx, P_yy, P_xy, offset`` of parameters (n, 7)."""
    start = np.array(params)
    sigma_x, sigma_y, theta = params[:, _SIGMA_X : _THETA + 1].T
    cos, sin = np.cos(theta), np.sin(theta)
    start[:, 3] = sigma_x * cos**2 + sigma_y * sin**2
    start[:, 4] = sigma_x * sin**2 + sigma_y * cos**2
    start[:, 5] = (sigma_x - sigma_y) * sin * cos
    return start


def from_sigma_matrix(start: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Parameters (n, 7) with theta within its bounds; the sigmas are those along that theta."""
    params = np.array(start)
    p, q, r = start[:, 3], start[:, 4], start[:, 5]
    theta = np.clip(0.5 * np.arctan2(2 * r, p - q), lower[:, _THETA], upper[:, _THETA])
    cos, sin = np.cos(theta), np.sin(theta)
    params[:, _SIGMA_X] = np.hypot(p * cos + r * sin, r * cos + q * sin)
    params[:, _SIGMA_Y] = np.hypot(r * cos - p * sin, q * cos - r * sin)
    params[:, _THETA] = theta
    return params


def make_canonical(params: np.ndarray, packed: np.ndarray, bounds: np.ndarray) -> None:
    """Bring results to the canonical form, in place, where no bound forbids it.

    Where sigma_x, sigma_y and theta are free, sigma_x >= sigma_y; where theta is free,
    -pi/2 < theta <= pi/2.
    """
    free = (bounds[0] == -np.inf) & (bounds[1] == np.inf)
    free = np.broadcast_to(free, params.shape)
    swap = free[:, _SIGMA_X : _THETA + 1].all(axis=1) & (params[:, _SIGMA_X] < params[:, _SIGMA_Y])
    order = np.arange(params.shape[1])
    order[[_SIGMA_X, _SIGMA_Y]] = _SIGMA_Y, _SIGMA_X
    i, j = np.tril_indices(len(order))
    entries = packed_index(np.maximum(order[i], order[j]), np.minimum(order[i], order[j]))
    packed[swap] = packed[swap][:, entries]
    params[swap] = params[swap][:, order]
    params[swap, _THETA] += 0.5 * np.pi
    turn = free[:, _THETA]
    theta = params[turn, _THETA]
    params[turn, _THETA] = theta - np.pi * np.ceil(theta / np.pi - 0.5)
