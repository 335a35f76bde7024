"""An image in units of its noise, in which spots are searched for."""

from __future__ import annotations

import numpy as np

from ..find import log_filter
from ..find.noise import NOISE_FACTOR
from ..find.response import as_three

_WINDOW = 24.0  # sigmas: over so much of the image the level is averaged


def response_gain(sigma: np.ndarray) -> float:
    """The noise of a response to independent noise of 1, for spots of these sigmas."""
    return log_filter.spot_filter(as_three(tuple(sigma.tolist()), 0.0))[1]


def local_level(image: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The mean of an image around each pixel; NaN are left out."""
    from scipy.ndimage import uniform_filter

    exists = np.isfinite(image)
    side = [int(_WINDOW * s) + 1 for s in sigma]
    total = uniform_filter(np.where(exists, image, 0.0), side, mode="nearest")
    share = uniform_filter(exists.astype(np.float64), side, mode="nearest")
    usual = float(np.median(image[exists])) if exists.any() else 0.0
    return np.where(share > 1e-6, total / np.maximum(share, 1e-6), usual)


def in_units_of_noise(
    image: np.ndarray, sigma: np.ndarray, weights: np.ndarray | None,
    variance: np.ndarray | float | None, threshold: float | None, known: bool,
    factor: float = NOISE_FACTOR,
) -> tuple[np.ndarray, float | None]:  # fmt: skip
    """The image above its level in units of its noise, and the threshold for that.

    The noise of a pixel is that of its weight, else that of the counts of photons at the level and
    of the camera's ``variance``: a pixel that is noisier than others is no spot for that reason.
    The threshold is ``factor`` times the noise of the response if the noise is ``known``, and
    None (measured by `find_spots`) if not; one in units of the image is met besides.
    """
    shown = np.asarray(image, np.float64)
    level = local_level(shown, sigma)
    if weights is not None:
        noise = 1.0 / np.sqrt(np.where(weights > 0, weights, 1.0))
    else:
        square = np.maximum(level, 0.0) + (0.0 if variance is None else variance)
        noise = np.sqrt(np.maximum(square, 1.0 if variance is None else 1e-12))
    least = factor * response_gain(sigma)
    if threshold is None:
        return (shown - level) / noise, least if known else None
    return (shown - level) / np.maximum(least * noise, threshold), 1.0
