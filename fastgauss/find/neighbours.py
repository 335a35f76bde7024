"""Close neighbours: spots that are one maximum of the matched filter, separated by curvature.

The matched filter smooths an image once more by a spot: two equal bright spots are one maximum up
to 2.8 sigmas from each other. The Laplacian smooths less, and separates them from 2.5 sigmas on.
Near the maxima of the matched filter, the maxima of the Laplacian count, too, where they are as
significant by themselves: above the noise of the pixels and of the light at their place. Where
spots cover an image, so that their light acts as noise that hides other spots, all maxima of the
Laplacian above five deviations of its own noise count. The same holds where spots are fewer but
have wings, as stars have, which are noise for the matched filter alone.

At the top of a wide spot, noise makes maxima of the Laplacian. In an image, the response of the
Laplacian to a single spot of width t is 2 s**2 / (s**2 + t**2) times that of the matched filter;
where this factor is below a half, as from 1.7 sigmas on, no spot is separated.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from . import log_filter
from .cells import FEW_SAMPLES, Cells
from .found_maxima import Found, Judge
from .laplacian import response_noise
from .matched_filter import Matched, Scale
from .noise import NOISE_FACTOR, Noise
from .peaks import candidates, curvatures, nearest_points, refine_peaks, thin_peaks
from .response import Picture, correlate_picture

_REACH = 4.0  # sigmas from a maximum of the matched filter within which others are looked for
_SAME = 2.0  # sigmas within which one maximum of the Laplacian is the same spot
_COVERED = 0.05  # part of an image from which spots count as noise
_SOME_COVERED, _HIDDEN = 0.01, 2.0  # the same where noise is this factor above the Laplacian's
_LEAST = 1e-3  # least ratio of the noise of the Laplacian and of pixels
_NARROW = 0.5  # least ratio of the responses of the Laplacian and of the matched filter
_MOVED = 0.75  # sigmas by which light of others, not noise, moves a maximum of both filters


def separate_neighbours(judge: Judge, found: Found, level: float, distances: np.ndarray) -> Found:
    """Maxima of the matched filter, with those of the Laplacian in place of one that is several.

    Parameters
    ----------
    level : float
        Least significance.
    distances : ndarray (3,)
        Semi-axes of the ellipsoid around a spot in which there is no weaker one.
    """
    if not len(found.points):
        return found
    curved, away, nearest = _curved_maxima(judge, found, level)
    apart = thin_peaks(curved.points, judge.scale.picture.volume.shape, distances)
    curved, away, nearest = curved.take(apart), away[apart], nearest[apart]
    own = away <= _SAME
    merged = np.bincount(nearest[own], minlength=len(found.points)) > 1
    merged[nearest[own & (away > _MOVED)]] = True
    added = curved.take(~own | merged[nearest])
    return found.take(~merged).followed_by(added)


def _curved_maxima(
    judge: Judge, found: Found, level: float
) -> tuple[Found, np.ndarray, np.ndarray]:
    """Maxima of the Laplacian near the found ones, or all in crowds, the strongest first.

    Also the distance of each to the nearest found maximum, in sigmas, and the number of that one.
    """
    scale, noise = judge.scale, judge.noise
    picture, matched, sigmas = scale.picture, scale.matched, scale.sigmas
    terms, factor = log_filter.spot_filter(sigmas)
    response = correlate_picture(_evened(picture, matched, scale.threads), terms, scale.threads)
    measured, smallest = factor * noise.deviation, factor * noise.smallest
    covered = _is_covered(scale, found, noise, response, factor)
    if covered:
        own = _own_noise(scale, noise.cells, noise, response, factor)
        measured = np.minimum(measured, own)
        smallest = float(measured.min())
    lowest = level * smallest
    points, strength = candidates(picture, response, lowest, sigmas[0], scale.threads)
    unit = np.where(np.array(sigmas) > 0, sigmas, 1.0)
    away, nearest = nearest_points(points, found.points, response.shape, unit, _REACH)
    rows = np.flatnonzero(covered | (away <= _REACH))
    rows = rows[np.argsort(-strength[rows], kind="stable")]
    points, height = points[rows], strength[rows].astype(np.float64)
    curved = judge.judged(points, matched.response[tuple(points.T)])
    if covered:
        error = noise.cells.values(measured, straight=False).at(points)[0]
        z = np.divide(height, error, out=np.full(len(rows), np.inf), where=error > 0)
        least = max(level, NOISE_FACTOR)
    else:
        light = np.maximum(curved.gain, 0.0) * np.maximum(curved.amplitude, 0.0)
        deviation = np.sqrt(curved.deviation**2 + light)
        z = judge.tail_of_pixels(height / factor, deviation, curved.gain)
        least = level
    amplitude = height
    if matched.weights is not None:
        amplitude = curvatures(picture.volume, points, sigmas, scale.threads)
    good = (z >= least) & (height >= _NARROW * curved.amplitude)
    around = scale.looked.around(points[good], scale.threads)
    good[good] = around.stand_out(amplitude[good])
    places = refine_peaks(response, points)
    curved = replace(curved.with_rows(amplitude=amplitude, significance=z), places=places)
    return curved.take(good), away[rows][good], nearest[rows][good]


def _is_covered(
    scale: Scale, found: Found, noise: Noise, response: np.ndarray, factor: float
) -> bool:
    """Whether spots count as the noise of an image: because of their number, or of their wings.

    The wings of bright stars are noise of the matched filter, and not of the Laplacian, whose
    response is given.
    """
    area = len(found.points) * math.prod(_REACH * s for s in scale.sigmas if s > 0)
    part = area / scale.picture.volume.size
    if part > _COVERED or part < _SOME_COVERED or noise.few:
        return part > _COVERED
    few = noise.cells.with_samples(FEW_SAMPLES)
    own = _own_noise(scale, few, noise, response, factor)
    return factor * float(np.median(noise.deviation)) > _HIDDEN * float(np.median(own))


def _own_noise(
    scale: Scale, cells: Cells, noise: Noise, response: np.ndarray, factor: float
) -> np.ndarray:
    """The noise of the Laplacian in cells, as it is measured.

    Spots that cover an image count less as its noise than as that of the matched filter, since its
    response to them is narrower.
    """
    least = max(scale.least, _LEAST * float(noise.deviation.min())) * factor
    return response_noise(scale.picture, response, cells, least)[1]


def _evened(picture: Picture, matched: Matched, threads: int | None) -> np.ndarray:
    """The picture, with pixels of the same noise: above its background where they are weighted.

    A missing pixel keeps the value that it was filled with.
    """
    if matched.weights is None:
        return picture.volume
    weights = np.where(matched.weights > 0, matched.weights, np.float32(1.0))
    return matched.background.subtracted(picture.volume, threads) * np.sqrt(weights, out=weights)
