"""The variance of pixels as it shows in the residual: a constant, and a part that grows with light.

Pixels are put into groups of about equal brightness. The variance of a group is that of the
residual, by its median deviation, which few wild pixels do not change. A line through these
variances, v = a + c (level - lowest level), holds for photons of any gain above any pedestal.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

_LEAST, _NORMAL, _PASSES = 60, 1.4826, 4  # pixels in a group; sigma by median deviation
_CLIP = 5.0  # deviations beyond which a pixel is no part of the stars
_MISSED = 0.03  # of the light of a star in a pixel: how far its profile is from a sum of Gaussians
_WILD = 1.5  # chi2 a pixel, relative to the median, of a star that may be unlike the others
_SPREAD = 6.0  # and so many deviations of chi2 between stars


class Noise(NamedTuple):
    """Variances by level."""

    constant: float
    slope: float
    lowest: float

    def variance(self, level: np.ndarray) -> np.ndarray:
        """The variance of pixels with these model values."""
        return self.constant + self.slope * np.maximum(level - self.lowest, 0.0)


def _variance(residual: np.ndarray) -> float:
    return float((_NORMAL * np.median(np.abs(residual - np.median(residual)))) ** 2)


def pixel_noise(values: np.ndarray, good: np.ndarray) -> float:
    """The variance of a picture's noise, by the differences of pixels beside each other."""
    differences = (values[:, 1:] - values[:, :-1])[good[:, 1:] & good[:, :-1]]
    return 0.5 * _variance(differences) if differences.size else 0.0


def measure_noise(level: np.ndarray, residual: np.ndarray, floor: float) -> Noise:
    """The noise that explains the residuals of pixels (n,) with model values ``level``."""
    from scipy.optimize import nnls

    order = np.argsort(level, kind="stable")
    level, residual = level[order], residual[order]
    ends, left = [len(level)], len(level)
    while left > 2 * _LEAST:  # the brightest pixels are few: groups grow from them on
        left -= max(_LEAST, (len(level) - left) // 2)
        ends.append(max(left, 0))
    ends = sorted({0, *ends})
    groups = [slice(a, b) for a, b in pairwise(ends) if b - a >= _LEAST]
    groups = groups or [slice(None)]
    middle = np.array([float(level[g].mean()) for g in groups]) - level[0]
    share = np.sqrt([len(level[g]) for g in groups])
    noise = Noise(max(_variance(residual), floor), 0.0, float(level[0]))
    for _ in range(_PASSES):  # within a group too the noise grows with the level
        known = np.sqrt(noise.variance(level))
        found = np.array([_variance(residual[g] / known[g]) for g in groups])
        expected = noise.variance(middle + level[0])
        weight = share / (expected if noise.slope else np.maximum(found * expected, floor))
        columns = np.stack([weight, middle * weight], axis=1)
        scale = np.maximum(np.abs(columns).max(axis=0), 1e-300)
        constant, slope = nnls(columns / scale, found * expected * weight)[0] / scale
        noise = Noise(max(float(constant), floor), float(slope), noise.lowest)
    return noise


def is_wild(residual: np.ndarray, variance: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Pixels whose residual no noise explains, nor what a sum of Gaussians misses of the light."""
    return residual**2 > _CLIP**2 * (variance + (_MISSED * light) ** 2)


def unlike_others(chi2: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Stars whose chi2 a pixel is far above that of most."""
    each = chi2 / np.maximum(pixels, 1)
    middle = float(np.median(each))
    spread = _NORMAL * float(np.median(np.abs(each - middle)))
    return (each > _WILD * middle) & (each > middle + _SPREAD * spread)
