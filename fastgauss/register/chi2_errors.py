"""Errors of the minimum of chi-squared.

A displacement's error follows from the curvature where chi2 rises by 1. That is so if im1 is free
of noise, or nearly so beside its structure; where both images are noisy the estimate scatters more,
as the sandwich

    H^-1 [sum k k' ((s1^2 + s2^2) P + s1^2 s2^2)] H^-1,   H = sum k k' P,

says. The noises s1, s2 are what each image's power has beyond the cross-spectrum's; err fixes their
sum.

Without err each pixel's own residual tells its noise: see ``periodic.from_pixels``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import check
from . import fourier_series, periodic
from .chi2_data import Data, power


def covariance(
    data: Data,
    both: tuple[np.ndarray, np.ndarray] | None,
    best: fourier_series.Minimum,
    values: np.ndarray,
) -> np.ndarray:
    """The covariance of (dx, dy): at the minimum, and with the chance that another is right.

    ``both`` is what ``spectra`` of the data says, ``values`` are chi2 by displacement.
    """
    local = _local_covariance(data, both, best)
    if best.across is not None:
        return fourier_series.one_direction(float(best.across @ local @ best.across), best.across)
    # chi2 in units in which its curvature agrees with the covariance
    unit = 0.25 * np.trace(best.around.hessian @ local)
    if not (np.isfinite(local).all() and unit > 0):
        return local
    rise = (values - best.around.value) / unit
    return local + fourier_series.elsewhere(rise, best.place, local)[1]


def _offset(data: Data) -> float:
    """The part of chi2 that the means of the images make, for an error of 1."""
    first, second = (float(image.sum()) for image in data.images)
    return (first - second) ** 2 / data.images[0].size


def _sandwich(slope: np.ndarray, v1: float, v2: float, shape: tuple[int, ...]) -> np.ndarray:
    """Covariance of (dx, dy) from the scene's sum of k k' P and the noises."""
    kx, ky = (fourier_series.frequencies(n, False) for n in shape[::-1])
    white = v1 * v2 * np.diag([shape[0] * np.sum(kx**2), shape[1] * np.sum(ky**2)])
    return periodic.between(slope, (v1 + v2) * slope + white)


def _local_covariance(
    data: Data, both: tuple[np.ndarray, np.ndarray] | None, best: fourier_series.Minimum
) -> np.ndarray:
    """The covariance from the curvature, or from the noise of both images where it is known."""
    shape = data.images[0].shape
    size = data.images[0].size
    least, _, hessian = best.around
    if both is not None and not isinstance(data.weight, np.ndarray):
        if not data.given:
            return _from_pixels(both, shape, best.place)
        # sums over all modes but the mean's, of each image's power and of the cross-spectrum
        one, two = (float(power(image) - image.sum() ** 2 / size) for image in data.images)
        common = 0.5 * (one + two - (least / data.weight - _offset(data)))
        v1, v2 = max(one - common, 0.0) / size, max(two - common, 0.0) / size
        if v1 + v2 > 0:
            scale = 1.0 / (data.weight * (v1 + v2))
            v1, v2 = v1 * scale, v2 * scale
        else:
            v2 = float(1.0 / data.weight)
        return _sandwich(hessian / (2.0 * data.weight), v1, v2, shape)
    inverse = periodic.between(hessian, 2.0 * hessian)
    if data.given:
        return inverse
    pairs = min(int(m.sum()) for m in data.valid)
    return inverse * max(least, 0.0) / max(pairs - 2, 1) * _concentrated(data, best.place)


def _from_pixels(
    both: tuple[np.ndarray, np.ndarray], shape: tuple[int, ...], place: np.ndarray
) -> np.ndarray:
    """The covariance from the residual of each pixel."""
    one, two = (spectrum.copy() for spectrum in both)
    one[0, 0] = two[0, 0] = 0.0
    # of size 1: the covariance does not depend on the unit
    one, two = (s / (np.abs(one).max() or 1.0) for s in (one, two))
    two = periodic.aligned(two, shape, *place)
    straight = one.real * two.real + one.imag * two.imag
    powers = periodic.power(one), periodic.power(two)
    gain = periodic.gain_of(powers, straight)
    noise = periodic.noises((powers[0], powers[1] / gain**2), straight / gain, shape)
    two = two / gain
    return periodic.from_pixels((one, two), straight / gain, 1.0, noise, shape)


def _concentrated(data: Data, place: np.ndarray) -> float:
    """By how much more noise the pixels with steep slopes have than the mean, to whole pixels."""
    move = np.rint(place).astype(int)[::-1]
    back = [np.roll(part[1], -move, (0, 1)) for part in (data.images, data.valid)]
    image, valid = data.images[0], data.valid[0] & back[1]
    inner = valid.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(valid, step, axis)
    if not inner.any():
        return 1.0
    mean = 0.5 * (image + back[0])
    steep = sum((np.roll(mean, -1, axis) - np.roll(mean, 1, axis)) ** 2 for axis in (0, 1))[inner]
    residual = (image - back[0])[inner] ** 2
    both = float(steep.mean() * residual.mean())
    return max(1.0, float((steep * residual).mean()) / both) if both > 0 else 1.0


def rise_of(nfitted: Any, nsigma: Any) -> float:
    """Rise of chi2 within which ``nfitted`` parameters are with the probability of ``nsigma``."""
    from scipy.stats import chi2, norm

    nfitted = check.integer("nfitted", nfitted, at_least=1)
    nsigma = check.number("nsigma", nsigma, above=0)
    return nsigma**2 if nfitted == 1 else float(chi2.isf(2 * norm.sf(nsigma), nfitted))
