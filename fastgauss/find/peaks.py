"""Local maxima of the response: selected, thinned to a distance, refined."""

from __future__ import annotations

import math

import numpy as np

from ..base import thread_pool
from ..kernels.find import local_maxima
from . import log_filter
from .response import CHUNK, Picture, each_chunk

PROOF = 0.5  # part of the contrast of a noiseless spot that a spot must have
_ROUNDING = 16.0 * float(np.finfo(np.float32).eps)  # response to rounding, by signal


# -- maxima ------------------------------------------------------------------------------------


def _local_maxima(
    response: np.ndarray, above: float, threads: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices, increasing, of the maxima above a number, and which of them are on plateaus."""
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def task(start: int, stop: int) -> None:
        capacity = 1 << 12
        while True:
            where = np.empty(capacity, dtype=np.int64)
            tied = np.empty(capacity, dtype=np.bool_)
            count = local_maxima.local_maxima(response, above, start, stop, where, tied)
            if count <= capacity:
                break
            capacity = count
        found[start] = where[:count].copy(), tied[:count].copy()

    each_chunk(response, task, threads)
    parts = [found[start] for start in sorted(found)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _rounding_level(peaks: np.ndarray, sigma: float, planes: np.ndarray) -> np.ndarray:
    """The largest response that rounding errors can cause in each of some planes."""
    from scipy.ndimage import maximum_filter1d

    radius = log_filter.smoothing((sigma,))[0].radius
    around = maximum_filter1d(peaks, 2 * radius + 1, mode="nearest")
    return _ROUNDING * around[planes]


def candidates(
    picture: Picture,
    response: np.ndarray,
    above: float,
    sigma: float,
    threads: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Maxima ``(n, 3)`` of a response above a level and above the rounding error; their heights.

    ``sigma`` is the width along the planes.
    """
    where, tied = _local_maxima(response, max(0.0, above), threads)
    if tied.any():
        where = np.sort(
            np.append(where[~tied], local_maxima.plateau_centres(response, where[tied]))
        )
    if picture.blocked is not None:
        where = where[~picture.blocked.flat[where]]
    points = np.stack(np.unravel_index(where, response.shape), axis=1)
    strength = response.flat[where]
    good = strength > _rounding_level(picture.peaks, sigma, points[:, 0])
    return points[good], strength[good]


def contrast_noise(sigmas: tuple[float, float, float]) -> float:
    """The deviation of a contrast, as an amplitude, in noise of deviation 1."""
    core, ring, contrast = local_maxima.core_and_ring(sigmas)
    return math.sqrt(1.0 / len(core) + 0.5 * math.pi / len(ring)) / contrast


def curvatures(
    volume: np.ndarray,
    points: np.ndarray,
    sigmas: tuple[float, float, float],
    threads: int | None,
) -> np.ndarray:
    """Responses of the negative Laplacian at points, in units of a spot's amplitude."""
    terms, _ = log_filter.spot_filter(sigmas)
    radii = np.array([profile.radius for profile in terms[0]])
    profiles = np.zeros((len(terms), 3, 2 * radii.max() + 1))
    for term, rows in zip(terms, profiles, strict=True):
        for profile, row in zip(term, rows, strict=True):
            middle, half = len(row) // 2, profile.half
            row[middle : middle + len(half)] = half
            row[middle - len(half) + 1 : middle] = half[:0:-1]
    sums = np.empty((len(points), len(terms)))

    def task(start: int, stop: int) -> None:
        local_maxima.weighted_sums(volume, points, profiles, radii, sums, start, stop)

    size = len(terms) * int(np.prod(2 * radii + 1))
    thread_pool.run(lambda: task, len(points), max(1, CHUNK // size), threads)
    return sums.sum(axis=1)


def stand_out(
    volume: np.ndarray,
    points: np.ndarray,
    strength: np.ndarray,
    sigmas: tuple[float, float, float],
    threads: int | None,
) -> np.ndarray:
    """Which maxima are spots, judged by the median of the ring around them.

    Half of the contrast that a noiseless spot of amplitude ``strength`` has must be there.
    """
    if len(points) == 0:
        return np.empty(0, dtype=np.bool_)
    core, ring, contrast = local_maxima.core_and_ring(sigmas)
    needed = (PROOF * contrast) * strength.astype(np.float64)
    keep = np.empty(len(points), dtype=np.bool_)

    def task(start: int, stop: int) -> None:
        local_maxima.stands_out(volume, points, needed, core, ring, keep, start, stop)

    thread_pool.run(lambda: task, len(points), max(1, CHUNK // len(ring)), threads)
    return keep


def thin_peaks(points: np.ndarray, shape: tuple[int, ...], distance: np.ndarray) -> np.ndarray:
    """Which points are kept if each point closer than a distance to a stronger one is dropped."""
    keep = np.ones(len(points), dtype=np.bool_)
    if np.any(distance > 1.0) and len(points) > 1:
        cell = np.ceil(np.clip(distance, 8, np.maximum(shape, 8))).astype(np.int64)
        head = np.full(-(-np.array(shape) // cell), -1)
        local_maxima.thin(points, np.maximum(distance, 0.5), cell, head, keep)
    return keep


def refine_peaks(response: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Vertices of the parabolas through each maximum and its two neighbours on an axis."""
    refined = points.astype(np.float64)
    centre = response[tuple(points.T)].astype(np.float64)
    for axis, n in enumerate(response.shape):
        inner = np.flatnonzero((points[:, axis] > 0) & (points[:, axis] < n - 1))
        step = np.zeros(3, dtype=np.int64)
        step[axis] = 1
        before = response[tuple((points[inner] - step).T)] - centre[inner]
        after = response[tuple((points[inner] + step).T)] - centre[inner]
        bend = before + after
        shift = np.divide(0.5 * (before - after), bend, out=np.zeros(len(inner)), where=bend < 0)
        refined[inner, axis] += shift
    return refined
