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


def match_weights(
    first: Pixels, second: Pixels, noises: tuple[float, float], side: int, threads: int
) -> np.ndarray:
    """Weights (Y, X) of a pair for windows of a side; ``noises`` are variances of pixels."""

    def mean(array: np.ndarray, sigma: float) -> np.ndarray:
        return gaussian_filter(array, sigma, threads=threads)

    a, b = (mean(p.values, _SIZE) for p in (first, second))
    a, b = (image - mean(image, 0.5 * side) for image in (a, b))
    powers = [mean(image * image, 0.5 * side) for image in (a, b)]
    tiny = np.float32(np.finfo(np.float32).tiny)
    gain = np.sqrt((powers[0] + tiny) / (powers[1] + tiny))
    b *= gain
    noise = np.float32(_KEPT) * (np.float32(noises[0]) + gain * gain * np.float32(noises[1]))
    different = np.maximum(mean((a - b) ** 2, _AROUND) - noise, 0)
    q = different / (mean(a * a + b * b, _AROUND) + np.float32(_NOISY) * noise + tiny)
    return 1.0 / (1.0 + (q / np.float32(_DIFFERENT)) ** 2)
