"""The scene of a stack: frames moved back by their displacements and averaged.

A frame lies on a grid with a margin on all sides, so that its spline is known up to its border and
that filters of the scene have room. Pixel j of that grid is pixel j - MARGIN of the frame. The
scene's pixel s is seen by the frame of displacement d at s + d.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..filters import taps
from ..filters.separable import Source, correlate
from ..kernels.register import window_columns
from . import preparation
from .inputs import Pixels, fill
from .low_pass import spline_response

MARGIN = 8  # pixels around a frame
_INSIDE = 1  # pixels from the border, so that half a pixel away the spline is known
_FROM_HOLES = 2  # pixels from a guessed pixel
_SPLINE = 1e-5  # of the middle tap, where the filter of spline coefficients ends
_GROWTH = 32  # pixels by which a canvas grows beyond what it must hold
_ALONE = 1e-6  # of the weight of all frames: that of other frames where there are none


@lru_cache(maxsize=1)
def _interpolation() -> taps.Profile:
    """The filter that makes coefficients of a quintic spline."""
    half = np.fft.irfft(1.0 / spline_response(np.linspace(0, np.pi, 129)))[:128]
    return taps.Profile(half[: int(np.flatnonzero(np.abs(half) > _SPLINE * half[0])[-1]) + 1])


@lru_cache(maxsize=8)
def grid_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """The shape of the grid on which frames of this shape lie: transforms of it are fast."""
    from scipy.fft import next_fast_len

    rows, columns = (next_fast_len(n + 2 * MARGIN, real=True) for n in shape)
    return rows, columns


class Frame(NamedTuple):
    """A frame on its grid."""

    pixels: Pixels
    coefficients: np.ndarray  # flat float32
    precision: np.ndarray  # grid float32: 1 / variance in units of the frame's typical one, or 0


def put_on_grid(pixels: Pixels) -> Frame:
    """Spline coefficients and precisions of a frame."""
    shape = pixels.values.shape
    grid = grid_shape((shape[0], shape[1]))
    around = [(MARGIN, m - n - MARGIN) for m, n in zip(grid, shape, strict=True)]
    values = np.pad(pixels.values, around, mode="symmetric")
    coefficients, out = preparation.flat(grid)
    smooth = np.empty((1, *grid), dtype=np.float32)
    term = taps.NOTHING, _interpolation(), _interpolation()
    correlate(Source(values[np.newaxis]), [term], ("reflect",) * 3, 0.0, smooth, 1)
    out[:] = smooth[0]
    sure = np.zeros(grid, dtype=np.float32)
    inner = tuple(slice(MARGIN + _INSIDE, MARGIN + n - _INSIDE) for n in shape)
    cut = tuple(slice(_INSIDE, n - _INSIDE) for n in shape)
    if isinstance(pixels.variance, np.ndarray):
        sure[inner] = pixels.variance[pixels.valid].mean() / pixels.variance[cut]
    else:
        sure[inner] = 1.0
    if not pixels.whole:
        holes = ~pixels.valid if pixels.guessed is None else ~pixels.valid | pixels.guessed
        sure[inner][preparation.grow(holes, _FROM_HOLES)[cut]] = 0.0
    return Frame(pixels, coefficients, sure)


@dataclass
class Pose:
    """How a frame shows the scene: where, and in which brightness; its weight, 0 if it is none.

    The scene has the brightness gain * frame + offset, and ``weight`` is 1 / variance of that.
    """

    place: np.ndarray  # (dy, dx)
    gain: float = 1.0
    offset: float = 0.0
    weight: float = 0.0

    @property
    def whole(self) -> np.ndarray:
        """The place in whole pixels."""
        return np.rint(self.place).astype(np.int64)


def seen(frame: Frame, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """The frame moved back by a fraction of a pixel, in the scene's brightness; weights; grids."""
    grid = frame.precision.shape
    part = pose.place - pose.whole
    value, _, _ = preparation.sample(frame.coefficients, grid, (float(part[0]), float(part[1])))
    values = value[: grid[0] * grid[1]].reshape(grid)
    return values * np.float32(pose.gain) + np.float32(pose.offset), frame.precision * pose.weight


class Scene:
    """Weighted sums of frames, in two halves, on a canvas that grows."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.grid = grid_shape(shape)
        self.origin = np.array([-MARGIN - _GROWTH] * 2)  # the scene's coordinates of pixel [0, 0]
        self._sums = np.zeros((2, 2, *(n + 2 * _GROWTH for n in self.grid)))  # half, (wv, w)
        self._full: np.ndarray | None = None
        self.count = 0

    def _room(self, whole: np.ndarray) -> tuple[slice, slice]:
        """The canvas's part under the grid of a frame, for which the canvas grows if need be."""
        first = -MARGIN - whole - self.origin
        shape = self._sums.shape[2:]
        before = np.where(first < 0, _GROWTH - first, 0)
        beyond = first + self.grid - shape
        after = np.where(beyond > 0, _GROWTH + beyond, 0)
        if before.any() or after.any():
            around = [(int(b), int(a)) for b, a in zip(before, after, strict=True)]
            self._sums = np.pad(self._sums, [(0, 0), (0, 0), *around])
            self._full = None
            self.origin = self.origin - before
            first = first + before
        y, x = (slice(int(i), int(i) + n) for i, n in zip(first, self.grid, strict=True))
        return y, x

    def add(self, frame: Frame, pose: Pose) -> None:
        """Add a frame to the half whose turn it is."""
        where = self._room(pose.whole)
        values, weights = seen(frame, pose)
        half = self._sums[self.count % 2]
        half[0][where] += weights * values
        half[1][where] += weights
        self.count += 1
        self._full = None

    def scale(self, factor: float) -> None:
        """Multiply all weights."""
        self._sums *= factor

    def mean(self) -> tuple[np.ndarray, np.ndarray]:
        """The scene, guessed where no frame shows it, and the weights of its pixels."""
        sums, weights = self._sums.sum(axis=0)
        if self._full is None:
            known = weights > 0
            values = np.divide(sums, weights, out=np.zeros_like(sums), where=known)
            self._full = values.astype(np.float32)
            if known.any():
                fill(self._full, known)
        return self._full, weights

    def halves(self) -> np.ndarray:
        """Both halves' means on the grid at the place (0, 0) where both know it, else 0."""
        y, x = self._room(np.zeros(2, dtype=np.int64))
        sums, weights = self._sums[:, 0, y, x], self._sums[:, 1, y, x]
        known = (weights > 0).all(axis=0)
        if not known.any():
            return np.zeros(sums.shape)
        means = np.divide(sums, weights, out=np.zeros(sums.shape), where=known)
        means -= means[:, known].mean(axis=1)[:, np.newaxis, np.newaxis]
        return np.where(known, means, 0.0)

    def prepare(self, poses: list[Pose]) -> None:
        """Let the canvas hold all frames, so that tasks only read it."""
        for pose in poses:
            self._room(pose.whole)
        self.mean()

    def under(self, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """The scene under a frame's grid, and the weights of its pixels."""
        where = self._room(pose.whole)
        full, weights = self.mean()
        return full[where], weights[where]

    def without(self, frame: Frame, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """As `under`, of the other frames alone; where there are none, the weight is 0."""
        full, weights = self.under(pose)
        values, own = seen(frame, pose)
        rest = weights - own
        known = rest > _ALONE * weights
        # (sum - own) / rest, without the rounding of the sum
        more = np.divide(own, rest, out=np.zeros_like(rest), where=known)
        return (full + more * (full - values)).astype(np.float32), np.where(known, rest, 0.0)


def crop(grid: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The part of a grid that is the frame."""
    return np.ascontiguousarray(grid[tuple(slice(MARGIN, MARGIN + n) for n in shape)])


def flat_like(grid: np.ndarray) -> np.ndarray:
    """A grid as the kernels read it."""
    out = np.zeros(grid.size + window_columns.ROOM, dtype=np.float32)
    out[: grid.size] = grid.ravel()
    return out
