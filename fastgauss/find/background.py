"""The background around each pixel: a local paraboloid in a wide Gaussian window.

With W the mean in the window, the background of an image d is W d + W (d - W d): the window 2 W -
W W has no second moments, and a plane or a paraboloid is its own background. The window is much
wider than a spot. It is therefore formed of means of blocks, a third of its width each: they are
smoothed, and the background of a pixel lies linearly between those of the blocks around it. Beyond
the border the means are continued by straight lines, so that the background of a slope is that
slope up to the border.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..base import thread_pool
from ..filters.taps import NOTHING, Profile, gaussian
from ..kernels.find import backgrounds
from .cells import CellValues
from .response import CHUNK, Picture, correlate_picture, each_chunk, each_item

WIDTH = 9.0  # of the window, in widths of a spot
_BLOCKS = 3.0  # in a width of the window
_TRUNCATE = 3.0  # widths of the window at which it ends
_LINE = 2.5  # widths of the window from which a straight line beyond the border comes
_COST = 4  # of a smoothed block, by that of a pixel
_LEAST = 0.05  # part of the usual weight below which a block is filled from those around it


class Axis(NamedTuple):
    """The blocks along an axis, and the window over them."""

    first: int  # pixel at which the blocks begin
    side: int
    blocks: int
    window: Profile
    nearest: np.ndarray  # (blocks,) the first block that each smoothed one is a sum of
    weights: np.ndarray  # (blocks, k) of that block and of those after it
    columns: np.ndarray  # the same, transposed
    lower: np.ndarray  # (n,) the blocks between which each pixel lies
    upper: np.ndarray
    share: np.ndarray  # of the upper one
    rise: np.ndarray  # the same in float32


@lru_cache(maxsize=32)
def block_axis(n: int, sigma: float) -> Axis:
    """Blocks along an axis of n pixels for spots of this sigma; 0 is an axis without a window."""
    places = np.arange(n)
    if sigma == 0.0:
        alone = np.ones((n, 1), np.float32)
        none = np.zeros(n)
        return Axis(
            0, 1, n, NOTHING, places, alone, alone.T, places, places, none,
            none.astype(np.float32),
        )  # fmt: skip
    width = WIDTH * sigma
    side = min(max(1, round(width / _BLOCKS)), n)
    count = n // side
    first = (n - count * side) // 2
    narrow = math.sqrt(max(width**2 - 0.25 * side**2, 0.25)) / side
    window = gaussian(narrow, radius=max(1, math.ceil(_TRUNCATE * narrow)))
    nearest, weights = _weights(count, window, max(2, round(_LINE * width / side)))
    between = (places - first - 0.5 * (side - 1)) / side
    lower = np.clip(np.floor(between).astype(np.int64), 0, max(count - 2, 0))
    upper = np.minimum(lower + 1, count - 1)
    share = np.where(upper > lower, between - lower, 0.0)
    rise = share.astype(np.float32)
    columns = np.ascontiguousarray(weights.T)
    return Axis(first, side, count, window, nearest, weights, columns, lower, upper, share, rise)


def _weights(count: int, window: Profile, few: int) -> tuple[np.ndarray, np.ndarray]:
    """The first block of the window over each of ``count`` blocks, and its weights.

    What lies beyond the border counts as the straight line through the first ``few`` blocks.
    """
    taps = np.concatenate([window.half[:0:-1], window.half])
    radius, few = window.radius, min(count, few)
    size = min(count, len(taps))  # not less than the blocks of a line
    first = np.clip(np.arange(count) - radius, 0, count - size)
    line = np.full((radius, few), 1.0 / few)  # from the first blocks to those before them
    if few > 1:
        inside = np.arange(few) - 0.5 * (few - 1)
        beyond = np.arange(-radius, 0) - 0.5 * (few - 1)
        line += np.outer(beyond, inside) / np.sum(inside**2)
    weights = np.zeros((count, size))
    weights[:, : len(taps)] = taps[:size]
    for block in {*range(min(radius, count)), *range(max(count - radius, 0), count)}:
        row = np.zeros(count + 2 * radius)
        row[block : block + len(taps)] = taps
        inner = row[radius : radius + count]
        inner[:few] += row[:radius] @ line
        inner[count - few :] += (row[radius + count :][::-1] @ line)[::-1]
        weights[block] = inner[first[block] : first[block] + size]
    return first, weights.astype(np.float32)


def _smoothed(means: np.ndarray, axes: tuple[Axis, ...], threads: int | None) -> np.ndarray:
    """The means in the window around each block, and those of what is left."""
    once = _once(means, axes, threads)
    return once + _once(means - once, axes, threads)


def _once(means: np.ndarray, axes: tuple[Axis, ...], threads: int | None) -> np.ndarray:
    """The means in the window around each block."""
    for k, axis in enumerate(axes):
        if axis.weights.shape[1] > 1:
            lines = means.reshape(math.prod(means.shape[:k]), axis.blocks, -1)
            means = _along(lines, axis, threads).reshape(means.shape)
    return means


def _along(lines: np.ndarray, axis: Axis, threads: int | None) -> np.ndarray:
    """Blocks smoothed along the middle axis."""
    smooth = np.empty_like(lines)

    def task(start: int, stop: int) -> None:
        backgrounds.smooth_along(
            lines, axis.nearest, axis.weights, axis.columns, smooth, start, stop
        )

    before, count, after = lines.shape
    items = before if after == 1 else before * count
    each_item(items, _COST * lines.size // items, task, threads)
    return smooth


class Background(NamedTuple):
    """The background in blocks."""

    means: np.ndarray
    axes: tuple[Axis, ...]

    def subtracted(self, volume: np.ndarray, threads: int | None) -> np.ndarray:
        """A volume less its background."""
        rest = np.empty_like(volume)
        z, y, x = ((axis.lower, axis.upper, axis.rise) for axis in self.axes)
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
        lower, shares = tuple(a.lower for a in self.axes), tuple(a.share for a in self.axes)
        means = self.means[np.newaxis].astype(np.float64)
        return CellValues(means, lower, shares).at(points)[0]

    def slopes(self, points: np.ndarray, sigmas: tuple[float, float, float]) -> np.ndarray:
        """The rise of the background at some pixels (n, 3), in each width of a spot: (n, D)."""
        active = [axis for axis in range(3) if sigmas[axis] > 0]
        ends = np.tile(points, (2, len(active), 1, 1))  # (2, D, n, 3)
        for k, axis in enumerate(active):
            step = max(1, round(0.5 * WIDTH / _BLOCKS * sigmas[axis]))  # to half a block
            last = len(self.axes[axis].lower) - 1
            ends[0, k, :, axis] = np.maximum(points[:, axis] - step, 0)
            ends[1, k, :, axis] = np.minimum(points[:, axis] + step, last)
        low, high = self.at(ends.reshape(-1, 3)).reshape(ends.shape[:3])
        run = (ends[1] - ends[0]).max(axis=2) / np.array([[sigmas[axis]] for axis in active])
        return np.divide(high - low, run, out=np.zeros_like(run), where=run > 0).T

    def without_light(
        self, points: np.ndarray, flux: np.ndarray, threads: int | None
    ) -> tuple[Background, Background]:
        """The background in which points of some flux have no part, and what they take from it."""
        share = -flux / math.prod(axis.side for axis in self.axes)
        light = _between_blocks(self.axes, points, share)
        taken = _smoothed(light.astype(np.float32), self.axes, threads)
        return self._replace(means=self.means + taken), self._replace(means=taken)


def _between_blocks(axes: tuple[Axis, ...], points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The sums of values at points in blocks: each is divided among those around its point."""
    sums = np.zeros(tuple(axis.blocks for axis in axes))
    z, y, x = ((axis.lower, axis.upper, axis.share) for axis in axes)
    backgrounds.add_between(points, values, z, y, x, sums)
    return sums


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
    share = axis.share[:, None]
    smooth = np.zeros((axis.blocks, axis.blocks))
    for row, begin, weights in zip(smooth, axis.nearest, axis.weights, strict=True):
        row[begin : begin + len(weights)] = weights
    windows = []
    for _ in range(2):
        means = smooth @ means
        windows.append((1.0 - share) * means[axis.lower] + share * means[axis.upper])
    return windows[0], windows[1]
