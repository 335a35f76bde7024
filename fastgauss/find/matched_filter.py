"""Spots by likelihood ratio: the best amplitude on a local background, by its standard error.

For the profile g of a spot and a window w, which is much wider, least squares with the model
a g + b give the amplitude at each pixel

    a = (sum g d - sum g sum w d) / (sum g**2 - sum g sum w g)        with sum w = 1

the image smoothed by g, less its mean in the window: a matched filter whose sum is zero. Its square
by its variance is twice the logarithm of the likelihood ratio of a spot and none (Kay 1998).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..base.progress import Progress
from ..filters.taps import Profile
from . import cells, log_filter
from .background import Background, measure_background
from .noise import Noise, measure_noise
from .options import Search
from .peaks import candidates, curvatures, refine_peaks
from .response import Picture, correlate_picture
from .shapes import Seen, judge_shapes
from .significance import Gains, gains_at, scales_of_ends, significance, skewness_of_response
from .surroundings import Around, contrast_noise, look_around

_KNOWN = 0.02  # part of a spot's squares that must be valid
_HEAVIEST = 1e3  # weight of a pixel, by the usual
_DOUBT = 2.0  # deviations of the contrast's noise by which it may be too small
_PART = 0.25  # of the amplitude that the contrast must show at least, twice
_WINGS = 0.06  # of its amplitude that a spot between pixels adds to the ring around it
_SURELY = 2.7  # errors by which the ring around a spot is above its background
STRONG = 8.0  # significance of spots whose light is taken out of the background
_FEW_SAMPLES = 256  # of a cell, whose noise tells which spots are strong
_USUAL = 1 << 13  # pixels that tell the usual variance, about
_SLACK = 0.8  # part of the least significance from which maxima are looked at


def _weights(
    picture: Picture, variance: np.ndarray | None, sigmas: tuple[float, float, float],
    threads: int | None,
) -> tuple[np.ndarray | None, float | None]:  # fmt: skip
    """Weights of pixels (None: all alike), and the usual variance, of which the weight is 1."""
    if variance is None:
        if picture.gap is None:
            return None, None
        return np.logical_not(picture.gap).astype(np.float32), None
    ground = measure_background(picture, sigmas, None, threads)
    light = picture.volume - ground.subtracted(picture.volume, threads)
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


def gain_at(
    picture: Picture, matched: Matched, points: np.ndarray, ground: np.ndarray, noise: Noise
) -> np.ndarray | float:
    """Third central moment by variance of pixels whose noise is the usual.

    Counts of mean m beside a camera's noise, v in all, have the skewness m / v**1.5.
    """
    if noise.usual == 0.0 or matched.share is None:
        return noise.gain
    share = np.maximum(matched.share[tuple(points.T)].astype(np.float64), _KNOWN)
    counts = np.maximum(picture.pixels(ground), 0.0) / picture.unit
    skew = counts * (share / noise.usual) ** 1.5 / picture.unit
    return picture.sign * skew * math.sqrt(noise.usual)


def _gain_of_tail(
    gain: np.ndarray | float, deviation: np.ndarray, noise: Noise,
    sigmas: tuple[float, float, float],
) -> np.ndarray | float:  # fmt: skip
    """The gain of white noise whose response is as skewed as that of the noise or of structures."""
    if noise.skewness == 0.0:
        return gain
    return np.maximum(gain, noise.skewness * deviation / skewness_of_response(sigmas))


def tail_of_pixels(
    scale: Scale, ratio: np.ndarray, deviation: np.ndarray, gain: np.ndarray | float, noise: Noise
) -> np.ndarray:
    """Significance of a response as many of its deviations high as ``ratio`` is those of a pixel.

    The tail is that of the matched filter.
    """
    factor = float(_inner(scale.matched.response.shape, scale.sigmas).deviation[0])
    tail = _gain_of_tail(gain, deviation, noise, scale.sigmas)
    return significance(factor * ratio, deviation, tail, scale.sigmas)


class Found(NamedTuple):
    """Maxima that are spots, the strongest first."""

    places: np.ndarray  # (n, 3) in fractions of pixels
    points: np.ndarray  # (n, 3) pixels
    amplitude: np.ndarray
    significance: np.ndarray
    ground: np.ndarray  # background, in the picture's unit
    ring: np.ndarray  # median of the ring around each
    sharpness: np.ndarray  # NaN if the shape is not judged
    p_value: np.ndarray

    def those(self, chosen: np.ndarray) -> Found:
        """Some of the maxima."""
        if chosen.dtype == np.bool_ and chosen.all():
            return self
        return Found(*(column[chosen] for column in self))


class Matched(NamedTuple):
    """The response to spots, of the same noise in all pixels."""

    response: np.ndarray
    background: Background
    share: np.ndarray | None  # of a spot's squares that lie in valid pixels; None: by the border
    weights: np.ndarray | None = None  # of pixels; None: all alike

    def gains_at(self, points: np.ndarray, sigmas: tuple[float, float, float]) -> Gains:
        """Gains at points (n, 3), with the share of a spot's squares that lie in valid pixels."""
        gains = gains_at(points, self.response.shape, sigmas)
        if self.share is None:
            return gains
        return gains._replace(share=self.share[tuple(points.T)].astype(np.float64))


def matched_response(
    picture: Picture,
    sigmas: tuple[float, float, float],
    weights: np.ndarray | None,
    threads: int | None,
    report: Progress | None = None,
) -> Matched:
    """The sum over a spot's profile of the image less its background, by its standard deviation.

    It is in units in which noise of deviation 1 has the response that it has far from the border.
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
    np.divide(response, np.sqrt(share), out=response, where=share > _KNOWN)
    response[share <= _KNOWN] = 0.0
    return Matched(response, background, share, weights)


class Scale(NamedTuple):
    """A picture filtered for spots of one size."""

    picture: Picture
    matched: Matched
    usual: float | None  # variance of a pixel of weight 1, if it is known
    least: float  # deviation of a pixel
    sigmas: tuple[float, float, float]
    threads: int | None

    def without_light(self, points: np.ndarray, fluxes: np.ndarray) -> Scale:
        """The response above a background in which spots (n, 3) of these fluxes have no part."""
        background, light = self.matched.background.without_light(points, fluxes)
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
    return Scale(picture, matched, usual, least, sigmas, threads)


def strong_spots(scale: Scale, level: float) -> Found:
    """Spots whose light is to be taken out of the background."""
    return above(scale, max(level, STRONG), _FEW_SAMPLES)[0]


def fluxes(amplitude: np.ndarray, sigmas: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """The light of spots of these sigmas, 0 along axes without extent."""
    rows = np.atleast_2d(sigmas)
    return amplitude * np.where(rows > 0, math.sqrt(2 * math.pi) * rows, 1.0).prod(axis=1)


def described_spots(
    picture: Picture, response: np.ndarray, points: np.ndarray,
    sigmas: tuple[float, float, float], search: Search, least: float, threads: int | None,
) -> Found:  # fmt: skip
    """What is asked for of points (n, 3) that another response has found."""
    if search.shape_level == 0.0 and not search.details:
        unknown = np.full((6, len(points)), np.nan)
        return Found(refine_peaks(response, points), points, *unknown)
    scale = filtered(picture, sigmas, least, None, threads)
    for light_is_out in (False, True):
        noise = _noise(scale)
        found, deviation = judged(scale, points, scale.matched.response[tuple(points.T)], noise)
        around = look_around(picture, points, sigmas, threads)
        found = _beside_ring(scale, found, around, deviation, noise)
        strong = found.those(found.significance >= STRONG)
        if light_is_out or not len(strong.points):
            break
        scale = scale.without_light(strong.points, fluxes(strong.amplitude, sigmas))
    found = with_shapes(scale, found, noise, search)
    return found._replace(places=refine_peaks(response, found.points))


def _noise(scale: Scale, samples: int = cells.SAMPLES) -> Noise:
    """The noise of a picture by its response, from so many samples of a cell."""
    response = scale.matched.response
    factor = float(_inner(response.shape, scale.sigmas).deviation[0])
    division = cells.divide(response.shape, scale.sigmas).with_samples(samples)
    return measure_noise(
        scale.picture, response, scale.matched.background, division, factor, scale.least,
        scale.usual, scale.sigmas,
    )  # fmt: skip


def above(scale: Scale, level: float, samples: int = cells.SAMPLES) -> tuple[Found, Noise]:
    """Spots above a significance, and the noise from so many samples of a cell."""
    picture, response, sigmas = scale.picture, scale.matched.response, scale.sigmas
    factor = float(_inner(response.shape, sigmas).deviation[0])
    noise = _noise(scale, samples)
    lowest = float((noise.centre + _SLACK * level * factor * noise.deviation).min())
    points, strength = candidates(picture, response, lowest, sigmas[0], scale.threads)
    found, deviation = judged(scale, points, strength, noise)
    good = found.significance >= level
    around = look_around(picture, points[good], sigmas, scale.threads)
    found = _beside_ring(scale, found.those(good), around, deviation[good], noise)
    good = found.significance >= level
    found, around = found.those(good), around.those(good)
    deviation = noise.deviation_at(found.points, picture.pixels(found.ground))
    good = _have_shape(picture.volume, found, around, deviation, sigmas, scale.threads)
    found = found.those(good)
    return found._replace(places=refine_peaks(response, found.points)), noise


def with_shapes(scale: Scale, found: Found, noise: Noise, search: Search) -> Found:
    """Maxima with their shape, without those whose shape is not that of a spot."""
    if search.shape_level == 0.0 and not search.details:
        return found
    seen = _seen(scale, found, noise)
    shapes = judge_shapes(
        scale.picture.volume, scale.matched.response, found.points, seen, scale.sigmas,
        scale.threads,
    )  # fmt: skip
    found = found._replace(sharpness=shapes.sharpness, p_value=shapes.chance)
    return found.those(found.p_value >= search.shape_level)


def _seen(scale: Scale, found: Found, noise: Noise) -> Seen:
    """What is known of maxima whose shape is judged."""
    picture, matched, sigmas = scale.picture, scale.matched, scale.sigmas
    points = found.points
    local = noise.between.at(points)
    level, deviation = local[0], noise.deviation_at(points, picture.pixels(found.ground), local)
    gain = gain_at(picture, matched, points, found.ground, noise) * picture.sign
    gain = np.maximum(gain, np.zeros(len(points)))
    inner = _inner(matched.response.shape, sigmas)
    cubes = math.prod(2 * math.pi * s**2 / 3 for s in sigmas if s > 0) ** 0.5
    squares = math.prod(2 * math.pi * s**2 for s in sigmas if s > 0)
    light = gain * np.maximum(found.amplitude, 0.0) * cubes / squares
    error = np.sqrt((deviation * inner.deviation[0]) ** 2 + light)
    own = None
    if noise.usual > 0.0 and matched.weights is not None:
        weights = matched.weights
        own = np.divide(1.0, weights, out=np.ones_like(weights), where=weights > 0)
    ground = np.minimum(found.ground, found.ring)
    factor = float(inner.deviation[0])
    return Seen(ground, level, deviation**2, gain, error, factor, own, picture.gap)


def _beside_ring(
    scale: Scale, found: Found, around: Around, deviation: np.ndarray, noise: Noise
) -> Found:
    """Spots beside the median of the ring around each, where this is surely above the background.

    The wide window sees the dark side of an edge from the bright one; the ring does not.
    """
    picture, matched, sigmas = scale.picture, scale.matched, scale.sigmas
    points, median, count = found.points, around.ring, around.number
    if not len(points):
        return found
    error = np.sqrt(0.5 * math.pi / np.maximum(count, 1))  # of the median, in deviations
    above = np.where(count > 0, median - found.ground, 0.0)
    sure = _SURELY * error * deviation + _WINGS * np.maximum(found.amplitude, 0.0)
    above = np.where(above > sure, above, 0.0)
    inner = _inner(matched.response.shape, sigmas)
    wider = np.where(above > 0, np.hypot(1.0, error / inner.deviation[0]), 1.0)
    amplitude = found.amplitude - above / inner.height[0]
    share = matched.gains_at(points, sigmas).share
    rest = np.maximum(amplitude, 0.0) * inner.height[0] * np.sqrt(share)
    gain = gain_at(picture, matched, points, found.ground, noise)
    own = np.sqrt(deviation**2 + np.maximum(gain, 0.0) * above)  # counts of that light are noise
    tail = _gain_of_tail(gain, own, noise, sigmas)
    lower = significance(rest / wider, own, tail, sigmas)
    z = np.where(above > 0, np.minimum(lower, found.significance), found.significance)
    ring = np.where(count > 0, median, found.ground)
    return found._replace(
        amplitude=amplitude, significance=z, ground=found.ground + above, ring=ring
    )


def _have_shape(
    volume: np.ndarray, found: Found, around: Around, deviation: np.ndarray,
    sigmas: tuple[float, float, float], threads: int | None,
) -> np.ndarray:  # fmt: skip
    """Which maxima are spots: their curvature is seen from a core to most of the ring around it.

    What the noise may hide of it counts as seen, but a part must be there. Most spots show their
    whole amplitude, so that their curvature need not be known.
    """
    keep = around.stand_out(found.amplitude)
    rows = np.flatnonzero(~keep)
    if not len(rows):
        return keep
    some, most = found.points[rows], found.amplitude[rows]
    curved = np.minimum(most, curvatures(volume, some, sigmas, threads))
    curved -= _DOUBT * contrast_noise(sigmas) * deviation[rows]
    needed = np.maximum(curved, _PART * most)
    keep[rows] = around.those(rows).stand_out(needed)
    return keep


@lru_cache(maxsize=8)
def _inner(shape: tuple[int, ...], sigmas: tuple[float, float, float]) -> Gains:
    """Gains in the middle."""
    return gains_at(np.array([[n // 2 for n in shape]]), shape, sigmas)


def judged(
    scale: Scale, points: np.ndarray, strength: np.ndarray, noise: Noise
) -> tuple[Found, np.ndarray]:
    """Amplitudes and significances of maxima, not refined, and the deviations of pixels there."""
    picture, matched, sigmas = scale.picture, scale.matched, scale.sigmas
    shape = matched.response.shape
    gains, inner = matched.gains_at(points, sigmas), _inner(shape, sigmas)
    local = noise.between.at(points)
    amplitude = (strength - local[0]) / (inner.height[0] * np.sqrt(gains.share))
    ground = matched.background.at(points) - amplitude * inner.ground[0]
    deviation = noise.deviation_at(points, picture.pixels(ground), local)
    scaled = (strength - local[0]) * (inner.deviation[0] / gains.deviation)
    gain = gain_at(picture, matched, points, ground, noise)
    tail = _gain_of_tail(gain, deviation, noise, sigmas)
    z = significance(scaled, deviation, tail, sigmas)
    unknown = np.full(len(points), np.nan)
    found = Found(points.astype(np.float64), points, amplitude, z, ground, ground, unknown, unknown)
    return found, deviation
