"""The noise threshold of detection: thresholds from the local noise of the response."""

from __future__ import annotations

import math

import numpy as np

from ..kernels.find import local_maxima
from .response import Picture

NOISE_FACTOR = 5.0  # default threshold in standard deviations of the response's noise
_CELL_BLOBS = 1000.0  # independent values of the response in a cell of the noise map
_CELL_SAMPLES = 1024
_LIVE = 0.25  # part of a cell's samples that must carry noise for the cell's noise to be measured


# -- the threshold -----------------------------------------------------------------------------


def _cells(shape: tuple[int, ...], sigmas: tuple[float, float, float]) -> tuple[int, ...]:
    """Number of cells of the noise map along each axis."""
    active = [axis for axis in range(3) if sigmas[axis] > 0]
    blobs = _CELL_BLOBS ** (1.0 / len(active))
    return tuple(
        max(1, round(n / (3.0 * sigma * blobs))) if sigma > 0 else 1
        for n, sigma in zip(shape, sigmas, strict=True)
    )


def _cell_samples(
    picture: Picture, response: np.ndarray, cells: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted samples ``(cells, S)`` of the response on a regular grid, and how many carry noise."""
    shape = response.shape
    side = math.ceil(_CELL_SAMPLES ** (1.0 / max(1, sum(n > 1 for n in shape))))
    each = [min(side, n // c) for n, c in zip(shape, cells, strict=True)]
    places = [
        ((np.arange(c * m) + 0.5) * (n / (c * m))).astype(np.int64)
        for n, c, m in zip(shape, cells, each, strict=True)
    ]
    samples = np.empty([len(p) for p in places], dtype=np.float32)
    local_maxima.take_samples(picture.volume, response, *places, samples)
    if picture.blocked is not None:
        samples[picture.blocked[np.ix_(*places)]] = np.nan
    split = samples.reshape([k for pair in zip(cells, each, strict=True) for k in pair])
    rows = split.transpose(0, 2, 4, 1, 3, 5).reshape(math.prod(cells), math.prod(each))
    ordered = np.sort(rows, axis=1)  # NaN is sorted last
    return ordered, np.count_nonzero(~np.isnan(ordered), axis=1)


def noise_thresholds(
    picture: Picture, response: np.ndarray, sigmas: tuple[float, float, float], least: float
) -> np.ndarray:
    """Default threshold in each cell: NOISE_FACTOR times the noise above its centre."""
    cells = _cells(response.shape, sigmas)
    ordered, live = _cell_samples(picture, response, cells)
    centres, noise = np.empty(len(ordered)), np.empty(len(ordered))
    local_maxima.clipped_noise(ordered, live, centres, noise)
    levels = centres + NOISE_FACTOR * np.maximum(noise, least)
    shown = live >= _LIVE * ordered.shape[1]
    levels[~shown] = np.median(levels[shown]) if shown.any() else NOISE_FACTOR * least
    return levels.reshape(cells)


def level_at(levels: np.ndarray, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Thresholds at points, linear between the centres of the cells."""
    if levels.size == 1:
        return np.full(len(points), levels.flat[0])
    from scipy.ndimage import map_coordinates

    scale = np.array(levels.shape) / np.array(shape)
    where = (points + 0.5) * scale - 0.5
    return map_coordinates(levels, where.T, order=1, mode="nearest")
