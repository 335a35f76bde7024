"""Lines through maxima: filaments, columns, tracks, and places where lines cross.

A line has arms: the response stays high on both sides of a maximum, at some distances of several
widths. Where lines cross, the response is the sum of those of the lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..kernels.find import arms as kernels
from ..kernels.find import surroundings
from .response import each_item

_LONGEST = 1.6  # width of a spot in the direction in which it is longest
_RADII = 3.0, 5.0, 7.0  # of the arms
_ARMS = 0.33, 0.25, 0.2  # of the amplitude: what the arms of a line have at least
_DIRECTIONS = {1: 0, 2: 18, 3: 60}
_TRIES = {1: 1.0, 2: 3.0, 3: 6.0}  # independent directions
_COST = 2000  # of a maximum, in units of the cost of a pixel


class Peaks(NamedTuple):
    """Maxima (n,) of a response, and what is known of it there."""

    points: np.ndarray  # (n, 3)
    level: np.ndarray  # of the response without spots
    error: np.ndarray  # of the response

    def take(self, chosen: np.ndarray | slice) -> Peaks:
        """The chosen maxima."""
        return Peaks(*(column[chosen] for column in self))


class _Arms(NamedTuple):
    """Directions, and where the response is looked at along them."""

    units: np.ndarray  # (directions, ndim)
    offsets: np.ndarray  # (directions, radii, 2 sides, 3)
    limits: np.ndarray  # (directions, radii) of a response by that in the middle
    cosines: np.ndarray  # (directions, directions)
    nearest: tuple[np.ndarray, np.ndarray]  # offsets and limits at the first radius


@lru_cache(maxsize=8)
def _arms(sigmas: tuple[float, float, float]) -> _Arms:
    """The arms of lines for spots of these sigmas."""
    active = [axis for axis in range(3) if sigmas[axis] > 0]
    number = _DIRECTIONS[len(active)]
    if len(active) == 2:
        angle = math.pi / number * np.arange(number)
        units = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    else:
        z = (np.arange(number) + 0.5) / max(number, 1)
        turn = math.pi * (1 + math.sqrt(5.0)) * np.arange(number)
        flat = np.sqrt(1 - z**2)
        units = np.stack([z, flat * np.sin(turn), flat * np.cos(turn)], axis=1)[:, -len(active) :]
    widths = np.array([sigmas[axis] for axis in active])
    steps = np.rint(units[:, None] * np.array(_RADII)[:, None] * widths).astype(np.int64)
    offsets = np.zeros((number, len(_RADII), 2, 3), np.int64)
    offsets[:, :, 0, active], offsets[:, :, 1, active] = steps, -steps
    own = np.exp(-0.5 * np.sum((steps / widths) ** 2, axis=2) / (1.0 + _LONGEST**2))
    limits = np.maximum(own, _ARMS)
    nearest = np.ascontiguousarray(offsets[:, 0]), np.ascontiguousarray(limits[:, 0])
    return _Arms(units, offsets, limits, np.abs(units @ units.T), nearest)


def rays(sigmas: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Directions (n, ndim) and, after them, their opposites; offsets (radii, n, 3) along them."""
    arms = _arms(sigmas)
    units = np.concatenate([arms.units, -arms.units])
    offsets = np.concatenate([arms.offsets[:, :, 0], arms.offsets[:, :, 1]])
    return units, np.ascontiguousarray(offsets.swapaxes(0, 1))


def chance_of_arms(
    response: np.ndarray, peaks: Peaks, moments: np.ndarray, doubt: np.ndarray,
    fine: Callable[[np.ndarray], np.ndarray], sigmas: tuple[float, float, float],
    threads: int | None,
) -> np.ndarray:  # fmt: skip
    """The chance that a spot has arms as high as a maximum has, or as high as lines that cross.

    Neighbours on both sides may look like arms. Between them and the spot there is a gap: the
    moment in that direction is smaller than that of a line. Where two lines cross it is smaller,
    too, but arms are seen in both directions.

    Parameters
    ----------
    moments : ndarray (n, ndim, ndim)
        Second moments of the pixels around the maxima, in the window of a spot.
    doubt : ndarray (n,)
        Their errors.
    fine : callable
        Gives the errors of the response at some rows by the noise alone, without structures.
    """
    arms, count = _arms(sigmas), len(peaks.points)
    chance, crossed = np.empty(count), np.empty(count)
    known = arms.units, arms.offsets, arms.limits, arms.cosines

    def task(start: int, stop: int) -> None:
        kernels.arm_chances(response, *peaks, moments, doubt, known, chance, crossed, start, stop)

    each_item(count, _COST, task, threads)
    rows = np.flatnonzero(crossed < 0.5)
    if len(rows):
        some, own = peaks.take(rows)._replace(error=fine(rows)), np.empty(len(rows))
        kernels.crossing_chances(response, *some, known, own)
        chance[rows] = np.minimum(chance[rows], own)
    return np.minimum(_TRIES[moments.shape[1]] * chance, 1.0)


def rows_with_arms(
    response: np.ndarray, peaks: Peaks, sigmas: tuple[float, float, float], threads: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of maxima that may have arms: the chance of all others is 1.

    Both sides of a direction at the nearest radius are less than one error below the limit. Also
    the responses there, in the directions of `rays`.
    """
    arms = _arms(sigmas)
    doubtful = np.empty(len(peaks.points), np.bool_)
    near = np.empty((len(doubtful), 2 * len(arms.units)), np.float32)

    def task(start: int, stop: int) -> None:
        surroundings.have_arms(response, *peaks, *arms.nearest, doubtful, near, start, stop)

    each_item(len(doubtful), max(1, 8 * len(arms.units)), task, threads)
    return np.flatnonzero(doubtful), near
