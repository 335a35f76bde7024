"""The peaks of an image, and of what a model leaves of it, that are higher than the noise.

The threshold is a multiple of the noise of the search's response. Where the noise is not known it
is measured in the response. In a crowd, though, that is the light of spots: a field of equal spots,
0.05 in a pixel, has no spot above five times its deviation. The differences of neighbouring
pixels, in which spots hardly show, then tell the noise. This is done where so many more spots are
found, most of them far above the threshold. The light of a texture has more weak maxima than strong
ones, and its spots remain those above the deviation of the texture.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..find.detection import find_in_crowd
from ..find.prepared_search import factor_in_crowd
from .noise_scaling import (
    ResidualNoise,
    fine_noise,
    in_units_of_noise,
    local_level,
    response_gain,
)
from .pruning import noise_by_brightness

_HIDDEN = 0.5  # part of a crowd's spots that are found although its light is taken for noise
_BY_FAR = 2.0  # thresholds that most spots of such a crowd exceed
_OPTIONS = "sigma", "threshold", "min_distance", "exclude_border", "polarity", "threads"


class ResidualPeaks:
    """The search for spots of one image.

    ``sigma`` (ndim,) is their expected width, ``unit`` what the image is divided by in the fits.
    """

    def __init__(
        self, noise: ResidualNoise, find: dict[str, Any], sigma: np.ndarray, unit: float
    ) -> None:
        threshold, shape = find["threshold"], noise.shown.shape
        self.noise, self.sigma = noise, sigma
        self.threshold = None if threshold is None else threshold * unit
        self.factor = factor_in_crowd(
            shape, tuple(sigma.tolist()), find["false_alarms"], find["significance"]
        )
        self.least = self.factor * response_gain(sigma)  # for noise of 1
        self.find = {name: find[name] for name in _OPTIONS} | {"factor": self.factor}
        self.crowd = False  # whether spots were found only by the noise of fine differences

    def of_image(self) -> np.ndarray:
        """Spots that the image shows as it is."""
        image, threshold, noise = self.noise.shown, self.threshold, self.noise
        if noise.counts or noise.weights is not None:
            image, threshold = in_units_of_noise(
                image, self.sigma, noise.weights, noise.variance, threshold, noise.counts,
                self.factor,
            )  # fmt: skip
        found = self._find(image, threshold)
        if self.threshold is not None:
            return found
        if noise.counts:
            self.crowd = self._is_crowd(self._find(image, None), found, image)
            return found
        level = local_level(image, self.sigma)
        fine = fine_noise(image, level)
        if fine is None:
            return found
        image = (image - level) / fine
        shown = self._find(image, self.least)
        self.crowd = self._is_crowd(found, shown, image)
        return shown if self.crowd else found

    def of_residual(self, light: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Spots that are left beside the light of spots and what is below them."""
        residual = self.noise.shown - light - background
        noise = self.noise(light, background, residual)
        level, threshold = noise, None
        if self.threshold is not None:
            level, threshold = np.maximum(self.least * noise, self.threshold), 1.0
        elif self.noise.counts:
            threshold = self.least
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self._find(residual / level, threshold)
            if not self.crowd:
                return found
            if threshold is not None:  # a fit of so many parameters leaves less than the noise
                found = max(found, self._find(residual / level, None), key=len)
        fine = self._fine(residual, light, background)
        if fine is None:
            return found
        shown = self._find(residual / fine, self.least)
        return shown if len(found) < _HIDDEN * len(shown) else found

    def _is_crowd(self, usual: np.ndarray, shown: np.ndarray, image: np.ndarray) -> bool:
        """Whether many spots of an image in units of its noise are not among the usual ones, and
        most are bright.
        """
        if len(usual) >= _HIDDEN * len(shown):
            return False
        return 2 * len(self._find(image, _BY_FAR * self.least)) > len(shown)

    def _find(self, image: np.ndarray, threshold: float | None) -> np.ndarray:
        return find_in_crowd(image, **self.find | {"threshold": threshold})

    def _fine(
        self, residual: np.ndarray, light: np.ndarray, background: np.ndarray
    ) -> np.ndarray | None:
        """The noise of a residual by fine differences, more where there is bright light.

        What is bright and no Gaussian leaves more than noise; spots that are not found yet leave
        it where there is no light of others.
        """
        noise, bright = self.noise, np.abs(light)
        error = noise.of_photons(light, background) if noise.counts else noise.error
        fine = fine_noise(residual / error, bright)
        if fine is None:
            return None
        excess = noise_by_brightness(bright, residual / error / fine)
        return error * fine * excess / max(excess.min(), 1e-300)
