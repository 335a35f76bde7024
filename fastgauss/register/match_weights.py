"""Weights of the pixels of a deformed pair by how alike both images are around them.

A particle that has left the light sheet is in one image alone. Where it overlaps another particle
it draws the displacement away. Let A and B be the smoothed images in the local brightness; then

    q = mean (A - B)^2 / mean (A^2 + B^2),

the means over the neighbourhood of a particle and without the noise, is 0 where both images are
the same and 1 where only one of them shows anything. The weight is 1 / (1 + (q / q0)^2). A
displacement of half of a pixel that is left between the images makes q = 0.03.
"""

from __future__ import annotations

import numpy as np

from ..filters import gaussian_filter
from .inputs import Pixels

_SIZE = 1.0  # pixels: sigma of the smoothing
_AROUND = 1.5  # pixels: sigma of the means
_KEPT = 1.0 / (4.0 * np.pi * _SIZE**2)  # of the variance of white noise, by the smoothing
_DIFFERENT = 0.1  # q0
_NOISY = 2.0  # times the noise: the power below which nothing is seen
_COARSE = 4  # pixels along each axis that share a mean over many


def match_weights(
    first: Pixels, second: Pixels, noises: tuple[float, float], side: int, threads: int
) -> np.ndarray:
    """Weights (Y, X) of a pair for windows of a side; ``noises`` are variances of pixels."""

    def mean(array: np.ndarray, sigma: float) -> np.ndarray:
        return gaussian_filter(array, sigma, threads=threads)

    def wide_mean(array: np.ndarray) -> np.ndarray:
        return _wide_mean(array, 0.5 * side, threads)

    a, b = (mean(p.values, _SIZE) for p in (first, second))
    for image in (a, b):
        np.subtract(image, wide_mean(image), out=image)
    powers = [wide_mean(image * image) for image in (a, b)]
    tiny = np.float32(np.finfo(np.float32).tiny)
    gain = np.sqrt((powers[0] + tiny) / (powers[1] + tiny))
    b *= gain
    noise = np.float32(_KEPT) * (np.float32(noises[0]) + gain * gain * np.float32(noises[1]))
    different = np.maximum(mean((a - b) ** 2, _AROUND) - noise, 0)
    q = different / (mean(a * a + b * b, _AROUND) + np.float32(_NOISY) * noise + tiny)
    return 1.0 / (1.0 + (q / np.float32(_DIFFERENT)) ** 2)


def _wide_mean(array: np.ndarray, sigma: float, threads: int) -> np.ndarray:
    """A mean that changes so little from pixel to pixel that some share it."""
    if sigma < 2 * _COARSE:
        return gaussian_filter(array, sigma, threads=threads)
    rows, columns = (-(-n // _COARSE) for n in array.shape)
    more = [(0, k * _COARSE - n) for k, n in zip((rows, columns), array.shape, strict=True)]
    whole = np.pad(array, more, mode="edge") if any(m for _, m in more) else array
    # the mean of a row of blocks is a sum of rows, which numpy adds faster than short lines
    lines = whole.reshape(rows, _COARSE, columns * _COARSE).sum(axis=1)
    blocks = lines.reshape(rows, columns, _COARSE).sum(axis=2) / np.float32(_COARSE**2)
    coarse = gaussian_filter(blocks, sigma / _COARSE, threads=threads)
    fine = coarse.repeat(_COARSE, axis=0).repeat(_COARSE, axis=1)
    return fine[: array.shape[0], : array.shape[1]]
