"""The noise of an image: of its response to a search, and of what a model leaves of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..find import log_filter
from ..find.noise import NOISE_FACTOR
from ..find.response import as_three
from ..joint.arguments import Picture
from ..results.fit_result import FitResult
from .pruning import noise_by_brightness

_WINDOW = 24.0  # sigmas: over so much of the image the level is averaged
_ORDERS = 4, 6  # of the differences of pixels that tell noise, and that it is white
_WHITE = 0.85  # least ratio of the deviations of higher and lower differences, in white noise
_LONG = 16  # pixels of an axis along which differences are taken, at least


def response_gain(sigma: np.ndarray) -> float:
    """The noise of a response to independent noise of 1, for spots of these sigmas."""
    return log_filter.spot_filter(as_three(tuple(sigma.tolist()), 0.0))[1]


def local_level(image: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The mean of an image around each pixel; NaN are left out."""
    from scipy.ndimage import uniform_filter

    exists = np.isfinite(image)
    side = [int(_WINDOW * s) + 1 for s in sigma]
    total = uniform_filter(np.where(exists, image, 0.0), side, mode="nearest")
    if exists.all():
        return total
    share = uniform_filter(exists.astype(np.float64), side, mode="nearest")
    level = total / np.maximum(share, 1e-6)
    unknown = share <= 1e-6
    if unknown.any():
        level[unknown] = np.median(image[exists]) if exists.any() else 0.0
    return level


def fine_noise(image: np.ndarray, level: np.ndarray) -> np.ndarray | None:
    """The noise of each pixel, from differences of neighbours that spots hardly show.

    It is a function of the ``level`` around a pixel. Spots that are about as wide as a pixel or
    wider have little light in fourth differences, however many there are. None where the noise is
    not white, as in a smoothed image, or where there is none: differences do not tell it there.
    """
    axes = [axis for axis, n in enumerate(image.shape) if n >= _LONG]
    usual = []
    for order in _ORDERS:
        apart = np.asarray(image, np.float64)
        for axis in axes:
            apart = np.diff(apart, order, axis=axis) / math.sqrt(math.comb(2 * order, order))
        usual.append(float(np.nanmedian(np.abs(apart))) if np.isfinite(apart).any() else 0.0)
        if order == _ORDERS[0]:
            differences = apart
    if not axes or not usual[1] > _WHITE * usual[0]:
        return None
    edge = _ORDERS[0] // 2
    inner = tuple(slice(edge, -edge) if axis in axes else slice(None) for axis in range(image.ndim))
    noise = noise_by_brightness(level[inner], differences)
    width = [(edge, edge) if axis in axes else (0, 0) for axis in range(image.ndim)]
    return np.pad(noise, width, mode="edge") if noise.min() > 0 else None


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


def deviance(data: np.ndarray, model: np.ndarray, variance: Any) -> np.ndarray:
    """The deviance of each pixel for counts, with the camera's variance in both."""
    with np.errstate(invalid="ignore", divide="ignore"):
        d, m = np.maximum(data + variance, 0.0), np.maximum(model + variance, 1e-9)
        return 2 * (m - d + np.where(d > 0, d * np.log(np.maximum(d, 1e-300) / m), 0.0))


class ResidualNoise:
    """The noise of each pixel beside a model; measured in the residual, and with photons at least
    that of the model.

    ``rounding`` is that of the image's numbers, if they are integers.
    """

    def __init__(
        self, picture: Picture, counts: bool, rounding: float, threads: int | None
    ) -> None:
        shape, second = picture.shape, picture.second
        self.counts, self.threads = counts, threads
        self.shown = np.where(picture.exists, picture.data, np.nan).reshape(shape)
        known = second.reshape(shape) if second.size > 1 else None
        self.weights = None if counts else known
        self.variance = known if counts else None
        self.error: Any = 1.0  # of a pixel, relative
        if self.weights is not None:
            self.error = 1 / np.sqrt(np.where(self.weights > 0, self.weights, 1.0))
        highest = np.abs(self.shown[np.isfinite(self.shown)]).max(initial=0.0)
        self.least = rounding or max(1e-6 * highest, 1e-300)

    def of_photons(self, light: np.ndarray, background: np.ndarray) -> np.ndarray:
        """The noise of photons and camera."""
        variance = 0.0 if self.variance is None else self.variance
        return np.sqrt(np.maximum(np.abs(light) + background + variance, 0.25))

    def __call__(
        self, light: np.ndarray, background: np.ndarray, residual: np.ndarray
    ) -> np.ndarray:
        """The noise of each pixel, from the light of spots and what is below them."""
        if self.counts:
            error = self.of_photons(light, background)
            return error * np.maximum(noise_by_brightness(np.abs(light), residual / error), 1.0)
        error = self.error * noise_by_brightness(np.abs(light), residual / self.error)
        return np.maximum(error, self.least)

    def light(self, result: FitResult) -> np.ndarray:
        """The light of the spots."""
        return result.render(self.shown.shape, 0.0, threads=self.threads)

    def parts(self, result: FitResult) -> tuple[np.ndarray, np.ndarray]:
        """The light of the spots, and what is below them."""
        light = self.light(result)
        return light, result.render(self.shown.shape, threads=self.threads) - light

    def of(self, result: FitResult) -> np.ndarray:
        """The noise of each pixel beside what a fit says."""
        light, background = self.parts(result)
        return self(light, background, self.shown - light - background)

    def loss(self, model: np.ndarray, error: np.ndarray) -> np.ndarray:
        """The objective of each pixel for this noise; 0 where there is none."""
        if self.counts:
            loss = deviance(self.shown, model, 0.0 if self.variance is None else self.variance)
        else:
            loss = ((self.shown - model) / error) ** 2
        return np.where(np.isfinite(loss), loss, 0.0)
