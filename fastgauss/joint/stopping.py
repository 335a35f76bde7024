"""The stopping rule of a joint fit: how long a step is, and how far the minimum still is."""

from __future__ import annotations

import numpy as np

from ..kernels.joint.arrays import Vector
from .equations import NormalEquations, clusters_of
from .neighbours import Crowd
from .scene import State

_LAST, _PAUSE = 0.25, 3  # part of all rounds in which clusters are held; rounds between
_AWAY, _FEW = 100.0, 0.3  # tolerances from which a cluster is far; part of the spots held at most
_PARTS = 0.0, 0.3, 1.0  # of the farthest cluster's steps, from which others are held with it
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


def clusters_to_hold(
    crowd: Crowd, steps: np.ndarray, held: np.ndarray, active: np.ndarray, tol: float, left: int
) -> np.ndarray:
    """The clusters (k,) of active groups (g,) to hold with ``left`` rounds to go, if few are held.

    ``steps`` (t, k) are the lengths of the last t steps in standard errors. Their median counts,
    for a single step may have been damped. Two spots in a flat valley move all their neighbours at
    every step, and the neighbours come to rest when the two are held: therefore only clusters
    with steps about as long as the longest are held at once, the last time all that are far; or
    the farthest alone, where these are too many.
    """
    length, away = np.median(steps, axis=0), np.zeros_like(held)
    for group in np.flatnonzero(active).tolist():
        mine = slice(*crowd.members.group_clusters[group : group + 2])
        rest = np.where(held[mine], 0.0, length[mine])
        sizes = np.diff(crowd.members.cluster_spots[mine.start : mine.stop + 1])
        for part in _PARTS[left > _PAUSE :]:
            far = (rest > _AWAY * tol) & (rest >= part * rest.max())
            if sizes[far | held[mine]].sum() <= _FEW * sizes.sum():
                away[mine] = far
                break
    return away


def may_hold(left: int, most: int) -> bool:
    """Whether clusters may be held with ``left`` of ``most`` rounds to go: in the last quarter."""
    return _PAUSE <= left <= max(_PAUSE, int(_LAST * most)) and left % _PAUSE == 0
