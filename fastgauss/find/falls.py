"""Falls: whether the response falls around a maximum as around a spot, or stays high.

On an edge, a line or a plateau the response is as high as in a maximum in two directions that are
far from each other; from the end of a line, it is near and far in one direction. A neighbour of a
spot is on one side, and not high near and far. Where spots are dense, they stand in rows by chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ..kernels.find import falls as kernels
from .dips import neighbours
from .lines import Peaks, rays
from .peaks import refine_peaks
from .response import each_item

_OPPOSITE = math.cos(math.radians(140))  # of the angle between directions far from each other
_COST = 500  # of a maximum, in units of the cost of a pixel
_DOUBTFUL = 0.1  # chance below which a maximum is looked at again, and explains no other one
_ROUNDS = 3  # in which those that turned out to be spots explain others
_CROWD = {1: 15.0, 2: 15.0, 3: 10.0}  # sigmas within which the density of spots is seen
_BESIDE = 4.5  # sigmas within which a neighbour keeps the response high
_IN_ROW = 5.0  # root of the chance that spots stand in a row, by the number of neighbours
_REACH = 6.0  # sigmas within which a spot has light in the response
_NONE = np.empty((0, 3)), np.empty(0), np.zeros(3), 0.0


@lru_cache(maxsize=8)
def _rays(sigmas: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of three widths in all directions, and which two of them are far from each other."""
    units, offsets = rays(sigmas)
    return offsets, units @ units.T <= _OPPOSITE


def chance_of_falls(
    response: np.ndarray, peaks: Peaks, high: np.ndarray, good: np.ndarray,
    are_apart: Callable[[np.ndarray, np.ndarray], np.ndarray],
    sigmas: tuple[float, float, float], threads: int | None,
) -> np.ndarray:  # fmt: skip
    """The chance that the response falls as little around a spot as around a maximum.

    Around doubtful maxima the light of those that are not, and are good by other tests, is taken
    away; that of doubtful ones, too, if there are dips between these and all neighbours. The chance
    that spots stand in a row follows from the number of the first.

    Parameters
    ----------
    high : ndarray
        The responses near the maxima, in all directions.
    are_apart : callable
        Tells from rows, and pairs of them that are neighbours, which have such dips.
    """
    number = np.full(len(peaks.points), -1)
    chance = _chances(response, peaks, high, _NONE, number, sigmas, threads)
    rows = np.flatnonzero(chance < _DOUBTFUL)
    if not len(rows):
        return chance
    ndim = sum(sigma > 0 for sigma in sigmas)
    crowd, reach = _CROWD[ndim], _REACH * sigmas[0]
    near = _near_planes(peaks.points[:, 0], peaks.points[rows, 0], crowd * sigmas[0])
    order, places, light, quarter = _spots(response, peaks.take(near), sigmas)
    order = near[order]
    apart = are_apart(order, neighbours(places, chance[order] < _DOUBTFUL, sigmas))
    sure = apart
    for _ in range(_ROUNDS):
        sure = good[order] & (chance[order] >= _DOUBTFUL)
        known = sure | apart
        number[order[known]] = np.arange(np.count_nonzero(known))
        others = places[known], light[known], quarter, reach
        some = peaks.take(rows)
        own = _chances(response, some, high[:0], others, number[rows], sigmas, threads)
        chance[rows] = np.maximum(chance[rows], own)
        rows, before = rows[chance[rows] < _DOUBTFUL], len(rows)
        if len(rows) in (0, before):
            break
    others, count = (places[sure], light[sure], quarter, reach), np.empty(len(rows))
    kernels.count_near(peaks.points[rows], others, (0.25 * crowd**2, crowd * sigmas[0]), count)
    beside = count * (_BESIDE / crowd) ** ndim
    chance[rows] = np.maximum(chance[rows], np.minimum((beside / _IN_ROW) ** 2, 1.0))
    return chance


def _near_planes(planes: np.ndarray, others: np.ndarray, reach: float) -> np.ndarray:
    """The numbers of planes within a reach of other ones."""
    ordered = np.sort(others)
    above = np.searchsorted(ordered, planes - reach)
    return np.flatnonzero(above < np.searchsorted(ordered, planes + reach, side="right"))


def _spots(
    response: np.ndarray, peaks: Peaks, sigmas: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The order of maxima by place; in this order places and light; what divides by widths."""
    quarter = np.array([0.25 / s**2 if s > 0 else 0.0 for s in sigmas])
    places = refine_peaks(response, peaks.points)
    light = response[tuple(peaks.points.T)] - peaks.level
    light *= np.exp((places - peaks.points) ** 2 @ quarter)
    order = np.lexsort(places.T[::-1])
    return order, places[order], light[order], quarter


def _chances(
    response: np.ndarray, peaks: Peaks, high: np.ndarray,
    others: tuple[np.ndarray, np.ndarray, np.ndarray, float], number: np.ndarray,
    sigmas: tuple[float, float, float], threads: int | None,
) -> np.ndarray:  # fmt: skip
    """The chances with the light of others, of which some maxima have a number, taken away."""
    chance, known = np.empty(len(peaks.points)), _rays(sigmas)

    def task(start: int, stop: int) -> None:
        kernels.fall_chances(
            response, peaks.points, peaks.error, known, high, others, number, chance, start, stop
        )

    each_item(len(chance), _COST, task, threads)
    return chance
