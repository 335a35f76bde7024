"""Spots by likelihood ratio: the best amplitude on a local background over its standard error.

For the profile g of a spot and a window w, which is much wider, least squares with the model
a g + b give the amplitude at each pixel

    a = (sum g d - sum g sum w d) / (sum g**2 - sum g sum w g)        with sum w = 1

the image smoothed by g, minus its mean in the window: a matched filter whose sum is zero. Its
square over its variance is twice the logarithm of the likelihood ratio of a spot and none (Kay
1998).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..base.progress import Progress
from ..filters.taps import Profile
from ..kernels.find.judgements import KNOWN
from . import log_filter
from .background import Background, measure_background
from .response import Picture, correlate_picture
from .significance import scales_of_ends
from .surroundings import Looked

_HEAVIEST = 1e3  # largest weight of a pixel, in usual weights
_USUAL = 1 << 13  # pixels that tell the usual variance, about


def _weights(
    picture: Picture, variance: np.ndarray | None, sigmas: tuple[float, float, float],
    threads: int | None,
) -> tuple[np.ndarray | None, float | None]:  # fmt: skip
    """Weights of pixels (None: all alike), and the usual variance, of which the weight is 1."""
    if variance is None:
        if picture.gap is None:
            return None, None
        return np.logical_not(picture.gap).astype(np.float32), None
    background = measure_background(picture, sigmas, None, threads)
    light = picture.volume - background.subtracted(picture.volume, threads)
    counts = np.maximum(picture.pixels(light), 0.0)
    whole = np.asarray(variance, np.float64) / picture.unit**2 + counts / picture.unit
    there = np.isfinite(whole) & (whole > 0)
    if picture.gap is not None:
        there &= ~picture.gap
    step = max(1, whole.size // _USUAL) | 1  # odd, so that all columns have a part
    some = whole.ravel()[::step][there.ravel()[::step]]
    usual = float(np.median(some if some.size else whole[there])) if there.any() else 0.0
    weights = np.zeros(whole.shape, np.float32)
    np.divide(usual, whole, out=weights, where=there, casting="unsafe")
    return np.minimum(weights, np.float32(_HEAVIEST)), usual


class Matched(NamedTuple):
    """The response to spots, of the same noise in all pixels."""

    response: np.ndarray
    background: Background
    share: np.ndarray | None  # of a spot's squares that lie in valid pixels; None: by the border
    weights: np.ndarray | None = None  # of pixels; None: all alike


def matched_response(
    picture: Picture,
    sigmas: tuple[float, float, float],
    weights: np.ndarray | None,
    threads: int | None,
    report: Progress | None = None,
) -> Matched:
    """The sum over a spot's profile of the image minus its background, over its deviation.

    Its unit is such that noise of deviation 1 has the response that it has far from the border.
    """
    term = log_filter.smoothing(sigmas)
    background = measure_background(picture, sigmas, weights, threads)
    rest = background.subtracted(picture.volume, threads)
    if weights is None:
        response = correlate_picture(rest, [term], threads, report, mode="constant")
        for axis, (n, sigma) in enumerate(zip(rest.shape, sigmas, strict=True)):
            ends, scale = scales_of_ends(n, sigma)
            response[(slice(None),) * axis + (ends,)] *= scale.reshape([-1] + [1] * (2 - axis))
        return Matched(response, background, None)
    rest *= weights
    response = correlate_picture(rest, [term], threads, report, mode="constant")
    squares = tuple(Profile(profile.half**2) for profile in term)
    share = correlate_picture(weights, [squares], threads, mode="constant")
    share /= np.float32(math.prod(2 * p.half.sum() - p.half[0] for p in squares))
    np.divide(response, np.sqrt(share), out=response, where=share > KNOWN)
    response[share <= KNOWN] = 0.0
    return Matched(response, background, share, weights)


class Scale(NamedTuple):
    """A picture filtered for spots of one size."""

    picture: Picture
    matched: Matched
    usual: float | None  # variance of a pixel of weight 1, if it is known
    least: float  # deviation of a pixel
    sigmas: tuple[float, float, float]
    threads: int | None
    looked: Looked

    def without_light(self, points: np.ndarray, fluxes: np.ndarray) -> Scale:
        """The response above a background in which spots (n, 3) of these fluxes have no part."""
        background, light = self.matched.background.without_light(points, fluxes, self.threads)
        response = light.subtracted(self.matched.response, self.threads)
        matched = self.matched._replace(response=response, background=background)
        return self._replace(matched=matched)


def filtered(
    picture: Picture, sigmas: tuple[float, float, float], least: float,
    variance: np.ndarray | None, threads: int | None, report: Progress | None = None,
) -> Scale:  # fmt: skip
    """A picture filtered for spots of these sigmas."""
    weights, usual = _weights(picture, variance, sigmas, threads)
    matched = matched_response(picture, sigmas, weights, threads, report)
    return Scale(picture, matched, usual, least, sigmas, threads, Looked(picture, sigmas))
