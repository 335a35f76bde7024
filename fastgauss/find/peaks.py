"""Local maxima of the response: selected, thinned to a distance, refined."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..kernels.find import local_maxima
from . import log_filter
from .response import Picture, each_chunk, each_item

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
    strength = response.reshape(-1)[where]
    if above > _ROUNDING * float(picture.peaks.max()):
        return points, strength
    good = strength > _rounding_level(picture.peaks, sigma, points[:, 0])
    return points[good], strength[good]


@lru_cache(maxsize=8)
def _whole_profiles(sigmas: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Profiles (terms, 3, side) of the negative Laplacian, and their radii."""
    terms, _ = log_filter.spot_filter(sigmas)
    radii = np.array([profile.radius for profile in terms[0]])
    profiles = np.zeros((len(terms), 3, 2 * radii.max() + 1))
    for term, rows in zip(terms, profiles, strict=True):
        for profile, row in zip(term, rows, strict=True):
            middle, half = len(row) // 2, profile.half
            row[middle : middle + len(half)] = half
            row[middle - len(half) + 1 : middle] = half[:0:-1]
    return profiles, radii


def window_sums(
    volume: np.ndarray, points: np.ndarray, profiles: np.ndarray, radii: np.ndarray,
    threads: int | None,
) -> np.ndarray:  # fmt: skip
    """Sums (n, terms) of pixels around points (n, 3) with separable weights."""
    sums = np.empty((len(points), len(profiles)))

    def task(start: int, stop: int) -> None:
        local_maxima.weighted_sums(volume, points, profiles, radii, sums, start, stop)

    each_item(len(points), len(profiles) * int(np.prod(2 * radii + 1)), task, threads)
    return sums


def curvatures(
    volume: np.ndarray,
    points: np.ndarray,
    sigmas: tuple[float, float, float],
    threads: int | None,
) -> np.ndarray:
    """Responses of the negative Laplacian at points, in units of a spot's amplitude."""
    return window_sums(volume, points, *_whole_profiles(sigmas), threads).sum(axis=1)


def _search_cells(shape: tuple[int, ...], distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges of cells of a search up to a distance, and their empty lists."""
    edges, counts = _divided(shape, tuple(distance.tolist()))
    return edges, np.full(counts, -1)


@lru_cache(maxsize=16)
def _divided(
    shape: tuple[int, ...], distance: tuple[float, ...]
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The edges of cells of a search up to a distance, and how many there are along each axis."""
    cell = np.ceil(np.clip(distance, 8, np.maximum(shape, 8))).astype(np.int64)
    return cell, tuple((-(-np.array(shape) // cell)).tolist())


def thin_peaks(points: np.ndarray, shape: tuple[int, ...], distance: np.ndarray) -> np.ndarray:
    """Which points are kept if each point closer than a distance to a stronger one is dropped."""
    keep = np.ones(len(points), dtype=np.bool_)
    if np.any(distance > 1.0) and len(points) > 1:
        cell, head = _search_cells(shape, distance)
        local_maxima.thin(points, np.maximum(distance, 0.5), cell, head, keep)
    return keep


def nearest_points(
    points: np.ndarray, others: np.ndarray, shape: tuple[int, ...], unit: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Distance and number of the nearest of other points (m, 3) to each point (n, 3).

    The distance is in a unit (3,) of pixels; it is infinite and the number 0 beyond a reach.
    """
    cell, head = _search_cells(shape, reach * unit)
    away, which = np.empty(len(points)), np.empty(len(points), np.int64)
    local_maxima.nearest(points, others, unit, reach, cell, head, away, which)
    return away, which


def refine_peaks(response: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Vertices of the parabolas through each maximum and its two neighbours on an axis."""
    places = np.empty(points.shape)
    local_maxima.refine(response, points, places)
    return places
