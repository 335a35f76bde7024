"""What registration reads of an image: splines, precisions of pixels, a pyramid of gradients.

An image and its errors become float32 after the mean is taken away; missing pixels (NaN, masked,
error 0) are filled with a smooth guess, and have the precision 0, with all that the low-pass filter
mixes with them or with what is beyond the border.

The low-pass filter is a Gaussian of that width which makes the variance of the displacement

    [(s1^2 + s2^2) sum k^2 P G^4 + s1^2 s2^2 sum k^2 G^4] / (sum k^2 P G^2)^2

least, with P the scene's power, from the images' spectra, and s1, s2 their noises.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..filters import taps
from ..filters.separable import Source, correlate
from ..kernels.register import block_matching, window_columns
from .inputs import Pixels
from .low_pass import LowPass

# -- what the kernels read ---------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """An image as the kernels know it; flat arrays with room after the last pixel."""

    coefficients: np.ndarray
    precision: np.ndarray


def _flat(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    size = shape[0] * shape[1]
    flat = np.zeros(size + window_columns.ROOM, dtype=np.float32)
    return flat, flat[:size].reshape(shape)


def _grow(holes: np.ndarray, margin: int) -> np.ndarray:
    """Pixels within ``margin`` of a hole along both axes."""
    from scipy.ndimage import maximum_filter

    return maximum_filter(holes, size=2 * margin + 1)


def _smoothed(variance: float | np.ndarray, low: LowPass) -> float | np.ndarray:
    """Variances of the smoothed image in units of what uniform noise keeps."""
    from scipy.ndimage import correlate1d

    if not isinstance(variance, np.ndarray):
        return variance
    for axis in (0, 1):
        variance = correlate1d(variance, low.squares, axis, mode="reflect")
    return variance


def field(pixels: Pixels, low: LowPass, extra: int, unit: float, threads: int) -> Field:
    """Coefficients, and precisions times ``unit``; ``extra`` more pixels of margin are lost."""
    shape = pixels.values.shape
    coefficients, out = _flat(shape)
    term = taps.Profile(low.taps), taps.Profile(low.taps)
    smooth = np.empty((1, *shape), dtype=np.float32)
    source = Source(pixels.values[np.newaxis])
    correlate(source, [(taps.NOTHING, *term)], ("reflect",) * 3, 0.0, smooth, threads)
    out[:] = smooth[0]
    precision, map_ = _flat(shape)
    if pixels.variance is None:
        map_[:] = 2.0
    else:
        map_[:] = unit / _smoothed(pixels.variance, low)
    margin = low.margin + extra
    if not pixels.valid.all():
        map_[_grow(~pixels.valid, margin)] = 0.0
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
