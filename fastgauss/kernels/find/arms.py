"""Chances that spots have arms as lines have, or as places where lines cross.

Heights are those of the response above its level, by the height of the maximum. ``arms`` is a tuple
of arrays: ``units`` (directions, ndim), ``offsets`` (directions, radii, 2 sides, 3) of the places
that are looked at, ``limits`` (directions, radii) of the height of a spot there, and ``cosines``
(directions, directions) between the directions.
"""

from __future__ import annotations

import math

import numpy as np

from .._compile import device, kernel
from .surroundings import LOWEST

_LINE, _SURELY = 0.9, 1.5  # least moment of a line; errors by which another one is below
_FAR = 1  # the first radius at which the arms of lines that cross are apart
_CROSSED = 0.75  # cosine between lines that cross, at most
_WIDER = 0.15  # of the amplitude: by what an arm is above the sides
_LINES = 3  # that cross, at most
_TOGETHER = 0.5  # of the amplitude: what their arms have at least
_APART = 0.87  # cosine between them, at most
_LOW = 0.25  # part of the values around a maximum that are below the level between lines
_OF_LOW = -0.6744897501960817  # quantile of a normal distribution below which they are
_LEAST_ERROR = 1e-9  # of a response, by that in the middle
_LEAST = 0.4  # variance of the least of six values, by that of each


@device
def _upper_tail(z):
    """The chance of more than ``z`` standard deviations."""
    return 0.5 * math.erfc(z * math.sqrt(0.5))


@device
def _look(response, point, level, offsets, heights, there):
    """The height of a maximum, and those of its arms as far as the image reaches."""
    nz, ny, nx = response.shape
    z0, y0, x0 = point
    height = max(np.float64(response[z0, y0, x0]) - level, LOWEST)
    for d in range(offsets.shape[0]):
        for r in range(offsets.shape[1]):
            for s in range(2):
                step = offsets[d, r, s]
                z, y, x = z0 + step[0], y0 + step[1], x0 + step[2]
                inside = 0 <= z < nz and 0 <= y < ny and 0 <= x < nx
                there[d, r, s] = inside
                heights[d, r, s] = 0.0
                if inside:
                    heights[d, r, s] = (np.float64(response[z, y, x]) - level) / height
    return height


@device
def _tails(heights, there, limits, error, sides, tails):
    """The chances that a spot has arms as high in each direction; ``sides`` is scratch."""
    directions, radii, _ = heights.shape
    for r in range(radii if directions else 0):
        sides[r] = np.inf
        for d in range(directions):
            sides[r] = min(sides[r], 0.5 * (heights[d, r, 0] + heights[d, r, 1]))
    for d in range(directions):
        tails[d] = 1.0
        number, lowest = 0, np.inf
        for r in range(radii):
            limit = max(limits[d, r], sides[r] + _WIDER)
            for s in range(2):
                if there[d, r, s]:
                    number += 1
                    z = (heights[d, r, s] - limit) / (error * math.sqrt(1.0 + limit * limit))
                    lowest = min(lowest, z)
        if number >= radii:
            tails[d] = _upper_tail(lowest) ** number


@device
def _least_along(tails, units, cosines, moments, doubt):
    """The smallest of the chances: where there is a gap before the arms, lines must cross."""
    least = 1.0
    for d in range(tails.size):
        along = 0.0
        for a in range(units.shape[1]):
            for b in range(units.shape[1]):
                along += units[d, a] * moments[a, b] * units[d, b]
        tail = tails[d]
        if along < _LINE - _SURELY * doubt:
            other = 1.0
            for e in range(tails.size):
                if cosines[d, e] < _CROSSED:
                    other = min(other, tails[e])
            tail = max(tail, other)
        least = min(least, tail)
    return least


@device
def _crossing(heights, there, cosines, error, far, left):
    """The chance that a spot has arms that are as high, all together.

    An arm is the least response at the radii on both sides; the highest arms that are apart count.
    Heights are above the response between the arms, which is negative where the light of lines is
    a part of the background.
    """
    directions, radii, _ = heights.shape
    size = 0
    for d in range(directions):
        left[d], number = np.inf, 0
        for r in range(radii):
            for s in range(2):
                if there[d, r, s]:
                    number += 1
                    left[d] = min(left[d], heights[d, r, s])
                    if r >= _FAR:
                        size = _insert(far, size, heights[d, r, s])
        if number <= radii:
            left[d] = -np.inf
    between = far[int(_LOW * size)] if size > 0 else np.inf
    floor = min(between - _OF_LOW * error, 0.0)
    for d in range(directions):
        left[d] = left[d] - floor if left[d] > -np.inf else 0.0
    total, lines = 0.0, 0
    for _ in range(_LINES):
        best = 0
        for d in range(1, directions):
            if left[d] > left[best]:
                best = d
        if left[best] > 0.0:
            total += left[best]
            lines += 1
        for d in range(directions):
            if cosines[best, d] >= _APART:
                left[d] = 0.0
    own = error * math.sqrt(_LEAST * lines + _TOGETHER * _TOGETHER)
    return _upper_tail((total - _TOGETHER * (1.0 - floor)) / own)


@device
def _insert(ordered, size, value):
    """Put a value among ``size`` values that are in order; the new number of them."""
    k = size
    while k > 0 and ordered[k - 1] > value:
        ordered[k] = ordered[k - 1]
        k -= 1
    ordered[k] = value
    return size + 1


@kernel
def arm_chances(response, points, level, error, moments, doubt, arms, chance, crossed, start, stop):
    """The chances that spots have arms as high as maxima ``start .. stop - 1``.

    Parameters
    ----------
    points : ndarray (n, 3) int64
    level, error : ndarray (n,) float64
        Of the response.
    moments : ndarray (n, ndim, ndim) float64
        Second moments of the pixels around the maxima, in the window of a spot.
    doubt : ndarray (n,) float64
        Their errors.
    chance, crossed : ndarray (n,) float64
        The results: for arms of a line, and for those of lines that cross, without noise.
    """
    units, offsets, limits, cosines = arms
    heights, there = np.empty(offsets.shape[:3]), np.empty(offsets.shape[:3], np.bool_)
    tails, left, far = np.empty(len(units)), np.empty(len(units)), np.empty(heights.size)
    for p in range(start, stop):
        height = _look(response, points[p], level[p], offsets, heights, there)
        _tails(heights, there, limits, max(error[p] / height, _LEAST_ERROR), far, tails)
        chance[p] = _least_along(tails, units, cosines, moments[p], doubt[p])
        crossed[p] = _crossing(heights, there, cosines, _LEAST_ERROR, far, left)


@kernel
def crossing_chances(response, points, level, error, arms, crossed):
    """The chances that spots have arms as high as those of crossing lines, as in `arm_chances`."""
    _, offsets, _, cosines = arms
    heights, there = np.empty(offsets.shape[:3]), np.empty(offsets.shape[:3], np.bool_)
    left, far = np.empty(offsets.shape[0]), np.empty(heights.size)
    for p in range(points.shape[0]):
        height = _look(response, points[p], level[p], offsets, heights, there)
        own = max(error[p] / height, _LEAST_ERROR)
        crossed[p] = _crossing(heights, there, cosines, own, far, left)
