"""How far the response falls around maxima: the chance that it falls as little around a spot.

Heights are above the dark side of a maximum, the mean of the lowest third of the responses around
it, and in units of its own height.
"""

from __future__ import annotations

import math

import numpy as np

from .._compile import device, kernel

_DARK = 3  # the dark side is this part of the directions
_HIGH = 0.5  # of a spot beside it, in one of two directions that are far from each other
_FAR_HIGH = 0.5  # near and far, in one direction: the least height
_BOTH_HIGH = 0.45  # the mean of heights near and far, in two opposite directions
_SOME = 0.3  # a height near the maximum from which one looks farther
_EVEN = 2.0  # largest height by the least one in a direction, on a line
_NOISE = 0.22  # of these heights, by the error of the response
_LEAST_ERROR = 1e-9


@device
def _first_from(places, z):
    """The number of the first place whose plane is not below ``z``."""
    low, high = 0, len(places)
    while low < high:
        middle = (low + high) // 2
        if places[middle, 0] < z:
            low = middle + 1
        else:
            high = middle
    return low


@device
def _light_at(z, y, x, others, own):
    """The response there to spots but ``own``, which are in the order of their planes."""
    places, light, quarter, reach = others
    total = 0.0
    for k in range(_first_from(places, z - reach), len(places)):
        if places[k, 0] > z + reach:
            break
        if k != own:
            dz, dy, dx = places[k, 0] - z, places[k, 1] - y, places[k, 2] - x
            total += light[k] * math.exp(
                -min(quarter[0] * dz * dz + quarter[1] * dy * dy + quarter[2] * dx * dx, 700.0)
            )
    return total


@device
def _look(response, point, offsets, others, own, values):
    """The responses at offsets from a maximum, without the light of others; NaN: outside."""
    nz, ny, nx = response.shape
    empty = len(others[0]) == 0
    for d in range(len(offsets)):
        z, y, x = point[0] + offsets[d, 0], point[1] + offsets[d, 1], point[2] + offsets[d, 2]
        if 0 <= z < nz and 0 <= y < ny and 0 <= x < nx:
            values[d] = np.float64(response[z, y, x])
            if not empty:
                values[d] -= _light_at(z, y, x, others, own)
        else:
            values[d] = np.nan


@device
def _may_be_high(values, middle):
    """Whether a height may be more than one from which one looks farther."""
    lowest, highest = np.inf, -np.inf
    for d in range(values.size):  # a comparison with NaN is false
        lowest = values[d] if values[d] < lowest else lowest
        highest = values[d] if values[d] > highest else highest
    return highest - lowest > _SOME * (middle - lowest)


@device
def _dark_side(values, ordered):
    """The mean of the lowest part of the values inside the image; ``ordered`` is scratch."""
    size, number = 0, max(values.size // _DARK, 1)
    for d in range(values.size):
        if values[d] == values[d] and (size < number or values[d] < ordered[size - 1]):
            i = min(size, number - 1)
            while i > 0 and ordered[i - 1] > values[d]:
                ordered[i] = ordered[i - 1]
                i -= 1
            ordered[i] = values[d]
            size = min(size + 1, number)
    total = 0.0
    for k in range(size):
        total += ordered[k]
    return total / size if size > 0 else np.inf


@device
def _scale(values, middle, dark):
    """The values as heights, that of what is outside being 0; the largest one."""
    largest = 0.0
    for d in range(values.size):
        height = (values[d] - dark) / (middle - dark)
        values[d] = height if height == height else 0.0
        largest = max(largest, values[d])
    return largest


@device
def _most_of_two(values, opposite):
    """The largest height that two directions far from each other both have."""
    most = _SOME
    for d in range(values.size):
        if values[d] > most:
            for e in range(d):
                if opposite[d, e]:
                    most = max(most, min(values[d], values[e]))
    return most


@device
def _most_along(heights):
    """The excess of heights near and far over those around spots: of a direction, of a line."""
    directions, radii = heights.shape
    half, most = directions // 2, -np.inf
    for d in range(directions):
        if heights[d, 0] > _SOME:
            least, largest, one, other = heights[d, 0], heights[d, 0], 0.0, 0.0
            for r in range(radii):
                here, there = heights[d, r], heights[(d + half) % directions, r]
                least, largest = min(least, here), max(largest, here)
                one += min(max(here, -_SOME), 1.0) / radii
                other += min(max(there, -_SOME), 1.0) / radii
            least -= max(largest - _EVEN * least, 0.0)  # a neighbour, no line
            both = min(0.5 * (one + other), _EVEN * min(one, other))
            most = max(most, least - _FAR_HIGH, both - _BOTH_HIGH)
    return most


@kernel
def fall_chances(response, points, error, rays, high, others, number, chance, start, stop):
    """The chances that the response falls as little around spots as around maxima.

    Of maxima ``start .. stop - 1``.

    Parameters
    ----------
    points : ndarray (n, 3) int64
    error : ndarray (n,) float64
        Of the response.
    rays : (ndarray (radii, directions, 3) int64, ndarray (directions, directions) bool)
        Where the response is looked at, and which two directions are far from each other. The
        second half of the directions are the opposite ones of the first.
    high : ndarray (n, directions) or (0, directions) float32
        The responses at the first radius; an empty array: they are looked at.
    others : (ndarray (m, 3) float64, ndarray (m,) float64, ndarray (3,) float64, int)
        Spots whose light is taken away, in the order of the first axis: places and responses; a
        quarter of the inverse of the squared widths, and the reach along the first axis.
    number : ndarray (n,) int64
        That of each maximum among the others; -1: it is none of them.
    chance : ndarray (n,) float64
        The result.
    """
    offsets, opposite = rays
    radii, directions = offsets.shape[:2]
    near, ordered = np.empty(directions), np.empty(directions)
    heights = np.empty((directions, radii))
    for p in range(start, stop):
        z, y, x = points[p]
        middle = np.float64(response[z, y, x]) - _light_at(z, y, x, others, number[p])
        if len(high):
            for d in range(directions):
                near[d] = np.float64(high[p, d])
        else:
            _look(response, points[p], offsets[0], others, number[p], near)
        chance[p] = 1.0
        if not _may_be_high(near, middle):
            continue
        dark = _dark_side(near, ordered)
        if dark < middle and _scale(near, middle, dark) > _SOME:
            excess = _most_of_two(near, opposite) - _HIGH
            heights[:, 0] = near
            for r in range(1, radii):
                _look(response, points[p], offsets[r], others, number[p], near)
                _scale(near, middle, dark)
                heights[:, r] = near
            excess = max(excess, _most_along(heights))
            own = _NOISE * max(error[p] / (middle - dark), _LEAST_ERROR)
            chance[p] = 0.5 * math.erfc(excess / own * math.sqrt(0.5))


@kernel
def count_near(points, others, reach, number):
    """How many of the ``others`` of `fall_chances` are within a reach of points (n, 3).

    ``reach``: the largest exponent of their light, and the reach along the first axis.
    """
    places, _, quarter, _ = others
    for p in range(len(points)):
        z, y, x = points[p]
        number[p] = 0
        for k in range(_first_from(places, z - reach[1]), len(places)):
            if places[k, 0] > z + reach[1]:
                break
            dz, dy, dx = places[k, 0] - z, places[k, 1] - y, places[k, 2] - x
            away = quarter[0] * dz * dz + quarter[1] * dy * dy + quarter[2] * dx * dx
            number[p] += away <= reach[0]
