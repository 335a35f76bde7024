"""The sizes of an image's spots, from the image.

Bright spots are found at a ladder of scales. In D dimensions the significance of a spot of sigma t
at the scale s is proportional to cosh(log(s / t))**(-D / 2), so that its ratio r at two scales,
exp(h) above and below s, gives

    log(s / t) = artanh((1 - r**(2 / D)) / (1 + r**(2 / D)) / tanh(h))

The sizes of all bright spots, in order, are divided into groups where there is a gap. Each group is
one scale, its median, or several scales if it is broad.
"""

from __future__ import annotations

import math

import numpy as np

from .found_spots import FoundSpots
from .options import Search
from .peaks import window_sums
from .response import Picture, as_three
from .searches import Frame, find_at_scales

_SMALLEST, _LARGEST = 0.7, 8.0  # sigmas of the ladder
_PART = 8.0  # the largest sigma, at most, as a part of the image
_STEP = math.sqrt(2.0)  # between scales of the ladder
_FALSE_ALARMS = 1e-3  # expected among the bright spots
_SHAPE_LEVEL = 0.01
_REACH = 3.0  # sigmas from a spot within which its size is seen
_GAP = 1.3  # ratio of sizes between which there are none
_ONE = 1.5  # ratio of the ends of a group that is one scale
_FEW, _RARE = 3, 0.02  # bright spots that tell sizes; part of all that a group has at least
_ENDS = 0.05  # part of a group beyond each of its ends
_APART = 4.0  # sigmas between spots whose sizes are told


def ladder(shape: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
    """The scales at which an image of this shape may have spots."""
    largest = min(_LARGEST, max(min(shape, default=1) / _PART, _SMALLEST))
    steps = int(math.log(largest / _SMALLEST) / math.log(_STEP) + 1e-9)
    return tuple((_SMALLEST * _STEP**k,) * len(shape) for k in range(steps + 1))


def estimate(frame: Frame, searches: list[Search]) -> tuple[tuple[float, ...], ...]:
    """The sizes of an image's spots; the ladder of the searches where too few are bright."""
    from scipy.spatial import KDTree

    bright = [
        search._replace(
            threshold=None, significance=None, false_alarms=_FALSE_ALARMS,
            shape_level=_SHAPE_LEVEL, details=False, curved=False,
        )
        for search in searches
    ]  # fmt: skip
    rows = tuple(search.sigmas for search in searches)
    spots = find_at_scales(frame, bright, None, None)
    if len(spots.positions) < _FEW:
        return rows
    sizes = _sizes(frame.picture(rows[0]), spots, frame.threads)
    if len(spots.positions) > 1:
        away = KDTree(spots.positions).query(spots.positions, k=2)[0][:, 1]
        alone = away > _APART * spots.sigma[:, 0]
        sizes = sizes[alone] if np.count_nonzero(alone) >= _FEW else sizes
    return tuple((size,) * frame.array.ndim for size in _scales(sizes))


def _sizes(picture: Picture, spots: FoundSpots, threads: int | None) -> np.ndarray:
    """The sigma of each spot, by the ratio of its significance at scales above and below."""
    ndim = spots.positions.shape[1]
    axes = np.flatnonzero(as_three((1.0,) * ndim, 0.0))
    points = np.zeros((len(spots.positions), 3), np.int64)
    points[:, axes] = np.rint(spots.positions)
    backgrounds = picture.sign * (spots.background / picture.unit - picture.level)
    sizes = np.empty(len(points))
    for sigma in np.unique(spots.sigma[:, 0]):
        rows = np.flatnonzero(spots.sigma[:, 0] == sigma)
        widths = sigma / _STEP, sigma * _STEP
        beside = _significances(picture, points[rows], backgrounds[rows], widths, axes, threads)
        ratio = np.clip(beside[:, 1] / np.maximum(beside[:, 0], 1e-300), 1e-3, 1e3) ** (2.0 / ndim)
        bent = (1.0 - ratio) / (1.0 + ratio) / math.tanh(math.log(_STEP))
        sizes[rows] = sigma * np.exp(-np.arctanh(np.clip(bent, -0.8, 0.8)))
    return sizes


def _significances(
    picture: Picture, points: np.ndarray, backgrounds: np.ndarray, widths: tuple[float, float],
    axes: np.ndarray, threads: int | None,
) -> np.ndarray:  # fmt: skip
    """Significances (n, 2) of points at two scales, in units of the noise of a pixel."""
    radius = max(1, math.ceil(_REACH * widths[1]))
    places = np.arange(-radius, radius + 1)
    profiles = np.zeros((2, 3, 2 * radius + 1))
    profiles[:, :, radius] = 1.0
    for k, width in enumerate(widths):
        profiles[k, axes] = np.exp(-0.5 * (places / width) ** 2)
    radii = np.zeros(3, np.int64)
    radii[axes] = radius
    sums = window_sums(picture.volume, points, profiles, radii, threads)
    parts = profiles[:, axes]
    sums -= backgrounds[:, None] * parts.sum(axis=2).prod(axis=1)
    return sums / np.sqrt((parts**2).sum(axis=2).prod(axis=1))


def _scales(sizes: np.ndarray) -> list[float]:
    """The scales of sizes."""
    ordered = np.sort(sizes)
    groups = np.split(ordered, 1 + np.flatnonzero(ordered[1:] > _GAP * ordered[:-1]))
    least = max(_FEW, _RARE * len(ordered))
    scales: list[float] = []
    for group in [group for group in groups if len(group) >= least] or [ordered]:
        low, high = np.quantile(group, [_ENDS, 1.0 - _ENDS])
        if high < _ONE * low:
            scales.append(float(np.median(group)))
        else:
            count = 1 + math.ceil(math.log(high / low) / math.log(_ONE))
            scales.extend(np.geomspace(low, high, count).tolist())
    return scales
