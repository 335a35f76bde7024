"""The stopping rule of a joint fit: how long a step is, and how far the minimum still is."""

from __future__ import annotations

import numpy as np

from ..kernels.joint.arrays import Vector
from .equations import NormalEquations, clusters_of
from .scene import State

_NEGLIGIBLE = 1e-10  # step, relative to the spot, at which rounding takes over
_EPSILON = 1e-14  # of the image


def distance_left(longest: np.ndarray, before: np.ndarray, tol: float) -> np.ndarray:
    """The distance left after the step of each cluster or group, from that and the last two."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = np.stack([longest / before[0], before[0] / before[1]])
    rate = np.where(np.isnan(rates), 0.0, rates).max(axis=0)
    rate = np.maximum(rate, min(1.0, 1e-6 / tol))
    falls = rate < 0.999
    rate = np.where(falls, rate, 0.0)
    return np.where(falls, np.minimum(longest, longest * rate / (1 - rate)), longest)


def step_lengths(
    equations: NormalEquations, state: State, step: Vector, groups: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The step of clusters (k,) and of common unknowns (g,), in standard errors.

    ``groups`` (g,) is a mask; ``noise`` (g,) is the square of the noise's scale.
    """
    crowd, diagonal = equations.crowd, equations.equations.diagonal
    square = equations.products(step.spots, diagonal, clusters_of(crowd, groups))[:, 0]
    light = equations.light(state)
    negligible = square <= _NEGLIGIBLE**2 * light
    light = np.bincount(crowd.cluster_groups, light, len(groups))
    matrix, x = equations.system.common, step.common
    at = equations.common_at(state)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = np.sqrt(square / noise[crowd.cluster_groups])
        square = np.einsum("gt,gtu,gu->g", x, matrix, x)
        least = _NEGLIGIBLE**2 * (light + np.einsum("gt,gtu,gu->g", at, matrix, at))
        common = np.sqrt(np.where(square <= least, 0.0, square / noise))
    length = np.where(negligible | np.isnan(length), 0.0, length)
    return length, np.where(np.isnan(common), 0.0, common)


def rounding(light: np.ndarray, objective: np.ndarray) -> np.ndarray:
    """What rounding may change of objectives of images whose squares, weighted, are ``light``."""
    return 1e-13 * objective + _EPSILON * np.sqrt(light * objective) + _EPSILON**2 * light
