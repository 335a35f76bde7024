"""Dips: whether the image is darker between two maxima than in both, as between two spots.

Along a line or an edge noise makes the maxima: the light between them is the same.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from ..kernels.find import pairs as kernels
from .peaks import window_sums

_NARROW = 0.6  # width of the window whose mean is compared, in those of a spot
_PIXELS = 1.0  # least sigma: between the pixels of a narrower line there are dips
_REACH = 2.5  # widths of that window
_ROUNDING = 1e-5  # of the light: errors where there is no noise
_BESIDE = 6.0  # sigmas within which a maximum is a neighbour
_LEAST, _ENOUGH, _MOST = 0.3, 1.75, 3.0  # errors: of each dip, of all, what one counts for


def neighbours(
    points: np.ndarray, chosen: np.ndarray, sigmas: tuple[float, float, float]
) -> np.ndarray:
    """Pairs (m, 2) of points in the order of the first axis with no other point between them.

    At least one of the two is ``chosen``.
    """
    unit = np.array([1.0 / s if s > 0 else 0.0 for s in sigmas])
    pairs = np.empty((4 * len(points), 2), np.int64)
    while True:
        number = kernels.neighbours(points, chosen, unit, _BESIDE, _BESIDE * sigmas[0], pairs)
        if number <= len(pairs):
            return pairs[:number]
        pairs = np.empty((number, 2), np.int64)


def are_apart(
    volume: np.ndarray, points: np.ndarray, pairs: np.ndarray, noise: np.ndarray,
    gain: np.ndarray, background: np.ndarray, sigmas: tuple[float, float, float],
    threads: int | None,
) -> np.ndarray:  # fmt: skip
    """Which points (n, 3) have neighbours, and significant dips to them; none for a small sigma.

    Parameters
    ----------
    pairs : ndarray (m, 2)
        Neighbours.
    noise, gain, ground : ndarray (n,)
        Variance of a pixel without spots, what a unit of light adds to it, and background.
    """
    axes = [axis for axis in range(3) if sigmas[axis] > 0]
    if min(sigmas[axis] for axis in axes) < _PIXELS:
        return np.zeros(len(points), np.bool_)
    profiles, radii = _window(sigmas)
    whole = float(np.prod(profiles.sum(axis=2)))
    error = math.sqrt(2.0 * float(np.prod((profiles**2).sum(axis=2)))) / whole
    ends = window_sums(volume, points, profiles, radii, threads)[:, 0] / whole
    twice, between = points[pairs].sum(axis=1), np.full(len(pairs), -np.inf)
    for up in itertools.product((0, 1), repeat=len(axes)):  # the brightest of the middles
        middles = twice.copy()
        middles[:, axes] += up
        sums = window_sums(volume, middles // 2, profiles, radii, threads)
        np.maximum(between, sums[:, 0] / whole, out=between)
    lower = ends[pairs].min(axis=1)
    light = np.maximum(0.5 * (lower + between) - background[pairs].mean(axis=1), 0.0)
    variance = noise[pairs].mean(axis=1) + gain[pairs].mean(axis=1) * light
    variance += (_ROUNDING * light) ** 2
    depth = np.full(len(pairs), -np.inf)
    np.divide(lower - between, error * np.sqrt(variance), out=depth, where=variance > 0)
    return _are_deep(depth, pairs, len(points))


def _are_deep(depth: np.ndarray, pairs: np.ndarray, number: int) -> np.ndarray:
    """Which points have deep dips, by those to their neighbours and from these to the next ones.

    ``depth`` (m,): of the dips, in errors. In a row or a grid of spots all are deep together.
    """
    one, other = np.concatenate([pairs, pairs[:, ::-1]]).T
    both, least = np.tile(depth, 2), np.full(number, np.inf)
    np.minimum.at(least, one, both)
    both = np.clip(both, -_MOST, _MOST)
    own, count = np.bincount(one, both, number), np.bincount(one, minlength=number)
    total = own + np.bincount(one, own[other] - both, number)
    dips = count + np.bincount(one, count[other] - 1.0, number)
    return (count > 0) & (least > _LEAST) & (total > _ENOUGH * np.sqrt(dips))


def _window(sigmas: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The profiles (1, 3, side) of a narrow window and their radii."""
    widths = _NARROW * np.array(sigmas)
    radii = np.ceil(_REACH * widths).astype(np.int64)
    profiles = np.zeros((1, 3, 2 * radii.max() + 1))
    for axis, (width, radius) in enumerate(zip(widths, radii, strict=True)):
        x = np.arange(-radius, radius + 1) / (width or 1.0)
        profiles[0, axis, radii.max() - radius : radii.max() + radius + 1] = np.exp(-0.5 * x**2)
    return profiles, radii
