"""Errors of the drift in each frame, from those of the segments and from what lies between them.

The distance of each segment from the middle of its neighbours tells how far the drift wanders. A
distance far above the usual one is a jump, which the spline cannot follow. The errors are then
large in the segments around the jump; the other segments have the errors that they would have
without it.
"""

from __future__ import annotations

import math

import numpy as np

from .drift_stages import Movie, spline_means

_WANDER = 4.0  # variance of a random walk in a segment, from that of a segment between two others
_JUMP = 5.0  # usual deviations of a segment between two others from which there is a jump
_MEDIAN = 0.455  # of the square of a normal variable, by its variance
_SWING = 2.0 - math.sqrt(3.0)  # of a cubic spline about a jump, from segment to segment


def frame_errors(
    movie: Movie, positions: np.ndarray, known: np.ndarray, moments: np.ndarray
) -> np.ndarray:
    """Standard errors (F, d) of positions (F, d), by the covariance (S, d, S, d) of segments."""
    own = _interpolated_variances(movie.middles, known, moments)
    return np.sqrt(own + _wandering(movie, positions, known, moments))


def _places_between(middles: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The segment before each moment, and how far on the way to the next one it is."""
    before = np.clip(np.searchsorted(middles, moments, side="right") - 1, 0, len(middles) - 2)
    return before, (moments - middles[before]) / (middles[before + 1] - middles[before])


def _interpolated_variances(
    middles: np.ndarray, known: np.ndarray, moments: np.ndarray
) -> np.ndarray:
    """Variances (F, d) of the spline, from those of the segments' means, which it has."""
    ndim = known.shape[1]
    times, values, means = spline_means(middles)
    shares = np.linalg.solve(means.T, values.T).T  # of each segment's mean in each value
    found = np.empty((len(moments), ndim))
    for axis in range(ndim):
        own = np.einsum("ts,ts->t", shares @ known[:, axis, :, axis], shares)
        found[:, axis] = np.interp(moments, times, np.maximum(own, 0.0))
    return found


def _wandering(
    movie: Movie, positions: np.ndarray, known: np.ndarray, moments: np.ndarray
) -> np.ndarray:
    """Variances (F, d) of a random walk about the spline through its means over the segments.

    A segment's mean is off the middle of its neighbours by a variance of 1/4 if the walk has 1 a
    segment; about the spline it has 0.08 in the middle of a segment, 0.15 between two, and at an
    end of the movie 0.38.
    """
    count = len(movie.middles)
    if count < 3:
        return np.zeros((1, positions.shape[1]))
    drift = positions[movie.moments.astype(np.intp)]
    sizes = np.bincount(movie.segments)[:, np.newaxis]
    means = np.stack([np.bincount(movie.segments, column) for column in drift.T], axis=1) / sizes
    off = means[1:-1] - 0.5 * (means[:-2] + means[2:])
    own = np.einsum("sasa->sa", known)
    expected = own[1:-1] + 0.25 * (own[:-2] + own[2:])
    usual = np.maximum(np.median(off**2, axis=0) / _MEDIAN, expected)
    excess, jumps = off**2 - expected, off**2 > _JUMP**2 * usual
    steady = np.where(jumps, 0.0, excess).sum(axis=0) / (~jumps).sum(axis=0)
    apart = np.abs(np.arange(count)[:, np.newaxis] - np.arange(1, count - 1))
    swing = _SWING ** (2.0 * np.maximum(apart - 1, 0))
    walk = _WANDER * (np.maximum(steady, 0.0) + swing @ np.where(jumps, excess, 0.0))
    before, way = _places_between(movie.middles, moments)
    beyond = np.maximum(np.maximum(-way, way - 1.0), 0.0)
    shape = 0.076 + 0.074 * np.sin(math.pi * np.clip(way, 0.0, 1.0)) ** 2 + 1.2 * beyond**2
    return shape[:, np.newaxis] * np.maximum(walk[before], walk[before + 1])
