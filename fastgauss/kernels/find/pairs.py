"""Pairs of maxima with no other one between them."""

from __future__ import annotations

from .._compile import device, kernel


@device
def _squared(points, i, j, unit):
    """The squared distance of two points in sigmas."""
    total = 0.0
    for a in range(3):
        away = (points[i, a] - points[j, a]) * unit[a]
        total += away * away
    return total


@device
def _are_neighbours(points, i, j, unit, reach):
    """Whether no other point is in the ball whose diameter is the way between two points."""
    whole = _squared(points, i, j, unit)
    k = i - 1
    while k >= 0 and points[i, 0] - points[k, 0] <= reach:
        if _squared(points, i, k, unit) + _squared(points, j, k, unit) < whole:
            return False
        k -= 1
    k = i + 1
    while k < len(points) and points[k, 0] - points[i, 0] <= reach:
        if k != j and _squared(points, i, k, unit) + _squared(points, j, k, unit) < whole:
            return False
        k += 1
    return True


@kernel
def neighbours(points, chosen, unit, longest, reach, pairs):
    """Pairs of points with no other one between them; their number, which may be too large.

    Parameters
    ----------
    points : ndarray (n, 3) int64
        In the order of the first axis.
    chosen : ndarray (n,) bool
        One of the two must be.
    unit : ndarray (3,) float64
        The inverse of the sigmas.
    longest, reach : float
        The largest distance, in sigmas and in pixels along the first axis.
    pairs : ndarray (m, 2) int64
        The result, as far as it has room.
    """
    number = 0
    for i in range(len(points)):
        j = i + 1
        while j < len(points) and points[j, 0] - points[i, 0] <= reach:
            near = _squared(points, i, j, unit) <= longest * longest
            if near and (chosen[i] or chosen[j]) and _are_neighbours(points, i, j, unit, reach):
                if number < len(pairs):
                    pairs[number, 0], pairs[number, 1] = i, j
                number += 1
            j += 1
    return number
