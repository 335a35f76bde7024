"""The background around each pixel: a local paraboloid in a wide Gaussian window.

With W the mean in the window, the background of an image d is W d + W (d - W d): the window 2 W -
W W has no second moments, and a plane or a paraboloid is its own background. The window is much
wider than a spot. It is therefore formed of means of blocks, a third of its width each: they are
smoothed, and the background of a pixel lies linearly between those of the blocks around it. Beyond
the border the means are continued by straight lines, so that the background of a slope is that
slope up to the border.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..base import thread_pool
from ..filters.taps import NOTHING, Profile, gaussian
from ..kernels.find import backgrounds
from .cells import CellValues
from .response import CHUNK, Picture, correlate_picture, each_chunk

WIDTH = 9.0  # of the window, in widths of a spot
_BLOCKS = 3.0  # in a width of the window
_TRUNCATE = 3.0  # widths of the window at which it ends
_LINE = 2.5  # widths of the window from which a straight line beyond the border comes
_LEAST = 0.05  # part of the usual weight below which a block is filled from those around it


class Axis(NamedTuple):
    """The blocks along an axis: the window over them, and the line beyond the border."""

    first: int  # pixel at which the blocks begin
    side: int
    blocks: int
    window: Profile
    line: np.ndarray  # (pad, blocks): from the first blocks to those before them
    lower: np.ndarray  # (n,) the blocks between which each pixel lies
    upper: np.ndarray
    share: np.ndarray  # of the upper one


@lru_cache(maxsize=32)
def block_axis(n: int, sigma: float) -> Axis:
    """Blocks along an axis of n pixels for spots of this sigma; 0 is an axis without a window."""
    places = np.arange(n)
    if sigma == 0.0:
        nothing = np.empty((0, 1))
        return Axis(0, 1, n, NOTHING, nothing, places, places, np.zeros(n, np.float32))
    width = WIDTH * sigma
    side = min(max(1, round(width / _BLOCKS)), n)
    count = n // side
    first = (n - count * side) // 2
    narrow = math.sqrt(max(width**2 - 0.25 * side**2, 0.25)) / side
    window = gaussian(narrow, radius=max(1, math.ceil(_TRUNCATE * narrow)))
    few = min(count, max(2, round(_LINE * width / side)))
    line = np.ones((window.radius, few)) / few
    if few > 1:
        inside = np.arange(few) - 0.5 * (few - 1)
        beyond = np.arange(-window.radius, 0) - 0.5 * (few - 1)
        line = line + np.outer(beyond, inside) / np.sum(inside**2)
    between = (places - first - 0.5 * (side - 1)) / side
    lower = np.clip(np.floor(between).astype(np.int64), 0, max(count - 2, 0))
    upper = np.minimum(lower + 1, count - 1)
    share = np.where(upper > lower, between - lower, 0.0)
    return Axis(first, side, count, window, line, lower, upper, share.astype(np.float32))


def _continued(means: np.ndarray, axes: tuple[Axis, ...]) -> np.ndarray:
    """The means with straight lines beyond the borders."""
    for k, axis in enumerate(axes):
        if not len(axis.line):
            continue
        shape = list(means.shape)
        shape[k] += 2 * len(axis.line)
        wide = np.empty(shape, means.dtype)
        rows = (math.prod(shape[:k]), -1, math.prod(shape[k + 1 :]))
        backgrounds.continue_lines(means.reshape(rows), axis.line, wide.reshape(rows))
        means = wide
    return means


def _smoothed(means: np.ndarray, axes: tuple[Axis, ...], threads: int | None) -> np.ndarray:
    """The means in the window around each block, and those of what is left."""
    once = _once(means, axes, threads)
    return once + _once(means - once, axes, threads)


def _once(means: np.ndarray, axes: tuple[Axis, ...], threads: int | None) -> np.ndarray:
    """The means in the window around each block."""
    term = tuple(axis.window for axis in axes)
    smooth = correlate_picture(_continued(means, axes), [term], threads)
    inner = tuple(
        slice(len(axis.line), smooth.shape[k] - len(axis.line)) for k, axis in enumerate(axes)
    )
    return np.ascontiguousarray(smooth[inner])


class Background(NamedTuple):
    """The background in blocks."""

    means: np.ndarray
    axes: tuple[Axis, ...]

    def subtracted(self, volume: np.ndarray, threads: int | None) -> np.ndarray:
        """A volume less its background."""
        rest = np.empty_like(volume)
        z, y, x = ((axis.lower, axis.upper, axis.share) for axis in self.axes)
        rows = np.empty((*self.means.shape[:2], volume.shape[2]), np.float32)

        def spread(start: int, stop: int) -> None:
            backgrounds.spread_rows(self.means, *x, rows, start, stop)

        def subtract(start: int, stop: int) -> None:
            backgrounds.subtract_between(volume, rows, z, y, rest, start, stop)

        each_chunk(rows, spread, threads)
        each_chunk(volume, subtract, threads)
        return rest

    def at(self, points: np.ndarray) -> np.ndarray:
        """The background of some pixels (n, 3)."""
        lower = tuple(axis.lower for axis in self.axes)
        shares = tuple(axis.share.astype(np.float64) for axis in self.axes)
        means = self.means[np.newaxis].astype(np.float64)
        return CellValues(means, lower, shares).at(points)[0]

    def light_of(self, points: np.ndarray, flux: np.ndarray, threads: int | None) -> Background:
        """What points of some flux take from the background, if they have no part in it."""
        light = np.zeros(self.means.shape)
        for block, share in _corners(self.axes, points):
            np.add.at(light, block, -share * flux / math.prod(axis.side for axis in self.axes))
        return self._replace(means=_smoothed(light.astype(np.float32), self.axes, threads))


def _corners(axes: tuple[Axis, ...], points: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
    """The blocks between which pixels lie, and their shares."""
    sides = [
        ((axis.lower[p], 1.0 - axis.share[p]), (axis.upper[p], axis.share[p]))
        for axis, p in zip(axes, points.T, strict=True)
    ]
    for (c, f), (b, g), (a, h) in itertools.product(*sides):
        yield (c, b, a), f * g * h


def measure_background(
    picture: Picture,
    sigmas: tuple[float, float, float],
    weights: np.ndarray | None,
    threads: int | None,
) -> Background:
    """The background of a picture, with the weight of each pixel or all alike."""
    axes = tuple(block_axis(n, s) for n, s in zip(picture.volume.shape, sigmas, strict=True))
    if weights is None:
        return Background(_smoothed(_means(picture.volume, axes, threads), axes, threads), axes)
    share = _means(weights, axes, threads)
    means = _means(picture.volume * weights, axes, threads)
    term = [tuple(axis.window for axis in axes)]
    near = [correlate_picture(m, term, threads) for m in (means, share)]
    usual = float(share.mean())
    empty = share <= _LEAST * usual
    np.divide(means, share, out=means, where=~empty)
    means[empty] = (near[0] / np.maximum(near[1], 1e-6 * max(usual, 1e-30)))[empty]
    return Background(_smoothed(means, axes, threads), axes)


def _means(volume: np.ndarray, axes: tuple[Axis, ...], threads: int | None) -> np.ndarray:
    """Means of blocks."""
    first, sides = (np.array([getattr(axis, k) for axis in axes]) for k in ("first", "side"))
    means = np.empty([axis.blocks for axis in axes], dtype=np.float32)

    def task(start: int, stop: int) -> None:
        backgrounds.block_means(volume, first, sides, means, start, stop)

    planes = max(1, CHUNK * len(means) // volume.size)
    thread_pool.run(lambda: task, len(means), planes, threads)
    return means


def window_matrices(n: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """W and W W along an axis: row i, column j is the weight of pixel j in that of pixel i."""
    axis = block_axis(n, sigma)
    means = np.zeros((axis.blocks, n))
    for i in range(axis.blocks):
        begin = axis.first + i * axis.side
        means[i, begin : begin + axis.side] = 1.0 / axis.side
    share = axis.share.astype(np.float64)[:, None]
    taps = np.concatenate([axis.window.half[:0:-1], axis.window.half])
    windows = []
    for _ in range(2):
        wide = _continued(means, (axis,))
        means = np.stack([taps @ wide[i : i + len(taps)] for i in range(axis.blocks)])
        windows.append((1.0 - share) * means[axis.lower] + share * means[axis.upper])
    return windows[0], windows[1]
