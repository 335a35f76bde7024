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
from scipy import special

from ..kernels.find import surroundings
from .response import CHUNK, each_item

_LONGEST = 1.6  # width of a spot in the direction in which it is longest
_RADII = 3.0, 5.0, 7.0  # of the arms
_FAR = 1  # the first radius at which the arms of lines that cross are apart
_ARMS = 0.33, 0.25, 0.2  # of the amplitude: what the arms of a line have at least
_LINE, _SURELY = 0.9, 1.5  # least moment of a line; errors by which another one is below
_CROSSED = 0.75  # cosine between lines that cross, at most
_WIDER = 0.15  # of the amplitude: by what an arm is above the sides
_DIRECTIONS = {1: 0, 2: 18, 3: 60}
_TRIES = {1: 1.0, 2: 3.0, 3: 6.0}  # independent directions
_LINES = 3  # that cross, at most
_TOGETHER = 0.5  # of the amplitude: what their arms have at least
_APART = 0.87  # cosine between them, at most
_LOW = 0.25  # part of the values around a maximum that are below the level between lines
_LEAST_ERROR = 1e-9  # of a response, by that in the middle
_LEAST = 0.4  # variance of the least of six values, by that of each


class Peaks(NamedTuple):
    """Maxima (n,) of a response, and what is known of it there."""

    points: np.ndarray  # (n, 3)
    level: np.ndarray  # of the response without spots
    error: np.ndarray  # of the response

    def those(self, chosen: np.ndarray | slice) -> Peaks:
        """Some of the maxima."""
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


def chance_of_arms(
    response: np.ndarray, peaks: Peaks, moments: np.ndarray, doubt: np.ndarray,
    fine: Callable[[np.ndarray], np.ndarray], sigmas: tuple[float, float, float],
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
    arms = _arms(sigmas)
    chance = np.ones(len(peaks.points))
    step = max(1, CHUNK // max(arms.offsets.size + arms.cosines.size, 1))
    for begin in range(0, len(chance), step):
        some = slice(begin, begin + step)
        seen = _look(response, peaks.those(some), arms)
        tails = _tails_of_arms(seen, arms)
        along = np.einsum("da,nab,db->nd", arms.units, moments[some], arms.units)
        gap = along < _LINE - _SURELY * doubt[some, None]
        apart = arms.cosines < _CROSSED
        other = np.where(apart, tails[:, None, :], 1.0).min(axis=2)
        tails = np.where(gap, np.maximum(tails, other), tails)
        chance[some] = tails.min(axis=1)
        rows = np.flatnonzero(_crossings(seen.without_noise(), arms) < 0.5)
        if len(rows):
            seen = seen.those(rows, fine(begin + rows))
            chance[begin + rows] = np.minimum(chance[begin + rows], _crossings(seen, arms))
    return np.minimum(_TRIES[moments.shape[1]] * chance, 1.0)


def rows_with_arms(
    response: np.ndarray, peaks: Peaks, sigmas: tuple[float, float, float], threads: int | None
) -> np.ndarray:
    """The rows of maxima that may have arms: the chance of all others is 1.

    Both sides of a direction at the nearest radius are less than one error below the limit.
    """
    arms = _arms(sigmas)
    doubtful = np.empty(len(peaks.points), np.bool_)

    def task(start: int, stop: int) -> None:
        surroundings.have_arms(response, *peaks, *arms.nearest, doubtful, start, stop)

    each_item(len(doubtful), max(1, 8 * len(arms.units)), task, threads)
    return np.flatnonzero(doubtful)


class _Heights(NamedTuple):
    """Responses along the arms, by that in the middle (n, directions, radii, 2 sides)."""

    values: np.ndarray
    there: np.ndarray  # within the image
    error: np.ndarray  # (n,) of each
    height: np.ndarray  # (n,) of the response in the middle

    def without_noise(self) -> _Heights:
        """The same with hardly any error."""
        return self._replace(error=np.full(len(self.error), _LEAST_ERROR))

    def those(self, rows: np.ndarray, error: np.ndarray) -> _Heights:
        """Some of the maxima, with other errors of the response."""
        height = self.height[rows]
        error = np.maximum(error / height, _LEAST_ERROR)
        return _Heights(self.values[rows], self.there[rows], error, height)


def _look(response: np.ndarray, peaks: Peaks, arms: _Arms) -> _Heights:
    """The heights of arms, as far as the image reaches."""
    at = peaks.points[:, None, None, None] + arms.offsets
    there = np.all((at >= 0) & (at < response.shape), axis=-1)
    at = np.clip(at, 0, np.array(response.shape) - 1)
    height = np.maximum(response[tuple(peaks.points.T)] - peaks.level, surroundings.LOWEST)
    high = response[tuple(np.moveaxis(at, -1, 0))] - peaks.level[:, None, None, None]
    error = np.maximum(peaks.error / height, _LEAST_ERROR)
    return _Heights(high / height[:, None, None, None], there, error, height)


def _tails_of_arms(seen: _Heights, arms: _Arms) -> np.ndarray:
    """The chances (n, directions) that a spot has such arms."""
    sides = np.where(seen.there, seen.values, 0.0).mean(axis=3).min(axis=1)  # (n, radii)
    limit = np.maximum(arms.limits, sides[:, None] + _WIDER)
    error = seen.error[:, None, None] * np.sqrt(1.0 + limit**2)
    z = (seen.values - limit[..., None]) / error[..., None]
    number = seen.there.sum(axis=(2, 3))
    lowest = np.where(seen.there, z, np.inf).min(axis=(2, 3))
    enough = number >= len(_RADII)
    return np.where(enough, special.ndtr(-lowest) ** np.maximum(number, 1), 1.0)


def _crossings(seen: _Heights, arms: _Arms) -> np.ndarray:
    """The chances (n,) that a spot has arms that are as high, all together.

    An arm is the least response at the radii on both sides; the highest arms that are apart count.
    Heights are above the response between the arms, which is negative where the light of lines is
    a part of the background.
    """
    values = np.where(seen.there, seen.values, np.inf)
    far = np.sort(values[:, :, _FAR:].reshape(len(values), -1), axis=1)
    rows = np.arange(len(values))
    between = far[rows, (_LOW * np.isfinite(far).sum(axis=1)).astype(np.int64)]
    floor = np.minimum(between - special.ndtri(_LOW) * seen.error, 0.0)
    enough = seen.there.sum(axis=(2, 3)) > seen.there.shape[2]
    left = np.where(enough, values.min(axis=(2, 3)) - floor[:, None], 0.0)
    total, lines = np.zeros(len(left)), np.zeros(len(left))
    for _ in range(_LINES):
        best = left.argmax(axis=1)
        total += np.maximum(left[rows, best], 0.0)
        lines += left[rows, best] > 0.0
        left = np.where(arms.cosines[best] < _APART, left, 0.0)
    error = seen.error * np.sqrt(_LEAST * lines + _TOGETHER**2)
    return special.ndtr((_TOGETHER * (1.0 - floor) - total) / error)
