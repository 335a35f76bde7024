"""The sky of an image away from its stars: a smooth surface, and how far places depart from it.

In the box of one star, a level and the far wing of the star look alike. The sky of the whole image
tells them apart: the light of all stars is subtracted, tiles of the pixels that stars do not reach
have means, and a polynomial of the second order in the position goes through these. The variance
of the tiles about it, minus that of the noise, says how well it predicts the sky at one place. In
an image with structure it predicts nothing, and the star's own pixels decide.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..models.field_terms import Extent, terms
from .picture import Picture

_LEAST, _SIDE = 24, 5  # tiles; pixels a side of one
_FULL = 0.25  # of a tile: pixels that must be left in it
_LIGHT = 0.3  # deviations of the noise: the light of stars beyond which a pixel shows no sky
_CLIP, _PASSES = 4.0, 4
_NORMAL = 1.4826


class Sky(NamedTuple):
    """The planes in the boxes of stars, as the sky between the stars predicts them."""

    planes: np.ndarray  # (S, 3): the value in the middle, the rise to the edge along y and x
    precisions: np.ndarray  # (S, 3): inverse variances, 0 where nothing is known

    def take(self, rows: np.ndarray | slice) -> Sky:
        """What is known of the planes of some stars."""
        return Sky(self.planes[rows], self.precisions[rows])


def no_sky(count: int) -> Sky:
    """Nothing is known."""
    return Sky(np.zeros((count, 3)), np.zeros((count, 3)))


def _slopes(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the terms along y and x."""
    zero, one = np.zeros_like(x), np.ones_like(x)
    by_y = np.stack([zero, one, zero, 2.0 * y, x, zero], axis=-1)
    return by_y, np.stack([zero, zero, one, zero, y, 2.0 * x], axis=-1)


def _tiles(
    residual: np.ndarray, dark: np.ndarray, side: int, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle (n, 2), mean and variance of the mean of the tiles that have enough pixels."""
    high, wide = (n // side for n in residual.shape)
    cut = (slice(high * side), slice(wide * side))
    parts = (
        each[cut].reshape(high, side, wide, side).swapaxes(1, 2).reshape(-1, side * side)
        for each in (residual, dark)
    )
    values, used = (np.ascontiguousarray(each) for each in parts)
    middle = np.stack(np.divmod(np.arange(high * wide), max(wide, 1)), axis=1) * side
    enough = used.sum(axis=1) >= _FULL * side * side
    values, used, middle = values[enough], used[enough], middle[enough] + 0.5 * (side - 1)
    if not len(values):
        return middle, np.empty(0), np.empty(0)
    centre = np.nanmedian(np.where(used, values, np.nan), axis=1)
    used &= np.abs(values - centre[:, np.newaxis]) <= _CLIP * np.sqrt(noise)
    count = np.maximum(used.sum(axis=1), 1)
    mean = np.where(used, values, 0.0).sum(axis=1) / count
    spread = np.where(used, (values - mean[:, np.newaxis]) ** 2, 0.0).sum(axis=1) / count
    return middle, mean, np.maximum(spread, 1e-3 * noise) / count


def measure_sky(
    picture: Picture, stars: np.ndarray, noise: float, places: np.ndarray, half: int
) -> Sky:
    """The sky in boxes around places ``x, y``, from the pixels that no star reaches.

    ``stars`` is the light of all stars on the pixels of the picture and its frame, and ``noise``
    the variance of the pixels of the sky.
    """
    window = tuple(slice(picture.margin, picture.margin + n) for n in picture.shape)
    light = stars[window]
    dark = picture.good[window] & (np.abs(light) <= _LIGHT * np.sqrt(noise))
    middle, mean, variance = _tiles(
        picture.values[window] - light, dark, max(half // 2, _SIDE), noise
    )
    if len(mean) < _LEAST:
        return no_sky(len(places))
    extent = Extent(*map(float, picture.shape))
    columns = terms(2, *extent.scaled(middle[:, ::-1]))
    wide, good = 0.0, np.ones(len(mean), bool)  # variance beside the noise; tiles that are sky
    for _ in range(_PASSES):
        weight = good / (variance + wide)
        matrix = columns.T @ (weight[:, np.newaxis] * columns)
        surface = np.linalg.lstsq(matrix, columns.T @ (weight * mean), rcond=1e-12)[0]
        miss = mean - columns @ surface
        size = (_NORMAL * np.median(np.abs(miss))) ** 2
        wide = max(size - float(np.median(variance)), 0.0)
        good = miss**2 <= _CLIP**2 * (variance + wide)
    at = extent.scaled(places)
    own = terms(2, *at)
    unknown = np.einsum("si,ij,sj->s", own, np.linalg.pinv(matrix, hermitian=True), own)
    steps = 2.0 * half / extent.high, 2.0 * half / extent.wide
    rises = [by @ surface * step for by, step in zip(_slopes(*at), steps, strict=True)]
    precision = np.repeat(1.0 / (unknown + wide)[:, np.newaxis], 3, axis=1)
    return Sky(np.stack([own @ surface, *rises], axis=1), precision)
