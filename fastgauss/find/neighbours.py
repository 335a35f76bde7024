"""Close neighbours: spots that are one maximum of the matched filter, parted by their curvature.

The matched filter smooths an image once more by a spot: two equal spots are one maximum up to 2.8
sigmas from each other. The Laplacian smooths less and parts them from 2.3 sigmas on. Near the
maxima of the matched filter its own maxima count, too, where they are as significant by themselves:
above the noise of the pixels and that of the light that is there. Where spots cover an image, and
hide each other as its noise, all its maxima above five deviations of its own noise count.
"""

from __future__ import annotations

import math

import numpy as np

from . import log_filter
from .laplacian import response_noise
from .matched_filter import Found, Matched, Scale, gain_at, judged
from .noise import NOISE_FACTOR, Noise
from .peaks import candidates, refine_peaks, stand_out, thin_peaks
from .response import Picture, correlate_picture

_REACH = 4.0  # sigmas from a maximum of the matched filter within which others are looked for
_SAME = 2.0  # sigmas within which one maximum of the Laplacian is the same spot
_COVERED = 0.05  # part of an image from which spots count as noise
_LEAST = 1e-3  # noise of the Laplacian, by that of pixels, at least
_MOVED = 0.75  # sigmas by which light of others, not noise, moves a maximum of both filters


def part_neighbours(
    scale: Scale, found: Found, noise: Noise, level: float, distances: np.ndarray
) -> Found:
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
    curved, away, nearest = _curved_maxima(scale, found, noise, level)
    apart = thin_peaks(curved.points, scale.picture.volume.shape, distances)
    curved, away, nearest = curved.those(apart), away[apart], nearest[apart]
    own = away <= _SAME
    merged = np.bincount(nearest[own], minlength=len(found.points)) > 1
    merged[nearest[own & (away > _MOVED)]] = True
    added = curved.those(~own | merged[nearest])
    rest = found.those(~merged)
    return Found(*(np.concatenate(pair) for pair in zip(rest, added, strict=True)))


def _curved_maxima(
    scale: Scale, found: Found, noise: Noise, level: float
) -> tuple[Found, np.ndarray, np.ndarray]:
    """Maxima of the Laplacian near those found, or all in crowds, the strongest first.

    Also how many sigmas away the nearest of those found is, and which one it is.
    """
    from scipy.spatial import KDTree

    picture, matched, sigmas = scale.picture, scale.matched, scale.sigmas
    terms, factor = log_filter.spot_filter(sigmas)
    response = correlate_picture(_evened(picture, matched, scale.threads), terms, scale.threads)
    measured = _least_noise(scale, found, noise, response, factor)
    lowest = level * float(measured.min())
    points, strength = candidates(picture, response, lowest, sigmas[0], scale.threads)
    unit = np.where(np.array(sigmas) > 0, sigmas, 1.0)
    covered = _is_covered(scale, found)
    away, nearest = KDTree(found.points / unit).query(points / unit)
    rows = np.flatnonzero(covered | (away <= _REACH))
    rows = rows[np.argsort(-strength[rows], kind="stable")]
    points, height = points[rows], strength[rows].astype(np.float64)
    curved, deviation = judged(scale, points, matched.response[tuple(points.T)], noise)
    error = noise.cells.values(measured, straight=False).at(points)[0]
    if not covered:
        gain = np.maximum(gain_at(picture, matched, points, curved.ground, noise), 0.0)
        error = factor * np.sqrt(deviation**2 + gain * np.maximum(curved.amplitude, 0.0))
    significance = np.divide(height, error, out=np.full(len(rows), np.inf), where=error > 0)
    curved = curved._replace(
        places=refine_peaks(response, points), amplitude=height, significance=significance
    )
    good = significance >= np.where(away[rows] <= _REACH, level, max(level, NOISE_FACTOR))
    good[good] = stand_out(picture.volume, points[good], height[good], sigmas, scale.threads)
    return curved.those(good), away[rows][good], nearest[rows][good]


def _is_covered(scale: Scale, found: Found) -> bool:
    """Whether spots cover so much of an image that they count as its noise."""
    area = len(found.points) * math.prod(_REACH * s for s in scale.sigmas if s > 0)
    return area > _COVERED * scale.picture.volume.size


def _least_noise(
    scale: Scale, found: Found, noise: Noise, response: np.ndarray, factor: float
) -> np.ndarray:
    """The noise of the Laplacian in cells: that of pixels, or its own where that is less.

    Spots that cover an image count less as noise of the Laplacian than as that of the matched
    filter, since its response to them is narrower. What gain their light has is not known there.
    """
    measured = factor * noise.deviation
    if not _is_covered(scale, found):
        return measured
    least = max(scale.least * factor, _LEAST * float(measured.min()))
    _, own = response_noise(scale.picture, response, noise.cells, least)
    return np.minimum(measured, own)


def _evened(picture: Picture, matched: Matched, threads: int | None) -> np.ndarray:
    """The picture, with pixels of the same noise: above its background where they are weighted."""
    if matched.weights is None:
        return picture.volume
    return matched.background.subtracted(picture.volume, threads) * np.sqrt(matched.weights)
