"""Input of the kernels of registration: splines, precisions of pixels, pyramids of gradients.

A pixel of the smoothed image has the precision 1 / variance of what the low-pass filter mixes in
it; a guess in a small hole counts as a pixel with the variance of the guess. The precision is 0
where the filter reaches beyond the border or into a large hole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..filters import taps
from ..filters.separable import Source, correlate
from ..kernels.register import block_matching, quintic_spline, window_columns
from .inputs import Pixels
from .low_pass import LowPass

_SURE = 1e-3  # of the variance of a guess: the least that a pixel's noise counts beside it
_TINY = 1e-30

# -- what the kernels read ---------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """An image as the kernels know it; flat arrays with room after the last pixel."""

    coefficients: np.ndarray
    precision: np.ndarray


def flat(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    size = shape[0] * shape[1]
    flat = np.zeros(size + window_columns.ROOM, dtype=np.float32)
    return flat, flat[:size].reshape(shape)


def sample(
    coefficients: np.ndarray, shape: tuple[int, ...], move: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The image and its derivatives along x and y at the pixels (y, x) + move, as flat arrays."""
    value, slope_x, slope_y = np.zeros((3, coefficients.size), dtype=np.float32)
    lines = np.zeros((2, shape[1] + 2 * window_columns.ROOM), dtype=np.float32)  # ends are read
    quintic_spline.sample(coefficients, *shape, *move, value, slope_x, slope_y, *lines)
    return value, slope_x, slope_y


def grow(holes: np.ndarray, margin: int) -> np.ndarray:
    """Pixels within ``margin`` of a hole along all axes."""
    wide = 2 * margin + 1
    for axis in range(holes.ndim):
        lines = np.pad(
            holes, [(margin, margin) if i == axis else (0, 0) for i in range(holes.ndim)]
        )
        lines, covered = np.moveaxis(lines, axis, 0), 1
        while covered < wide:  # each pixel says whether there is a hole in so many from it on
            step = min(covered, wide - covered)
            lines, covered = lines[:-step] | lines[step:], covered + step
        holes = np.moveaxis(lines, 0, axis)
    return holes


def _smoothed(variance: np.ndarray, low: LowPass) -> np.ndarray:
    """Variances of the smoothed image in units of what uniform noise keeps."""
    from scipy.ndimage import correlate1d

    for axis in range(variance.ndim):
        variance = correlate1d(variance, low.squares, axis, mode="reflect")
    return variance


def precision_of(pixels: Pixels, noise: float, unit: float, low: LowPass) -> float | np.ndarray:
    """1 / variance of smoothed pixels times ``unit``; without a unit, 2 where nothing is guessed.

    ``noise`` is the variance of pixels whose error is not given.
    """
    known = unit > 0.0 and pixels.variance is not None
    variance = noise if pixels.variance is None or not known else pixels.variance
    if pixels.guessed is None:
        if not known:
            return 2.0
        if not isinstance(variance, np.ndarray):
            return unit / variance
        return unit / _smoothed(variance, low)
    if not isinstance(variance, np.ndarray):
        variance = np.full(pixels.values.shape, max(variance, _SURE * pixels.doubt, _TINY))
    scale = unit if known else 2.0 * float(variance.flat[0])
    return scale / _smoothed(variance + np.where(pixels.guessed, pixels.doubt, 0.0), low)


def field(
    pixels: Pixels, low: LowPass, extra: int, noise: float, unit: float, threads: int
) -> Field:
    """Coefficients, and precisions; ``extra`` more pixels of margin are lost."""
    shape = pixels.values.shape
    coefficients, out = flat(shape)
    term = taps.Profile(low.taps), taps.Profile(low.taps)
    source = Source(pixels.values[np.newaxis])
    correlate(source, [(taps.NOTHING, *term)], ("reflect",) * 3, 0.0, out[np.newaxis], threads)
    precision, map_ = flat(shape)
    map_[:] = precision_of(pixels, noise, unit, low)
    margin = low.margin + extra
    if not pixels.valid.all():
        map_[grow(~pixels.valid, margin)] = 0.0
    map_[:margin] = map_[-margin:] = map_[:, :margin] = map_[:, -margin:] = 0.0
    return Field(coefficients, precision)


@dataclass(frozen=True)
class Pyramid:
    """Gradients of an image on levels whose pixels are 1, 2, 4 .. wide, from ``finest`` on."""

    zx: np.ndarray
    zy: np.ndarray
    firsts: np.ndarray
    shapes: np.ndarray


def pyramid(pixels: Pixels, finest: int, coarsest: int) -> Pyramid:
    """Levels ``0 .. coarsest``, those below ``finest`` left empty."""
    values, valid = pixels.values, pixels.valid
    shapes = [(values.shape[0] >> k, values.shape[1] >> k) for k in range(coarsest + 1)]
    sizes = [h * w if k >= finest else 0 for k, (h, w) in enumerate(shapes)]
    firsts = np.concatenate([[0], np.cumsum(sizes)])
    flat = np.zeros((2, firsts[-1] + window_columns.ROOM), dtype=np.float32)
    for k, shape in enumerate(shapes):
        if k:
            coarse, exists = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=bool)
            block_matching.halve(values, valid, coarse, exists)
            values, valid = coarse, exists
        if k >= finest:
            zx, zy = (line[firsts[k] : firsts[k + 1]].reshape(shape) for line in flat)
            block_matching.gradients(values, valid, zx, zy, 0, shape[0])
    return Pyramid(flat[0], flat[1], firsts[:-1], np.array(shapes))
